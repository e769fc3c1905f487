"""Parts of recordings: what segments, cuts and manifests with offsets name.

A part begins at sample round(start * rate) of the file and has round(duration * rate) samples, halves rounded up, at the
file's own rate, as lhotse counts them; only then is it resampled. It is found by seeking (libsndfile), so the rest of the file
is neither decoded nor checked; a part of what `ffmpeg` alone reads is reached by decoding what comes before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core._sources import open_source
from ..core.errors import AudioError

__all__ = ["Part", "cut"]

TOLERANCE = 0.025  # seconds a file may end before its part does: manifests round durations
BYTES_PER_SECOND = 32_000  # a part's weight, for cutting shards: 16-bit sound at 16 kHz
BLOCK = 1 << 18  # frames


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds `start` to `start + duration` (None: to the end) of a file, of one channel (counted from 0; None: their mean)."""

    start: float = 0.0
    duration: float | None = None
    channel: int | None = None

    def __str__(self) -> str:
        end = "the end" if self.duration is None else f"{self.start + self.duration:g} s"
        channel = "" if self.channel is None else f" of channel {self.channel}"
        return f"{self.start:g} s to {end}{channel}"

    def key(self) -> tuple[float, float | None, int | None]:
        """What tells it from other parts of the file."""
        return self.start, self.duration, self.channel

    def weight(self) -> int | None:
        """About how many bytes its sound has; None where the part has no end."""
        return None if self.duration is None else round(self.duration * BYTES_PER_SECOND)


def cut(source: Any, name: str, part: Part) -> bytes:
    """The part as a WAV file of float32 samples.

    Args:
        source: a path or a binary file.
        name: for messages.

    Raises `AudioError` when the file cannot be read, has no such channel, or ends more than 25 ms before the part does.
    """
    opened = open_source(source)
    rate = opened.sample_rate
    first, count = _round(part.start * rate), None if part.duration is None else _round(part.duration * rate)
    if first < 0 or (count is not None and count < 1):
        raise AudioError(f"{name!r}: {part} is not a part of a recording; expected a start from 0 on and a positive duration")
    blocks = list(_read(opened, first, count))
    samples = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
    if len(samples) < (1 if count is None else count - TOLERANCE * rate):
        raise AudioError(f"{name!r} ends at {(first + len(samples)) / rate:.3f} s or before; {part} was asked for")
    if part.channel is not None:
        if not 0 <= part.channel < samples.shape[1]:
            raise AudioError(f"{name!r} has {samples.shape[1]} channels; channel {part.channel} was asked for (counted from 0)")
        samples = samples[:, part.channel : part.channel + 1]
    return _wav(samples, rate)


def _round(samples: float) -> int:
    return int(np.floor(samples + 0.5))


def _read(opened: Any, first: int, count: int | None) -> Iterator[np.ndarray]:
    """Frames from `first` on, float32 (n, channels)."""
    import soundfile

    file = getattr(opened, "file", None)
    if file is None or not file.seekable():
        yield from _skipped(opened.blocks(), first, count)
        return
    try:
        with file:
            if file.seek(min(first, file.frames)) < first:
                return
            left = file.frames if count is None else count
            while left > 0 and len(block := file.read(min(left, BLOCK), dtype="float32", always_2d=True)):
                left -= len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{opened.name} is damaged after {first} samples: {error}") from None


def _skipped(blocks: Iterator[np.ndarray], first: int, count: int | None) -> Iterator[np.ndarray]:
    at, end = 0, None if count is None else first + count
    for block in blocks:
        wanted = block[max(0, first - at) : None if end is None else max(0, end - at)]
        at += len(block)
        if len(wanted):
            yield wanted
        if end is not None and at >= end:
            return


def _wav(samples: np.ndarray, rate: int) -> bytes:
    data = np.ascontiguousarray(samples, "<f4").tobytes()
    width = 4 * samples.shape[1]
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, samples.shape[1], rate, rate * width, width, 32)
    try:
        head = struct.pack("<4sI4s", b"RIFF", 12 + len(form) + len(data), b"WAVE") + form
        return head + struct.pack("<4sI", b"data", len(data)) + data
    except struct.error:
        raise AudioError(
            f"a part of {len(samples) / rate / 3600:.1f} h is too long to hold; cut it into shorter ones"
        ) from None
