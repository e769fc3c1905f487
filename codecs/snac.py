"""SNAC, the multi-scale neural audio codec, at 24, 32 and 44.1 kHz.

Siuzdak, Grötschla and Lanzendörfer 2024, "SNAC: Multi-Scale Neural Audio Codec", arXiv:2410.14411;
published at github.com/hubertsiuzdak/snac (MIT). A convolutional autoencoder whose residual quantizer works at several
time scales: stream k has one code for every `vq_strides[k]` latent frames. The network, in `_snac.py`, is a port that is
fast on CPUs; its codes are those of the published package.

The published decoder adds random noise at four places, so that it never gives the same sound twice. Here that noise
is off: decoding is deterministic, windows join without a seam, and the noise layers' weights are loaded but not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.convs import fold, receptive
from ..core.errors import WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import peek_config, read_json, read_state
from ..core.windows import Blocks, WindowedDecoder, WindowedEncoder
from ._snac import Network, complete

__all__ = ["Snac"]

WINDOW = 20.0  # seconds of sound that a streaming window keeps at most


class Snac(Model):
    """SNAC behind the common interface. Its parameters are counted as published, weight norm's gains included."""

    network: Network
    batching: ClassVar = "length"  # zeros at the end of a clip move its last tokens
    Network: ClassVar[type[Network]] = Network
    complete: ClassVar = staticmethod(complete)

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        # The base hashes the published tensors; folding comes after, so that its rounding is no part of the identity.
        super().__init__(facts, self.complete(config), network, device, dtype)
        fold(self.network)
        waits = 1 + encoder_blocks(self.config, self.network).right + decoder_blocks(self.config, self.network).right
        self.facts = replace(self.facts, latency=waits * self.pad_multiple / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Stream k has one frame for `vq_strides[k]` latent frames."""
        config = cls.complete(config)
        rate = Fraction(config["sampling_rate"], math.prod(config["encoder_rates"]))
        strides = config["vq_strides"]
        return {
            "sample_rate": config["sampling_rate"],
            "frame_rates": tuple(rate / stride for stride in strides),
            "codebook_sizes": (config["codebook_size"],) * len(strides),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights, on the way to the codes without biases and with small codebooks: torch's own
        starting values give almost the same codes for any sound."""
        network = cls.Network(cls.complete(config))
        for name, parameter in network.named_parameters():
            if name.endswith("bias") and not name.startswith("decoder"):
                nn.init.zeros_(parameter)
            elif "codebook" in name:
                nn.init.normal_(parameter, std=0.02)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `config.json` with `pytorch_model.bin` or `model.safetensors`, or our own."""
        config = read_json(folder / "config.json")
        if "format" in config:
            return super().read(folder)
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (folder / name).is_file():
                return cls.complete(config), read_state(folder / name)
        raise WeightsError(f"{str(folder)!r} holds neither pytorch_model.bin nor model.safetensors; put one beside config.json")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        return {"encoder_rates", "vq_strides", "attn_window_size"} <= set(peek_config(folder))

    def frames(self, samples: int) -> tuple[int, ...]:
        """Frames are counted after padding to whole `pad_multiple`s."""
        latent = self._padded(samples) // math.prod(self.config["encoder_rates"])
        return tuple(latent // stride for stride in self.config["vq_strides"])

    @property
    def pad_multiple(self) -> int:
        """Samples of a frame of the slowest stream, and of whole attention windows."""
        return block_frames(self.config) * math.prod(self.config["encoder_rates"])

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        parts = [self.network.quantizer.encode(self.network.encoder(part), streams) for part in wav.split(self._together)]
        return Encoded([torch.cat(stream) for stream in zip(*parts, strict=True)])

    def _decode(self, encoded: Encoded) -> Tensor:
        parts = zip(*(codes.split(self._together) for codes in encoded.codes), strict=True)
        return torch.cat([self.network.decoder(self.network.quantizer.decode(part)) for part in parts])

    @property
    def _together(self) -> int:
        """Clips that run at once. A CPU's cache holds one clip's activations, not a batch's."""
        return 1 if self.device.type == "cpu" else 64

    def _open_encoder(self, streams: int) -> WindowedEncoder:
        return WindowedEncoder(lambda wav: self._encode(wav, streams), encoder_blocks(self.config, self.network, streams))

    def _open_decoder(self) -> WindowedDecoder:
        return WindowedDecoder(self._decode, decoder_blocks(self.config, self.network))


def block_frames(config: Mapping[str, Any]) -> int:
    """Latent frames of the padding unit: whole frames of the slowest stream and whole attention windows."""
    return math.lcm(config["vq_strides"][0], config["attn_window_size"] or 1)


def encoder_blocks(config: Mapping[str, Any], network: Network, streams: int | None = None) -> Blocks:
    """Blocks for encoding `streams` streams, with the context that the network's layers add up to."""
    frames = block_frames(config)
    size = frames * math.prod(config["encoder_rates"])
    first, last = receptive([network.encoder], 0, frames - 1)
    most = max(1, int(WINDOW * config["sampling_rate"]) // size)
    return Blocks.reaching(size, [frames // s for s in config["vq_strides"][:streams]], -first, last - size + 1, size, most)


def decoder_blocks(config: Mapping[str, Any], network: Network) -> Blocks:
    """Blocks for decoding."""
    frames = block_frames(config)
    size = frames * math.prod(config["encoder_rates"])
    first, last = receptive([network.decoder], 0, size - 1)
    most = max(1, int(WINDOW * config["sampling_rate"]) // size)
    return Blocks.reaching(size, [frames // s for s in config["vq_strides"]], -first, last - frames + 1, frames, most)
