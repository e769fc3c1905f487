"""Optimal-transport conditional flow matching: the path from noise to data, its loss's target, and the solver that follows it.

Lipman et al. 2023, "Flow Matching for Generative Modeling", arXiv:2210.02747; the cosine times and the guidance are those of
CosyVoice (Du et al. 2024, arXiv:2407.05407). Nothing here knows what is generated: `x` is any tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ModelError

__all__ = ["SIGMA", "check_steps", "cosine", "euler", "fixed_noise", "guided", "straight_path", "times"]

SIGMA = 1e-6  # deviation that is left of the noise where the path ends
BLOCK = 1024  # frames of fixed noise that are drawn at once


def cosine(t: Tensor) -> Tensor:
    """Times 0 to 1, denser where the path starts."""
    return 1 - torch.cos(t * (math.pi / 2))


def times(steps: int, device: torch.device | str = "cpu") -> Tensor:
    """The `steps` + 1 times between which the solver steps, 0 to 1."""
    check_steps(steps)
    return cosine(torch.linspace(0, 1, steps + 1, device=device))


def check_steps(steps: int) -> None:
    """Raise `ModelError` for fewer than one step."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ModelError(f"steps={steps!r}; the flow takes at least 1 step, and 10 are usual")


def straight_path(data: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Where the straight path from `noise` to `data` is at time t (one that broadcasts), and its velocity."""
    return (1 - (1 - SIGMA) * t) * noise + t * data, data - (1 - SIGMA) * noise


def guided(both: Tensor, guidance: float) -> Tensor:
    """The velocity that leads away from what comes without a condition (Ho and Salimans 2022, arXiv:2207.12598).

    both (2 B, ...): B velocities with it, then those without -> (B, ...).
    """
    conditional, unconditional = both.chunk(2)
    return (1 + guidance) * conditional - guidance * unconditional


def euler(velocity: Callable[[int, float, Tensor], Tensor], start: Tensor, at: Tensor) -> Tensor:
    """Follow `velocity(step, t, x)` from `start` over the times `at`, in straight lines."""
    x = start
    for step, (now, then) in enumerate(pairwise(at.tolist())):
        x = x + (then - now) * velocity(step, now, x)
    return x


def fixed_noise(first: int, last: int, channels: int, seed: int = 0) -> Tensor:
    """Frames `first` to `last` (not included) of an endless noise that is the same everywhere: float32 (frames, channels)."""
    blocks = range(first // BLOCK, -(-last // BLOCK))
    drawn = [np.random.default_rng((seed, b)).standard_normal((BLOCK, channels), np.float32) for b in blocks]
    if not drawn:
        return torch.zeros(0, channels)
    skipped = blocks[0] * BLOCK
    return torch.from_numpy(np.concatenate(drawn)[first - skipped : last - skipped])
