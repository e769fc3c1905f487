"""Graphs of BigCodec. Its LSTMs see the whole clip before a frame, so that long clips are run whole."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs import _bigcodec
from ..codecs._bigcodec import REACH, Network
from ..codecs._seanet import Recurrent
from ..codecs.bigcodec import BigCodec
from ..core.model import Model
from .plain_convs import Beside, filled, plain, sequence
from .plain_seanet import Memory, PlainLSTM
from .plan import Plan

__all__ = ["plan"]


class PlainActivation(nn.Module):
    """x + sin(a x)^2 / b at twice the rate, between two filters: each a convolution that all channels share."""

    up: Tensor
    down: Tensor
    factor: Tensor
    inverse: Tensor

    def __init__(self, layer: _bigcodec.Activation) -> None:
        super().__init__()
        self.register_buffer("up", torch.tensor([[*layer.to_even, 0.0], [0.0, *layer.to_odd]])[:, None, None])
        self.register_buffer("down", torch.tensor([layer.from_even, layer.from_odd])[None, :, None])
        self.register_buffer("factor", layer.alpha.detach().exp()[:, None].clone())
        self.register_buffer("inverse", (layer.beta.detach().exp() + 1e-9).reciprocal()[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        longer = torch.cat([x[:, :, :1].expand(-1, -1, REACH), x, x[:, :, -1:].expand(-1, -1, REACH)], 2)
        both = F.conv2d(longer[:, None], self.up)  # (B, 2, C, T): even and odd samples
        wave = torch.sin(both * self.factor)
        both = both + wave * wave * self.inverse
        first, last = both[:, :1, :, :1], both[:, 1:, :, x.shape[2] - 1 :]
        even = torch.cat([first.expand(-1, -1, -1, REACH - 1), both[:, :1], last.expand(-1, -1, -1, REACH)], 3)
        odd = torch.cat([first.expand(-1, -1, -1, REACH), both[:, 1:], last.expand(-1, -1, -1, REACH - 1)], 3)
        return F.conv2d(torch.cat([even, odd], 1), self.down)[:, 0]


class Recurring(nn.Module):
    """SEANet's LSTM among layers of one input."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.lstm = PlainLSTM(layer)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, N) -> the same shape."""
        return self.lstm(x, None, Memory())[0]


@plain.register
def _(layer: _bigcodec.Activation) -> nn.Module:
    return PlainActivation(layer)


@plain.register
def _(layer: _bigcodec.Residual) -> nn.Module:
    return Beside(sequence(layer.block))


@plain.register
def _(layer: _bigcodec.Block) -> nn.Module:
    return sequence(layer.block)


@plain.register
def _(layer: Recurrent) -> nn.Module:
    return Recurring(layer)


class Encode(nn.Module):
    """wav (B, T), whole frames -> codes (B, N)."""

    book: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, quantizer = sequence(network.encoder.block), network.quantizer
        self.project = plain_linear(quantizer.in_proj)
        self.register_buffer("book", F.normalize(quantizer.codebook.weight.detach()))

    def forward(self, wav: Tensor) -> Tensor:
        """See the class."""
        unit = F.normalize(self.project(self.layers(wav[:, None]).transpose(1, 2)), dim=-1)
        return (unit.pow(2).sum(-1, keepdim=True) - 2 * unit @ self.book.t() + self.book.pow(2).sum(1)).argmin(-1)


class Decode(nn.Module):
    """codes (B, N) -> wav (B, T)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = sequence(network.decoder.model)
        self.codebook, self.project = network.quantizer.codebook, plain_linear(network.quantizer.out_proj)

    def forward(self, codes: Tensor) -> Tensor:
        """See the class."""
        return self.layers(self.project(self.codebook(codes.clamp(min=0))).transpose(1, 2))[:, 0]


def plain_linear(layer: nn.Module) -> nn.Module:
    """A linear layer with its weight norm multiplied in."""
    linear = cast(nn.Linear, layer)
    return filled(nn.Linear(linear.in_features, linear.out_features, linear.bias is not None), linear)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network, made = cast(BigCodec, model).network, Plan.of(model)
    made.encoder(Encode(network))
    made.decoder(Decode(network))
    made.long = {"encoder": {"kind": "whole"}, "decoder": {"kind": "whole"}}
    return made
