"""Level, bandwidth and coding: gain, low-pass, bit depth, resampling, and the round trip through a classical codec."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import numpy as np

from ..core.audio import Audio
from ..core.errors import MissingExtraError
from .metric import MetricError
from .transform import Transform

__all__ = ["bit_depth", "codec", "gain", "low_pass", "quantise", "resampling"]

PATIENCE = 120  # seconds given to ffmpeg
# ffmpeg's encoder, its arguments, the container, and Hz going in and coming out
CODECS = {
    "opus_12k": ("libopus", ("-b:a", "12k"), "ogg", 48000),
    "gsm": ("libgsm", (), "gsm", 8000),
}


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


def codec(name: str) -> Transform:
    """Through a classical codec of `CODECS` by ffmpeg. Raises `MetricError` for one that is not there."""
    if name not in CODECS:
        raise MetricError(f"no codec is called {name!r}; expected {', '.join(CODECS)}")
    encoder, options, container, through = CODECS[name]

    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        peak = max(1.0, float(np.abs(samples).max()))
        sent = Audio(samples / np.float32(peak), rate).resample(through).samples.astype("<f4").tobytes()
        raw = ("-f", "f32le", "-ar", str(through), "-ac", "1")
        coded = _ffmpeg([*raw, "-i", "-", "-c:a", encoder, *options, "-f", container, "-"], sent)
        back = np.frombuffer(_ffmpeg(["-f", container, "-i", "-", *raw, "-"], coded), "<f4")
        return _fit(Audio(back, through).resample(rate).samples, len(samples)) * np.float32(peak)

    command = " ".join(["-c:a", encoder, *options, "-f", container])
    definition = (
        f"coded and decoded by ffmpeg ({command}) at {through} Hz, by soxr HQ; louder clips are scaled to a peak of 1 for it"
    )
    return Transform(f"codec_{name}", definition, change)


def _ffmpeg(arguments: Sequence[str], data: bytes) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MetricError("ffmpeg, which this transform needs, is not on the PATH")
    command = [program, "-hide_banner", "-nostdin", "-v", "error", *arguments]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise MetricError(f"ffmpeg did not end within {PATIENCE} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MetricError(f"ffmpeg failed: {lines[0] if lines else f'exit status {done.returncode}'}")
    return done.stdout


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-padded at the end to `length`."""
    return _array(np.pad(samples[:length], (0, max(0, length - len(samples)))))


def _array(samples: np.ndarray) -> np.ndarray:
    return np.asarray(samples, np.float32)
