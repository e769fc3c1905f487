"""SoundStream's architecture, 16 kHz, 50 frames/s, 8 x 1024 residual codebooks (4 kbit/s), to be trained with Voxzoo's trainer.

Zeghidour et al. 2021, "SoundStream: An End-to-End Neural Audio Codec", arXiv:2107.03312: a fully causal SEANet encoder and
decoder (strides 2, 4, 5, 8; three residual units of dilation 1, 3, 9 at each; ELU) around a residual vector quantizer. Its
authors published no weights: `voxzoo train soundstream-16k --data MANIFEST -o RUN` makes some, with the losses of our other
codecs (log-mel and compressed spectra, loudness; the recipe's discriminator is off unless asked for).

Built from the paper's description on the layers of `_seanet.py`. Where the paper leaves things open: convolutions are under
weight norm, activations come before convolutions, and the residual units keep their width. Both directions stream by frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.model import Model
from ..core.streaming import DecoderCore, Encoded, EncoderCore
from ._seanet import Activation, Codebook, Conv, Quantizer, Residual, Stack, Upsample

__all__ = ["SoundStream", "SoundStreamConfig"]

STEADY = 16  # rows: matrix products of fewer are rounded otherwise, which would move codes between chunk sizes


@dataclass(frozen=True)
class SoundStreamConfig:
    """Every size of the codec."""

    sample_rate: int = 16000  # Hz
    channels: int = 32  # at the sample rate; twice as many after each stride
    strides: tuple[int, ...] = (2, 4, 5, 8)  # of the encoder; the decoder takes them in reverse
    dilations: tuple[int, ...] = (1, 3, 9)  # of the residual units at each rate
    kernel: int = 7  # of the first and last convolutions and of the residual units
    latent_kernel: int = 3  # of the encoder's last convolution
    streams: int = 8
    codebook_size: int = 1024
    codebook_dim: int = 256  # channels of the latent

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"SoundStream has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able, with every field."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)


class Book(Codebook):
    """Codewords whose search rounds alike for a frame and for many. Learnt by moving averages, not by gradient."""

    def __init__(self, size: int, dim: int, scale: float) -> None:
        super().__init__(size, dim, scale)
        self.embed.requires_grad_(False)

    def search(self, x: Tensor) -> Tensor:
        """x (M, D) -> code of the nearest codeword (M,)."""
        return super().search(F.pad(x, (0, 0, 0, max(0, STEADY - len(x)))))[: len(x)]


KIND: dict[str, Any] = {"causal": True, "norm": "weight_norm", "pad": "constant"}


def units(dim: int, c: SoundStreamConfig) -> list[nn.Module]:
    """The residual units at one rate."""
    return [Residual(dim, c.kernel, dilation, 1, False, **KIND) for dilation in c.dilations]


def encoder(c: SoundStreamConfig) -> Stack:
    """sound (B, T, 1) -> latent (B, N, D)."""
    dim = c.channels
    layers: list[nn.Module] = [Conv(1, dim, c.kernel, **KIND)]
    for stride in c.strides:
        layers += [*units(dim, c), Activation(), Conv(dim, 2 * dim, 2 * stride, stride, **KIND)]
        dim *= 2
    return Stack([*layers, Activation(), Conv(dim, c.codebook_dim, c.latent_kernel, **KIND)])


def decoder(c: SoundStreamConfig) -> Stack:
    """latent (B, N, D) -> sound (B, T, 1)."""
    dim = c.channels * 2 ** len(c.strides)
    layers: list[nn.Module] = [Conv(c.codebook_dim, dim, c.kernel, **KIND)]
    for stride in reversed(c.strides):
        layers += [Activation(), Upsample(dim, dim // 2, stride, causal=True, norm="weight_norm"), *units(dim // 2, c)]
        dim //= 2
    return Stack([*layers, Activation(), Conv(dim, 1, c.kernel, **KIND)])


class Network(nn.Module):
    """Encoder, quantizer and decoder. Sounds are float32 (B, T) in [-1, 1], T in whole frames; codes K tensors int64 (B, N).

    The layers compute from copies of the weights: in training these are made anew at every call, with their gradient, and
    otherwise once, by `fold`.
    """

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = encoder(config), decoder(config)
        self.quantizer = Quantizer(config.streams, config.codebook_size, config.codebook_dim, Book)

    def fold(self) -> None:
        """To be called when the parameters have changed."""
        _fold(self)

    def train(self, mode: bool = True) -> Self:
        """To training and back; out of it the copies are made."""
        super().train(mode)
        if not mode:
            with torch.no_grad():
                self.fold()
        return self

    def latent(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> latent (B, N, D)."""
        return self.analyse(wav, None)[0]

    def analyse(self, wav: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """wav (B, T) -> latent (B, N, D) and the state for what follows; None is that before the first sample."""
        if self.training:
            _fold(self.encoder)
        latent, state, _ = self.encoder(wav[:, :, None], state)
        return latent, state

    def synthesize(self, latent: Tensor) -> Tensor:
        """latent (B, N, D) -> wav (B, T)."""
        return self.sound(latent, None)[0]

    def sound(self, latent: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """latent (B, N, D) -> wav (B, T) and the state for what follows."""
        if self.training:
            _fold(self.decoder)
        wav, state, _ = self.decoder(latent, state)
        return wav[:, :, 0], state

    def set_codebooks(self, books: Sequence[Tensor]) -> None:
        """Take over K codebooks (V, D)."""
        for mine, book in zip(self.quantizer.books, books, strict=True):
            mine.embed.data.copy_(book)
            mine.fold()

    def encode(self, wav: Tensor, n_streams: int | None = None) -> list[Tensor]:
        """wav (B, T) -> codes."""
        return self.quantizer.encode(self.latent(wav), n_streams or self.config.streams)

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of the first streams -> wav (B, T)."""
        return self.synthesize(self.quantizer.decode(codes))


def _fold(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, (Conv, Upsample, Codebook)):
            layer.fold()


class SoundStream(Model):
    """SoundStream behind the common interface. Frames: N = ceil(T / 320), the same for every stream."""

    network: Network
    batching = "pad"

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        c = SoundStreamConfig.from_dict(config)
        return {
            "sample_rate": c.sample_rate,
            "frame_rates": (Fraction(c.sample_rate, c.hop),) * c.streams,
            "codebook_sizes": (c.codebook_size,) * c.streams,
            "latency": c.hop / c.sample_rate,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights."""
        return Network(SoundStreamConfig.from_dict(config))

    @property
    def pad_multiple(self) -> int:
        """Samples of a frame."""
        return self.network.config.hop

    def frames(self, samples: int) -> tuple[int, ...]:
        """N = ceil(samples / hop), for every stream."""
        return (-(-samples // self.network.config.hop),) * self.network.config.streams

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded(self.network.encode(wav, streams))

    def _decode(self, encoded: Encoded) -> Tensor:
        return self.network.decode([c.clamp(min=0) for c in encoded.codes])  # what follows a clip is not heard in it

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Encoder(self, streams)

    def _open_decoder(self) -> DecoderCore:
        return _Decoder(self)


class _Encoder:
    """Whole frames as they come; the last one is completed with zeros."""

    def __init__(self, model: SoundStream, streams: int) -> None:
        self.model, self.streams = model, streams
        self.held = torch.zeros(1, 0, device=model.device)
        self.state: list[Any] | None = None

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], dim=1)
        whole = self.held.shape[1] // self.model.pad_multiple * self.model.pad_multiple
        if not whole:
            return Encoded([self.held.new_zeros(1, 0, dtype=torch.int64)] * self.streams)
        wav, self.held = self.held[:, :whole], self.held[:, whole:].clone()
        latent, self.state = self.model.network.analyse(wav, self.state)
        return Encoded(self.model.network.quantizer.encode(latent, self.streams))

    def finish(self) -> Encoded:
        return self.push(self.held.new_zeros(1, -self.held.shape[1] % self.model.pad_multiple))


class _Decoder:
    """Each frame's sound at once."""

    def __init__(self, model: SoundStream) -> None:
        self.model = model
        self.state: list[Any] | None = None

    def push(self, encoded: Encoded) -> Tensor:
        if not encoded.codes[0].shape[1]:
            return self.finish()
        network = self.model.network
        wav, self.state = network.sound(network.quantizer.decode(encoded.codes), self.state)
        return wav

    def finish(self) -> Tensor:
        return torch.zeros(1, 0, device=self.model.device)
