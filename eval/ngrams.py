"""Held-out n-gram code length: bits per token that a simple model, trained on other clips, needs to code a clip.

Unlike plug-in conditional entropy it cannot be too low for want of data: a pair never seen in training costs what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import TokensError
from .runs import boundaries

__all__ = ["ngram_bits"]

TABLE = 1 << 23  # cells of a table of n-grams


def ngram_bits(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray], size: int, orders: Sequence[int] = (1, 2, 3)
) -> dict[int, float]:
    """Mean bits per token of the test clips under n-gram models of the training clips, interpolated after Witten-Bell.

    p_n(z | h) = (c(h z) + T(h) p_{n-1}(z | h')) / (c(h) + T(h)) with h the n - 1 codes before, h' all of them but the first,
    c(h z) how often z followed h in training, c(h) its sum over z, T(h) how many different z followed; p_0 = 1 / V.
    A history never seen, or one that begins before its clip, leaves p_{n-1}. (Witten and Bell 1991; Chen and Goodman 1999.)

    Args:
        train, test: integer arrays (N,), clips of one stream.
        size: V, the number of codes.
        orders: n of the models wanted, 1 being the unigram.

    Returns:
        order -> -1/N sum log2 p, at least 0.

    Raises:
        TokensError: no training or no test tokens, or histories too long to be packed into 63 bits.
    """
    highest = max(orders)
    if size**highest >= 1 << 63:
        raise TokensError(f"{highest}-grams over {size} codes do not fit 63 bits; ask for a lower order")
    seen, coded = _flat(train), _flat(test)
    if not len(seen[0]) or not len(coded[0]):
        raise TokensError(f"{len(seen[0])} training and {len(coded[0])} held-out tokens; expected at least one of each")
    probability = np.full(len(coded[0]), 1.0 / size)
    found = {}
    for order in range(1, highest + 1):
        keys, places = _grams(*coded, size, order)
        probability[places] = _interpolated(_grams(*seen, size, order)[0], keys, probability[places], size, order)
        if order in orders:
            found[order] = max(0.0, float(-np.log2(probability).mean()))
    return found


def _flat(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Clips one after the other, and where they meet."""
    codes = np.concatenate([np.zeros(0, np.int64), *clips]).astype(np.int64)
    return codes, boundaries(np.array([len(clip) for clip in clips], np.int64))


def _grams(codes: np.ndarray, meets: np.ndarray, size: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Packed n-grams that lie within a clip, and the position of the last code of each."""
    count = max(0, len(codes) - order + 1)
    keys = codes[:count].copy()
    for i in range(1, order):
        keys *= size
        keys += codes[i : i + count]
    inside = np.ones(count, bool)
    for back in range(1, order):
        across = meets - back
        inside[across[(across >= 0) & (across < count)]] = False
    places = np.flatnonzero(inside)
    return keys[places], places + order - 1


def _interpolated(seen: np.ndarray, keys: np.ndarray, lower: np.ndarray, size: int, order: int) -> np.ndarray:
    """p_n of packed n-grams `keys`, given p_{n-1} of each as `lower` and the packed n-grams `seen` in training."""
    if not len(seen) or not len(keys):
        return lower
    if size**order <= TABLE:  # a table of counts is quicker than sorting
        table = np.bincount(seen, minlength=size**order)
        histories = table.reshape(-1, size)
        count, total, types = table[keys], *(x[keys // size] for x in (histories.sum(1), np.count_nonzero(histories, axis=1)))
    else:
        grams, counts = np.unique(seen, return_counts=True)
        gram, counted = _find(grams, keys)
        starts = np.flatnonzero(np.diff(grams // size, prepend=-1))
        history, known = _find(grams[starts] // size, keys // size)
        count = np.where(counted, counts[gram], 0)
        total = np.where(known, np.add.reduceat(counts, starts)[history], 0)
        types = np.diff(starts, append=len(grams))[history]
    return np.where(total > 0, (count + types * lower) / np.maximum(total + types, 1), lower)


def _find(values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each wanted value among the sorted ones, and whether it is there."""
    index = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return index, values[index] == wanted
