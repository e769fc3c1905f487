"""Baichuan-Audio's tokenizer: 12.5 frames/s in 8 residual streams of Whisper's features. Encodes only.

Li et al. 2025, "Baichuan-Audio: A Unified Framework for End-to-End Speech Interaction", arXiv:2502.17239; published inside the
language model, huggingface.co/baichuan-inc/Baichuan-Audio-Base and -Instruct. Of its files only those are opened that hold the
tokenizer, and of these only its tensors are read.

The encoder sees 30 s at a time, and every token depends on all sound of its 30 s: attention has no bounds, and the spectrogram
is cut off 80 dB below its loudest place. Longer clips are cut into such segments, as the published processor cuts them where
it is set to no overlap (`split_overlap` 0). The published code leaves out the last token of a segment where less than three
quarters of its sound are there; here it is given, from the frames that there are and zeros, as the published network itself
makes it; the tokens before it are the same.

The published model runs in bfloat16, this one in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.shards import read_shards
from ..core.weights import peek_config, read_json
from ._baichuan import DEFAULTS, Network, complete, segment_samples, token_samples

__all__ = ["Baichuan"]

PREFIX = "audio_tokenizer."
PARTS = (f"{PREFIX}audio_model.", f"{PREFIX}audio_bridge_model.")
# Of the training's moving averages, and of the decoder, which is not here.
UNUSED = (".codebook.cluster_size", ".codebook.embed_avg", ".proj_decoder.weight", ".proj_decoder.bias")
# What the published code can be set to, and the weights of Baichuan-Audio are for.
FIXED = {"activation_function": "gelu", "kernel_size": 3, "stride_size": 2}


class Baichuan(Model):
    """The tokenizer behind the common interface. Length law: ceil(T / 1280) frames."""

    network: Network
    batching: ClassVar = "length"
    window: ClassVar[float] = 30.0
    decodes: ClassVar[bool] = False
    undecodable: ClassVar[str] = (
        "that would need Baichuan's mel decoder, its flow-matching decoder and the HiFT vocoder it takes from CosyVoice 2"
    )

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        self.network.fold()
        self.segment = segment_samples(self.config)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        sizes = tuple(config["codebook_sizes"])
        return {
            "sample_rate": config["sampling_rate"],
            "frame_rates": (Fraction(config["sampling_rate"], token_samples(config)),) * len(sizes),
            "codebook_sizes": sizes,
            "latency": float(config["max_audio_seconds"]),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights, each stream's codewords smaller than those of the one before."""
        network = Network(complete(config))
        for i, book in enumerate(network.audio_bridge_model.books):
            nn.init.normal_(book.embed, std=0.8 ** (i + 1))
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `config.json` with `model.safetensors.index.json` and the files it names, or our own."""
        published = read_json(folder / "config.json")
        if "format" in published:
            return super().read(folder)
        state = read_shards(folder, PARTS)
        kept = {key.removeprefix(PREFIX): value.float() for key, value in state.items() if not key.endswith(UNUSED)}
        return _config(published), kept

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        audio = config.get("audio_config")
        return config.get("model_type") == "omni" and isinstance(audio, dict) and "vq_config" in audio

    @property
    def pad_multiple(self) -> int:
        """1: the published code tells sound from padding to the sample."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / 1280) in every stream."""
        return (-(-samples // token_samples(self.config)),) * self.facts.streams

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        parts = [self.network(part, streams) for part in wav.split(self.segment, 1)]
        return Encoded([torch.cat(stream, 1) for stream in zip(*parts, strict=True)])

    def _open_encoder(self, streams: int) -> _Encoder:
        return _Encoder(self, streams)


class _Encoder:
    """Segments as they are complete."""

    def __init__(self, model: Baichuan, streams: int) -> None:
        self.model, self.streams = model, streams
        self.held = torch.zeros(1, 0, device=model.device)

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        return self._take(self.held.shape[1] // self.model.segment * self.model.segment)

    def finish(self) -> Encoded:
        return self._take(self.held.shape[1])

    def _take(self, samples: int) -> Encoded:
        if not samples:
            return Encoded([self.held.new_zeros(1, 0, dtype=torch.int64)] * self.streams)
        wav, self.held = self.held[:, :samples], self.held[:, samples:].clone()
        return self.model._encode(wav, self.streams)


def _config(published: Mapping[str, Any]) -> dict[str, Any]:
    """Of the language model around it."""
    audio = published.get("audio_config")
    if not isinstance(audio, dict) or not isinstance(audio.get("vq_config"), dict):
        raise WeightsError("config.json has no audio_config with a vq_config: it is not of Baichuan-Audio")
    for key, wanted in FIXED.items():
        if audio.get(key, wanted) != wanted:
            raise WeightsError(f"config.json has {key} {audio[key]!r}; Baichuan-Audio's tokenizer has {wanted!r}")
    known = {**audio, **audio["vq_config"]}
    return complete({key: known[key] for key in DEFAULTS if key in known})
