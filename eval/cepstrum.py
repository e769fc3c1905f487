"""Mel-cepstral distortion (MCD), from WORLD's spectral envelopes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ._pyworld import pyworld
from ._signals import checked
from .metric import Measure, MetricError, Pair

__all__ = ["ALPHAS", "freqt_matrix", "mcd", "mel_cepstrum", "spectral_envelope"]

FRAME_MS = 5.0
ORDER = 24
ALPHAS = {8000: 0.31, 16000: 0.42, 22050: 0.455, 24000: 0.466, 32000: 0.504, 44100: 0.544, 48000: 0.554}
RANGE = 1e-4  # power below the loudest frame's, -40 dB, from which a frame counts as a pause


def mcd(reference: np.ndarray, decoded: np.ndarray, sample_rate: int, order: int = ORDER, alpha: float | None = None) -> float:
    """Mel-cepstral distortion in dB, 0 for equal envelopes, lower is better.

    Mean over frames of (10 / ln 10) sqrt(2 sum_{d=1..order} (c_d - c'_d)^2) (Kubichek 1993, "Mel-cepstral distance measure for
    objective speech quality assessment"). The cepstrum's first coefficient, the level, is left out. No time warping: the sounds
    are aligned. Envelopes are CheapTrick's (pyworld, defaults) every 5 ms, each with its own sound's F0 (DIO and StoneMask,
    71 to 800 Hz); they are flat in digital silence. Frames count where the original's power is within 40 dB of its loudest.

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz.
        order: number of coefficients compared.
        alpha: all-pass constant of the mel warping; by default 0.42 at 16 kHz, 0.31 at 8, 0.455 at 22.05, 0.466 at 24,
            0.504 at 32, 0.544 at 44.1, 0.554 at 48 kHz.

    Raises `MetricError` for silence and for a rate of no known alpha.
    """
    s, y = checked(reference, decoded)
    warp = _alpha(sample_rate) if alpha is None else alpha
    original, power = _cepstrum(s, sample_rate, order, warp)
    other, _ = _cepstrum(y, sample_rate, order, warp)
    return _distortion(original, other, power)


def spectral_envelope(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """float64 (1 + T // (0.005 sample_rate), F): CheapTrick's power spectrum every 5 ms; F from 0 Hz to half the rate."""
    world = pyworld()
    wav = np.ascontiguousarray(samples, np.float64)
    coarse, times = world.dio(wav, sample_rate, frame_period=FRAME_MS)
    envelope: np.ndarray = world.cheaptrick(wav, world.stonemask(wav, coarse, times, sample_rate), times, sample_rate)
    return envelope


def mel_cepstrum(envelope: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """float64 (N, order + 1): c with ln |H(w)| = sum_d c_d cos(d w'), w' the frequency warped by an all-pass of `alpha`.

    Args:
        envelope: (N, F) power, F = FFT size / 2 + 1.
        order: highest coefficient.
        alpha: constant of the warping, 0 for none.
    """
    cepstrum = np.fft.irfft(np.log(envelope), axis=1)[:, : envelope.shape[1]]  # of ln power: twice that of ln magnitude
    cepstrum[:, 0] /= 2
    cepstrum[:, -1] /= 2  # irfft gives the whole of the last cosine, and the halves of those before
    warped: np.ndarray = cepstrum @ freqt_matrix(envelope.shape[1], order, alpha)
    return warped


@lru_cache
def freqt_matrix(terms: int, order: int, alpha: float) -> np.ndarray:
    """float64 (terms, order + 1): turns `terms` cepstral coefficients into order + 1 on the frequency warped by `alpha`.

    Row n is what one n-th coefficient becomes, by the recursion of Oppenheim and Johnson 1972 ("Discrete representation of
    signals"), known as `freqt`: from the coefficients c_n down to c_0, g <- c_n + (the all-pass delay of g).
    """
    rows = np.zeros((terms, order + 1))
    step = np.zeros(order + 1)
    step[0] = 1.0
    for n in range(terms):
        rows[n] = step
        step = _all_pass(step, alpha)
    return rows


def open_mcd(checkpoint: str | None) -> Measure:
    """`Family` of MCD."""
    pyworld()
    return _measure


def _measure(pair: Pair) -> dict[str, float]:
    s, y = checked(pair.original.samples, pair.decoded)
    rate = pair.original.rate
    warp = _alpha(rate)
    original, power = pair.original.keep(("mel cepstrum", rate), lambda: _cepstrum(s, rate, ORDER, warp))
    other, _ = _cepstrum(y, rate, ORDER, warp)
    return {"mcd": _distortion(original, other, power)}


def _alpha(sample_rate: int) -> float:
    if sample_rate not in ALPHAS:
        raise MetricError(f"no alpha of the mel warping is known at {sample_rate} Hz: resample, or give one")
    return ALPHAS[sample_rate]


def _cepstrum(samples: np.ndarray, sample_rate: int, order: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """(mel cepstrum (N, order + 1), power (N,))."""
    envelope = spectral_envelope(samples, sample_rate)
    return mel_cepstrum(envelope, order, alpha), envelope.mean(axis=1)


def _distortion(reference: np.ndarray, decoded: np.ndarray, power: np.ndarray) -> float:
    heard = power >= RANGE * power.max()
    difference = (reference - decoded)[heard, 1:]
    return float((10 / np.log(10) * np.sqrt(2 * (difference**2).sum(axis=1))).mean())


def _all_pass(g: np.ndarray, alpha: float) -> np.ndarray:
    """g as a series in the warped delay, times the warped form of one plain delay."""
    out = np.empty_like(g)
    out[0] = alpha * g[0]
    if len(g) > 1:
        out[1] = (1 - alpha * alpha) * g[0] + alpha * g[1]
    for m in range(2, len(g)):
        out[m] = g[m - 1] + alpha * (g[m] - out[m - 1])
    return out
