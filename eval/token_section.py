"""The tokens section of an analysis: what is counted, what byte-pair encoding would save, and what a bitstream does save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..corpus.progress import Progress
from ..corpus.shards import Dataset
from .bitstream_section import BITSTREAM_CLIPS, DEFINITION, bitstream_section
from .bpe import bpe_gain
from .clip_sample import SampledClip
from .row_groups import Group, row_groups
from .scan_shards import scan_shards
from .shard_clips import sample_clips
from .token_definitions import DEFINITIONS
from .token_statistics import TokenStatistics

__all__ = ["bpe_section", "tokens_section"]

BPE_TOKENS = 50_000  # of a stream
BPE_MERGES = 1000

MORE_DEFINITIONS = {
    "bpe": f"byte-pair encoding of a stream: at most {BPE_MERGES} merges learnt on clips drawn by hash (about {BPE_TOKENS:,} "
    f"tokens) and applied to held-out clips (about {BPE_TOKENS // 5:,}): `saved` is the share of their tokens saved, "
    "`saved_bits` that of bits, codes being of fixed width in the larger vocabulary; `deduplicated`: the same after each run "
    "was made one token",
    "bitstream": DEFINITION,
}


def tokens_section(
    dataset: Dataset, workers: int | None = None, limit: int | None = None, seed: int = 0, quiet: bool = False
) -> dict[str, Any]:
    """Figures of all tokens of a dataset, JSON-able: those of `TokenStatistics.summary`, and

    `damaged`: what could not be read; per stream `bpe`; `bitstream`. Raises as `scan_shards`.
    """
    progress = Progress(sum(group.rows for group in row_groups(dataset, limit)[0]), quiet)
    rate = sum(float(rate) for rate in dataset.facts.frame_rates)

    def advance(group: Group) -> None:
        progress.advance(group.rows, group.codes / rate)

    try:
        statistics, damaged = scan_shards(dataset, workers, limit, advance)
    finally:
        progress.close()
    section = statistics.summary()
    for stream, bpe in zip(section["streams"], bpe_section(statistics), strict=True):
        stream["bpe"] = bpe
    clips = (clip.tokens for clip in sample_clips(dataset, BITSTREAM_CLIPS, seed, limit))
    section["bitstream"] = bitstream_section(clips)
    section["damaged"] = [asdict(damage) for damage in damaged]
    section["definitions"] = {**DEFINITIONS, **MORE_DEFINITIONS}
    return section


def bpe_section(statistics: TokenStatistics, tokens: int = BPE_TOKENS, merges: int = BPE_MERGES) -> list[dict[str, Any]]:
    """`bpe_gain` of each stream, as it is and `deduplicated`, learnt on clips of its sample and applied to held-out ones."""
    train, test = (sorted(clips, key=lambda clip: (clip.key, clip.number)) for clips in statistics.sample.split())
    if not test:
        return [{"missing": "byte-pair encoding needs at least two clips, one of them held out"}] * statistics.streams
    found = []
    for k, size in enumerate(statistics.sizes):
        learnt, applied = _first(train, k, tokens), _first(test, k, tokens // 5)
        once = bpe_gain(_deduplicated(learnt), _deduplicated(applied), size, merges)
        found.append({**bpe_gain(learnt, applied, size, merges), "deduplicated": once})
    return found


def _first(clips: Sequence[SampledClip], k: int, tokens: int) -> list[np.ndarray]:
    """Codes of stream k of the first clips that hold at least so many tokens together."""
    held = np.cumsum([len(clip.codes[k]) for clip in clips])
    return [clip.codes[k] for clip in clips[: int(np.searchsorted(held, tokens)) + 1]]


def _deduplicated(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [codes[np.flatnonzero(np.diff(codes.astype(np.int64), prepend=-1))] for codes in clips]
