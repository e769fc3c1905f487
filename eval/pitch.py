"""How well a codec keeps the pitch: fundamental frequency (F0) and voicing.

F0 is found by WORLD's DIO with StoneMask (Morise et al. 2009, 2016), 71 to 800 Hz, every 5 ms, through `pyworld`. Errors of F0
are taken over the frames that are voiced in both sounds: an unvoiced frame has no F0, and counting it as 0 Hz would turn
voicing errors into hundreds of hertz.

DIO follows the fundamental itself. Where a codec weakens it, as Codec 2 does in low voices, DIO jumps to a harmonic that a
listener would not hear as the pitch: large errors there speak of the fundamental, and `gross_pitch_error` tells them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._pyworld import pyworld
from ._signals import checked
from .metric import Measure, MetricError, Original, Pair

__all__ = [
    "f0_contour",
    "f0_correlation",
    "f0_of_original",
    "f0_rmse_cents",
    "f0_rmse_hz",
    "gross_pitch_error",
    "voicing_error",
]

FRAME_MS = 5.0
GROSS = 0.2
FEWEST = 10  # frames voiced in both; the few that heavy noise leaves are the easy ones


def f0_contour(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """float64 (1 + T // (0.005 sample_rate),): F0 in Hz at 0, 5, 10 ms ...; 0 where unvoiced. `samples`: float (T,), T > 0."""
    world = pyworld()
    wav = np.ascontiguousarray(samples, np.float64)
    coarse, times = world.dio(wav, sample_rate, frame_period=FRAME_MS)
    f0: np.ndarray = world.stonemask(wav, coarse, times, sample_rate)
    return f0


def f0_rmse_hz(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Root mean square error of F0 in Hz over frames voiced in both; 0 for equal contours, lower is better.

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz.

    Raises `MetricError` for silence, and where fewer than 10 frames are voiced in both.
    """
    return _rmse_hz(*_voiced(reference, decoded, sample_rate))


def f0_rmse_cents(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """As `f0_rmse_hz`, in cents (1200 to the octave): low and high voices weigh alike."""
    return _rmse_cents(*_voiced(reference, decoded, sample_rate))


def f0_correlation(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Pearson's correlation of F0 in Hz over frames voiced in both, -1 to 1, higher is better.

    Arguments as of `f0_rmse_hz`. Raises `MetricError` as it does, and for a contour that is constant.
    """
    return _correlation(*_voiced(reference, decoded, sample_rate))


def gross_pitch_error(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Share of the frames voiced in both whose F0 is off by more than 20 % of the original's, 0 to 1, lower is better.

    (Rabiner et al. 1976, "A comparative performance study of several pitch detection algorithms".) Arguments and errors as of
    `f0_rmse_hz`.
    """
    return _gross(*_voiced(reference, decoded, sample_rate))


def voicing_error(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Share of all frames that are voiced in one sound and not in the other, 0 to 1, lower is better.

    Arguments as of `f0_rmse_hz`. Raises `MetricError` where the original is silent.
    """
    s, y = checked(reference, decoded, silent_decoded=True)
    return _voicing(f0_contour(s, sample_rate), f0_contour(y, sample_rate))


def f0_of_original(original: Original) -> np.ndarray:
    """`f0_contour` of a clip at its rate, computed once for all models."""
    return original.keep(("f0", original.rate), lambda: f0_contour(original.samples, original.rate))


def open_f0(checkpoint: str | None) -> Measure:
    """`Family` of pitch: one analysis for all."""
    pyworld()
    return _measure


def _measure(pair: Pair) -> dict[str, float | str]:
    _, y = checked(pair.original.samples, pair.decoded, silent_decoded=True)
    s_f0, y_f0 = f0_of_original(pair.original), f0_contour(y, pair.original.rate)
    values: dict[str, float | str] = {"voicing_error": _voicing(s_f0, y_f0)}
    for name, compare in OF_VOICED.items():
        try:
            values[name] = compare(*_both(s_f0, y_f0))
        except MetricError as error:
            values[name] = str(error)
    return values


def _voiced(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    s, y = checked(reference, decoded)
    return _both(f0_contour(s, sample_rate), f0_contour(y, sample_rate))


def _both(reference: np.ndarray, decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    voiced = (reference > 0) & (decoded > 0)
    if voiced.sum() < FEWEST:
        raise MetricError("fewer than 10 frames (50 ms) are voiced in both sounds")
    return reference[voiced], decoded[voiced]


def _voicing(reference: np.ndarray, decoded: np.ndarray) -> float:
    return float(((reference > 0) != (decoded > 0)).mean())


def _rmse_hz(reference: np.ndarray, decoded: np.ndarray) -> float:
    return float(np.sqrt(((decoded - reference) ** 2).mean()))


def _rmse_cents(reference: np.ndarray, decoded: np.ndarray) -> float:
    return float(1200 * np.sqrt((np.log2(decoded / reference) ** 2).mean()))


def _correlation(reference: np.ndarray, decoded: np.ndarray) -> float:
    a, b = reference - reference.mean(), decoded - decoded.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm <= 1e-9 * len(a):
        raise MetricError("a contour of F0 is constant")
    return float(np.clip(a @ b / norm, -1, 1))


def _gross(reference: np.ndarray, decoded: np.ndarray) -> float:
    return float((np.abs(decoded / reference - 1) > GROSS).mean())


OF_VOICED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "f0_rmse_hz": _rmse_hz,
    "f0_rmse_cents": _rmse_cents,
    "f0_correlation": _correlation,
    "gross_pitch_error": _gross,
}
