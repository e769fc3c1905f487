"""Unit edit distance against a slow table of all prefixes, and what any edit distance obeys."""

from __future__ import annotations

import sys
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxzoo import TokensError
from voxzoo.core.errors import MissingExtraError
from voxzoo.eval.edit_distance import deduplicate, frame_symbols, levenshtein, unit_edit_distance
from voxzoo.eval.metric import MetricError

units = st.lists(st.integers(0, 4), max_size=12).map(lambda x: np.array(x, np.int64))


def slow(a: list[int], b: list[int]) -> int:
    """The textbook table."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            change = table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, change)
    return table[-1][-1]


def one(a: np.ndarray, b: np.ndarray) -> int:
    return int(levenshtein([a], [b])[0])


def lev(a: str, b: str) -> int:
    return one(np.frombuffer(a.encode(), np.uint8), np.frombuffer(b.encode(), np.uint8))


def test_textbook_words() -> None:
    assert lev("kitten", "sitting") == 3
    assert lev("intention", "execution") == 5
    assert lev("", "abc") == 3
    assert lev("abc", "") == 3


@given(units, units, units)
@settings(max_examples=150, deadline=None)
def test_properties(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    assert one(a, b) == slow(a.tolist(), b.tolist()) == one(b, a)
    assert (one(a, b) == 0) == np.array_equal(a, b)
    assert abs(len(a) - len(b)) <= one(a, b) <= max(len(a), len(b))
    assert one(a, c) <= one(a, b) + one(b, c)


@given(units)
@settings(max_examples=50, deadline=None)
def test_deduplicate(a: np.ndarray) -> None:
    assert deduplicate(a).tolist() == [key for key, _ in groupby(a.tolist())]


def test_both_averages_and_both_codings() -> None:
    clean = [np.array([1, 1, 2, 3, 3]), np.array([5, 6])]
    other = [np.array([1, 2, 2, 4]), np.array([5, 6])]
    plain = unit_edit_distance(clean, other)  # 1 2 3 -> 1 2 4: one edit of three
    assert plain == (100 * 1 / 5, 100 * (1 / 3) / 2, 1, 5, 2, 0)
    raw = unit_edit_distance(clean, other, deduplicated=False)
    edits = slow([1, 1, 2, 3, 3], [1, 2, 2, 4])
    assert raw == (100 * edits / 7, 100 * (edits / 5) / 2, edits, 7, 2, 0)


def test_agrees_with_the_slow_table_over_many_clips() -> None:
    rng = np.random.default_rng(0)
    clean = [rng.integers(0, 3000, rng.integers(20, 120)) for _ in range(30)]
    other = [np.delete(np.where(rng.random(len(c)) < 0.3, rng.integers(0, 3000, len(c)), c), 5) for c in clean]
    shares = [slow(a.tolist(), b.tolist()) / len(a) for a, b in zip(clean, other, strict=True)]
    found = unit_edit_distance(clean, other, deduplicated=False)
    assert found.mean == pytest.approx(100 * np.mean(shares))
    assert found.edits == round(sum(s * len(c) for s, c in zip(shares, clean, strict=True)))
    assert found.weighted == pytest.approx(100 * found.edits / found.units)


def test_it_may_exceed_a_hundred() -> None:
    assert unit_edit_distance([np.array([1])], [np.array([2, 3, 4])]).weighted == 300


def test_empty_clean_sequences_are_left_out_and_counted() -> None:
    none = np.zeros(0, np.int64)
    found = unit_edit_distance([none, np.array([1, 2])], [np.array([7]), none])
    assert found == (100.0, 100.0, 2, 2, 1, 1)
    with pytest.raises(MetricError, match="no clip has units"):
        unit_edit_distance([none], [np.array([7])])
    with pytest.raises(MetricError, match="no clip has units"):
        unit_edit_distance([], [])


def test_frames_of_several_streams_as_one_symbol() -> None:
    clean = [np.array([1, 1, 1, 2]), np.array([5, 5, 6, 5])]
    other = [np.array([1, 1, 2]), np.array([5, 7, 5])]
    a, b = frame_symbols(clean, other)
    pairs = [*zip(*(c.tolist() for c in clean), strict=True)], [*zip(*(c.tolist() for c in other), strict=True)]
    assert [[x == y for y in b] for x in a] == [[x == y for y in pairs[1]] for x in pairs[0]]
    assert [[x == y for y in a] for x in a] == [[x == y for y in pairs[0]] for x in pairs[0]]
    none = [np.zeros(0, np.int64)] * 2
    assert [len(symbols) for symbols in frame_symbols(none, none)] == [0, 0]
    with pytest.raises(MetricError, match="4, 2 frames"):
        frame_symbols([np.zeros(4, int), np.zeros(2, int)], other)


def test_streams_too_many_for_a_product_of_sizes() -> None:
    """Twelve codebooks of 1024 make 120 bits per frame."""
    rng = np.random.default_rng(0)
    clean = [rng.integers(0, 1024, 9) for _ in range(12)]
    other = [c.copy() for c in clean]
    other[11][4] = (other[11][4] + 1) % 1024
    a, b = frame_symbols(clean, other)
    assert np.flatnonzero(a != b).tolist() == [4]


def test_refused() -> None:
    with pytest.raises(TokensError, match="a unit is -1"):
        levenshtein([np.array([1, -1])], [np.array([1])])
    with pytest.raises(TokensError, match="float64"):
        levenshtein([np.array([1.0])], [np.array([1])])
    with pytest.raises(TokensError, match="1 sequences against 0"):
        levenshtein([np.array([1])], [])
    with pytest.raises(TokensError, match="1 clean sequences against 2"):
        unit_edit_distance([np.array([1])], [np.array([1])] * 2)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtraError, match=r"rapidfuzz.*voxzoo\[eval\]"):
        levenshtein([np.array([1])], [np.array([1])])
