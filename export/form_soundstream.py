"""Graphs of SoundStream: whole clips and streams, which begin as silence."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ..codecs.soundstream import Network, SoundStream
from ..core.model import Model
from .form_encodec import looked_up, searched
from .plain_seanet import Memory, PlainStack
from .plan import Plan, State

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), states of a stream, or none -> codes, the next states."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, self.quantizer = PlainStack(network.encoder.layers), network.quantizer

    def forward(self, wav: Tensor, *states: Tensor) -> list[Tensor]:
        """See the class."""
        memory = Memory(states or None)
        latent, _ = self.layers(wav[:, None], None, memory)
        return [*searched(self.quantizer, latent.transpose(1, 2)), *memory.kept]


class Decode(nn.Module):
    """codes, states of a stream, or none -> wav (B, T), the next states."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, self.quantizer = PlainStack(network.decoder.layers), network.quantizer
        self.streams = network.config.streams

    def forward(self, *values: Tensor) -> tuple[Tensor, ...] | Tensor:
        """See the class."""
        memory = Memory(values[self.streams :] or None)
        wav, _ = self.layers(looked_up(self.quantizer, values[: self.streams]).transpose(1, 2), None, memory)
        return (wav[:, 0], *memory.kept) if memory.kept else wav[:, 0]


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    codec = cast(SoundStream, model)
    encode, decode, made = Encode(codec.network), Decode(codec.network), Plan.of(model)
    made.encoder(encode)
    made.decoder(decode)
    made.windows("encoder", encode.layers.past(), 0)
    made.windows("decoder", decode.layers.past() * made.hop, 0)
    if streaming:
        made.streams("encoder", encode, [State(shape) for shape in encode.layers.states()], {"multiple": made.hop})
        made.streams("decoder", decode, [State(shape) for shape in decode.layers.states()], {"multiple": 1})
    return made
