"""Graphs of Mimi: whole clips of up to a window, and streams."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._mimi import MimiConfig, Nearest, Network, Place, ResidualQuantizer, SplitQuantizer, Transformer
from ..codecs.mimi import Mimi
from ..core.model import Model
from .plain_seanet import Memory, PlainConv, PlainStack
from .plan import Plan, State

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
        self.streams = network.quantizer.first + len(network.quantizer.acoustic_residual_vector_quantizer.books)

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        x = attended(self.transformer, self.up(looked_up(self.quantizer, codes))[0])
        return self.layers(x.transpose(1, 2), None, Memory())[0][:, 0]


class EncodeStream(Encode):
    """wav (B, T), whole frames, states -> codes, states: whether it has begun, positions so far, keys and values,
    convolutions."""

    def forward(self, wav: Tensor, *states: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See the class."""
        layers = 2 * len(self.transformer.layers)
        started, position, caches, rest = states[0], states[1], states[2 : 2 + layers], states[2 + layers :]
        memory = Memory(rest, started)
        x = self.layers(wav[:, None], None, memory)[0].transpose(1, 2)
        x, position, caches = continued(self.transformer, x, position, caches)
        x = self.down(x.transpose(1, 2), None, memory)[0].transpose(1, 2)
        return *searched(self.quantizer, x), torch.ones_like(started), position, *caches, *memory.kept


class DecodeStream(Decode):
    """codes, states -> wav (B, T), states: positions so far, keys and values, the last frame, convolutions."""

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """See the class."""
        codes, states = values[: self.streams], values[self.streams :]
        layers = 2 * len(self.transformer.layers)
        position, caches, last, rest = states[0], states[1 : 1 + layers], states[1 + layers], states[2 + layers :]
        x, last = self.up(looked_up(self.quantizer, codes), last)
        x, position, caches = continued(self.transformer, x, position, caches)
        memory = Memory(rest)
        wav = self.layers(x.transpose(1, 2), None, memory)[0][:, 0]
        return wav, position, *caches, last, *memory.kept


def continued(
    transformer: Transformer, x: Tensor, position: Tensor, caches: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """x (B, L, D) after `position` (B, 1) others, of whose last ones there are keys and values (B, H, window - 1, D / H)."""
    count, past = x.shape[1], transformer.window - 1
    own = torch.arange(count, device=x.device)
    keys = torch.arange(past + count, device=x.device) - past
    distance = own[:, None] - keys
    near = (distance >= 0) & (distance < transformer.window)
    mask = near & (position[:, :, None] + keys >= 0)
    place = Place(turn(transformer, position + own), mask[:, None], slice(count, past + count))
    kept: list[Tensor] = []
    for i, layer in enumerate(transformer.layers):
        x, pair = layer(x, (caches[2 * i], caches[2 * i + 1]), place)
        kept += pair
    return x, position + count, tuple(kept)


def attended(transformer: Transformer, x: Tensor) -> Tensor:
    """A whole clip (B, L, D) -> the same shape."""
    count = x.shape[1]
    position = torch.arange(count, device=x.device)
    distance = position[:, None] - position
    mask = (distance >= 0) & (distance < transformer.window)
    place = Place(turn(transformer, position[None]), mask, slice(0, 0))
    for layer in transformer.layers:
        x, _ = layer(x, None, place)
    return x


def turn(transformer: Transformer, position: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, L, D / H) of rotary positions (B, L)."""
    even = torch.arange(0, transformer.head, 2, device=position.device, dtype=torch.float32)
    angles = position[:, None, :, None].float() * (1.0 / transformer.theta ** (even / transformer.head))
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


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network, made = cast(Mimi, model).network, Plan.of(model)
    made.encoder(Encode(network))
    made.decoder(Decode(network))
    coder, sounder = EncodeStream(network), DecodeStream(network)
    c = MimiConfig.of(model.config)
    heads, head = c.num_attention_heads, c.hidden_size // c.num_attention_heads
    caches = [State([heads, c.sliding_window - 1, head])] * (2 * c.num_hidden_layers)
    count = State([1], 0, torch.int64)
    convolutions = [State(shape) for shape in [*coder.layers.states(), *coder.down.states()]]
    made.streams("encoder", coder, [State([1]), count, *caches, *convolutions], {"multiple": c.hop})
    convolutions = [State(shape) for shape in sounder.layers.states()]
    made.streams("decoder", sounder, [count, *caches, State([1, c.hidden_size]), *convolutions], {"multiple": 1})
    return made
