"""What the learned metrics hear: sound that can be judged at all, at the rate a network was trained on."""

from __future__ import annotations

import numpy as np

from ..core.audio import Audio
from .metric import MetricError, Original, Pair

__all__ = ["SHORTEST", "SILENCE", "check_audible", "decoded_at", "original_at"]

SHORTEST = 0.25  # seconds; PESQ's limit too
SILENCE = 1e-4  # RMS, -80 dBFS: a little over three steps of 16-bit sound


def decoded_at(pair: Pair, rate: int) -> np.ndarray:
    """float32 (T',) in [-1, 1]: the decoded sound at `rate` Hz, clipped as a 16-bit file would clip it.

    Raises `MetricError` for sound that is not finite, silent, or shorter than 0.25 s.
    """
    return _heard(pair.decoded, pair.original.rate, rate, "the decoded sound")


def original_at(original: Original, rate: int) -> np.ndarray:
    """float32 (T',) in [-1, 1]: the original at `rate` Hz, made once. Raises `MetricError` as `decoded_at` does."""
    return original.keep(("heard", rate), lambda: _heard(original.at(rate), rate, rate, "the original"))


def check_audible(samples: np.ndarray, rate: int, name: str = "the sound") -> None:
    """Raise `MetricError` unless (T,) `samples` are finite, at least 0.25 s long, and above -80 dBFS RMS.

    The level is that of the samples clipped to [-1, 1] and less their mean: a constant is silent.
    """
    if samples.ndim != 1:
        raise MetricError(f"{name} has shape {samples.shape}; expected (T,)")
    if not np.isfinite(samples).all():
        raise MetricError(f"{name} is not finite")
    if len(samples) < SHORTEST * rate:
        raise MetricError(f"{name} is shorter than {SHORTEST} s")
    if np.clip(samples, -1.0, 1.0).std(dtype=np.float64) < SILENCE:
        raise MetricError(f"{name} is silent")


def _heard(samples: np.ndarray, rate: int, wanted: int, name: str) -> np.ndarray:
    check_audible(samples, rate, name)
    clipped = np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)
    if rate == wanted:
        return clipped
    return np.clip(Audio(clipped, rate).resample(wanted).samples, -1.0, 1.0)
