"""Level, bandwidth and coding: gain, low-pass, bit depth, resampling, and the round trip through a classical codec."""

from __future__ import annotations

import numpy as np

from ..core.audio import Audio
from ..core.errors import MissingExtraError
from . import anchors
from .metric import MetricError
from .transform import Transform

__all__ = ["bit_depth", "codec", "gain", "low_pass", "quantise", "resampling"]


def gain(decibels: float) -> Transform:
    """Louder or quieter."""
    factor = np.float32(10 ** (decibels / 20))
    definition = f"multiplied by 10^({decibels:g}/20); not clipped"
    return Transform(f"gain_{decibels:+g}dB", definition, lambda samples, rate, rng: samples * factor)


def low_pass(cutoff: float) -> Transform:
    """Nothing above `cutoff` Hz."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        try:
            from scipy.signal import firwin, oaconvolve
        except ImportError:
            raise MissingExtraError("scipy", "eval") from None
        if cutoff >= rate / 2:
            raise MetricError(f"sound at {rate} Hz has nothing above {cutoff:g} Hz to take away")
        half = round(0.008 * rate)
        return _array(oaconvolve(samples, firwin(2 * half + 1, cutoff, fs=rate))[half : half + len(samples)])

    definition = f"low-pass at {cutoff:g} Hz: linear-phase FIR of 16 ms (Hamming window), its delay taken out"
    return Transform(f"lowpass_{cutoff:g}Hz", definition, change)


def quantise(samples: np.ndarray, bits: int) -> np.ndarray:
    """float32 (T,): `samples` (T,) rounded to `bits` bits of full scale and clipped to [-1, 1 - 2^(1 - bits)]."""
    steps = 2.0 ** (bits - 1)
    return (np.clip(np.round(samples.astype(np.float64) * steps), -steps, steps - 1) / steps).astype(np.float32)


def bit_depth(bits: int) -> Transform:
    """Samples of fewer bits."""
    definition = f"rounded to {bits}-bit samples (full scale 1, no dither), clipped to their range"
    return Transform(f"bits_{bits}", definition, lambda samples, rate, rng: quantise(samples, bits))


def resampling(through: int) -> Transform:
    """To another rate and back."""

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        return _fit(Audio(samples, rate).resample(through).resample(rate).samples, len(samples))

    return Transform(f"resample_{through}Hz", f"resampled to {through} Hz and back by soxr HQ", change)


def codec(text: str) -> Transform:
    """Through a classical codec, as "opus:12" or "gsm" (`anchors.py`). Raises `VoxzooError` for one that is not there."""
    _anchor(text)

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        anchor = _anchor(text, rate)
        anchors.check(anchor)
        peak = np.float32(max(1.0, np.abs(samples).max()))
        back = anchors.code(anchor, Audio(samples / peak, rate)).audio.resample(rate).samples
        return _fit(back, len(samples)) * peak

    definition = (
        f"coded and decoded as {text} by ffmpeg, from 16-bit samples; a clip louder than full scale is scaled down for it"
    )
    return Transform(f"codec_{text.replace(':', '_')}", definition, change)


def _anchor(text: str, rate: int = 16000) -> anchors.Anchor:
    anchor = anchors.find(text, rate)
    if anchor is None:
        raise MetricError(f"no codec is called {text!r}; expected one of {', '.join(anchors.CODECS)}, as 'opus:12'")
    return anchor


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-padded at the end to `length`."""
    return _array(np.pad(samples[:length], (0, max(0, length - len(samples)))))


def _array(samples: np.ndarray) -> np.ndarray:
    return np.asarray(samples, np.float32)
