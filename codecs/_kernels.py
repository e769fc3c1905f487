"""What the convolutions of `_seanet.py` compute with: kernels laid out once, and inputs put behind their past in one pass.

Letters: B batch, L positions, I and O channels in and out, W width of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.convs import elu
from ..core.packed import Packed, packable, plain

__all__ = ["Kernel", "after", "random_kernel"]

MANY = 1 << 20  # weights: with so many a convolution is faster as one matrix product, its windows gathered first


class Kernel(nn.Module):
    """Weight and bias of a convolution; with weight norm (Salimans & Kingma 2016) stored as `weight_g` and `weight_v`.

    The product of the two is computed once, by the layer's `fold`, which hands it to `lay` in the form of a plain convolution.
    """

    laid: Tensor
    packed: Packed | None = None

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

    def convolved(self, x: Tensor, bias: Tensor | None, stride: int = 1, dilation: int = 1) -> Tensor:
        """x (B, L, I) -> (B, L', O), without padding."""
        width = self.laid.shape[3]
        gathered = self.laid.numel() >= MANY and dilation == 1 and packable(x)
        if width == 1 or gathered or (x.shape[2] == 1 and dilation == 1):  # a matrix product is faster
            windows = x if width == 1 else x.unfold(1, width, stride).transpose(2, 3).flatten(2)
            return self._product(windows, bias)
        image = x.transpose(1, 2)[:, :, None]  # (B, I, 1, L), channels last in memory
        y = F.conv2d(image, self.laid, bias, (1, stride), 0, (1, dilation))
        return y[:, :, 0].transpose(1, 2)

    def _product(self, windows: Tensor, bias: Tensor | None) -> Tensor:
        """windows (B, L', W * I) -> (B, L', O)."""
        if self.packed is None or not packable(windows):
            matrix = self.laid.permute(0, 2, 3, 1).flatten(1)
            if not packable(windows):
                return F.linear(windows, matrix, bias)
            self.packed = Packed(matrix)
        return self.packed(windows, bias)


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
