"""FocalCodec: one stream of 13-bit codes at 50, 25 or 12.5 frames/s, 16 kHz.

Della Libera, Paissan, Subakan and Ravanelli 2025, "FocalCodec: Low-Bitrate Speech Coding via Focal Modulation Networks",
arXiv:2502.04465; published at github.com/lucadellalib/focalcodec (Apache-2.0). The first six layers of WavLM-large, focal
modulation down to 13 numbers a frame whose signs are the code, and the way back to features and, by Vocos, to sound.

The length law is the published one, so that the codes are: a frame of WavLM is made of 400 samples and starts 320 after the
one before; one that is not whole is left out, unless it is the only one. A clip's last 80 to 399 samples therefore come back
as silence. (The published `sig_to_sig` repeats the last sample there.)

Everything in a clip moves everything else: attention, and means over the whole clip. Clips of up to 60 s run whole, as
published; longer ones go by windows of 60 s at fixed places, of which the inner 40 s are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.convs import fold
from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.streaming import DecoderCore, EncoderCore
from ..core.weights import read_json, read_state
from ._focalcodec import DEFAULTS, Network, complete

__all__ = ["FocalCodec"]

CONTEXT = 10.0  # seconds of a window, on each side, that are not kept


class FocalCodec(Model):
    """FocalCodec behind the common interface.

    Length law: max(0, (T - 400) // 320) + 1 frames of WavLM, and one code for 1, 2 or 4 of them, the last completed.
    """

    network: Network
    batching: ClassVar = "length"
    window: ClassVar[float] = 60.0

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        fold(self.network)  # after the fingerprint is taken, of which it is no part

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        return {
            "sample_rate": config["sample_rate"],
            "frame_rates": (Fraction(config["sample_rate"], hop(config)),),
            "codebook_sizes": (config["codebook_size"],),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights, on the way to the codes without biases and with large weights: torch's own starting
        values give almost the same code for any sound."""
        network = Network(complete(config))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.startswith(("encoder", "compressor")) and name.endswith("bias"):
                    parameter.zero_()
                elif name.startswith("compressor") and parameter.ndim > 1 and not name.endswith("alpha"):
                    parameter.mul_(3.0)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `config.json` with `model.safetensors`, or our own."""
        config = read_json(folder / "config.json")
        if "format" in config:
            return super().read(folder)
        return from_published(config), renamed(read_state(folder / "model.safetensors"))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether `config.json` names the five parts; the causal models, which name others, are not these."""
        if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
            return False
        try:
            from_published(read_json(folder / "config.json"))
        except ModelError:
            return False
        return True

    @property
    def pad_multiple(self) -> int:
        """1: zeros at the end would move every code."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """See the class."""
        features = self.network.encoder.feature_extractor.frames(samples)
        for factor in self.config["compressor"]["downscale_factors"]:
            features = -(-features // factor)
        return (features,)

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([self.network.encode(wav)])

    def _decode(self, encoded: Encoded) -> Tensor:
        return self.network.decode(encoded.codes[0])

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Encoder(_Windows(self.network.encode, self._window, hop(self.config), 1), self.device)

    def _open_decoder(self) -> DecoderCore:
        return _Decoder(_Windows(self.network.decode, self._window, 1, hop(self.config)), self.device)

    @property
    def _window(self) -> tuple[int, int]:
        """Frames of a window, and of its context on each side."""
        rate = self.facts.frame_rates[0]
        return int(self.window * rate), int(CONTEXT * rate)


class _Windows:
    """`run` on overlapping windows whose places are fixed, so that the result does not depend on how the clip is pushed.

    A window is `size` frames, given as `before` items each and coming out as `after` each. It starts where the inner part
    of the one before has `context` frames left, and is run when something beyond it has come, or as the last, however long.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], window: tuple[int, int], before: int, after: int) -> None:
        self.run, self.before, self.after = run, before, after
        self.size, self.context = window
        self.held: Tensor | None = None
        self.skipped = 0  # frames of the next window that an earlier one has given

    def push(self, items: Tensor) -> list[Tensor]:
        """items (1, n) -> results (1, m) of the windows that are now whole."""
        self.held = items if self.held is None else torch.cat([self.held, items], 1)
        done = []
        while self.held.shape[1] > self.size * self.before:
            result = self.run(self.held[:, : self.size * self.before])
            done.append(result[:, self.skipped * self.after : (self.size - self.context) * self.after])
            self.held = self.held[:, (self.size - 2 * self.context) * self.before :].clone()
            self.skipped = self.context
        return done

    def finish(self) -> list[Tensor]:
        """The result of the last window."""
        if self.held is None or not self.held.shape[1]:
            return []
        return [self.run(self.held)[:, self.skipped * self.after :]]


class _Encoder:
    """An `EncoderCore`."""

    def __init__(self, windows: _Windows, device: torch.device) -> None:
        self.windows = windows
        self.none = torch.zeros(1, 0, dtype=torch.int64, device=device)

    def push(self, wav: Tensor) -> Encoded:
        return Encoded([torch.cat([self.none, *self.windows.push(wav)], 1)])

    def finish(self) -> Encoded:
        return Encoded([torch.cat([self.none, *self.windows.finish()], 1)])


class _Decoder:
    """A `DecoderCore`."""

    def __init__(self, windows: _Windows, device: torch.device) -> None:
        self.windows = windows
        self.none = torch.zeros(1, 0, device=device)

    def push(self, encoded: Encoded) -> Tensor:
        return torch.cat([self.none, *self.windows.push(encoded.codes[0])], 1)

    def finish(self) -> Tensor:
        return torch.cat([self.none, *self.windows.finish()], 1)


def hop(config: Mapping[str, Any]) -> int:
    """Samples per code."""
    return math.prod(config["encoder"]["strides"]) * math.prod(config["compressor"]["downscale_factors"])


# ------------------------------------------------------------------ published form
PARTS = {
    "encoder": "WavLM",
    "compressor": "FocalEncoder",
    "quantizer": "BinarySphericalQuantizer",
    "decompressor": "FocalDecoder",
    "decoder": "Vocos",
}
EDGES = {"input_dim", "output_dim", "input_channels", "kernel_size"}  # must be what the other parts make them
# Of use in training, to the causal models, or for speed alone. Vocos's `padding` keeps the length whatever its name.
IGNORED = {"causal", "dropout", "layerscale_init", "tanhscale_init", "max_cached_steps", "use_flex_attention", "window_size",
           "last_window_size", "lookahead_size", "padding"}  # fmt: skip


def from_published(config: Mapping[str, Any]) -> dict[str, Any]:
    """The published `config.json` as ours. Raises `WeightsError` for a network of another kind, the causal ones included."""
    try:
        return _from_published(config)
    except ModelError as error:
        raise WeightsError(f"config.json is of no FocalCodec that is known: {error}") from None


def _from_published(config: Mapping[str, Any]) -> dict[str, Any]:
    given = {part: _part(config, part) for part in PARTS}
    edges = {part: {key: table.pop(key) for key in EDGES & set(table)} for part, table in given.items()}
    codebook_size = given.pop("quantizer").get("codebook_size", DEFAULTS["codebook_size"])
    ours = complete({**given, "codebook_size": codebook_size})
    bits, features = codebook_size.bit_length() - 1, ours["encoder"]["dim"]
    first = {"compressor": features, "decompressor": bits, "decoder": features}
    last = {"compressor": bits, "decompressor": features}
    for part, found in edges.items():
        wanted = {
            "input_dim": first.get(part),
            "input_channels": first.get(part),
            "output_dim": last.get(part),
            "kernel_size": 7,
        }
        for key, value in found.items():
            if value not in (None, wanted[key]):
                raise ModelError(f"{part}_config has {key} {value!r}, expected {wanted[key]!r}")
    return ours


def _part(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What shapes this part."""
    kind, table = config.get(f"{part}_name"), config.get(f"{part}_config") or {}
    if kind != PARTS[part]:
        raise ModelError(f"{part}_name is {kind!r}, expected {PARTS[part]!r}")
    if not isinstance(table, dict):
        raise ModelError(f"{part}_config is {table!r}, expected a table")
    if table.get("causal"):
        raise ModelError(f"its {part} is causal, as that of FocalCodec-Stream is")
    return {key: value for key, value in table.items() if key not in IGNORED}


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors under our names: those of the package's version 0.0.2, but for Vocos. The files have those of 0.0.1.

    Left out are the norm after WavLM's last layer, which no version applies, and the places of the bits.
    """
    names = {
        r"^compressor\.layers\.(\d+)\.0\.": r"compressor.layers.\1.downscale.",
        r"^compressor\.layers\.(\d+)\.1\.": r"compressor.layers.\1.focal_block.",
        r"^decompressor\.layers\.(\d+)\.0\.": r"decompressor.layers.\1.focal_block.",
        r"^decompressor\.layers\.(\d+)\.1\.": r"decompressor.layers.\1.upscale.",
        r"^decoder\.backbone\.embedding\.": "decoder.backbone.embed.",
        r"^decoder\.backbone\.input_norm\.": "decoder.backbone.norm.",
        r"^decoder\.backbone\.layers\.": "decoder.backbone.convnext.",
        r"^decoder\.backbone\.output_norm\.": "decoder.backbone.final_layer_norm.",
        r"^decoder\.head\.proj\.": "decoder.head.out.",
    }
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in ("encoder.encoder.norm.weight", "encoder.encoder.norm.bias", "quantizer.mask"):
            continue
        if found := re.fullmatch(r"(encoder\..*\.attention\.)q_proj\.(weight|bias)", key):
            thirds = [state.get(f"{found[1]}{letter}_proj.{found[2]}") for letter in "qkv"]
            if any(third is None or third.shape != value.shape for third in thirds):
                raise WeightsError(f"the weights have {key!r}, but no k_proj and v_proj of its shape beside it")
            out[f"{found[1]}qkv_proj.{found[2]}"] = torch.cat([third for third in thirds if third is not None])
        elif not re.fullmatch(r"encoder\..*\.attention\.[kv]_proj\.(weight|bias)", key):
            for old, new in names.items():
                key = re.sub(old, new, key)
            out[key] = value
    return out
