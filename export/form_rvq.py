"""Graphs of `vox-rvq-16k` and `vox-snac-16k`: the network as it is, with the search and the lookup in plain form."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs.rvq import RVQ, RVQCodec, pooled, repeated
from ..core.model import Model
from .plan import Plan, State

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


class EncodeStream(nn.Module):
    """wav (B, whole blocks), the encoder's state -> codes, the next state."""

    def __init__(self, network: RVQCodec) -> None:
        super().__init__()
        self.network = network

    def forward(self, wav: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        latent, following = self.network.encoder(wav, list(state))
        return *quantized(self.network, latent), *following


class DecodeStream(nn.Module):
    """codes, the decoder's state -> wav, which trails by the look-ahead, and the next state."""

    def __init__(self, network: RVQCodec) -> None:
        super().__init__()
        self.network, self.streams = network, network.config.streams

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        codes, state = values[: self.streams], list(values[self.streams :])
        wav, following = self.network.decoder(looked_up(self.network, codes), state)
        return wav, *following


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


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network = cast(RVQ, model).network
    c, made = network.config, Plan.of(model)
    made.encoder(Encode(network))
    made.decoder(Decode(network))
    before = (c.encoder_layers * (c.kernel - 1) + -(-c.analysis_window // c.hop)) * c.hop
    made.windows("encoder", before, 0)
    fine = c.fine_layers * (c.kernel - 1) + c.synthesis_window // (c.hop // c.subframes)
    made.windows("decoder", (c.decoder_layers * (c.kernel - 1) + -(-fine // c.subframes)) * c.hop, c.delay)
    if streaming:
        states = [State([c.analysis_window - c.hop]), *[State([c.kernel - 1, c.encoder_dim])] * c.encoder_layers]
        made.streams("encoder", EncodeStream(network), states, {"multiple": c.block})
        coarse = [State([c.kernel - 1, c.decoder_dim])] * c.decoder_layers
        fine_states = [State([c.kernel - 1, c.fine_dim])] * c.fine_layers
        tail = State([c.synthesis_window - c.hop // c.subframes])
        per = max(c.steps) // c.steps[0]  # frames of stream 0 in a block
        flush = -(-c.lookahead // (c.steps[0] * per)) * per
        law = {"multiple": per, "lead_in": c.delay, "flush": flush}
        made.streams("decoder", DecodeStream(network), [*coarse, *fine_states, tail], law)
    return made
