"""Reverberation by measured or synthetic room responses, with the direct sound left in its place and the energy as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.audio import Audio
from ..core.errors import MissingExtraError
from .metric import MetricError
from .transform import Transform

__all__ = ["exponential_response", "measured_reverberation", "reverberate", "synthetic_reverberation"]

KEPT = "shifted so that the direct path (largest tap) is at lag 0, cut to the clip's length, scaled to the clip's energy"


def reverberate(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """float32 (T,): `samples` (T,) through a room `response` (L,), as long and as loud as before, direct sound at lag 0.

    The direct path is the largest tap. Silence stays silence. Raises `MetricError` for a response without sound,
    `MissingExtraError` without scipy.
    """
    try:
        from scipy.signal import oaconvolve
    except ImportError:
        raise MissingExtraError("scipy", "eval") from None
    response = np.asarray(response, np.float64)
    if response.ndim != 1 or not np.isfinite(response).all() or not response.any():
        raise MetricError(f"the room response of shape {response.shape} is empty, silent or not finite")
    direct = int(np.abs(response).argmax())
    wet = oaconvolve(np.asarray(samples, np.float64), response)[direct : direct + len(samples)]
    before, after = float(np.sum(np.square(samples, dtype=np.float64))), float(np.sum(wet**2))
    return (wet * math.sqrt(before / after) if after > 0 else wet).astype(np.float32)


def exponential_response(t60: float, rate: int, rng: np.random.Generator, direct: float = 0.0) -> np.ndarray:
    """float64 (round(t60 * rate) + 1,): a direct path of 1, then Gaussian noise that decays by 60 dB in `t60` seconds.

    `direct` is the direct-to-reverberant energy ratio in dB. Raises `MetricError` for a `t60` that is not positive.
    """
    if not t60 > 0:
        raise MetricError(f"t60={t60}; expected seconds above 0")
    time = np.arange(1, round(t60 * rate) + 1) / rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60)
    energy = float(np.sum(tail**2))
    scale = 10 ** (-direct / 20) / math.sqrt(energy) if energy else 0.0
    return np.append(1.0, scale * tail)


def synthetic_reverberation(t60: float, direct: float = 0.0) -> Transform:
    """Exponential room response of `t60` seconds."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return reverberate(samples, exponential_response(t60, rate, rng, direct))

    what = f"exponentially decaying Gaussian noise, T60 {t60:g} s, direct-to-reverberant ratio {direct:g} dB"
    return Transform(f"reverb_{t60:g}s", f"convolved with a synthetic room response ({what}), {KEPT}", change)


def measured_reverberation(responses: Sequence[Audio]) -> Transform:
    """One of the measured room responses at random; it is brought to the clip's rate by soxr HQ."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        if not responses:
            raise MetricError("no room responses were given")
        return reverberate(samples, responses[int(rng.integers(len(responses)))].resample(rate).samples)

    what = f"convolved with a random one of {len(responses)} measured room responses"
    return Transform("reverb_measured", f"{what}, {KEPT}", change)
