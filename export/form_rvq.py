"""Graphs of `vox-rvq-16k` and `vox-snac-16k`: the network as it is, with the search and the lookup in plain form."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs.rvq import RVQ, RVQCodec, pooled, repeated
from ..core.model import Model
from .plan import Plan

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), whole blocks -> codes."""

    def __init__(self, network: RVQCodec) -> None:
        super().__init__()
        self.network = network

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        return quantized(self.network, self.network.latent(wav))


class Decode(nn.Module):
    """codes -> wav (B, hop N), in step with the input."""

    def __init__(self, network: RVQCodec) -> None:
        super().__init__()
        self.network = network

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        return self.network.synthesize(looked_up(self.network, codes))


def quantized(network: RVQCodec, latent: Tensor) -> list[Tensor]:
    """latent (B, N, C) -> codes."""
    codes, left = [], latent
    for book, step in zip(network.codebooks, network.config.steps, strict=True):
        distance = book.square().sum(-1) - 2 * (pooled(left, step) @ book.T)
        codes.append(distance.argmin(-1))
        left = left - repeated(F.embedding(codes[-1], book), step)
    return codes


def looked_up(network: RVQCodec, codes: tuple[Tensor, ...]) -> Tensor:
    """codes -> latent (B, N, C); -1 adds nothing."""
    total: Tensor | None = None
    for stream, book, step in zip(codes, network.codebooks, network.config.steps, strict=True):
        part = repeated(F.embedding(stream.clamp(min=0), book) * (stream >= 0)[..., None], step)
        total = part if total is None else total + part
    return cast(Tensor, total)


def plan(model: Model) -> Plan:
    """See `graphs.plan_of`."""
    network = cast(RVQ, model).network
    c, made = network.config, Plan.of(model)
    made.encoder(Encode(network))
    made.decoder(Decode(network))
    before = (c.encoder_layers * (c.kernel - 1) + -(-c.analysis_window // c.hop)) * c.hop
    made.windows("encoder", before, 0)
    fine = c.fine_layers * (c.kernel - 1) + c.synthesis_window // (c.hop // c.subframes)
    made.windows("decoder", (c.decoder_layers * (c.kernel - 1) + -(-fine // c.subframes)) * c.hop, c.delay)
    return made
