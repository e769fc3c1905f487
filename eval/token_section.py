"""The tokens section of an analysis: what is counted, what byte-pair encoding would save, and what a bitstream does save."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError, VoxzooError
from ..core.tokens import Tokens
from ..corpus.progress import Progress
from ..corpus.shards import Dataset
from .bpe import bpe_gain
from .row_groups import Group, row_groups
from .scan_shards import scan_shards
from .shard_clips import sample_clips
from .token_definitions import DEFINITIONS
from .token_statistics import TokenStatistics

__all__ = ["bitstream_saving", "bpe_section", "tokens_section"]

BPE_TOKENS = 100_000  # of a stream
BPE_MERGES = 1000
BITSTREAM_CLIPS = 100
BITSTREAM_TOKENS = 400_000
CODERS = ("packed", "static", "adaptive")

MORE_DEFINITIONS = {
    "bpe": f"byte-pair encoding of a stream, {BPE_MERGES} merges learnt on and applied to whole clips drawn by hash (about "
    f"{BPE_TOKENS} tokens): `saved` is the share of tokens saved, `saved_bits` that of bits, codes being of fixed width in the "
    "larger vocabulary; `deduplicated`: the same after each run was made one token",
    "bitstream": f"files of single clips, at most {BITSTREAM_CLIPS} drawn at random and {BITSTREAM_TOKENS} tokens; "
    "`payload_rate` is without the headers; `saving` is against packed bits, headers left out",
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
    section["bitstream"] = bitstream_saving(clips)
    section["damaged"] = [asdict(damage) for damage in damaged]
    section["definitions"] = {**DEFINITIONS, **MORE_DEFINITIONS}
    return section


def bpe_section(statistics: TokenStatistics, tokens: int = BPE_TOKENS, merges: int = BPE_MERGES) -> list[dict[str, Any]]:
    """`bpe_gain` of each stream, as it is and `deduplicated`, on clips of its sample that hold at least so many tokens."""
    found = []
    clips = sorted(statistics.sample.kept, key=lambda clip: (clip.key, clip.number))
    for k, size in enumerate(statistics.sizes):
        held = np.cumsum([len(clip.codes[k]) for clip in clips])
        raw = [clip.codes[k] for clip in clips[: int(np.searchsorted(held, tokens)) + 1]]
        single = [codes[np.flatnonzero(np.diff(codes.astype(np.int64), prepend=-1))] for codes in raw]
        found.append({**bpe_gain(raw, size, merges), "deduplicated": bpe_gain(single, size, merges)})
    return found


def bitstream_saving(clips: Iterable[Tokens], limit: int = BITSTREAM_TOKENS) -> dict[str, Any]:
    """Sizes of the bitstreams of clips (B = 1 each) by coder, and what entropy coding saves; or `{"missing": reason}`."""
    try:
        from ..core.bitstream import bitstream_bytes
    except ImportError as error:
        return {"missing": str(MissingExtraError(error.name or "constriction", "eval"))}
    totals = {coder: np.zeros(2, np.int64) for coder in CODERS}
    seconds, tokens, count = 0.0, 0, 0
    try:
        for clip in clips:
            size = int(clip.frames.sum())
            if count and tokens + size > limit:
                break
            for coder in CODERS:
                totals[coder] += np.array(bitstream_bytes(clip, coder))
            seconds, tokens, count = seconds + float(clip.durations[0]), tokens + size, count + 1
    except VoxzooError as error:
        return {"missing": str(error)}
    if not seconds:
        return {"missing": "no clip could be read"}
    coders = {
        coder: {"bytes": int(total), "header_bytes": int(header), "rate": 8 * float(total) / seconds,
                "payload_rate": 8 * float(total - header) / seconds}
        for coder, (total, header) in totals.items()
    }  # fmt: skip
    packed = coders["packed"]["payload_rate"]
    saving = {coder: 1 - coders[coder]["payload_rate"] / packed if packed else None for coder in CODERS[1:]}
    return {"clips": count, "seconds": seconds, "tokens": tokens, "coders": coders, "saving": saving}
