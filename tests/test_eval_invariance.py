"""The distance of one text in different voices: against plain loops, and its chance line."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

from voxzoo.eval.invariance import text_distance
from voxzoo.eval.metric import MetricError

pytest.importorskip("rapidfuzz")


def edits(a: list[int], b: list[int]) -> int:
    """Levenshtein distance by the textbook's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def clips(noise: float) -> tuple[list[np.ndarray], list[str], list[str]]:
    rng = np.random.default_rng(0)
    texts = {t: rng.integers(0, 30, 25) for t in "abcde"}
    units, names, speakers = [], [], []
    for speaker, text in itertools.product("xyz", texts):
        said = np.repeat(texts[text], rng.integers(1, 4, 25))
        units.append(np.where(rng.random(len(said)) < noise, rng.integers(0, 30, len(said)), said))
        names.append(text)
        speakers.append(speaker)
    return units, names, speakers


def test_equals_plain_loops() -> None:
    units, texts, speakers = clips(0.2)
    short = [[k for k, _ in itertools.groupby(u.tolist())] for u in units]
    same, different = [], []
    for a, b in itertools.permutations(range(len(units)), 2):
        if speakers[a] != speakers[b]:
            (same if texts[a] == texts[b] else different).append(edits(short[a], short[b]) / len(short[a]))
    got = text_distance(units, texts, speakers)
    assert got.same_text == pytest.approx(np.mean(same), abs=1e-12)
    assert got.different_text == pytest.approx(np.mean(different), abs=1e-12)
    assert (got.same_pairs, got.different_pairs, got.texts) == (len(same), len(different), 5)


def test_what_is_known() -> None:
    units, texts, speakers = clips(0.0)
    got = text_distance(units, texts, speakers)
    assert got.same_text == 0.0  # how long units last does not count
    assert got.different_text > 0.7
    noisy = text_distance(*clips(1.0))
    assert noisy.same_text == pytest.approx(noisy.different_text, abs=0.05)
    few = text_distance(*clips(0.3), max_pairs=7)
    assert few.same_pairs == 7
    assert few == text_distance(*clips(0.3), max_pairs=7)
    assert text_distance(units[::5], texts[::5], speakers[::5]).different_text is None


def test_bad_input() -> None:
    units, texts, speakers = clips(0.1)
    with pytest.raises(MetricError, match="one speaker only"):
        text_distance(units, texts, ["x"] * len(units))
    with pytest.raises(MetricError, match="no text is read by two"):
        text_distance(units, [str(i) for i in range(len(units))], speakers)
    with pytest.raises(MetricError, match="one speaker only"):
        text_distance([], [], [])
    empty = [*units, np.zeros(0, int)]
    assert text_distance(empty, [*texts, "a"], [*speakers, "x"]) == text_distance(units, texts, speakers)


@pytest.mark.slow
def test_speech_at_full_size(espeak: ModuleType) -> None:
    """8 voices x 40 sentences: near 0.79, against about 1 for other texts."""
    clips = espeak.corpus(8, 40)
    got = text_distance(espeak.units(8, 40)[1], [u.text for u in clips], [u.speaker for u in clips])
    assert abs(got.same_text - 0.79) < 0.04
    assert got.different_text > 0.9
