"""Graphs of EnCodec at 24 kHz: whole clips, and streams, without which no clip beyond a window could be run: it has an LSTM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._seanet import Quantizer
from ..codecs.encodec import Encodec24
from ..core.errors import ExportError
from ..core.model import Model
from .plain_seanet import Memory, PlainStack
from .plan import Plan, State

__all__ = ["looked_up", "plan"]


class Encode(nn.Module):
    """wav (B, T), lengths (B,) -> codes."""

    def __init__(self, layers: PlainStack, quantizer: Quantizer) -> None:
        super().__init__()
        self.layers, self.quantizer = layers, quantizer
        self.streams = len(quantizer.books)

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """See the class."""
        latent, _ = self.layers(wav[:, None], lengths, Memory())
        return searched(self.quantizer, latent.transpose(1, 2))


class Decode(nn.Module):
    """codes -> wav (B, T); a clip ends where its first stream is -1."""

    def __init__(self, layers: PlainStack, quantizer: Quantizer) -> None:
        super().__init__()
        self.layers, self.quantizer = layers, quantizer
        self.streams = len(quantizer.books)

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        latent = looked_up(self.quantizer, codes).transpose(1, 2)
        return self.layers(latent, (codes[0] >= 0).sum(1), Memory())[0][:, 0]


class EncodeStream(Encode):
    """wav (B, T), whole frames; true lengths (B,); whether the stream has begun (B, 1); states -> codes, the last two."""

    def forward(self, wav: Tensor, lengths: Tensor, *states: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See the class."""
        memory = Memory(states[1:], states[0])
        latent, _ = self.layers(wav[:, None], lengths, memory)
        codes = searched(self.quantizer, latent.transpose(1, 2))
        return *codes, torch.ones_like(states[0]), *memory.kept


class DecodeStream(Decode):
    """codes, whether the stream has begun (B, 1), states -> wav (B, T), the same again."""

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See the class."""
        codes, started, states = values[: self.streams], values[self.streams], values[self.streams + 1 :]
        memory = Memory(states, started)
        wav, _ = self.layers(looked_up(self.quantizer, codes).transpose(1, 2), None, memory)
        return wav[:, 0], torch.ones_like(started), *memory.kept


def searched(quantizer: Quantizer, latent: Tensor) -> list[Tensor]:
    """latent (B, N, D) -> codes, by the distances that the published code compares."""
    codes, left = [], latent
    for book in quantizer.books:
        distance = left.pow(2).sum(2, keepdim=True) - 2 * (left @ book.columns) + book.energy
        codes.append(distance.argmin(2))
        left = left - F.embedding(codes[-1], book.embed)
    return codes


def looked_up(quantizer: Quantizer, codes: tuple[Tensor, ...]) -> Tensor:
    """codes -> latent (B, N, D), the sum of the codewords; -1 adds nothing."""
    parts = [
        F.embedding(stream.clamp(min=0), book.embed) * (stream >= 0)[..., None]
        for stream, book in zip(codes, quantizer.books, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`. Raises `ExportError` for the 48 kHz network."""
    if not isinstance(model, Encodec24):
        raise ExportError(
            f"{model.facts.name} cannot be exported: its encoder works by segments of 1 s, normalised over their "
            "whole length, and its decoder adds them up outside the network"
        )
    network, made = model.network, Plan.of(model)
    encoder, decoder = PlainStack(network.encoder.layers), PlainStack(network.decoder.layers)
    made.encoder(Encode(encoder, network.quantizer), lengths=True)
    made.decoder(Decode(decoder, network.quantizer))
    first = max(model.settings.kernel_size, model.settings.last_kernel_size)
    for side, stack, stream in (
        ("encoder", encoder, EncodeStream(encoder, network.quantizer)),
        ("decoder", decoder, DecodeStream(decoder, network.quantizer)),
    ):
        unit = made.hop if side == "encoder" else 1
        states = [State([1]), *(State(shape) for shape in stack.states())]
        made.streams(side, stream, states, {"multiple": unit, "first": first * unit}, lengths=side == "encoder")
    return made
