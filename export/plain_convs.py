"""Channels-first forms, (B, C, T), of the layers of `core/convs.py`, for graphs: ONNX convolves in no other layout.

The layers themselves leave padding to `chain` and run in pieces that stay in a CPU's cache; here every convolution pads its own
input and a network is one sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

import torch
from torch import Tensor, nn

from ..codecs import _snac
from ..core.convs import Conv, ConvTranspose, Snake

__all__ = ["BetweenLast", "plain", "sequence"]


class PlainSnake(nn.Module):
    """x + sin(alpha x)^2 / alpha, on (B, C, T)."""

    factor: Tensor
    inverse: Tensor

    def __init__(self, snake: Snake) -> None:
        super().__init__()
        alpha = snake.alpha.detach().reshape(1, -1, 1).clone()
        self.register_buffer("factor", alpha)
        self.register_buffer("inverse", (alpha + 1e-9).reciprocal())

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        wave = torch.sin(x * self.factor)
        return x + wave * wave * self.inverse


class Beside(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        return x + self.inner(x)


class BetweenLast(nn.Module):
    """A module of channels-last values, (B, T, C), among those of channels first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> (B, C', T')."""
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


def sequence(layers: Iterable[nn.Module]) -> nn.Sequential:
    """Layers in a row, in their plain forms."""
    return nn.Sequential(*[plain(layer) for layer in layers if not isinstance(layer, _snac.Noise)])


@singledispatch
def plain(layer: nn.Module) -> nn.Module:
    """The form of a layer on (B, C, T): itself where it works point by point."""
    return layer


@plain.register
def _(layer: Conv) -> nn.Module:
    size = (layer.in_channels, layer.out_channels, layer.kernel_size[0])
    same = nn.Conv1d(*size, layer.stride[0], layer.edge, layer.dilation[0], layer.groups, layer.bias is not None)
    return filled(same, layer)


@plain.register
def _(layer: ConvTranspose) -> nn.Module:
    size = (layer.in_channels, layer.out_channels, layer.kernel_size[0])
    padding = int(layer.padding[0])
    same = nn.ConvTranspose1d(*size, layer.stride[0], padding, layer.output_padding[0], bias=layer.bias is not None)
    return filled(same, layer)


@plain.register
def _(layer: Snake) -> nn.Module:
    return PlainSnake(layer)


@plain.register
def _(layer: _snac.Residual) -> nn.Module:
    return Beside(sequence(layer.block))


@plain.register
def _(layer: _snac.EncoderBlock) -> nn.Module:
    return sequence(layer.block)


@plain.register
def _(layer: _snac.DecoderBlock) -> nn.Module:
    return sequence(layer.block)


@plain.register
def _(layer: _snac.Attention) -> nn.Module:
    return BetweenLast(layer)


def filled(same: nn.Module, layer: nn.Module) -> nn.Module:
    """`same` with the weights of `layer`, weight norm multiplied in."""
    with torch.no_grad():
        for name, parameter in same.named_parameters():
            value = getattr(layer, name)
            parameter.copy_(value)
    return same.requires_grad_(False)
