"""Mel spectrograms on Slaney's scale, as librosa computes them by default, in NumPy alone."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["mel_filters", "mel_spectrogram", "to_hz", "to_mel"]

LINEAR = 200.0 / 3  # Hz per mel below 1 kHz
CORNER = 1000.0 / LINEAR  # the mel at 1 kHz, where the scale turns logarithmic
STEP = np.log(6.4) / 27.0


def mel_spectrogram(
    samples: np.ndarray, rate: int, n_fft: int, hop: int, mels: int, power: float = 2.0, win: int | None = None,
    fmax: float | None = None, reflect: bool = False,
) -> np.ndarray:  # fmt: skip
    """Magnitudes to the power `power` in mel bands: float32 (mels, frames), frames = 1 + T // hop for an even `n_fft`.

    Equal to `librosa.feature.melspectrogram` with the same `n_fft`, `hop_length`, `win_length`, `n_mels`, `power`, `fmax`:
    periodic Hann window, frames centred, ends padded with zeros (or reflected), Slaney's scale, bands of equal area.

    Args:
        samples: (T,).
        rate: Hz.
        n_fft, hop, win: samples; `win` (default `n_fft`) is centred in `n_fft`.
        mels: number of bands from 0 to `fmax` (default `rate / 2`) Hz.
        power: 1 for magnitudes, 2 for power.
        reflect: reflect the ends rather than padding zeros.
    """
    padded = np.pad(np.asarray(samples, np.float32), n_fft // 2, mode="reflect" if reflect else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * _hann(win or n_fft, n_fft), axis=1)).astype(np.float32)
    return mel_filters(rate, n_fft, mels, fmax or rate / 2) @ (spectrum**power).T


@cache
def mel_filters(rate: int, n_fft: int, mels: int, fmax: float) -> np.ndarray:
    """Triangular bands, each of area 1 over Hz: float32 (mels, 1 + n_fft // 2)."""
    edges = to_hz(np.linspace(0.0, to_mel(fmax), mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1.0 / rate)
    widths = np.diff(edges)
    ramps = edges[:, None] - bins
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


@cache
def _hann(win: int, n_fft: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(win) / win)
    left = (n_fft - win) // 2
    return np.pad(window, (left, n_fft - win - left)).astype(np.float32)


def to_mel(hz: float) -> float:
    """Hz to Slaney's mel."""
    return hz / LINEAR if hz < 1000.0 else CORNER + float(np.log(hz / 1000.0)) / STEP


def to_hz(mel: np.ndarray) -> np.ndarray:
    """Slaney's mel to Hz."""
    return np.where(mel < CORNER, mel * LINEAR, 1000.0 * np.exp(STEP * (np.maximum(mel, CORNER) - CORNER)))
