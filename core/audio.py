"""`Audio`: mono sound in memory, and the reading, resampling and writing of files.

Reading goes through libsndfile in blocks, so an hour-long file at 192 kHz in six channels costs no more memory than its
mono result. What libsndfile cannot read (M4A, AAC, WebM) goes through `ffmpeg` when it is on the PATH. Channels are
averaged. Resampling (`resampling.py`) goes block by block, which gives the same samples as one call would.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ._sources import open_source
from .errors import AudioError
from .files import replacing
from .resampling import SOXR, resample_blocks

__all__ = ["Audio", "AudioSource", "check_samples", "read_blocks"]

AudioSource = str | os.PathLike[str] | bytes | BinaryIO
MAX_PEAK = 8.0  # float files may overshoot full scale a little; integers passed as floats overshoot it a lot


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound.

    Attributes:
        samples: float32 (T,), nominally in [-1, 1], all finite. Integer arrays are refused: divide by full scale first.
        sample_rate: Hz.

    Raises `AudioError` for other shapes, integer, NaN or infinite samples, or a peak that is not sound in [-1, 1].
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if samples.ndim != 1:
            raise AudioError(f"samples have shape {samples.shape}; expected (T,): mix down with samples.mean(axis=...)")
        if samples.dtype.kind != "f":
            raise AudioError(f"samples are {samples.dtype}; expected float in [-1, 1]: divide int16 by 32768")
        if int(self.sample_rate) != self.sample_rate or self.sample_rate <= 0:
            raise AudioError(f"sample_rate is {self.sample_rate!r}; expected a positive whole number of Hz")
        check_samples(samples)
        object.__setattr__(self, "samples", np.ascontiguousarray(samples, dtype=np.float32))
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Audio({len(self)} samples, {self.sample_rate} Hz, {self.duration:.3f} s)"

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    @classmethod
    def read(cls, source: AudioSource, sample_rate: int | None = None, resampler: str = SOXR) -> Audio:
        """Read a file (path, bytes or binary file object) as mono, at `sample_rate` or at the file's own rate.

        Raises `AudioError`, in one line that names the file, when it is missing, empty, truncated, holds no samples or
        NaN, or is not sound.
        """
        blocks, rate = read_blocks(source, sample_rate, resampler)
        return cls(np.concatenate(list(blocks)), rate)

    def resample(self, sample_rate: int, resampler: str = SOXR) -> Audio:
        """The same sound at `sample_rate` Hz; at least one sample long unless this one is empty."""
        if sample_rate == self.sample_rate or not len(self):
            return Audio(self.samples, sample_rate)
        blocks = resample_blocks([self.samples], self.sample_rate, sample_rate, resampler)
        return Audio(np.concatenate(list(blocks)), sample_rate)

    def write(self, path: str | os.PathLike[str] | BinaryIO, subtype: str | None = None) -> None:
        """Write to a file in the format of its extension (16-bit for WAV and FLAC); a half-written file is never left.

        Samples outside [-1, 1] are clipped. A binary file object gets WAV. `subtype` is libsndfile's, e.g. "FLOAT".
        """
        import soundfile

        samples = self.samples
        if subtype not in ("FLOAT", "DOUBLE") and len(samples) and max(samples.max(), -samples.min()) > 1.0:
            samples = np.clip(samples, -1.0, 1.0)
        if not isinstance(path, (str, os.PathLike)):
            buffer = io.BytesIO()  # libsndfile seeks, a pipe cannot
            soundfile.write(buffer, samples, self.sample_rate, format="WAV", subtype=subtype)
            path.write(buffer.getvalue())
            return
        extension = Path(path).suffix[1:].upper()
        if extension not in soundfile.available_formats():
            raise AudioError(f"cannot write {str(path)!r}: the extension is not a format libsndfile writes; use .wav or .flac")
        try:
            with replacing(path) as temporary:
                soundfile.write(temporary, samples, self.sample_rate, format=extension, subtype=subtype)
        except (OSError, soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(f"cannot write {str(path)!r}: {error}") from None


def check_samples(samples: np.ndarray, name: str = "samples") -> None:
    """Raise `AudioError` unless all samples are finite and of a plausible scale."""
    peak = float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))  # NaN and inf survive both
    if not np.isfinite(peak):
        where = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise AudioError(f"{name}: sample {where} is {samples[where]}; expected finite values")
    if peak > MAX_PEAK:
        raise AudioError(f"{name}: the peak is {peak:g}; expected [-1, 1]: divide 16-bit values by 32768")


def read_blocks(source: AudioSource, sample_rate: int | None = None, resampler: str = SOXR) -> tuple[Iterator[np.ndarray], int]:
    """Mono float32 blocks of a file at `sample_rate` (or its own rate), and that rate; memory is bounded by a block.

    Errors of the header are raised at once, errors in the data while iterating. Concatenated, the blocks are
    `Audio.read(source, sample_rate, resampler).samples`.
    """
    opened = open_source(source)
    rate = sample_rate or opened.sample_rate
    mono = _mono_blocks(opened)
    return (mono if rate == opened.sample_rate else resample_blocks(mono, opened.sample_rate, rate, resampler)), rate


def _mono_blocks(opened: Any) -> Iterator[np.ndarray]:
    total = 0
    for block in opened.blocks():
        mono = block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
        check_samples(mono, opened.name)
        total += len(mono)
        yield mono
    if not total:
        raise AudioError(f"{opened.name}: holds no samples")
