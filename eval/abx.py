"""ABX discriminability: is a phone closer to another of its kind than to a phone of another kind?

T. Schatz et al., "Evaluating speech features with the minimal-pair ABX task", Interspeech 2013; as the ZeroSpeech challenges
and fastabx (https://github.com/bootphon/fastabx) compute it. For items a, x of phone A and b of phone B in one context,

    D = mean over (a, b, x) of 1[d(a, x) < d(b, x)] + 1/2 1[d(a, x) = d(b, x)],    error = 1 - D,    chance = 1/2.

*Within*: a, b and x are of one speaker, and a is not x. *Across*: a and b are of one speaker, x of another. Errors of cells (A,
B, context, speaker of a and b, speaker of x) are averaged over contexts and speakers of x, then over the speakers of a and b,
then over ordered pairs of phones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import TokensError
from ._item_distances import Block, Distance, Measure
from .metric import MetricError

__all__ = ["ABX", "Distance", "abx", "distance_matrix"]

FLUSH = 1 << 17  # distances in a batch


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
    measure = Measure(items, distance)
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
    measure = Measure([*rows, *columns], distance)
    block = Block(0, np.arange(len(rows)), np.arange(len(rows), len(rows) + len(columns)), "", False)
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
) -> list[Block]:
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
                    blocks.append(Block(number, items, items, speaker, True))
                continue
            others = [s for s in held if s != speaker and np.isin(labels[held[s]], labels[items]).any()]
            if max_x_speakers is not None and len(others) > max_x_speakers:
                others = [others[i] for i in sorted(rng.choice(len(others), max_x_speakers, replace=False))]
            for other in others:
                rows = held[other][np.isin(labels[held[other]], labels[items])]
                blocks.append(Block(number, rows, items, speaker, False))
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


def _size(block: Block) -> int:
    return len(block.rows) * len(block.columns)


def _within_budget(blocks: list[Block], most: int | None, rng: np.random.Generator) -> list[Block]:
    """A random choice of blocks that stays under `most` distances; at least one."""
    if most is None or sum(map(_size, blocks)) <= most:
        return blocks
    order = rng.permutation(len(blocks))
    fits = np.cumsum([_size(blocks[i]) for i in order]) <= most
    fits[0] = True
    return [blocks[i] for i in sorted(order[fits])]


def _batches(blocks: list[Block]) -> list[list[Block]]:
    parts: list[list[Block]] = [[]]
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


def _score(block: Block, matrix: np.ndarray, labels: np.ndarray, errors: dict[tuple[int, int], dict[str, list[float]]]) -> int:
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
