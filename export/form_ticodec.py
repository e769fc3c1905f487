"""Graphs of TiCodec; the decoder speaks in the voice that the model has when it is exported."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._ticodec import SLOPE, Codebook, Network, Quantizer, Residual, Stage
from ..codecs.ticodec import Ticodec
from ..core.model import Model
from .plain_convs import plain
from .plan import Plan

__all__ = ["plan"]


class PlainResidual(nn.Module):
    """Pairs of convolutions, each pair with a shortcut."""

    def __init__(self, layer: Residual) -> None:
        super().__init__()
        self.first = nn.ModuleList(plain(dilated) for dilated, _ in layer.pairs)
        self.second = nn.ModuleList(plain(other) for _, other in layer.pairs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class PlainStage(nn.Module):
    """A change of rate, and the mean of residual blocks."""

    def __init__(self, layer: Stage) -> None:
        super().__init__()
        self.resample = plain(layer.resample)
        self.blocks = nn.ModuleList(PlainResidual(cast(Residual, block)) for block in layer.blocks)
        self.norms = layer.norms

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> (B, C', T')."""
        x = self.resample(F.leaky_relu(x, SLOPE))
        total = torch.zeros_like(x)
        for i, block in enumerate(self.blocks):
            total = total + block(x)
            total = self.norms[i](total) if len(self.norms) else total
        return total / len(self.blocks)


class Encode(nn.Module):
    """wav (B, T), whole frames -> codes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        encoder = network.encoder
        self.first, self.last = plain(encoder.conv_pre), plain(encoder.conv_post)
        self.stages = nn.ModuleList(PlainStage(cast(Stage, stage)) for stage in encoder.stages)
        self.quantizer = network.quantizer

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        x = self.first(wav[:, None])
        for stage in self.stages:
            x = stage(x)
        return searched(self.quantizer, self.last(F.leaky_relu(x, 0.01)).transpose(1, 2))


class Decode(nn.Module):
    """codes -> wav (B, T)."""

    voice: Tensor

    def __init__(self, network: Network, voice: Tensor) -> None:
        super().__init__()
        generator = network.generator
        self.first, self.last = plain(generator.conv_pre), plain(generator.post.conv)
        self.stages = nn.ModuleList(PlainStage(cast(Stage, stage)) for stage in generator.stages)
        self.voiced, self.quantizer = generator.voiced, network.quantizer
        self.register_buffer("voice", voice)

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        x = self.first(looked_up(self.quantizer, codes).transpose(1, 2))
        for i, stage in enumerate(self.stages):
            x = stage(x)
            x = x + self.voice[:, None] if i + 1 == self.voiced else x
        return torch.tanh(self.last(F.leaky_relu(x, SLOPE)))[:, 0]


def searched(quantizer: Quantizer, left: Tensor) -> list[Tensor]:
    """Latent frames (B, N, C) -> codes, a stream for each group of channels, layer after layer."""
    codes = []
    for books in quantizer.layers:
        tables = [cast(Codebook, book).embedding.weight for book in books]
        found = []
        for table, part in zip(tables, left.chunk(len(tables), 2), strict=True):
            distance = part.pow(2).sum(2, keepdim=True) + table.pow(2).sum(1) - 2 * (part @ table.T)
            found.append(distance.argmin(2))
        words = torch.cat([F.embedding(code, table) for code, table in zip(found, tables, strict=True)], 2)
        left = left - (left + (words - left))  # the published way to subtract them
        codes += found
    return codes


def looked_up(quantizer: Quantizer, codes: tuple[Tensor, ...]) -> Tensor:
    """codes -> latent (B, N, C); -1 adds nothing."""
    rest = iter(codes)
    total: Tensor | None = None
    for books in quantizer.layers:
        words = []
        for book, code in zip(books, rest, strict=False):
            words.append(F.embedding(code.clamp(min=0), cast(Codebook, book).embedding.weight) * (code >= 0)[..., None])
        joined = torch.cat(words, 2)
        total = joined if total is None else total + joined
    return cast(Tensor, total)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    codec, made = cast(Ticodec, model), Plan.of(model)
    voice = codec.network.quantizer.voice(torch.tensor(codec.voice)).detach()
    made.encoder(Encode(codec.network))
    made.decoder(Decode(codec.network, voice))
    made.blocks("encoder", codec._encoder_blocks())
    made.blocks("decoder", codec._decoder_blocks())
    return made
