"""Noise added at a signal-to-noise ratio: white, pink, brown, or recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from ..core.audio import Audio
from .metric import MetricError
from .transform import Transform

__all__ = ["Colour", "add_noise", "coloured_noise", "coloured_noise_at", "recorded_noise", "recorded_noise_at"]

Colour = Literal["white", "pink", "brown"]
SLOPES = {"white": 0, "pink": 1, "brown": 2}  # power falls as f^-slope
LOWEST = 20.0  # Hz: brown noise without a lower edge would be nearly all below hearing, the more so the longer the clip
TRIES = 20  # recordings may hold stretches of digital silence
RATIO = "10 log10(sum s^2 / sum n^2) over the whole clip; the sum is not clipped"


def add_noise(samples: np.ndarray, noise: np.ndarray, ratio: float) -> np.ndarray:
    """float32 (T,): `samples` + `noise`, both (T,), the noise scaled to `ratio` dB below the signal over the whole clip.

    Raises `MetricError` when either is silent or not finite.
    """
    signal, disturbance = _energy(samples), _energy(noise)
    for energy, what in ((signal, "clip"), (disturbance, "noise")):
        if not 0 < energy < np.inf:
            raise MetricError(f"the {what} is silent or not finite: there is no signal-to-noise ratio")
    factor = np.sqrt(signal / disturbance) * 10 ** (-ratio / 20)
    return (samples + factor * np.asarray(noise, np.float64)).astype(np.float32)


def coloured_noise(colour: Colour, samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """float64 (samples,) Gaussian noise whose power falls with frequency as 1 ("white"), 1/f ("pink") or 1/f^2 ("brown").

    Pink and brown noise have nothing below 20 Hz. Raises `MetricError` for another colour.
    """
    if colour not in SLOPES:
        raise MetricError(f"no noise is called {colour!r}; expected {', '.join(get_args(Colour))}")
    if colour == "white":
        return rng.standard_normal(samples)
    size = 1 << (max(samples, rate) - 1).bit_length()
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    shape = np.where(frequencies >= LOWEST, np.maximum(frequencies, LOWEST) ** (-SLOPES[colour] / 2), 0.0)
    spectrum = (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape))) * shape
    return np.fft.irfft(spectrum, size)[:samples] * np.sqrt(size)


def coloured_noise_at(colour: Colour, ratio: float) -> Transform:
    """Gaussian noise of a colour at `ratio` dB."""
    edge = "" if colour == "white" else f", power ~ 1/f^{SLOPES[colour]} from {LOWEST:g} Hz up"

    def add(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return add_noise(samples, coloured_noise(colour, len(samples), rate, rng), ratio)

    definition = f"{colour} Gaussian noise{edge}, at {ratio:g} dB = {RATIO}"
    return Transform(f"noise_{colour}_{ratio:g}dB", definition, add, draws=colour)


def recorded_noise(recordings: Sequence[Audio], samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """(samples,) at `rate` Hz: a random stretch of a random recording, looped where that is too short, resampled by soxr HQ.

    Raises `MetricError` without recordings, or when stretches keep being silent.
    """
    if not any(len(recording) for recording in recordings):
        raise MetricError("no noise recordings were given")
    for _ in range(TRIES):
        recording = recordings[int(rng.integers(len(recordings)))]
        if not len(recording):
            continue
        count = samples if recording.sample_rate == rate else -(-samples * recording.sample_rate // rate)
        stretch = np.take(recording.samples, np.arange(count) + rng.integers(len(recording)), mode="wrap")
        noise = np.resize(Audio(stretch, recording.sample_rate).resample(rate).samples, samples)
        if _energy(noise) > 0:
            return noise
    raise MetricError(f"no stretch of the {len(recordings)} noise recordings holds sound")


def recorded_noise_at(recordings: Sequence[Audio], ratio: float) -> Transform:
    """Noise out of recordings at `ratio` dB."""

    def add(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return add_noise(samples, recorded_noise(recordings, len(samples), rate, rng), ratio)

    what = f"a random stretch of one of {len(recordings)} recordings, looped where it is shorter than the clip"
    return Transform(f"noise_recorded_{ratio:g}dB", f"{what}, at {ratio:g} dB = {RATIO}", add, draws="recorded")


def _energy(samples: np.ndarray) -> float:
    return float(np.sum(np.square(samples, dtype=np.float64)))
