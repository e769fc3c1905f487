"""Products of rows with one fixed matrix on a CPU, where the matrix is laid out once for the library that multiplies.

PyTorch's own `linear` lays a large matrix out anew at every call, which for few rows costs several times the product, and
uses another library, which is slower on processors of another maker. Here each row comes out the same, to the last bit,
whatever rows come with it (measured with AVX-512): a stream gives what the whole clip gives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Linear", "Packed", "packable", "plain"]

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def plain(x: Tensor) -> bool:
    """Whether x is float32 on a CPU, with no gradient, trace or autocast wanted, so that its memory may be used as it is."""
    if type(x) is not Tensor or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    return not (traced or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))


def packable(x: Tensor) -> bool:
    """Whether products with x can be done here."""
    return AVAILABLE and plain(x) and x.numel() > 0


class Packed:
    """A matrix (O, I) laid out for `x (..., I) -> (..., O)`; not a module, for its parameters are another's."""

    def __init__(self, weight: Tensor) -> None:
        self.outputs, self.inputs = weight.shape
        with torch.no_grad():
            self.laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())

    def __call__(self, x: Tensor, bias: Tensor | None = None, add: Tensor | None = None, gelu: bool = False) -> Tensor:
        """x @ weight.T + bias; then either `add` (..., O) is added, or GELU is taken."""
        rows = x.reshape(-1, self.inputs)
        if len(rows) == 1:  # one row goes another way, and is rounded otherwise
            again = None if add is None else add.reshape(1, -1).expand(2, -1).contiguous()
            y = self._product(rows.expand(2, -1).contiguous(), bias, again, gelu)[:1]
        else:
            y = self._product(rows, bias, None if add is None else add.reshape(-1, self.outputs), gelu)
        return y.view(*x.shape[:-1], self.outputs)

    def _product(self, rows: Tensor, bias: Tensor | None, add: Tensor | None, gelu: bool) -> Tensor:
        if add is not None:
            y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, add, self.laid, bias, "add")
        else:
            y = torch.ops.mkldnn._linear_pointwise(rows, self.laid, bias, "gelu" if gelu else "none", [], "none")
        return y

    def __deepcopy__(self, memo: object) -> Packed:
        return self  # never changed

    def __reduce__(self) -> tuple[object, ...]:
        return Packed, (self.laid.to_dense(),)


class Linear(nn.Linear):
    """`nn.Linear`, packed at its first use; `fold` when the weight has changed."""

    packed: Packed | None = None

    def fold(self) -> None:
        """Forget the layout of an earlier weight."""
        self.packed = None

    def forward(self, x: Tensor, add: Tensor | None = None, gelu: bool = False) -> Tensor:
        """x (..., I) -> (..., O); then either `add` (..., O) is added, or GELU is taken."""
        if packable(x):
            self.packed = self.packed or Packed(self.weight)
            return self.packed(x, self.bias, add, gelu)
        y = super().forward(x)
        return F.gelu(y) if gelu else y if add is None else y + add
