"""Distances between waveforms and between short-time spectra: SI-SDR, multi-resolution STFT, log-mel, log-spectral.

Spectra are of Hann windows (periodic) every quarter window, centred on multiples of the hop with zeros beyond the ends; each
sound has 1 + T // hop of them. Windows are counted in samples, so figures compare at one sample rate only.
"""

from __future__ import annotations

import numpy as np

from ..core.slaney_mel import mel_filters
from ._signals import checked, is_silent
from .metric import Measure, MetricError, Pair

__all__ = ["log_spectral_distance", "mel_distance", "mrstft_distance", "si_sdr"]

SIZES = (512, 1024, 2048)
MAGNITUDE = 1e-4  # below it a magnitude counts as this much: just under what the rounding to 16 bits gives at 2048 samples
MELS, MEL_MAGNITUDE = 80, 1e-5
CEILING = 1e-15  # noise to signal, -150 dB: what rounding to float32 leaves


def si_sdr(reference: np.ndarray, decoded: np.ndarray, sample_rate: int | None = None) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better, without bounds.

    10 log10(|a s|^2 / |a s - y|^2) with a = <y, s> / |s|^2, of signals s and y less their means
    (Le Roux et al. 2019, "SDR - half-baked or well done?"). It asks for the waveform itself: decoders that generate speech
    score low however good they sound.

    Args:
        reference, decoded: float (T,).
        sample_rate: not used; here so that all metrics are called alike.

    Raises `MetricError` for silence (a constant is silent) and for a decoded sound that is the original, up to gain.
    """
    s, y = checked(reference, decoded)
    s, y = s - s.mean(), y - y.mean()
    if is_silent(s) or is_silent(y):
        raise MetricError("the original is silent" if is_silent(s) else "the decoded sound is silent")
    target = (y @ s) / (s @ s) * s
    signal, noise = float(target @ target), float(((target - y) ** 2).sum())
    if noise <= CEILING * signal:
        raise MetricError("the decoded sound is the original up to gain: SI-SDR is infinite")
    if signal <= CEILING * noise:
        raise MetricError("the decoded sound has nothing in common with the original: SI-SDR is minus infinity")
    return float(10 * np.log10(signal / noise))


def mrstft_distance(reference: np.ndarray, decoded: np.ndarray, sample_rate: int | None = None) -> float:
    """Multi-resolution STFT distance, 0 for equal sounds, lower is better.

    Mean over windows of 512, 1024 and 2048 samples (hop a quarter) of the spectral convergence ||S| - |Y|| / ||S|| (Frobenius)
    plus the mean absolute difference of ln |S| and ln |Y|; magnitudes below 1e-4 count as 1e-4 in the logarithm
    (Yamamoto et al. 2020, "Parallel WaveGAN").

    Args:
        reference, decoded: float (T,).
        sample_rate: not used; windows are in samples.

    Raises `MetricError` where the original is silent.
    """
    s, y = checked(reference, decoded, silent_decoded=True)
    return _mrstft(_spectra(s), _spectra(y))


def mel_distance(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of log10 mel magnitudes, 0 for equal sounds, lower is better.

    80 triangular bands of area 1 on Slaney's mel scale from 0 Hz to half the sample rate, applied to the magnitude (not the
    power) of the STFT; values below 1e-5 count as 1e-5; mean over windows of 512, 1024 and 2048 samples, hop a quarter.
    0.1 is 2 dB. The form is that of the loss of Kumar et al. 2023, "High-fidelity audio compression with improved RVQGAN".

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz.

    Raises `MetricError` where the original is silent.
    """
    s, y = checked(reference, decoded, silent_decoded=True)
    return _mel(_log_mels(_spectra(s), sample_rate), _log_mels(_spectra(y), sample_rate))


def log_spectral_distance(reference: np.ndarray, decoded: np.ndarray, sample_rate: int | None = None) -> float:
    """Log-spectral distance in dB, 0 for equal sounds, lower is better.

    Mean over time of the root of the mean over frequency of (10 log10 |S|^2 - 10 log10 |Y|^2)^2, windows of 2048 samples, hop
    512; powers below 1e-8 count as 1e-8. Papers on bandwidth extension leave out the factor 10: their figure is a tenth of this
    (Gray and Markel 1976, "Distance measures for speech processing").

    Args:
        reference, decoded: float (T,).
        sample_rate: not used; windows are in samples.

    Raises `MetricError` where the original is silent.
    """
    s, y = checked(reference, decoded, silent_decoded=True)
    return _lsd(_spectrum(s, SIZES[-1]), _spectrum(y, SIZES[-1]))


def open_si_sdr(checkpoint: str | None) -> Measure:
    """`Family` of SI-SDR."""
    return lambda pair: {"si_sdr": si_sdr(pair.original.samples, pair.decoded)}


def open_mrstft(checkpoint: str | None) -> Measure:
    """`Family` of the STFT distance."""
    return lambda pair: {"mrstft_distance": _mrstft(*_pair_spectra(pair))}


def open_mel(checkpoint: str | None) -> Measure:
    """`Family` of the mel distance."""

    def measure(pair: Pair) -> dict[str, float]:
        rate = pair.original.rate
        s, y = _pair_spectra(pair)
        return {"mel_distance": _mel(pair.original.keep(("log mels", rate), lambda: _log_mels(s, rate)), _log_mels(y, rate))}

    return measure


def open_lsd(checkpoint: str | None) -> Measure:
    """`Family` of the log-spectral distance."""
    return lambda pair: {"lsd": _lsd(*(spectra[0] for spectra in _pair_spectra(pair, SIZES[-1:])))}


def _pair_spectra(pair: Pair, sizes: tuple[int, ...] = SIZES) -> tuple[list[np.ndarray], list[np.ndarray]]:
    s, y = checked(pair.original.samples, pair.decoded, silent_decoded=True)
    kept = [pair.original.keep(("spectrum", size), lambda size=size: _spectrum(s, size)) for size in sizes]  # type: ignore[misc]
    return kept, _spectra(y, sizes)


def _spectra(samples: np.ndarray, sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    return [_spectrum(samples, size) for size in sizes]


def _spectrum(samples: np.ndarray, size: int) -> np.ndarray:
    """float32 (1 + T // hop, size // 2 + 1): magnitudes."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    padded = np.pad(samples.astype(np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
    return np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32)


def _mrstft(reference: list[np.ndarray], decoded: list[np.ndarray]) -> float:
    total = 0.0
    for s, y in zip(reference, decoded, strict=True):
        total += float(np.linalg.norm(s - y) / np.linalg.norm(s))
        total += float(np.abs(np.log(np.maximum(s, MAGNITUDE) / np.maximum(y, MAGNITUDE))).mean())
    return total / len(SIZES)


def _log_mels(spectra: list[np.ndarray], sample_rate: int) -> list[np.ndarray]:
    return [
        np.log10(np.maximum(s @ mel_filters(sample_rate, size, MELS, sample_rate / 2).T, MEL_MAGNITUDE))
        for s, size in zip(spectra, SIZES, strict=True)
    ]


def _mel(reference: list[np.ndarray], decoded: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(s - y).mean() for s, y in zip(reference, decoded, strict=True)]))


def _lsd(reference: np.ndarray, decoded: np.ndarray) -> float:
    ratio = 20 * np.log10(np.maximum(reference, MAGNITUDE) / np.maximum(decoded, MAGNITUDE))
    return float(np.sqrt((ratio**2).mean(axis=1)).mean())
