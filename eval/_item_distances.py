"""Distances between items of frames: frame distances of whole contexts at once, then dynamic time warping of all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import TokensError
from ._dtw import warped

__all__ = ["Block", "Distance", "Measure"]

Distance = Literal["angular", "euclidean", "kl", "equal"]
FEW = 1e-14  # differences below this are rounding: equal frames are at distance 0 exactly
CELLS = 1 << 22  # frame distances in a batch
SIDE = 1 << 10  # frames of items compared all with all


@dataclass(frozen=True)
class Block:
    """Items x (rows) and items a, b (columns) of one context; `within` where both are the same items."""

    context: int
    rows: np.ndarray
    columns: np.ndarray
    speaker: str
    within: bool


class Measure:
    """Distances between items, their frames kept in one array."""

    def __init__(self, items: Sequence[np.ndarray], distance: Distance) -> None:
        arrays = [np.asarray(item) for item in items]
        wanted = 1 if distance == "equal" else 2
        for i, array in enumerate(arrays):
            if array.ndim != wanted or not len(array):
                form = "(N,), N >= 1" if wanted == 1 else "(N, D), N >= 1"
                raise TokensError(f"item {i} has shape {array.shape}; distance {distance!r} expects {form}")
            if array.shape[1:] != arrays[0].shape[1:]:
                raise TokensError(f"item {i} has frames of {array.shape[1]} values, item 0 of {arrays[0].shape[1]}")
        self.lengths = np.array([len(array) for array in arrays])
        frames = np.concatenate(arrays)
        if frames.dtype.kind == "f" and not np.isfinite(frames).all():
            raise TokensError("items hold NaN or infinite values; ABX needs finite ones")
        starts = np.cumsum(self.lengths) - self.lengths
        prepared = _prepared(frames, distance)
        self.between = _BETWEEN[distance]
        self.frames = [prepared[start : start + length] for start, length in zip(starts, self.lengths, strict=True)]
        self.at = np.zeros((2, len(arrays)), dtype=np.int64)  # where an item's frames are in the rows and columns of a tile

    def matrices(self, blocks: list[Block]) -> list[np.ndarray]:
        """d(row, column) of each block; NaN for an item and itself."""
        out = [np.full((len(block.rows), len(block.columns)), np.nan) for block in blocks]
        costs: list[np.ndarray] = []
        uses: list[tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]] = []
        held = 0
        for rows, columns, parts in self._tiles(blocks):
            tile = self._tile(rows, columns)
            for number, r, c in parts:
                i, j = blocks[number].rows[r], blocks[number].columns[c]
                first = held + self.at[0, i][:, None] * tile.shape[1] + self.at[1, j]
                wanted = np.nonzero(i[:, None] != j) if blocks[number].within else np.nonzero(np.ones(first.shape, dtype=bool))
                pairs = (
                    first[wanted],
                    np.full(len(wanted[0]), tile.shape[1]),
                    self.lengths[i[wanted[0]]],
                    self.lengths[j[wanted[1]]],
                )
                uses.append((out[number][r, c], np.stack(pairs), wanted))
            costs.append(tile.reshape(-1))
            held += tile.size
            if held > CELLS:
                _fill(costs, uses)
                costs, uses, held = [], [], 0
        _fill(costs, uses)
        return out

    def _tiles(self, blocks: list[Block]) -> Iterator[tuple[np.ndarray, np.ndarray, list[tuple[int, slice, slice]]]]:
        """Items to compare all with all, and the parts of blocks this serves: a whole context where that is small."""
        for _, group in itertools.groupby(range(len(blocks)), key=lambda number: blocks[number].context):
            numbers = list(group)
            items = np.unique(np.concatenate([np.append(blocks[n].rows, blocks[n].columns) for n in numbers]))
            if len(numbers) > 1 and self.lengths[items].sum() <= SIDE:
                yield items, items, [(n, slice(None), slice(None)) for n in numbers]
                continue
            for n in numbers:
                for r in self._slices(blocks[n].rows):
                    for c in self._slices(blocks[n].columns):
                        yield blocks[n].rows[r], blocks[n].columns[c], [(n, r, c)]

    def _slices(self, items: np.ndarray) -> list[slice]:
        """Cuts of items into runs of about `SIDE` frames."""
        part = np.cumsum(self.lengths[items]) // SIDE
        cuts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(items)]
        return [slice(a, b) for a, b in itertools.pairwise(cuts)]

    def _tile(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Distances of all frames of `rows` from all of `columns`."""
        for side, items in enumerate((rows, columns)):
            self.at[side, items] = np.cumsum(self.lengths[items]) - self.lengths[items]
        return self.between(np.concatenate([self.frames[i] for i in rows]), np.concatenate([self.frames[i] for i in columns]))


def _fill(costs: list[np.ndarray], uses: list[tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]]) -> None:
    """Distances of pairs, into the parts of matrices they belong to."""
    if not uses:
        return
    values = warped(np.concatenate(costs), *np.concatenate([pairs for _, pairs, _ in uses], axis=1))
    begin = 0
    for target, pairs, wanted in uses:
        target[wanted] = values[begin : begin + pairs.shape[1]]
        begin += pairs.shape[1]


def _prepared(frames: np.ndarray, distance: Distance) -> np.ndarray:
    """Frames as their distance takes them: of unit length, or with their logarithms beside them."""
    if distance == "equal":
        return frames
    if distance not in _BETWEEN:
        raise TokensError(f"distance={distance!r}; expected angular, euclidean, kl or equal")
    frames = frames.astype(np.float64)
    if distance == "angular":
        norm = np.linalg.norm(frames, axis=1, keepdims=True)
        return np.divide(frames, norm, out=np.zeros(frames.shape), where=norm > 0)
    if distance == "kl":
        if frames.min() < 0 or np.abs(frames.sum(1) - 1).max() > 1e-3:
            raise TokensError("distance 'kl' compares distributions: frames must be non-negative and sum to 1")
        return np.concatenate([frames, np.log(frames + 1e-6)], axis=1)
    return frames


def _angles(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cosine: np.ndarray = x @ y.T
    cosine[cosine > 1 - FEW] = 1.0
    cosine[np.ix_(~x.any(1), ~y.any(1))] = 1.0
    np.arccos(np.maximum(cosine, -1.0, out=cosine), out=cosine)
    cosine /= np.pi
    return cosine


def _lengths(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)
    difference = squares - 2 * (x @ y.T)
    difference[difference < FEW * squares] = 0.0
    out: np.ndarray = np.sqrt(difference)
    return out


def _divergences(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1/2 sum (p - q) (log p - log q), as dot products of frames that hold p and log p."""
    half = x.shape[1] // 2
    (p, log_p), (q, log_q) = (x[:, :half], x[:, half:]), (y[:, :half], y[:, half:])
    both = (p * log_p).sum(1)[:, None] + (q * log_q).sum(1) - p @ log_q.T - log_p @ q.T
    out: np.ndarray = np.maximum(0.5 * both, 0.0)
    return out


def _unequal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x[:, None] != y).astype(np.float64)


_BETWEEN: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "angular": _angles,
    "euclidean": _lengths,
    "kl": _divergences,
    "equal": _unequal,
}
