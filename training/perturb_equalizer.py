"""Random parametric equalisers, of many clips at once: ten second-order filters in a row, as one response to convolve with.

NANSY's (Choi et al. 2021, arXiv:2110.14513), as ContentVec and Spin use it: a low shelf, eight peaks and a high shelf between
60 and 7600 Hz, by the formulas of Bristow-Johnson's "Cookbook formulae for audio equalizer biquad filter coefficients".
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

FILTERS = 10
LOW, HIGH = 60.0, 7600.0  # Hz
LARGEST = 12.0  # dB, up or down
TAPS = 4096  # of the response: a quarter of a second at 16 kHz


def drawn(count: int, rng: np.random.Generator, largest: float = LARGEST) -> tuple[np.ndarray, np.ndarray]:
    """Gains in dB and qualities, each float32 (count, FILTERS)."""
    gains = rng.uniform(-largest, largest, (count, FILTERS))
    quality = 2.0 * 2.5 ** rng.uniform(0, 1, (count, FILTERS))
    return gains.astype(np.float32), quality.astype(np.float32)


def responses(gains: Tensor, quality: Tensor, rate: int) -> Tensor:
    """Impulse responses float32 (B, TAPS) of the filters with these gains and qualities (B, FILTERS)."""
    centres, z1, z2 = _grid(rate, gains.device)
    a = 10 ** (gains / 40)
    alpha = torch.sin(centres) / (2 * quality)
    cos = torch.cos(centres).expand_as(a)
    total = torch.ones(1, device=gains.device, dtype=torch.complex64)
    for i in range(FILTERS):
        b, c = _biquad(i, a[:, i, None], alpha[:, i, None], cos[:, i, None])
        total = total * (b[0] + b[1] * z1 + b[2] * z2) / (c[0] + c[1] * z1 + c[2] * z2)
    return torch.fft.irfft(total, TAPS)


Three = tuple[Tensor, Tensor, Tensor]


def _biquad(i: int, a: Tensor, alpha: Tensor, cos: Tensor) -> tuple[Three, Three]:
    """Numerator and denominator, in powers of 1/z."""
    if 0 < i < FILTERS - 1:
        return (1 + alpha * a, -2 * cos, 1 - alpha * a), (1 + alpha / a, -2 * cos, 1 - alpha / a)
    s = -1 if i else 1  # the high shelf is the low one with its cosines negated
    root, up, down = 2 * a.sqrt() * alpha, a + 1, a - 1
    b = (a * (up - s * down * cos + root), s * 2 * a * (down - s * up * cos), a * (up - s * down * cos - root))
    c = (up + s * down * cos + root, -s * 2 * (down + s * up * cos), up + s * down * cos - root)
    return b, c


@cache
def _grid(rate: int, device: torch.device) -> Three:
    """Centres in radians, and 1/z and its square over the bins."""
    centres = 2 * math.pi * np.geomspace(LOW, min(HIGH, 0.475 * rate), FILTERS) / rate
    turn = np.exp(-2j * np.pi * np.arange(TAPS // 2 + 1) / TAPS)
    parts = (centres.astype(np.float32), turn.astype(np.complex64), (turn**2).astype(np.complex64))
    first, second, third = (torch.from_numpy(part).to(device) for part in parts)
    return first, second, third
