"""What the convolutions of `_seanet.py` compute with: kernels laid out once, and inputs put behind their past in one pass.

Letters: B batch, L positions, I and O channels in and out, W width of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.convs import elu
from ..core.packed import Packed, packable, plain

__all__ = ["Kernel", "after", "random_kernel"]

MANY = 1 << 20  # weights: with so many a convolution is faster as a matrix product


class Kernel(nn.Module):
    """Weight and bias of a convolution; with weight norm (Salimans & Kingma 2016) stored as `weight_g` and `weight_v`.

    The product of the two is computed once, by the layer's `fold`, which hands it to `lay` in the form of a plain convolution.
    """

    laid: Tensor
    packed: list[Packed] | None = None

    def __init__(self, weight: Tensor, biases: int | None, weight_norm: bool) -> None:
        super().__init__()
        if weight_norm:
            self.weight_g = nn.Parameter(weight.norm(dim=(1, 2), keepdim=True))
            self.weight_v = nn.Parameter(weight)
        else:
            self.weight = nn.Parameter(weight)
        self.bias = None if biases is None else nn.Parameter(torch.empty(biases).uniform_(-0.1, 0.1))
        self.weight_norm = weight_norm
        self.register_buffer("laid", None, persistent=False)

    @property
    def product(self) -> Tensor:
        """The weight of `nn.Conv1d` (O, I, W), or of `nn.ConvTranspose1d` (I, O, W)."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0) if self.weight_norm else self.weight.data

    def lay(self, weight: Tensor) -> None:
        """weight (O, I, W), laid out as (O, W, I) in memory: the convolution's layout and a matrix at once."""
        self.laid = weight[:, :, None].clone(memory_format=torch.channels_last)
        self.packed = None

    def convolved(
        self, x: Tensor, bias: Tensor | None, stride: int = 1, dilation: int = 1, add: Tensor | None = None
    ) -> Tensor:
        """x (B, L, I) -> (B, L', O), without padding; with `add` (B, L', O) added."""
        width = self.laid.shape[3]
        large = self.laid.numel() >= MANY and dilation == 1
        small = width == 1 or (x.shape[2] == 1 and dilation == 1)
        if packable(x) and (large or small):
            return self._product(x, bias, stride, add)
        if small:
            windows = x if width == 1 else x.unfold(1, width, stride).flatten(2)
            y = F.linear(windows, self.laid.permute(0, 2, 3, 1).flatten(1), bias)
        else:
            image = x.transpose(1, 2)[:, :, None]  # (B, I, 1, L), channels last in memory
            y = F.conv2d(image, self.laid, bias, (1, stride), 0, (1, dilation))[:, :, 0].transpose(1, 2)
        return y if add is None else y.add_(add)

    def _product(self, x: Tensor, bias: Tensor | None, stride: int, y: Tensor | None) -> Tensor:
        """`convolved` by packed matrices. A window of two strides is two neighbours, and need not be gathered."""
        outside, inside, _, width = self.laid.shape
        if width == 2 * stride:
            strides = x.reshape(len(x), -1, stride * inside)
            parts = [strides[:, :-1], strides[:, 1:]]
        else:
            parts = [x if width == 1 else x.unfold(1, width, stride).transpose(2, 3).flatten(2)]
        if self.packed is None:
            matrix = self.laid.permute(0, 2, 3, 1).reshape(outside, -1)
            self.packed = [Packed(half) for half in matrix.chunk(len(parts), dim=1)]
        for packed, part in zip(self.packed, parts, strict=True):
            y, bias = packed(part, bias, y), None
        return cast(Tensor, y)


def random_kernel(first: int, second: int, width: int, fan: int) -> Tensor:
    """Keeps the scale of the signal, so that a network with random weights hears its input."""
    return torch.randn(first, second, width) / fan**0.5


def after(x: Tensor, reach: int, before: Callable[[Tensor], Tensor], activated: bool) -> Tensor:
    """x (B, L, D), through ELU if `activated`, behind the `reach` positions that `before` makes of it: (B, reach + L, D)."""
    if not activated:
        return torch.cat([before(x), x], dim=1) if reach else x
    if not plain(x):
        return after(F.elu(x), reach, before, False)
    whole = x.new_empty(x.shape[0], reach + x.shape[1], x.shape[2])
    y = elu(x, whole[:, reach:])
    if reach:
        whole[:, :reach] = before(y)
    return whole
