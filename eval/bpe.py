"""What byte-pair encoding would save: how much shorter sequences of codes become when frequent pairs are made one symbol."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["bpe_gain", "bpe_lengths", "bpe_merges"]

Pair = tuple[int, int]
NONE = -1  # no neighbour, or a symbol that was merged away


def bpe_gain(train: Sequence[np.ndarray], test: Sequence[np.ndarray], size: int, merges: int = 1000) -> dict[str, Any]:
    """Share of tokens saved on clips by byte-pair encoding (Gage 1994; Sennrich et al. 2016) learnt on others.

    Learnt on the very clips it is applied to, it would seem to save even on noise, by pairs that come twice by chance.

    Args:
        train, test: integer arrays (N,) of one stream.
        size: V, the number of codes.
        merges: at most so many; fewer when no pair comes twice.

    Returns:
        `merges` made, `tokens` of the test clips before, `after`; `saved` = 1 - after / tokens; `saved_bits`, the same for
        fixed-width codes of the larger vocabulary: 1 - after * log2(V + merges) / (tokens * log2 V), which may be below 0, or
        None for V = 1. Both None without test tokens.
    """
    pairs = bpe_merges(train, size, merges)
    lengths = bpe_lengths(test, pairs, size)
    before, after = lengths[0], lengths[-1]
    bits = 1 - after * math.log2(size + len(pairs)) / (before * math.log2(size)) if before and size > 1 else None
    saved = 1 - after / before if before else None
    return {"merges": len(pairs), "tokens": before, "after": after, "saved": saved, "saved_bits": bits}


def bpe_merges(clips: Sequence[np.ndarray], size: int, merges: int) -> list[Pair]:
    """The pairs that are merged, the first into symbol `size`, the next into `size` + 1 and so on.

    Each merge takes the pair of neighbours (within a clip, overlapping ones counted) that is most frequent, the lowest of
    equals, and replaces it from left to right. Work grows with the symbols replaced, not with merges times tokens.
    """
    text, found = _Text(clips), list[Pair]()
    while len(found) < merges and (pair := text.most_frequent()) is not None:
        text.replace(pair, size + len(found))
        found.append(pair)
    return found


def bpe_lengths(clips: Sequence[np.ndarray], merges: Sequence[Pair], size: int) -> list[int]:
    """Total number of symbols of the clips before and after each of the merges."""
    text = _Text(clips)
    lengths = [text.length]
    for symbol, pair in enumerate(merges, size):
        text.replace(pair, symbol)
        lengths.append(text.length)
    return lengths


class _Text:
    """Clips as linked lists of symbols, with the places of every pair."""

    def __init__(self, clips: Sequence[np.ndarray]) -> None:
        self.symbols = [code for clip in clips for code in [*clip.tolist(), NONE]]
        self.length = sum(map(len, clips))
        self.before = list(range(-1, len(self.symbols) - 1))
        self.after = list(range(1, len(self.symbols) + 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        self.places: dict[Pair, list[int]] = defaultdict(list)
        for pair, places in _pairs(np.array(self.symbols, np.int64)):
            self.counts[pair], self.places[pair] = len(places), places
        self.heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(self.heap)

    def _count(self, place: int) -> Pair | None:
        """Note the pair that begins here, if there is one."""
        if place < 0 or self.symbols[place] == NONE or self.symbols[self.after[place]] == NONE:
            return None
        pair = (self.symbols[place], self.symbols[self.after[place]])
        self.counts[pair] += 1
        self.places[pair].append(place)
        return pair

    def _discount(self, place: int) -> None:
        if place >= 0 and self.symbols[place] != NONE and self.symbols[self.after[place]] != NONE:
            self.counts[self.symbols[place], self.symbols[self.after[place]]] -= 1

    def most_frequent(self) -> Pair | None:
        """The pair that comes most often, or None when none comes twice. Entries of the heap may be out of date."""
        while self.heap:
            count, pair = self.heap[0]
            now = self.counts[pair]
            if -count == now:
                return pair if now > 1 else None
            heapq.heappop(self.heap)
            if now > 1:
                heapq.heappush(self.heap, (-now, pair))
        return None

    def replace(self, pair: Pair, symbol: int) -> None:
        """Make one symbol of each occurrence of a pair."""
        fresh: set[Pair] = set()
        for place in sorted(self.places.pop(pair, ())):
            second = self.after[place]
            if self.symbols[place] != pair[0] or second >= len(self.symbols) or self.symbols[second] != pair[1]:
                continue  # merged into another symbol since
            first = self.before[place]
            for changed in (first, place, second):
                self._discount(changed)
            self.symbols[place], self.symbols[second] = symbol, NONE
            self.after[place] = self.after[second]
            self.before[self.after[place]] = place
            self.length -= 1
            fresh.update(p for p in (self._count(first), self._count(place)) if p)
        for made in fresh:
            heapq.heappush(self.heap, (-self.counts[made], made))


def _pairs(symbols: np.ndarray) -> Iterator[tuple[Pair, list[int]]]:
    """Each pair of neighbours that lies within a clip, and its places in order."""
    first, second = symbols[:-1], symbols[1:]
    places = np.flatnonzero((first != NONE) & (second != NONE))
    keys = first[places] * (symbols.max(initial=0) + 1) + second[places]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    places = places[order]
    pairs = zip(first[places[starts]].tolist(), second[places[starts]].tolist(), strict=True)
    every, bounds = places.tolist(), [*starts.tolist(), len(places)]
    for pair, begin, end in zip(pairs, bounds[:-1], bounds[1:], strict=True):
        yield pair, every[begin:end]
