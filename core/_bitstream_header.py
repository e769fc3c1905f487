"""What the header of a bitstream says, and which frames its chunks hold."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Literal

import numpy as np

from ._range_coder import Counts
from ._static import counts_of
from .facts import Facts

__all__ = ["CODERS", "LARGEST", "Coder", "Header"]

Coder = Literal["packed", "static", "adaptive"]
CODERS: tuple[Coder, ...] = ("packed", "static", "adaptive")
LARGEST = 1 << 16  # with larger codebooks, all is packed


@dataclass(frozen=True)
class Header:
    """What the chunks of a file have in common.

    Attributes:
        facts, fingerprint, resampler, batched: as in `Tokens`.
        coder: a name of `CODERS`.
        streams: K, the streams held.
        period: frames of the slowest stream in a chunk.
        extras: names of the extras.
        chunks: number of chunks of each clip; None where one clip is written as it comes.
        tables: of the static coder, levels (V,) of each stream, or None where all codes are alike.
        self_contained: whether all facts are written, or only their name and shape.
    """

    facts: Facts
    fingerprint: str
    resampler: str
    batched: bool
    coder: Coder
    streams: int
    period: int
    extras: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None
    tables: tuple[np.ndarray | None, ...] = ()
    self_contained: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codebook sizes of the streams held."""
        return self.facts.codebook_sizes[: self.streams]

    @property
    def rates(self) -> tuple[Fraction, ...]:
        """Frame rates of the streams held."""
        return self.facts.frame_rates[: self.streams]

    @functools.cached_property
    def counts(self) -> list[Counts | None]:
        """Of the static coder, those of each stream, or None for one without a table."""
        return [None if table is None else counts_of(table) for table in self.tables]

    @property
    def packed(self) -> bool:
        """Whether all chunks are packed."""
        return self.coder == "packed" or max(self.sizes) > LARGEST

    @functools.cached_property
    def seconds(self) -> Fraction:
        """Time covered by a chunk."""
        return self.period / min(self.rates)

    @functools.cached_property
    def _per_chunk(self) -> list[tuple[int, int]]:
        return [(self.seconds * rate).as_integer_ratio() for rate in self.rates]

    def frames(self, chunk: int) -> list[int]:
        """Frames of each stream before chunk `chunk` of a clip: those that begin before it does."""
        return [-(-chunk * over // under) for over, under in self._per_chunk]

    def nominal(self, chunk: int) -> list[int]:
        """Frames of each stream in chunk `chunk`, unless the clip ends in it."""
        return [b - a for a, b in zip(self.frames(chunk), self.frames(chunk + 1), strict=True)]

    @property
    def most(self) -> list[int]:
        """Frames of each stream that no chunk exceeds."""
        return [-(-over // under) for over, under in self._per_chunk]

    def chunks_of(self, frames: Sequence[int]) -> int:
        """Number of chunks of a clip with so many frames."""
        pairs = zip(frames, self._per_chunk, strict=True)
        return max((n - 1) * under // over + 1 if n else 1 for n, (over, under) in pairs)

    def samples(self, chunk: int) -> int:
        """Samples before chunk `chunk`."""
        return int(chunk * self.seconds * self.facts.sample_rate)

    def place(self, number: int) -> tuple[int, int]:
        """(clip, chunk of that clip) of the file's chunk `number`, if there is one."""
        if self.chunks is None:
            return 0, number
        clip = bisect_right(self._ends, number)
        return clip, number - (self._ends[clip - 1] if clip else 0)

    @property
    def count(self) -> int | None:
        """Chunks of the whole file, where that is known beforehand."""
        return None if self.chunks is None else (self._ends or [0])[-1]

    @functools.cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.chunks or ()))
