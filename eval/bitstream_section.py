"""What real bitstreams of a sample of clips weigh, by coder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.errors import VoxzooError
from ..core.tokens import PADDING, Tokens

__all__ = ["BITSTREAM_CLIPS", "DEFINITION", "bitstream_section"]

BITSTREAM_CLIPS = 100
BITSTREAM_TOKENS = 200_000
FILES: dict[str, tuple[Any, dict[str, Any]]] = {  # name: coder, its settings
    "packed": ("packed", {}),
    "static": ("static", {}),
    "adaptive": ("adaptive", {}),
    "adaptive, long chunks": ("adaptive", {"chunk_seconds": 60.0}),
}
SINGLE: tuple[Any, ...] = ("packed", "adaptive")  # coders that are also given a file for each clip
DEFINITION = (
    f"sizes of one bitstream file (.vxb) of clips drawn at random, at most {BITSTREAM_CLIPS} and {BITSTREAM_TOKENS} tokens: "
    "`rate` is all its bits, headers, checks and tables included, over the seconds of sound; chunks are of 2 s, long ones of "
    "60 s; `single_files`: the rate when each clip is a file of its own; `saving` is against the packed file"
)


def bitstream_section(clips: Iterable[Tokens], limit: int = BITSTREAM_TOKENS) -> dict[str, Any]:
    """Sizes of bitstreams and what entropy coding saves, JSON-able; see `DEFINITION`.

    Args:
        clips: B = 1 each, of one model.
        limit: tokens, after which no more clips are taken.

    Returns:
        `clips`, `seconds`, `tokens`, `files` {name: {`bytes`, `header_bytes`, `rate`, perhaps `single_files`}}, and
        `saving` {name: share}; or {"missing": reason}.
    """
    from ..core.bitstream import bitstream_bytes

    chosen, tokens = _first(clips, limit)
    seconds = sum(float(clip.durations[0]) for clip in chosen)
    if not seconds:
        return {"missing": "no clip with sound could be read"}
    together, files = _together(chosen), {}
    try:
        for name, (coder, settings) in FILES.items():
            total, header = bitstream_bytes(together, coder, **settings)
            files[name] = {"bytes": total, "header_bytes": header, "rate": 8 * total / seconds}
        for name in SINGLE:
            single = sum(bitstream_bytes(clip, name)[0] for clip in chosen)
            files[name]["single_files"] = 8 * single / seconds
    except VoxzooError as error:
        return {"missing": str(error)}
    saving = {name: 1 - file["bytes"] / files["packed"]["bytes"] for name, file in files.items() if name != "packed"}
    return {"clips": len(chosen), "seconds": seconds, "tokens": tokens, "files": files, "saving": saving}


def _first(clips: Iterable[Tokens], limit: int) -> tuple[list[Tokens], int]:
    """Clips up to a number of tokens (one at least), and how many tokens that is."""
    chosen: list[Tokens] = []
    tokens = 0
    for clip in clips:
        size = int(clip.frames.sum())
        if chosen and tokens + size > limit:
            break
        chosen.append(clip)
        tokens += size
    return chosen, tokens


def _together(clips: Sequence[Tokens]) -> Tokens:
    """One `Tokens` of several clips, the shorter ones padded."""
    codes = [_padded([clip.codes[k][0] for clip in clips], PADDING) for k in range(len(clips[0].codes))]
    extras = {name: _padded([clip.extras[name][0] for clip in clips], 0) for name in clips[0].extras}
    lengths = np.concatenate([clip.lengths for clip in clips])
    return replace(clips[0], codes=codes, lengths=lengths, extras=extras, batched=True)


def _padded(rows: Sequence[np.ndarray], value: float) -> np.ndarray:
    whole = np.full((len(rows), max(map(len, rows))), value, rows[0].dtype)
    for row, given in zip(whole, rows, strict=True):
        row[: len(given)] = given
    return whole
