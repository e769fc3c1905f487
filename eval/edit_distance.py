"""Unit edit distance: how far a tokenizer's units move when the sound is disturbed and its content is not.

A. Gat et al., "Augmentation Invariant Discrete Representation for Generative Spoken Language Modeling",
https://arxiv.org/abs/2209.15483: the Levenshtein distance from the units of the clean sound to those of the disturbed one, both
without consecutive repeats, over the number of clean units. Two averages are in use, and both are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import MissingExtraError, TokensError
from .metric import MetricError

__all__ = ["DEFINITIONS", "UnitEditDistance", "deduplicate", "frame_symbols", "levenshtein", "unit_edit_distance"]

DEFINITIONS = {
    "unit_edit_distance": "edits (insertions, deletions, substitutions; rapidfuzz) from the units of the clean sound to those "
    "of the disturbed sound, in percent of the clean units; 0 for equal, and it may exceed 100",
    "weighted": "100 x edits of all clips / clean units of all clips",
    "mean": "mean over clips of 100 x edits / clean units of the clip",
    "deduplicated": "units after consecutive repeats are removed from both sequences",
    "raw": "units as they are, one per frame",
    "frames": "all streams of a frame taken as one symbol, where the streams run at one rate",
}


class UnitEditDistance(NamedTuple):
    """Unit edit distance over clips, in both averages.

    Attributes:
        weighted: percent, 100 * edits / units.
        mean: percent, mean over clips of 100 * edits / units of the clip.
        edits: Levenshtein edits of all clips.
        units: clean units of all clips.
        clips: pairs compared.
        empty: pairs left out, since the clean sequence has no units.
    """

    weighted: float
    mean: float
    edits: int
    units: int
    clips: int
    empty: int


def deduplicate(units: np.ndarray) -> np.ndarray:
    """Units (N,) without consecutive repeats, (M,) with M <= N."""
    units = np.asarray(units)
    return units[np.append(True, units[1:] != units[:-1])] if len(units) else units


def frame_symbols(clean: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One symbol per frame for all K streams of a clip: K arrays (N,) and K arrays (M,) -> int64 (N,) and (M,).

    Equal frames get equal symbols within the pair; the symbols mean nothing beyond it. Raises `MetricError` for streams of
    unequal lengths, which share no frames.
    """
    for codes in (clean, other):
        if len({len(c) for c in codes}) != 1:
            counts = ", ".join(str(len(c)) for c in codes)
            raise MetricError(f"the streams have {counts} frames; one symbol per frame needs streams of one rate")
    rows = np.concatenate([np.stack(clean, 1), np.stack(other, 1)])
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    symbols = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    return symbols[: len(clean[0])], symbols[len(clean[0]) :]


def levenshtein(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """int64 (B,): least number of insertions, deletions and substitutions between a[i] and b[i], integer arrays (N_i,), (M_i,).

    rapidfuzz (https://github.com/rapidfuzz/RapidFuzz), bit-parallel: 10,000 pairs of 250 units in a fraction of a second.
    Raises `TokensError` for codes that are negative or not whole numbers, `MissingExtraError` without rapidfuzz.
    """
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise MissingExtraError("rapidfuzz", "eval") from None
    if len(a) != len(b):
        raise TokensError(f"{len(a)} sequences against {len(b)}; expected pairs")
    pairs = zip(map(_listed, a), map(_listed, b), strict=True)
    return np.fromiter((Levenshtein.distance(x, y) for x, y in pairs), np.int64, len(a))


def unit_edit_distance(
    clean: Sequence[np.ndarray], other: Sequence[np.ndarray], *, deduplicated: bool = True
) -> UnitEditDistance:
    """Unit edit distance of one stream over clips.

    Args:
        clean: integer arrays (N_i,), units of the clean sounds.
        other: integer arrays (M_i,), units of the same sounds disturbed.
        deduplicated: whether consecutive repeats are removed first, as the paper does.

    Raises:
        MetricError: no clean sequence holds a unit. A single empty one is left out and counted.
        TokensError: sequences that do not pair up, or codes that are negative or no whole numbers.
    """
    if len(clean) != len(other):
        raise TokensError(f"{len(clean)} clean sequences against {len(other)} disturbed ones; expected pairs")
    kept = [i for i, units in enumerate(clean) if len(units)]
    if not kept:
        raise MetricError("no clip has units to compare")
    prepare = deduplicate if deduplicated else np.asarray
    first, second = [prepare(clean[i]) for i in kept], [prepare(other[i]) for i in kept]
    edits = levenshtein(first, second)
    units = np.array([len(sequence) for sequence in first])
    weighted, mean = 100 * edits.sum() / units.sum(), 100 * np.mean(edits / units)
    return UnitEditDistance(float(weighted), float(mean), int(edits.sum()), int(units.sum()), len(kept), len(clean) - len(kept))


def _listed(units: np.ndarray) -> list[Any]:
    """A list of ints >= 0: Python hashes -1 as -2, and rapidfuzz compares hashes."""
    units = np.asarray(units)
    if units.ndim != 1 or (len(units) and units.dtype.kind not in "iu"):
        raise TokensError(f"units are {units.dtype} of shape {units.shape}; expected integers (N,)")
    if len(units) and units.min() < 0:
        raise TokensError(f"a unit is {units.min()}; expected codes from 0 (padding is to be cut off)")
    listed: list[Any] = units.tolist()
    return listed
