"""Convolutions over time on channels-last sound, (B, T, C): the layout in which CPUs run them fastest.

In torch's own layout (B, C, T) a depthwise convolution costs ten to forty times as much on a CPU as with channels last,
and Snake makes five passes over memory. These modules keep the parameters and state-dict keys of `nn.Conv1d` and
`nn.ConvTranspose1d` under weight norm, so published checkpoints load as they are (keys of old `weight_norm` included),
and compute from copies laid out for speed, which `fold` makes once the weights are in. Inference only.

Padding is not the convolution's work here: whatever makes its input leaves the zeros around it, which saves a pass; `chain`
sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from .packed import plain

__all__ = ["Conv", "ConvTranspose", "Snake", "chain", "elu", "fold", "in_pieces", "normed", "receptive"]

NUMPY_THREADS = 2  # numpy's sine and ELU run on one thread, 2.4 times as fast as torch's on one
PIECE = 1 << 20  # numbers in one activation; above a few million they leave the cache, and each costs page faults


class Conv(nn.Conv1d):
    """`nn.Conv1d` on input that already has its `edge` = padding zeros at both ends: (B, edge + T + edge, C) -> (B, T', C')."""

    laid: Tensor

    def fold(self) -> None:
        """Lay out the weight, weight norm multiplied in, for `forward`."""
        weight = self.weight.detach()
        if self.pointwise or self.single:
            weight = weight.flatten(1)
        else:
            weight = weight[:, :, None].contiguous(memory_format=torch.channels_last)
        self.register_buffer("laid", weight.clone(memory_format=torch.preserve_format), persistent=False)

    @property
    def edge(self) -> int:
        """Zeros wanted at each end."""
        return int(self.padding[0])

    @property
    def pointwise(self) -> bool:
        """Whether this is a matrix product."""
        return self.kernel_size[0] == self.stride[0] == self.groups == 1

    @property
    def single(self) -> bool:
        """Whether this is a matrix product with the kernel's span of the one input channel."""
        return self.in_channels == self.dilation[0] == 1

    def forward(self, x: Tensor) -> Tensor:
        """x (B, edge + T + edge, C) -> (B, T', C')."""
        if self.pointwise:
            return F.linear(x, self.laid, self.bias)
        if self.single:
            return F.linear(x[:, :, 0].unfold(1, self.kernel_size[0], self.stride[0]), self.laid, self.bias)
        y = F.conv2d(_image(x), self.laid, self.bias, (1, self.stride[0]), 0, (1, self.dilation[0]), self.groups)
        return y.squeeze(2).transpose(1, 2).contiguous()

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The inputs (positions without padding) that outputs `first` to `last` are made of."""
        start = first * self.stride[0] - self.edge
        return start, last * self.stride[0] - self.edge + self.dilation[0] * (self.kernel_size[0] - 1)


class ConvTranspose(nn.ConvTranspose1d):
    """`nn.ConvTranspose1d`: (B, T, C) -> (B, T', C')."""

    laid: Tensor

    def fold(self) -> None:
        """Lay out the weight, weight norm multiplied in, for `forward`."""
        weight = self.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)
        self.register_buffer("laid", weight, persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """x (B, T, C) -> (B, T', C')."""
        stride, padding, extra = (1, self.stride[0]), (0, int(self.padding[0])), (0, self.output_padding[0])
        y = F.conv_transpose2d(_image(x), self.laid, self.bias, stride, padding, extra)
        return y.squeeze(2).transpose(1, 2).contiguous()

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The inputs that outputs `first` to `last` are made of."""
        padding, stride = int(self.padding[0]), self.stride[0]
        return -((self.kernel_size[0] - 1 - first - padding) // stride), (last + padding) // stride


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, alpha learned for each channel (Ziyin et al. 2020, arXiv:2006.08195)."""

    factor: Tensor
    inverse: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def fold(self) -> None:
        """Invert alpha once."""
        alpha = self.alpha.detach().reshape(-1)
        self.register_buffer("inverse", (alpha + 1e-9).reciprocal(), persistent=False)
        self.register_buffer("factor", alpha.clone(), persistent=False)

    def forward(self, x: Tensor, edge: int = 0) -> Tensor:
        """x (B, T, C) -> (B, edge + T + edge, C), zeros at both ends for the convolution that follows."""
        out, inner = _edged(x, edge)
        torch.mul(x, self.factor, out=inner)
        _sine(inner)
        inner.mul_(inner)
        torch.addcmul(x, inner, self.inverse, out=inner)
        return out


def _vectorised(function: str) -> bool:
    """Whether numpy computes it on many numbers at once on this processor."""
    if not hasattr(np.lib, "introspect"):
        return False
    found = np.lib.introspect.opt_func_info(func_name=f"^{function}$", signature="float32").get(function, {})
    return any(not kind["current"].startswith("baseline") for kind in found.values())


EXPM1 = _vectorised("expm1")


def elu(x: Tensor, out: Tensor) -> Tensor:
    """ELU (Clevert et al. 2015, arXiv:1511.07289) of x into `out`, which may be x."""
    if not (EXPM1 and plain(x) and torch.get_num_threads() <= NUMPY_THREADS):
        return F.elu(x, inplace=True) if out is x else out.copy_(F.elu(x))
    below = torch.clamp(x, max=0) if out is x else torch.clamp(x, max=0, out=out)
    np.expm1(below.numpy(), out=below.numpy())
    return torch.maximum(x, below, out=out)  # exp(x) - 1 is above x where x is below 0, and is 0 elsewhere


def normed(conv: nn.Module) -> nn.Module:
    """`conv` under weight norm in today's form, which also loads the keys of the old one (`weight_g`, `weight_v`)."""
    return weight_norm(conv)


def fold(network: nn.Module) -> None:
    """Make every layer's fast copy. The state dict stays the published one; call again after changing weights."""
    for module in network.modules():
        if isinstance(module, (Conv, ConvTranspose, Snake)):
            module.fold()


def chain(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """x (B, T, C) through the layers one after another, with the zeros around it that each convolution wants."""
    layers = list(layers)
    edges = [getattr(layer, "edge", 0) for layer in layers]
    x = _pad(x, edges[0])
    for layer, edge in zip(layers, [*edges[1:], 0], strict=True):
        x = layer(x, edge) if isinstance(layer, Snake) else _pad(layer(x), edge)
    return x


def receptive(layers: Iterable[nn.Module], first: int, last: int) -> tuple[int, int]:
    """The inputs that outputs `first` to `last` of a chain of layers depend on, found by walking it backwards.

    Layers that mix time say what they need in `needs(first, last)`; all others are taken to work point by point, or to
    be chains of layers themselves.
    """
    for layer in reversed(list(layers)):
        if hasattr(layer, "needs"):
            first, last = layer.needs(first, last)  # type: ignore[operator]
        else:
            first, last = receptive(layer.children(), first, last)
    return first, last


def in_pieces(layers: Sequence[nn.Module], x: Tensor, out: Fraction, channels: int) -> Tensor:
    """`layers`, run on a CPU in pieces that stay in its cache, each with the context that makes the join exact.

    x (B, T, C) -> (B, T out, C'): `out` frames come out for each that goes in, and `channels` is the most numbers that
    the layers hold for each of them. T is a multiple of `out.denominator`.
    """
    frames, unit = x.shape[1], out.denominator
    size = max(1, PIECE // (channels * unit)) * unit
    if x.device.type != "cpu" or frames <= size:
        return chain(layers, x)
    first, last = receptive(layers, 0, out.numerator - 1)
    before, after = -(first // unit) * unit, -(-(last - unit + 1) // unit) * unit
    parts = []
    for start in range(0, frames, size):
        begin, end = max(0, start - before), min(frames, start + size)
        part = chain(layers, x[:, begin : min(frames, end + after)])
        parts.append(part[:, (start - begin) * out.numerator // unit : (end - begin) * out.numerator // unit])
    return torch.cat(parts, 1)


def _image(x: Tensor) -> Tensor:
    """(B, T, C) seen as a channels-last picture of height 1, (B, C, 1, T); no copy."""
    return x.transpose(1, 2)[:, :, None]


def _pad(x: Tensor, edge: int) -> Tensor:
    """x (B, T, C) with `edge` zeros at both ends."""
    if not edge:
        return x
    out, inner = _edged(x, edge)
    inner.copy_(x)
    return out


def _edged(x: Tensor, edge: int) -> tuple[Tensor, Tensor]:
    """An empty tensor like x but for `edge` zeros at both ends, and its part between them."""
    size = x.shape[1]
    out = x.new_empty(x.shape[0], size + 2 * edge, x.shape[2])
    if edge:
        out[:, :edge] = 0
        out[:, edge + size :] = 0
    return out, out[:, edge : edge + size]


def _sine(x: Tensor) -> None:
    """Sine in place."""
    plain = type(x) is Tensor and x.device.type == "cpu" and x.dtype == torch.float32  # not while being traced
    if plain and torch.get_num_threads() <= NUMPY_THREADS:
        np.sin(x.numpy(), out=x.numpy())
    else:
        x.sin_()
