"""Weights of decoders stored in 8 bits: each row of a matrix as int8, and what one step of it is worth as float16.

What a decoder's weights lose by it is not heard (its card has figures of the weights as they are stored), and half the size is
saved. Tokenizers are stored in float16: their tokens hang on the very values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import WeightsError

__all__ = ["to_int8", "unpacked"]

STEP = ":step"  # follows the name of the tensor that the steps belong to
SMALLEST = 1024  # numbers of a tensor that is worth it
TOP = 127


def to_int8(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict for storage: matrices and kernels (R, ...) as int8 with steps float16 (R,), all else as float16."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.ndim < 2 or value.numel() < SMALLEST or not value.is_floating_point():
            packed[name] = (value.half() if value.is_floating_point() else value).contiguous()
            continue
        rows = value.float().flatten(1)
        step = (rows.abs().amax(1) / TOP).clamp(min=2.0**-24).half()  # no less than the least float16, so that none is 0
        packed[name] = (rows / step.float()[:, None]).round().clamp(-TOP, TOP).to(torch.int8).view(value.shape)
        packed[name + STEP] = step
    return packed


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse, as float32 where a tensor was int8; a state dict without steps comes back as it is.

    Raises `WeightsError` for steps that do not belong to an int8 tensor of as many rows.
    """
    found = {name: value for name, value in state.items() if not name.endswith(STEP)}
    for name in state.keys() - found.keys():
        value, step = found.get(name.removesuffix(STEP)), state[name]
        if value is None or value.dtype != torch.int8 or value.ndim < 2 or step.shape != value.shape[:1]:
            raise WeightsError(f"{name!r} is of no int8 tensor with {tuple(step.shape)} rows; expected one of its name")
        found[name.removesuffix(STEP)] = (value.float().flatten(1) * step.float()[:, None]).view(value.shape)
    return found
