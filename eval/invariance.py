"""Do units depend on who speaks? The distance between the units of one text in different voices, beside that of other texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .edit_distance import deduplicate, levenshtein
from .metric import MetricError

__all__ = ["TextDistance", "text_distance"]


@dataclass(frozen=True)
class TextDistance:
    """Edits per unit between clips of different speakers.

    Attributes:
        same_text: mean over ordered pairs (a, b) of one text of edits(a, b) / units of a; 0 for equal units, may exceed 1.
        different_text: the same over pairs of different texts, which is chance; None where there is one text only.
        same_pairs, different_pairs: ordered pairs averaged over.
        texts: texts that more than one speaker reads.
    """

    same_text: float
    different_text: float | None
    same_pairs: int
    different_pairs: int
    texts: int


def text_distance(
    units: Sequence[np.ndarray], texts: Sequence[str], speakers: Sequence[str], *, max_pairs: int = 20_000, seed: int = 0
) -> TextDistance:
    """Levenshtein distance of de-duplicated units, over the number of units of the first, between different speakers.

    Args:
        units: integer arrays (N_i,), one stream of each clip; clips without units are left out.
        texts, speakers: of each clip.
        max_pairs: at most so many pairs of each kind, drawn with `seed`.

    Raises:
        MetricError: one speaker only, or no text that two speakers read.
        TokensError: codes that are negative or no whole numbers.
    """
    kept = [i for i, clip in enumerate(units) if len(clip)]
    if len({speakers[i] for i in kept}) < 2:
        raise MetricError("there is one speaker only; the same text in different voices needs two")
    rng = np.random.default_rng(seed)
    clips = {i: deduplicate(np.asarray(units[i])) for i in kept}
    same = _same_pairs(kept, texts, speakers)
    if not same:
        raise MetricError("no text is read by two speakers")
    read = len({texts[a] for a, _ in same})
    same = [same[i] for i in sorted(rng.choice(len(same), min(max_pairs, len(same)), replace=False))]
    different = _different_pairs(kept, texts, speakers, min(max_pairs, max(len(same), 1000)), rng)
    other = _mean(clips, different) if different else None
    return TextDistance(_mean(clips, same), other, len(same), len(different), read)


def _mean(clips: dict[int, np.ndarray], pairs: Sequence[tuple[int, int]]) -> float:
    edits = levenshtein([clips[a] for a, _ in pairs], [clips[b] for _, b in pairs])
    return float(np.mean(edits / [len(clips[a]) for a, _ in pairs]))


def _same_pairs(kept: Sequence[int], texts: Sequence[str], speakers: Sequence[str]) -> list[tuple[int, int]]:
    by_text = defaultdict(list)
    for i in kept:
        by_text[texts[i]].append(i)
    return [(a, b) for clips in by_text.values() for a in clips for b in clips if speakers[a] != speakers[b]]


def _different_pairs(
    kept: Sequence[int], texts: Sequence[str], speakers: Sequence[str], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Distinct ordered pairs of other texts and other speakers: all of them when few, else drawn."""
    total = len(kept) ** 2
    drawn = range(total) if total <= 50 * count else rng.integers(0, total, 10 * count).tolist()
    pairs = dict.fromkeys((kept[k // len(kept)], kept[k % len(kept)]) for k in drawn)
    fitting = [(a, b) for a, b in pairs if texts[a] != texts[b] and speakers[a] != speakers[b]]
    if len(fitting) <= count:
        return fitting
    return [fitting[i] for i in sorted(rng.choice(len(fitting), count, replace=False))]
