"""A sample of clips that stays within bounds however long the corpus is, and does not depend on the order of its clips.

A clip is kept while a hash of its number is below 2^(64 - level); when the sample grows too large the level goes up by one,
and about half of it is let go. What is left is a function of the clips alone, so parts of a corpus can be sampled apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ClipSample", "SampledClip"]

STREAM_TOKENS = 1 << 22  # of one stream, at most
TOTAL_TOKENS = 1 << 25  # of all streams
PIECE = 1 << 16  # frames of the fastest stream; longer clips are sampled in pieces
HELD_OUT = 10  # one clip in so many
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class SampledClip:
    """A clip, or a piece of a long one.

    Attributes:
        key: its hash.
        number: of the clip in the corpus.
        codes: one integer array (N_k,) per stream.
    """

    key: int
    number: int
    codes: Sequence[np.ndarray]


class ClipSample:
    """At most `stream_tokens` tokens of each stream and `total_tokens` of all, from whole clips (or pieces of long ones).

    Attributes:
        level: 2^-level of the clips are kept.
        kept: them.
    """

    def __init__(self, streams: int, stream_tokens: int = STREAM_TOKENS, total_tokens: int = TOTAL_TOKENS) -> None:
        self.stream_tokens, self.total_tokens = stream_tokens, total_tokens
        self.level = 0
        self.kept: list[SampledClip] = []
        self.tokens = np.zeros(streams, np.int64)

    def add(self, flat: Sequence[np.ndarray], lengths: np.ndarray, numbers: np.ndarray) -> None:
        """Offer clips: per stream the codes of all clips one after the other, lengths (clips, K), numbers (clips,)."""
        ends = np.cumsum(lengths, axis=0)
        pieces = -(-lengths.max(1, initial=0) // PIECE)
        hashes = _hash(numbers.astype(np.uint64))
        plausible = (pieces > 1) | (_level(hashes) >= self.level)
        for i in np.flatnonzero(plausible & (pieces > 0)).tolist():
            clip = [codes[end - n : end] for codes, end, n in zip(flat, ends[i].tolist(), lengths[i].tolist(), strict=True)]
            for piece in range(int(pieces[i])):
                self._offer(clip, int(numbers[i]), piece, int(pieces[i]))

    def _offer(self, clip: Sequence[np.ndarray], number: int, piece: int, pieces: int) -> None:
        key = int(_hash(np.array([number], np.uint64))[0])
        if piece:
            key = int(_hash(np.array([key ^ piece], np.uint64))[0])
        if int(_level(np.array([key], np.uint64))[0]) < self.level:
            return
        cut = [codes[len(codes) * piece // pieces : len(codes) * (piece + 1) // pieces].copy() for codes in clip]
        self._keep([SampledClip(key, number, cut)])

    def _keep(self, clips: Sequence[SampledClip]) -> None:
        self.kept += clips
        for clip in clips:
            self.tokens += [len(codes) for codes in clip.codes]
        while self.tokens.max() > self.stream_tokens or self.tokens.sum() > self.total_tokens:
            self._raise_level(self.level + 1)

    def _raise_level(self, level: int) -> None:
        self.level = level
        levels = _level(np.array([clip.key for clip in self.kept], np.uint64))
        self.kept = [clip for clip, own in zip(self.kept, levels.tolist(), strict=True) if own >= level]
        self.tokens[:] = 0
        for clip in self.kept:
            self.tokens += [len(codes) for codes in clip.codes]

    def merge(self, other: ClipSample) -> None:
        """Take in the sample of another part of the corpus."""
        if other.level > self.level:
            self._raise_level(other.level)
        levels = _level(np.array([clip.key for clip in other.kept], np.uint64))
        self._keep([clip for clip, own in zip(other.kept, levels.tolist(), strict=True) if own >= self.level])

    def ordered(self) -> list[SampledClip]:
        """The clips in an order that does not depend on how they came."""
        return sorted(self.kept, key=lambda clip: (clip.number, clip.key))

    def split(self) -> tuple[list[SampledClip], list[SampledClip]]:
        """(training, held out): of each ten clips, those with the lowest second hash are held out; at least one is.

        Pieces of a clip stay together. With fewer than two clips nothing is held out.
        """
        numbers = np.unique(np.array([clip.number for clip in self.kept], np.uint64))
        if len(numbers) < 2:
            return self.ordered(), []
        order = np.argsort(_hash(_hash(numbers)), kind="stable")
        held = set(numbers[order[: -(-len(numbers) // HELD_OUT)]].tolist())
        clips = self.ordered()
        return [clip for clip in clips if clip.number not in held], [clip for clip in clips if clip.number in held]


def _hash(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014) of uint64 (N,)."""
    mixed = values + np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _level(hashes: np.ndarray) -> np.ndarray:
    """Leading zero bits of uint64 (N,), at most 53: the highest level at which a clip is still kept."""
    exponent = np.frexp((hashes >> np.uint64(11)).astype(np.float64))[1]
    return 53 - exponent
