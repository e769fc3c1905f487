"""The delay a codec adds, found and taken out before anything is compared.

Codecs that keep the waveform are aligned by it, to the sample. Vocoders and generative decoders do not keep it: the peak of
their waveform correlation lies anywhere within a few pitch periods. They are aligned by how their spectrum changes in time.
"""

from __future__ import annotations

import numpy as np

__all__ = ["align", "delay"]

WAVEFORM = 0.5  # normalised correlation from which the waveform is taken as kept
TIE = 1e-4  # peaks as good as the best, of which the one nearest to zero is taken
CONTOUR = 0.5  # correlation of spectra from which two sounds are taken as the same speech
GAIN = 0.01  # by how much it must be better than at zero delay
WINDOW, HOP = 0.032, 0.002  # seconds
BANDS, LOWEST, HIGHEST = 16, 100.0, 8000.0  # Hz


def delay(reference: np.ndarray, decoded: np.ndarray, sample_rate: int, limit_s: float = 0.1) -> int:
    """Samples by which `decoded` lags behind `reference`; negative where it leads.

    The lag of the highest normalised cross-correlation of the waveforms within `limit_s`, where that is at least 0.5 (the lag
    nearest to zero of those within 1e-4 of it: a tone repeats). Otherwise the lag of the highest correlation of the sounds'
    spectra over time (fourth root of the power in 16 bands of 100 Hz to 8 kHz, 32 ms windows every 2 ms, each band less its
    mean; the peak interpolated by a parabola, good to about 1 ms), where that is at least 0.5 and better by 0.01 than at no
    delay. Otherwise 0: so no sound is shifted by chance.

    Args:
        reference: float (T,).
        decoded: float (T',), of any length.
        sample_rate: Hz, of both.
        limit_s: longest delay looked for, in seconds, both ways.

    Returns 0 also where there is nothing to align by: silence, no samples, samples that are not finite.
    """
    for samples in (reference, decoded):
        if not len(samples) or not np.isfinite(samples).all() or not np.any(samples):
            return 0
    limit = max(1, round(limit_s * sample_rate))
    curve = _correlation(reference[:, None], decoded[:, None], limit)
    if curve.max() >= WAVEFORM:
        lags = np.flatnonzero(curve >= curve.max() - TIE) - limit
        return int(lags[np.abs(lags).argmin()])
    return _contour_delay(reference, decoded, sample_rate, limit_s)


def align(reference: np.ndarray, decoded: np.ndarray, sample_rate: int, limit_s: float = 0.1) -> tuple[np.ndarray, int]:
    """(decoded without its delay, the delay in samples); what comes back is as long as `reference`, cut or filled with zeros.

    Arguments as of `delay`.
    """
    lag = delay(reference, decoded, sample_rate, limit_s)
    out = np.zeros(len(reference), decoded.dtype)
    kept = decoded[max(lag, 0) :]
    start = max(-lag, 0)
    kept = kept[: max(len(out) - start, 0)]
    out[start : start + len(kept)] = kept
    return out, lag


def _contour_delay(reference: np.ndarray, decoded: np.ndarray, sample_rate: int, limit_s: float) -> int:
    hop = max(1, round(HOP * sample_rate))
    limit = max(1, round(limit_s * sample_rate / hop))
    curve = _correlation(_contours(reference, sample_rate, hop), _contours(decoded, sample_rate, hop), limit)
    peak = int(curve.argmax())
    if curve[peak] < CONTOUR or curve[peak] - curve[limit] < GAIN:
        return 0
    offset = 0.0
    if 0 < peak < len(curve) - 1:
        before, here, after = curve[peak - 1 : peak + 2]
        bend = before - 2 * here + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return round((peak - limit + offset) * hop)


def _contours(samples: np.ndarray, sample_rate: int, hop: int) -> np.ndarray:
    """float32 (N, bands): the spectrum's course in time, each band less its mean."""
    window = max(hop, round(WINDOW * sample_rate))
    padded = np.pad(samples.astype(np.float32), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * np.hanning(window).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hz = np.geomspace(LOWEST, min(HIGHEST, sample_rate / 2), BANDS + 1)
    edges = np.unique(np.minimum(np.round(hz * window / sample_rate).astype(int), power.shape[1] - 1))
    bands: np.ndarray = np.add.reduceat(power, edges, axis=1)[:, : max(len(edges) - 1, 1)] ** 0.25
    return bands - bands.mean(axis=0)


def _correlation(a: np.ndarray, b: np.ndarray, limit: int) -> np.ndarray:
    """(2 limit + 1,): correlation of (T, D) with (T', D) at lags -limit to limit, 1 for equal ones at lag 0."""
    size = 1 << (max(len(a), len(b)) + limit).bit_length()
    product = (np.fft.rfft(a, size, axis=0).conj() * np.fft.rfft(b, size, axis=0)).sum(axis=1)
    curve = np.fft.irfft(product, size)
    norm = float(np.linalg.norm(a.astype(np.float64)) * np.linalg.norm(b.astype(np.float64)))
    return np.concatenate([curve[-limit:], curve[: limit + 1]]) / max(norm, np.finfo(np.float32).tiny)
