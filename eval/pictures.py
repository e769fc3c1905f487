"""Spectrograms as PNG, small enough for dozens of them in one page.

All pictures of a report share one scale of levels, so that equal colours are equal levels in any two of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError

__all__ = ["LEVELS", "Scale", "levels", "palette", "png", "scale_of", "spectrogram"]

WINDOW = 0.032  # seconds
HOP = 0.010
WIDEST = 600  # columns; longer clips take a longer hop
ROWS = 128
LEVELS = 64  # colours
RANGE = 80.0  # dB shown
FLOOR = 1e-10  # power


@dataclass(frozen=True)
class Scale:
    """Levels that are shown, in dB re a full-scale sine: `low` and below is the first colour, `high` and above the last."""

    low: float
    high: float


def spectrogram(audio: Audio) -> np.ndarray:
    """float32 (ROWS, frames) in dB re a full-scale sine; row 0 is 0 Hz, the last row ends at half the sample rate.

    Hann windows of 32 ms every 10 ms (every T/600 for clips over 6 s), centred, zeros beyond the ends; rows average the
    power of neighbouring bins. Raises `AudioError` for an empty clip.
    """
    if not len(audio):
        raise AudioError("an empty clip has no spectrogram")
    size = max(round(WINDOW * audio.sample_rate / (2 * ROWS)), 1) * 2 * ROWS  # whole bins to a row
    frames = int(min(max(round(audio.duration / HOP), 1), WIDEST))
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(audio.samples.astype(np.float64), size // 2 + 1)
    starts = np.round((np.arange(frames) + 0.5) * len(audio) / frames).astype(int)
    power = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(size)] * window, axis=1)) ** 2
    power = power[:, 1:].reshape(frames, ROWS, -1).mean(2) * (2 / window.sum()) ** 2
    return (10 * np.log10(np.maximum(power.T, FLOOR))).astype(np.float32)


def scale_of(pictures: Sequence[np.ndarray]) -> Scale:
    """80 dB below the highest level of any of the pictures, to the next 10 dB."""
    highest = max((float(picture.max()) for picture in pictures), default=0.0)
    high = 10 * float(np.ceil(highest / 10))
    return Scale(high - RANGE, high)


def levels(picture: np.ndarray, scale: Scale) -> np.ndarray:
    """uint8 (rows, columns), 0 to `LEVELS` - 1, the last row first as pictures are drawn."""
    share = (picture[::-1] - scale.low) / (scale.high - scale.low)
    return np.clip(np.floor(share * LEVELS), 0, LEVELS - 1).astype(np.uint8)


def palette() -> np.ndarray:
    """uint8 (LEVELS, 3): matplotlib's magma, even in lightness."""
    from matplotlib import colormaps

    colours: np.ndarray = np.round(colormaps["magma"](np.linspace(0, 1, LEVELS))[:, :3] * 255).astype(np.uint8)
    return colours


def png(indices: np.ndarray, colours: np.ndarray) -> bytes:
    """A palette PNG of uint8 (rows, columns) `indices` into uint8 (n, 3) `colours`, n at most 256."""
    rows, columns = indices.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), indices], axis=1)  # each line with its filter: none
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0))]
    parts += [_chunk(b"PLTE", colours.tobytes()), _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
