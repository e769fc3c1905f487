"""Changes of tempo and pitch, and the small shift in time."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..core.errors import MissingExtraError
from .transform import Transform, too_short

__all__ = ["change_tempo", "pitch", "shift", "shift_pitch", "tempo"]

WINDOW = 2048  # samples: librosa's default STFT, hop a quarter of it


def change_tempo(samples: np.ndarray, factor: float) -> np.ndarray:
    """float32 (round(T / factor),): `samples` (T,) `factor` times as fast, at the same pitch and mean power.

    librosa's phase vocoder (https://librosa.org, `effects.time_stretch`), which loses some power; that is put back.
    Raises `MetricError` for clips under 2048 samples, `MissingExtraError` without librosa.
    """
    too_short(samples, WINDOW, "a change of tempo")
    try:
        from librosa.effects import time_stretch
    except ImportError:
        raise MissingExtraError("librosa", "eval") from None
    return _as_loud(time_stretch(samples, rate=factor, n_fft=WINDOW), samples)


def shift_pitch(samples: np.ndarray, rate: int, semitones: float) -> np.ndarray:
    """float32 (T,): `samples` (T,) moved up by `semitones` (down if negative), at the same tempo and mean power.

    librosa (`effects.pitch_shift`): phase vocoder, then soxr HQ. Formants move along. Raises as `change_tempo`.
    """
    too_short(samples, WINDOW, "a change of pitch")
    try:
        from librosa.effects import pitch_shift
    except ImportError:
        raise MissingExtraError("librosa", "eval") from None
    return _as_loud(pitch_shift(samples, sr=rate, n_steps=semitones, n_fft=WINDOW, res_type="soxr_hq"), samples)


def tempo(factor: float) -> Transform:
    """`factor` times as fast. Frames afterwards are of other moments."""
    definition = f"{factor:g} times as fast at the same pitch, by the phase vocoder of {_librosa()}"
    return Transform(
        f"tempo_{factor:g}", definition, lambda samples, rate, rng: change_tempo(samples, factor), keeps_time=False
    )


def pitch(semitones: float) -> Transform:
    """`semitones` up or down."""
    definition = f"moved by {semitones:+g} semitones at the same tempo, formants along, by the phase vocoder of {_librosa()}"
    return Transform(f"pitch_{semitones:+g}", definition, lambda samples, rate, rng: shift_pitch(samples, rate, semitones))


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


def _librosa() -> str:
    try:
        return f"librosa {version('librosa')} (n_fft {WINDOW}, hop {WINDOW // 4}), mean power kept"
    except PackageNotFoundError:
        return "librosa (not installed)"
