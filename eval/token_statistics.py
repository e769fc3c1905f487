"""`TokenStatistics`: what is counted of the tokens of a corpus, clip by clip or in bulk, in bounded memory and one pass.

Statistics of parts of a corpus merge into those of the whole, whatever the parts and their order, if clips keep their numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.errors import TokensError
from .clip_sample import ClipSample
from .pairs import PairTable, across_streams, plan_tables, within_stream
from .runs import run_lengths

__all__ = ["LONGEST_RUN", "TokenStatistics"]

LONGEST_RUN = 256  # of the histogram; longer runs count as this long there (not in the mean)
BUFFERED = 1 << 18  # tokens that `update` gathers before they are counted


class TokenStatistics:
    """Counts of the tokens of a model.

    Args:
        codebook_sizes: V of each stream.
        frame_rates: frames per second of each stream (Fractions, as `Facts.frame_rates`, or numbers).

    Attributes:
        clips: how many were counted.
        counts: per stream, int64 (V,): how often each code came.
        runs: per stream, int64 (LONGEST_RUN + 1,): how many runs of each length.
        within: per stream, a `PairTable` of neighbours in time, or None where it would be too large (see `pairs.py`).
        across: per stream, a `PairTable` of codes with those of the stream below, or None likewise; None for the first stream.
        sample: whole clips, for n-grams, for byte-pair encoding, and for pairs where there is no table.

    Raises `TokensError` for no streams, or sizes and rates that are not positive.
    """

    def __init__(self, codebook_sizes: Sequence[int], frame_rates: Sequence[Fraction | float]) -> None:
        self.sizes = [int(size) for size in codebook_sizes]
        self.rates = [Fraction(rate).limit_denominator(1_000_000) for rate in frame_rates]
        if not self.sizes or len(self.sizes) != len(self.rates) or min(self.sizes) < 1 or min(self.rates) <= 0:
            raise TokensError(
                f"codebook sizes {self.sizes} at frame rates {[str(r) for r in self.rates]}; expected as many of each, positive"
            )
        self.clips = 0
        self.counts = [np.zeros(size, np.int64) for size in self.sizes]
        self.runs = [np.zeros(LONGEST_RUN + 1, np.int64) for _ in self.sizes]
        self.within, self.across = _tables(self.sizes)
        self.sample = ClipSample(len(self.sizes))
        self._waiting: list[Sequence[np.ndarray]] = []
        self._numbers: list[int] = []
        self._held = 0

    @property
    def streams(self) -> int:
        """K."""
        return len(self.sizes)

    def update(self, codes: Sequence[np.ndarray], number: int | None = None) -> None:
        """Count one clip.

        Args:
            codes: one integer array (N_k,) per stream, without padding.
            number: of the clip in its corpus, which decides whether it is sampled; None: clips are numbered as they come.

        Raises:
            TokensError: another number of streams, codes that are not integers or out of range, or padding.
        """
        clip = [np.asarray(stream) for stream in codes]
        self._check(clip)
        self._waiting.append(clip)
        self._numbers.append(self.clips + len(self._numbers) if number is None else number)
        self._held += sum(map(len, clip))
        if self._held >= BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Count what `update` has gathered."""
        clips, numbers = self._waiting, np.array(self._numbers, np.int64)
        self._waiting, self._numbers, self._held = [], [], 0
        if clips:
            flat = [np.concatenate(stream) for stream in zip(*clips, strict=True)]
            self._count(flat, np.array([[len(stream) for stream in clip] for clip in clips], np.int64), numbers)

    def update_many(self, flat: Sequence[np.ndarray], lengths: np.ndarray, numbers: np.ndarray | None = None) -> None:
        """Count many clips at once.

        Args:
            flat: per stream the codes of all clips one after the other, integers (sum of N_k,).
            lengths: int64 (clips, K): N_k of each clip.
            numbers: (clips,) of the clips in their corpus; None: they are numbered as they come.

        Raises:
            TokensError: as `update`, or lengths that do not fit the codes.
        """
        self.flush()
        flat = [np.asarray(stream) for stream in flat]
        self._check(flat)
        lengths = np.asarray(lengths, np.int64)
        if lengths.ndim != 2 or lengths.shape[1] != self.streams or lengths.sum(0).tolist() != [len(codes) for codes in flat]:
            raise TokensError(f"lengths of shape {lengths.shape} do not sum to the codes of {self.streams} streams")
        self._count(flat, lengths, np.arange(self.clips, self.clips + len(lengths)) if numbers is None else numbers)

    def _check(self, flat: Sequence[np.ndarray]) -> None:
        if len(flat) != self.streams:
            raise TokensError(f"{len(flat)} streams of codes; expected {self.streams}")
        for k, (codes, size) in enumerate(zip(flat, self.sizes, strict=True)):
            if codes.ndim != 1 or (codes.dtype.kind not in "iu" and codes.size):
                raise TokensError(f"codes of stream {k} are {codes.dtype} {codes.shape}; expected integers (N,)")
            if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < size:
                wrong = int(codes.min()) if int(codes.min()) < 0 else int(codes.max())
                hint = " (padding: cut each clip to its own frames)" if wrong == -1 else ""
                raise TokensError(f"stream {k} holds code {wrong}{hint}; expected 0 to {size - 1}")

    def _count(self, flat: Sequence[np.ndarray], lengths: np.ndarray, numbers: np.ndarray) -> None:
        self.clips += len(lengths)
        self.sample.add(flat, lengths, numbers)
        for k, codes in enumerate(flat):
            self.counts[k] += np.bincount(codes.astype(np.intp), minlength=self.sizes[k])
            runs = np.minimum(run_lengths(codes, lengths[:, k]), LONGEST_RUN)
            self.runs[k] += np.bincount(runs, minlength=LONGEST_RUN + 1)
            if (table := self.within[k]) is not None and len(codes) > 1:
                (context, code), meets = within_stream(codes, lengths[:, k])
                table.add(context, code, meets)
            if (table := self.across[k]) is not None:
                ratio = self.rates[k - 1] / self.rates[k]
                table.add(*across_streams(flat[k - 1], lengths[:, k - 1], codes, lengths[:, k], ratio))

    def merge(self, other: TokenStatistics) -> None:
        """Take in the counts of another part of the corpus. Raises `TokensError` when it is of another model."""
        if (other.sizes, other.rates) != (self.sizes, self.rates):
            raise TokensError(f"statistics of codebooks {other.sizes} do not add to those of {self.sizes}, or rates differ")
        self.flush()
        other.flush()
        self.clips += other.clips
        for k in range(self.streams):
            self.counts[k] += other.counts[k]
            self.runs[k] += other.runs[k]
            for mine, theirs in ((self.within[k], other.within[k]), (self.across[k], other.across[k])):
                if mine is not None and theirs is not None:
                    mine.merge(theirs)
        self.sample.merge(other.sample)

    def summary(self) -> dict[str, Any]:
        """All figures, JSON-able: see `token_summary.summarise`. Raises `TokensError` when there are no tokens."""
        from .token_summary import summarise

        self.flush()
        return summarise(self)


def _tables(sizes: Sequence[int]) -> tuple[list[PairTable | None], list[PairTable | None]]:
    shapes = [(size, size) for size in sizes] + list(itertools.pairwise(sizes))
    tables = [PairTable(*shape) if fits else None for shape, fits in zip(shapes, plan_tables(shapes), strict=True)]
    return tables[: len(sizes)], [None, *tables[len(sizes) :]]
