"""Changes of tempo and pitch, and the small shift in time."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..core.errors import MissingExtraError
from .transform import Transform, too_short

__all__ = ["WINDOW", "change_tempo", "pitch", "shift", "shift_pitch", "tempo"]

# Seconds of the phase vocoder's window, rounded to a power of two in samples. Speech wants a short one: librosa's default of
# 2048 samples, made for music at 22 kHz, smears phones at 16 kHz, and that moves more units than the change of tempo does.
WINDOW = 0.032


def change_tempo(samples: np.ndarray, rate: int, factor: float, window: float = WINDOW) -> np.ndarray:
    """float32 (round(T / factor),): `samples` (T,) `factor` times as fast, at the same pitch and mean power.

    librosa's phase vocoder (https://librosa.org, `effects.time_stretch`), which loses some power; that is put back.
    Raises `MetricError` for clips shorter than the window, `MissingExtraError` without librosa.
    """
    size = _size(window, rate)
    too_short(samples, size, "a change of tempo")
    try:
        from librosa.effects import time_stretch
    except ImportError:
        raise MissingExtraError("librosa", "eval") from None
    return _as_loud(time_stretch(samples, rate=factor, n_fft=size), samples)


def shift_pitch(samples: np.ndarray, rate: int, semitones: float, window: float = WINDOW) -> np.ndarray:
    """float32 (T,): `samples` (T,) moved up by `semitones` (down if negative), at the same tempo and mean power.

    librosa (`effects.pitch_shift`): phase vocoder, then soxr HQ. Formants move along. Raises as `change_tempo`.
    """
    size = _size(window, rate)
    too_short(samples, size, "a change of pitch")
    try:
        from librosa.effects import pitch_shift
    except ImportError:
        raise MissingExtraError("librosa", "eval") from None
    return _as_loud(pitch_shift(samples, sr=rate, n_steps=semitones, n_fft=size, res_type="soxr_hq"), samples)


def tempo(factor: float, window: float = WINDOW) -> Transform:
    """`factor` times as fast. Frames afterwards are of other moments."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return change_tempo(samples, rate, factor, window)

    definition = f"{factor:g} times as fast at the same pitch, by the phase vocoder of {_librosa(window)}"
    return Transform(f"tempo_{factor:g}", definition, change, keeps_time=False)


def pitch(semitones: float, window: float = WINDOW) -> Transform:
    """`semitones` up or down."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return shift_pitch(samples, rate, semitones, window)

    definition = (
        f"moved by {semitones:+g} semitones at the same tempo, formants along, by the phase vocoder of {_librosa(window)}"
    )
    return Transform(f"pitch_{semitones:+g}", definition, change)


def shift(seconds: float) -> Transform:
    """The clip `seconds` later."""

    def delay(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        count = round(seconds * rate)
        too_short(samples, count + 1, f"a shift by {count}")
        return np.concatenate([np.zeros(count, samples.dtype), samples[: len(samples) - count]])

    milliseconds = f"{1000 * seconds:g}"
    definition = f"delayed by {milliseconds} ms (whole samples): zeros in front, as much cut from the end"
    return Transform(f"shift_{milliseconds}ms", definition, delay)


def _as_loud(changed: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """`changed` scaled to the mean power of `samples`."""
    before, after = (float(np.mean(np.square(x, dtype=np.float64))) for x in (samples, changed))
    return np.asarray(changed * np.sqrt(before / after) if after > 0 else changed, np.float32)


def _size(window: float, rate: int) -> int:
    """Samples of the window: the nearest power of two."""
    return 1 << max(4, round(math.log2(window * rate)))


def _librosa(window: float) -> str:
    try:
        name = f"librosa {version('librosa')}"
    except PackageNotFoundError:
        name = "librosa (not installed)"
    return f"{name} (window of {1000 * window:g} ms to the nearest power of two samples, hop a quarter of it); mean power kept"
