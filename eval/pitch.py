"""How well a codec keeps the pitch: fundamental frequency (F0) and voicing.

F0 is found by probabilistic YIN (Mauch and Dixon 2014, "pYIN: a fundamental frequency estimator using probabilistic threshold
distributions") of `librosa`, at 16 kHz whatever the rate compared. It follows the period. Trackers that follow the fundamental
itself, as WORLD's DIO and Harvest do, jump to a harmonic where a codec weakens it: Codec 2 then seems to double the pitch of
half the frames, which no listener hears.

Errors of F0 are taken over the frames that are voiced in both sounds: an unvoiced frame has no F0, and counting it as 0 Hz
would turn voicing errors into hundreds of hertz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._signals import checked, is_silent, need, resampled
from .metric import Measure, MetricError, Pair

__all__ = [
    "f0_contour",
    "f0_correlation",
    "f0_rmse_cents",
    "f0_rmse_hz",
    "gross_pitch_error",
    "voicing_error",
]

RATE = 16000
LOWEST, HIGHEST = 65.0, 600.0  # Hz: low men to high children
FRAME, HOP = 1024, 160  # samples: 64 ms every 10 ms
STEP = 0.2  # semitones: the cost of the search grows with the square of their number, and too few call voices unvoiced
THRESHOLDS = (2.0, 34 / 3)  # beta distribution of mean 0.15, the middle one of the paper's three
PIECE = 30 * RATE  # what is searched at once; bounds the memory
GROSS = 0.2
FEWEST = 10  # frames voiced in both; the few that heavy noise leaves are the easy ones


def f0_contour(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """float64 (1 + T' // 160,), T' samples at 16 kHz: F0 in Hz at 0, 10, 20 ms ..., in steps of 20 cents; 0 where unvoiced.

    Args:
        samples: float (T,); in pieces of 30 s where it is longer.
        sample_rate: Hz; other rates than 16000 are resampled by soxr HQ.

    Raises:
        MetricError: under 64 ms, or samples that are no sound.
        MissingExtraError: librosa is not installed.
    """
    wav = resampled(samples, sample_rate, RATE)
    if len(wav) < FRAME:
        raise MetricError("shorter than 64 ms, the window in which pitch is looked for")
    starts = range(0, len(wav) - FRAME + 1, PIECE)
    pieces = [wav[start : start + PIECE] for start in starts[:-1]]
    contours = [_search(piece)[: PIECE // HOP] for piece in pieces]
    return np.concatenate([*contours, _search(wav[starts[-1] :])])


def _search(samples: np.ndarray) -> np.ndarray:
    """Of about 30 s at most, at 16 kHz. Silence is unvoiced: pYIN hears a pitch however faint it is."""
    if is_silent(samples):
        return np.zeros(1 + len(samples) // HOP)
    f0: np.ndarray = need("librosa").pyin(
        samples, fmin=LOWEST, fmax=HIGHEST, sr=RATE, frame_length=FRAME, hop_length=HOP, resolution=STEP,
        beta_parameters=THRESHOLDS, fill_na=0.0,
    )[0]  # fmt: skip
    return f0


def f0_rmse_hz(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Root mean square error of F0 in Hz over frames voiced in both; 0 for equal contours, lower is better.

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz.

    Raises `MetricError` for silence, under 64 ms, and where fewer than 10 frames are voiced in both.
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

    Arguments as of `f0_rmse_hz`. Raises `MetricError` under 64 ms and where the original is silent.
    """
    s, y = checked(reference, decoded, silent_decoded=True)
    return _voicing(f0_contour(s, sample_rate), f0_contour(y, sample_rate))


def open_f0(checkpoint: str | None) -> Measure:
    """`Family` of pitch: one analysis for all."""
    need("librosa")
    return _measure


def _measure(pair: Pair) -> dict[str, float | str]:
    s, y = checked(pair.original.samples, pair.decoded, silent_decoded=True)
    rate = pair.original.rate
    s_f0, y_f0 = pair.original.keep(("f0", rate), lambda: f0_contour(s, rate)), f0_contour(y, rate)
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
        raise MetricError("fewer than 10 frames (0.1 s) are voiced in both sounds")
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
