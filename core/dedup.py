"""Units without their repetitions: runs of equal codes become one code and how many frames it lasted. Exactly invertible.

What language models of units read: GSLM, TWIST, SpeechGPT and SpiritLM all train on deduplicated units, whose durations a
vocoder's own predictor, or the list kept here, gives back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import TokensError
from .tokens import Tokens

__all__ = ["deduplicate", "repeat"]


def deduplicate(codes: Any) -> tuple[Any, Any]:
    """Runs of equal codes.

    Args:
        codes: whole numbers (N,), numpy or torch; or `Tokens` of one clip and one stream.

    Returns:
        units (M,), no two neighbours equal, and durations int64 (M,), in frames, at least 1 and N in all; arrays of the kind
        that was given. `repeat(units, durations)` gives the codes again.

    Raises:
        TokensError: another shape, codes that are no whole numbers, or tokens of several clips or streams.
    """
    row = _row(codes)
    if not isinstance(row, np.ndarray):
        return tuple(row.unique_consecutive(return_counts=True))
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(row)), bool), row[1:] != row[:-1]]))
    return row[starts], np.diff(starts, append=len(row)).astype(np.int64)


def repeat(units: Any, durations: Any) -> Any:
    """Each unit as often as its duration says: the inverse of `deduplicate`.

    Raises `TokensError` unless both are whole numbers (M,) and durations at least 1.
    """
    units, durations = _row(units), _row(durations)
    if len(units) != len(durations):
        raise TokensError(f"{len(units)} units with {len(durations)} durations; expected one for each")
    if len(durations) and int(durations.min()) < 1:
        raise TokensError(f"a duration of {int(durations.min())} frames; expected at least 1")
    return np.repeat(units, durations) if isinstance(units, np.ndarray) else units.repeat_interleave(durations)


def _row(codes: Any) -> Any:
    """Whole numbers (N,)."""
    if isinstance(codes, Tokens):
        if len(codes) != 1 or len(codes.codes) != 1:
            raise TokensError(
                f"tokens of {len(codes)} clips in {len(codes.codes)} streams; expected one clip (tokens[i]) of one"
            )
        codes = codes.codes[0][0]
    if not hasattr(codes, "unique_consecutive"):  # as torch's tensors have, which this need not import
        codes = np.asarray(codes, dtype=None if len(codes) else np.int64)
    whole = codes.dtype.kind in "iu" if isinstance(codes, np.ndarray) else not (codes.is_floating_point() or codes.is_complex())
    if codes.ndim != 1 or not whole:
        raise TokensError(f"codes of shape {tuple(codes.shape)}, {codes.dtype}; expected whole numbers (N,)")
    return codes
