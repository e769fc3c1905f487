"""ABX discriminability: is a phone closer to another of its kind than to a phone of another kind?

T. Schatz et al., "Evaluating speech features with the minimal-pair ABX task", Interspeech 2013; as the ZeroSpeech challenges
and fastabx (https://github.com/bootphon/fastabx) compute it. For items a, x of phone A and b of phone B in one context,

    D = mean over (a, b, x) of 1[d(a, x) < d(b, x)] + 1/2 1[d(a, x) = d(b, x)],    error = 1 - D,    chance = 1/2.

*Within*: a, b and x are of one speaker, and a is not x. *Across*: a and b are of one speaker, x of another. Errors of cells (A,
B, context, speaker of a and b, speaker of x) are averaged over contexts and speakers of x, then over the speakers of a and b,
then over ordered pairs of phones.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import TokensError
from ._dtw import warped
from .metric import MetricError

__all__ = ["ABX", "Distance", "abx", "distance_matrix"]

Distance = Literal["angular", "euclidean", "kl", "equal"]
FEW = 1e-14  # differences below this are rounding: equal frames are at distance 0 exactly
FLUSH = 1 << 17  # distances in a batch
CELLS = 1 << 22  # frame distances in a batch
SIDE = 1 << 10  # frames of items compared all with all


@dataclass(frozen=True)
class ABX:
    """An ABX error and what it rests on.

    Attributes:
        error: in [0, 1]; 0.5 is chance.
        phone_pairs: ordered pairs of phones it is a mean over.
        cells: pairs of phones in a context and for speakers.
        triplets: (a, b, x).
        distances: pairs of items compared.
        left_out: share of the distances left out to stay under `max_distances`.
    """

    error: float
    phone_pairs: int
    cells: int
    triplets: int
    distances: int
    left_out: float


@dataclass(frozen=True)
class _Block:
    """Items x (rows) and items a, b (columns) of one context; `within` where both are the same items."""

    context: int
    rows: np.ndarray
    columns: np.ndarray
    speaker: str
    within: bool


def abx(
    items: Sequence[np.ndarray],
    phones: Sequence[str],
    speakers: Sequence[str],
    contexts: Sequence[Hashable] | None = None,
    *,
    mode: Literal["within", "across"] = "within",
    distance: Distance = "angular",
    max_items: int | None = 10,
    max_x_speakers: int | None = 5,
    max_distances: int | None = 5_000_000,
    seed: int = 0,
) -> ABX:
    """ABX error of items, within or across speakers.

    Args:
        items: features (N_i, D), or codes (N_i,) for distance "equal", N_i >= 1.
        phones, speakers: of each item.
        contexts: of each item, as (previous phone, next phone); one context for all by default.
        mode: whether x is of the speaker of a and b or of another.
        distance: between frames: "angular" (angle / pi, in [0, 1]; a frame of zeros is at 1/2 from all but zeros), "euclidean",
            "kl" (symmetric, of distributions, logs of p + 1e-6), "equal" (0 or 1). Items are compared by dynamic time warping,
            the distance being the mean along the best path.
        max_items: at most so many items of a phone, context and speaker, drawn at random (ZeroSpeech: 10; None: all).
        max_x_speakers: across, at most so many speakers of x for a context and a speaker of a and b (ZeroSpeech: 5; None: all).
        max_distances: contexts and speakers are left out at random beyond so many distances; one always stays.
        seed: of the draws.

    Raises:
        MetricError: nothing can be compared, and why: one speaker, no phone twice, no two phones in one context.
        TokensError: items that are empty, not finite, of unequal widths, or not as many as their labels.
    """
    _check_labels(len(items), phones, speakers, contexts)
    labels = np.unique(np.asarray(phones, dtype=str), return_inverse=True)[1]
    measure = _Measure(items, distance)
    rng = np.random.default_rng(seed)
    blocks = _blocks(labels, list(speakers), contexts, mode, max_items, max_x_speakers, rng)
    if not blocks:
        raise MetricError(_why_none(labels, speakers, mode))
    kept = _within_budget(blocks, max_distances, rng)
    errors: dict[tuple[int, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    triplets = distances = 0
    for part in _batches(kept):
        for block, matrix in zip(part, measure.matrices(part), strict=True):
            triplets += _score(block, matrix, labels, errors)
            distances += matrix.size - (len(block.rows) if block.within else 0)
    mean = [np.mean([np.mean(cells) for cells in by_speaker.values()]) for by_speaker in errors.values()]
    count = sum(len(cells) for by_speaker in errors.values() for cells in by_speaker.values())
    left_out = 1 - sum(_size(b) for b in kept) / sum(_size(b) for b in blocks)
    return ABX(float(np.mean(mean)), len(errors), count, triplets, distances, left_out)


def distance_matrix(rows: Sequence[np.ndarray], columns: Sequence[np.ndarray], distance: Distance = "angular") -> np.ndarray:
    """float64 (R, C): distances of each item of `rows` from each of `columns`, as `abx` measures them; same errors."""
    measure = _Measure([*rows, *columns], distance)
    block = _Block(0, np.arange(len(rows)), np.arange(len(rows), len(rows) + len(columns)), "", False)
    return measure.matrices([block])[0]


# ---------------------------------------------------------------------- which items are compared
def _check_labels(count: int, phones: Sequence[str], speakers: Sequence[str], contexts: Sequence[Hashable] | None) -> None:
    if not count:
        raise MetricError("no items were given; ABX compares phones cut from clips")
    for name, labels in (("phones", phones), ("speakers", speakers), ("contexts", contexts)):
        if labels is not None and len(labels) != count:
            raise TokensError(f"{count} items and {len(labels)} {name}; expected one for each item")


def _blocks(
    labels: np.ndarray,
    speakers: list[str],
    contexts: Sequence[Hashable] | None,
    mode: str,
    max_items: int | None,
    max_x_speakers: int | None,
    rng: np.random.Generator,
) -> list[_Block]:
    """Sets of items that hold at least one triplet each."""
    groups: dict[Hashable, dict[str, dict[int, list[int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for i, (label, speaker) in enumerate(zip(labels.tolist(), speakers, strict=True)):
        groups[contexts[i] if contexts is not None else None][speaker][label].append(i)
    blocks = []
    for number, by_speaker in enumerate(groups.values()):
        held = {s: _drawn(by_phone, max_items, rng) for s, by_phone in by_speaker.items()}
        for speaker, items in held.items():
            if len(np.unique(labels[items])) < 2:
                continue
            if mode == "within":
                if len(np.unique(labels[items])) < len(items):
                    blocks.append(_Block(number, items, items, speaker, True))
                continue
            others = [s for s in held if s != speaker and np.isin(labels[held[s]], labels[items]).any()]
            if max_x_speakers is not None and len(others) > max_x_speakers:
                others = [others[i] for i in sorted(rng.choice(len(others), max_x_speakers, replace=False))]
            for other in others:
                rows = held[other][np.isin(labels[held[other]], labels[items])]
                blocks.append(_Block(number, rows, items, speaker, False))
    return blocks


def _drawn(by_phone: dict[int, list[int]], most: int | None, rng: np.random.Generator) -> np.ndarray:
    """Items of a context and speaker sorted by phone, at most `most` of each."""
    out: list[int] = []
    for label in sorted(by_phone):
        items = by_phone[label]
        if most is not None and len(items) > most:
            items = [items[i] for i in sorted(rng.choice(len(items), most, replace=False))]
        out += items
    return np.array(out)


def _size(block: _Block) -> int:
    return len(block.rows) * len(block.columns)


def _within_budget(blocks: list[_Block], most: int | None, rng: np.random.Generator) -> list[_Block]:
    """A random choice of blocks that stays under `most` distances; at least one."""
    if most is None or sum(map(_size, blocks)) <= most:
        return blocks
    order = rng.permutation(len(blocks))
    fits = np.cumsum([_size(blocks[i]) for i in order]) <= most
    fits[0] = True
    return [blocks[i] for i in sorted(order[fits])]


def _batches(blocks: list[_Block]) -> list[list[_Block]]:
    parts: list[list[_Block]] = [[]]
    held = 0
    for block in blocks:
        if held > FLUSH:
            parts.append([])
            held = 0
        parts[-1].append(block)
        held += _size(block)
    return parts


def _why_none(labels: np.ndarray, speakers: Sequence[str], mode: str) -> str:
    if len(np.unique(labels)) < 2:
        return "there is one phone only; ABX compares two"
    if mode == "across" and len(set(speakers)) < 2:
        return "there is one speaker only; ABX across speakers needs two"
    if mode == "across":
        return "no two speakers have a phone in a context in which one of them has another phone too"
    return "no phone occurs twice in a context and speaker that have another phone too"


def _score(block: _Block, matrix: np.ndarray, labels: np.ndarray, errors: dict[tuple[int, int], dict[str, list[float]]]) -> int:
    """Add the errors of the block's cells; gives the number of triplets. matrix (rows, columns): d(x, a or b)."""
    of_rows, of_columns = labels[block.rows], labels[block.columns]
    kinds, firsts = np.unique(of_columns, return_index=True)  # columns are sorted by phone
    triplets = 0
    for kind in np.unique(of_rows):
        x, a = np.flatnonzero(of_rows == kind), np.flatnonzero(of_columns == kind)
        to_a, to_all = matrix[np.ix_(x, a)], matrix[x]
        comparable = len(x) * len(a)
        if block.within:
            comparable -= len(x)  # a is not x: the diagonal is NaN, which is never less nor equal
        if not comparable:
            continue
        won = (to_a[:, :, None] < to_all[:, None, :]).sum((0, 1)) + 0.5 * (to_a[:, :, None] == to_all[:, None, :]).sum((0, 1))
        of_kind = np.add.reduceat(won, firsts)
        sizes = comparable * np.diff([*firsts, len(of_columns)])
        for other in np.flatnonzero(kinds != kind):
            errors[int(kind), int(kinds[other])][block.speaker].append(float(1 - of_kind[other] / sizes[other]))
            triplets += int(sizes[other])
    return triplets


# ---------------------------------------------------------------------- distances
class _Measure:
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

    def matrices(self, blocks: list[_Block]) -> list[np.ndarray]:
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

    def _tiles(self, blocks: list[_Block]) -> Iterator[tuple[np.ndarray, np.ndarray, list[tuple[int, slice, slice]]]]:
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
