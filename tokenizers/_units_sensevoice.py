"""SenseVoice's encoder as a backbone of units: MinMo's ears, and those from which CosyVoice's tokenizers were made.

An et al. 2024, "FunAudioLLM", arXiv:2407.04051; published as SenseVoiceSmall (github.com/FunAudioLLM/SenseVoice), whose
parameter names these are. 60 ms a frame. Before the frames stand four learnt vectors that ask for language, event, emotion and
form of text, which the frames see in attention and which are not given out; they are those of the published inference with its
defaults: language told by the model, text as spoken.

Letters: B batch, T samples, N frames, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError, WeightsError
from ..core.kaldi_fbank import fbank_frames
from ..core.weights import read_state
from ._funasr import CMVN, HOP, MODEL, PREFIX, RATE, STACK, STEP, read_cmvn, sizes, stacks
from ._paraformer import Layer, positions
from ._units_backbone import Backbone, check_layer

__all__ = ["DEFAULTS", "HOP", "SenseVoice", "read_sensevoice", "used_by"]

EPS = 1e-5
SPAN = 400  # samples of a frame of 10 ms
ASKED = (0, 1, 2, 15)  # rows of `embed`: language "auto", event, emotion, text without inverse normalisation
QUESTIONS = 16  # rows of `embed`
DEFAULTS: dict[str, Any] = {
    "mels": 80,
    "output_size": 512,
    "attention_heads": 4,
    "linear_units": 2048,
    "num_blocks": 50,
    "tp_blocks": 20,
    "kernel_size": 11,
}


class SenseVoice(Backbone):
    """The encoder up to a layer: `num_blocks` and then `tp_blocks` layers, a norm after each of the two rows."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: Mapping[str, Any], layer: int, rate: int) -> None:
        super().__init__()
        c = self.c = dict(config)
        check_layer(layer, c["num_blocks"] + c["tp_blocks"])
        if rate != RATE:
            raise ModelError(f"SenseVoice takes sound at {RATE} Hz; got {rate} Hz")
        inputs = STACK * c["mels"]
        self.hop, self.span, self.dim = HOP, SPAN, c["output_size"] if layer else inputs
        self.embed = nn.Embedding(QUESTIONS, inputs)
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        first = min(layer, c["num_blocks"])
        self.encoders0 = nn.ModuleList(Layer(inputs, c, EPS) for _ in range(min(1, first)))
        self.encoders = nn.ModuleList(Layer(self.dim, c, EPS) for _ in range(first - 1))
        self.after_norm = nn.LayerNorm(self.dim, EPS) if first == c["num_blocks"] else nn.Identity()
        self.tp_encoders = nn.ModuleList(Layer(self.dim, c, EPS) for _ in range(layer - first))
        whole = layer == c["num_blocks"] + c["tp_blocks"] and c["tp_blocks"]
        self.tp_norm = nn.LayerNorm(self.dim, EPS) if whole else nn.Identity()

    def frames(self, samples: int) -> int:
        """One for every six frames of 10 ms, the last completed."""
        return -(-fbank_frames(max(samples, SPAN)) // STEP)

    def forward(self, wav: Tensor) -> Tensor:
        wav = F.pad(wav, (0, max(0, SPAN - wav.shape[1])))
        features = (stacks(wav, self.c["mels"]) + self.shift) * self.scale
        asked = self.embed(torch.tensor(ASKED, device=wav.device)).expand(len(wav), -1, -1)
        x = torch.cat([asked, features], 1) * self.c["output_size"] ** 0.5
        x = x + positions(0, x.shape[1], x.shape[2], x.device)
        for layer in [*self.encoders0, *self.encoders]:
            x = layer(x)
        x = self.after_norm(x)
        for layer in self.tp_encoders:
            x = layer(x)
        return cast(Tensor, self.tp_norm(x))[:, len(ASKED) :]


def read_sensevoice(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Sizes of the encoder that `model.pt` and `am.mvn` in a folder hold, and its tensors under our names.

    Raises `WeightsError` for files that are missing or damaged, and for another model of FunASR.
    """
    path = folder / MODEL
    state = read_state(path)
    shift, scale = read_cmvn(folder / CMVN)
    if len(state.get("embed.weight", ())) != QUESTIONS:
        raise WeightsError(f"{str(path)!r} has no embed.weight of {QUESTIONS} rows: it is no SenseVoiceSmall")
    tensors = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    above = {key.split(".")[1] for key in tensors if key.startswith("tp_encoders.")}
    config = {"model_type": "sensevoice", **sizes(state, path), "tp_blocks": len(above)}
    return config, {**tensors, "embed.weight": state["embed.weight"], "shift": shift, "scale": scale}


def used_by(layer: int, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of `read_sensevoice`'s tensors those that the layers up to this one use."""
    first = min(layer, config["num_blocks"])
    rows = {"encoders0": min(1, first), "encoders": first - 1, "tp_encoders": layer - first}
    norms = {
        "after_norm": first == config["num_blocks"],
        "tp_norm": bool(config["tp_blocks"]) and layer == config["num_blocks"] + config["tp_blocks"],
    }
    kept = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if norms.get(part, True) and (part not in rows or int(rest.partition(".")[0]) < rows[part]):
            kept[key] = value.float()
    return kept
