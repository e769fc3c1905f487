"""Graphs of Mimi: whole clips of up to a window, and streams."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._mimi import Nearest, Network, Place, ResidualQuantizer, SplitQuantizer, Transformer
from ..codecs.mimi import Mimi
from ..core.model import Model
from .plain_seanet import Memory, PlainConv, PlainStack
from .plan import Plan

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), whole frames -> codes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, self.down = PlainStack(network.encoder.layers), PlainConv(network.downsample)
        self.transformer, self.quantizer = network.encoder_transformer, network.quantizer

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        x = self.layers(wav[:, None], None, Memory())[0].transpose(1, 2)
        x = attended(self.transformer, x).transpose(1, 2)
        return searched(self.quantizer, self.down(x, None, Memory())[0].transpose(1, 2))


class Decode(nn.Module):
    """codes -> wav (B, T)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, self.up = PlainStack(network.decoder.layers), network.upsample
        self.transformer, self.quantizer = network.decoder_transformer, network.quantizer

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        x = attended(self.transformer, self.up(looked_up(self.quantizer, codes))[0])
        return self.layers(x.transpose(1, 2), None, Memory())[0][:, 0]


def attended(transformer: Transformer, x: Tensor) -> Tensor:
    """A whole clip (B, L, D) -> the same shape."""
    count = x.shape[1]
    position = torch.arange(count, device=x.device)
    distance = position[:, None] - position
    mask = (distance >= 0) & (distance < transformer.window)
    place = Place(turn(transformer, position), mask, slice(0, 0))
    for layer in transformer.layers:
        x, _ = layer(x, None, place)
    return x


def turn(transformer: Transformer, position: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (1, 1, L, D / H) of rotary positions (L,)."""
    even = torch.arange(0, transformer.head, 2, device=position.device, dtype=torch.float32)
    angles = position[None, None, :, None].float() * (1.0 / transformer.theta ** (even / transformer.head))
    return torch.cat([angles.cos()] * 2, dim=3), torch.cat([angles.sin()] * 2, dim=3)


def searched(quantizer: SplitQuantizer, latent: Tensor) -> list[Tensor]:
    """latent (B, N, D) -> codes, by the distances that the published code compares."""
    codes = []
    for part in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
        left = F.linear(latent, part.input_proj.weight[:, :, 0])
        for book in part.books:
            energy = left.pow(2).sum(2, keepdim=True)
            squared = torch.cat([left * -2, energy, torch.ones_like(energy)], 2) @ cast(Nearest, book).columns
            codes.append(squared.clamp(min=0).sqrt().argmin(2))
            left = left - F.embedding(codes[-1], book.embed)
    return codes


def looked_up(quantizer: SplitQuantizer, codes: tuple[Tensor, ...]) -> Tensor:
    """codes -> latent (B, N, D); -1 adds nothing."""
    first = quantizer.first
    latent = summed(quantizer.semantic_residual_vector_quantizer, codes[:first])
    return latent + summed(quantizer.acoustic_residual_vector_quantizer, codes[first:])


def summed(part: ResidualQuantizer, codes: tuple[Tensor, ...]) -> Tensor:
    """codes of one part -> latent (B, N, D)."""
    total: Tensor | None = None
    for stream, book in zip(codes, part.books, strict=True):
        word = F.embedding(stream.clamp(min=0), book.embed) * (stream >= 0)[..., None]
        total = word if total is None else total + word
    return F.linear(cast(Tensor, total), part.output_proj.weight[:, :, 0])


def plan(model: Model) -> Plan:
    """See `graphs.plan_of`."""
    network, made = cast(Mimi, model).network, Plan.of(model)
    made.encoder(Encode(network))
    made.decoder(Decode(network))
    return made
