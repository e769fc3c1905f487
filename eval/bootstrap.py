"""How sure a mean is, and whether two entries differ: bootstrap intervals and paired permutation tests over clips.

Clips are the units: they are drawn with replacement, their weights with them. Everything is seeded and repeats exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import VoxzooError

__all__ = ["DEFINITION", "Difference", "Interval", "holm", "interval", "paired"]

LEVEL = 0.95
LEAST_PAIRS = 6  # with fewer, no outcome of a two-sided sign-flip test is below 0.05
PERMUTATIONS = 9999
BLOCK = 1 << 22  # draws held at a time
DEFINITION = (
    "mean over clips (weighted where the metric says so); low and high: 95 % percentile bootstrap over clips; difference: "
    "paired, over the clips that both entries have, with its own paired bootstrap; p: two-sided sign-flip permutation test of "
    f"that difference (all flips up to 13 pairs, else {PERMUTATIONS} seeded ones), Holm-corrected over all pairs of entries "
    "within a metric; p_alone: without the correction"
)


@dataclass(frozen=True)
class Interval:
    """A (weighted) mean of `count` clips with its bootstrap 95 % interval; None where there is none."""

    mean: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean of one entry minus mean of another over the clips both have; `reason` says why there is no p."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    count: int
    reason: str = ""


def interval(values: Sequence[float], weights: Sequence[float] | None = None, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean with its interval.

    Args:
        values: (n,) one per clip; only what is there.
        weights: (n,) at least 0, as the words of each clip; None: every clip counts the same.
        resamples: of the bootstrap; 0 for no interval.
        seed: of the draws.

    One clip, or weights of sum 0, has no interval. Raises `VoxzooError` for arrays that do not fit.
    """
    x, w = _arrays(values, weights)
    if not len(x) or w.sum() <= 0:
        return Interval(None, None, None, len(x))
    mean = float(x @ w / w.sum())
    if len(x) < 2 or resamples < 1:
        return Interval(mean, None, None, len(x))
    with np.errstate(invalid="ignore"):
        means = [(x * w)[draw].sum(1) / w[draw].sum(1) for draw in _draws(len(x), resamples, seed)]
    low, high = _percentiles(np.concatenate(means))
    return Interval(mean, low, high, len(x))


def paired(
    a: Sequence[float],
    b: Sequence[float],
    weights_a: Sequence[float] | None = None,
    weights_b: Sequence[float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of the means of two entries over the same clips.

    Args:
        a, b: (n,) values of the two entries, clip by clip.
        weights_a, weights_b: (n,) weights of each.
        resamples, seed: of the bootstrap; the permutations are seeded with it too.

    Under the test's hypothesis a clip's two values (with their weights) may change places. Raises `VoxzooError` for arrays that
    do not fit.
    """
    x, wx = _arrays(a, weights_a)
    y, wy = _arrays(b, weights_b)
    if len(x) != len(y):
        raise VoxzooError(f"{len(x)} values against {len(y)}; expected one of each entry for every clip")
    if not len(x) or wx.sum() <= 0 or wy.sum() <= 0:
        return Difference(None, None, None, None, len(x), "no clip has both")
    sums = np.stack([wx * x, wx, wy * y, wy])  # (4, n)
    difference = float(_difference(sums.sum(1)))
    low = high = None
    if len(x) > 1 and resamples > 0:
        drawn = [_difference(sums[:, draw].sum(2)) for draw in _draws(len(x), resamples, seed)]
        low, high = _percentiles(np.concatenate(drawn))
    if len(x) < LEAST_PAIRS:
        reason = f"{len(x)} pairs; a test needs at least {LEAST_PAIRS}"
        return Difference(difference, low, high, None, len(x), reason)
    return Difference(difference, low, high, _sign_flips(sums, difference, seed), len(x))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p of each, in the order given."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _arrays(values: Sequence[float], weights: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(values, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if x.ndim != 1 or w.shape != x.shape:
        raise VoxzooError(f"values of shape {x.shape} with weights of shape {w.shape}; expected (n,) and (n,)")
    if not (np.isfinite(x).all() and np.isfinite(w).all() and (w >= 0).all()):
        raise VoxzooError("values and weights must be finite, weights not negative: leave out the clips that have none")
    return x, w


def _draws(n: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """int (r, n) blocks of clips drawn with replacement, `count` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // n)
    for start in range(0, count, rows):
        yield rng.integers(n, size=(min(rows, count - start), n))


def _percentiles(means: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _difference(sums: np.ndarray) -> np.ndarray:
    """(4, ...) weighted sum and weight of one entry and of the other -> difference of their means."""
    with np.errstate(invalid="ignore", divide="ignore"):
        difference: np.ndarray = sums[0] / sums[1] - sums[2] / sums[3]
    return difference


def _sign_flips(sums: np.ndarray, difference: float, seed: int) -> float:
    """Two-sided p: how often flipped pairs differ as much."""
    total, swap = sums.sum(1), sums[[2, 3, 0, 1]] - sums
    exact = 2 ** sums.shape[1] <= PERMUTATIONS
    as_much = count = 0
    for flips in _flips(sums.shape[1], exact, seed):
        flipped = np.abs(_difference(total[:, None] + swap @ flips.T))
        as_much += int((flipped >= abs(difference) * (1 - 1e-9) - 1e-15).sum())
        count += len(flips)
    return as_much / count if exact else (as_much + 1) / (count + 1)


def _flips(n: int, exact: bool, seed: int) -> Iterator[np.ndarray]:
    """float (r, n) blocks of zeros and ones: all 2^n, or `PERMUTATIONS` random ones."""
    if exact:
        yield ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
        return
    rng = np.random.default_rng([seed, 1])
    rows = max(1, BLOCK // n)
    for start in range(0, PERMUTATIONS, rows):
        count = min(rows, PERMUTATIONS - start)
        bits = np.frombuffer(rng.bytes(count * -(-n // 8)), np.uint8).reshape(count, -1)
        yield np.unpackbits(bits, axis=1, count=n).astype(np.float64)
