"""Deduplication of units, exactly invertible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conformance import sound
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_conformance import tiny

from voxzoo import TokensError
from voxzoo.core.dedup import deduplicate, repeat

CODES = arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 3))


@given(CODES)
def test_units_and_durations_are_the_codes(codes: np.ndarray) -> None:
    units, durations = deduplicate(codes)
    assert np.array_equal(repeat(units, durations), codes)
    assert (units[1:] != units[:-1]).all()
    assert (durations >= 1).all()
    assert len(units) == len(durations)
    assert durations.sum() == len(codes)


@given(CODES)
def test_torch_gives_what_numpy_gives(codes: np.ndarray) -> None:
    units, durations = deduplicate(torch.from_numpy(codes))
    plain, lengths = deduplicate(codes)
    assert units.tolist() == plain.tolist()
    assert durations.tolist() == lengths.tolist()
    assert durations.dtype == torch.int64
    assert lengths.dtype == np.int64
    assert torch.equal(repeat(units, durations), torch.from_numpy(codes))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=20))
def test_any_units_with_durations_come_back_as_runs(runs: list[tuple[int, int]]) -> None:
    units, durations = (np.array([run[i] for run in runs], np.int64) for i in (0, 1))
    codes = repeat(units, durations)
    assert len(codes) == durations.sum()
    assert np.array_equal(repeat(*deduplicate(codes)), codes)


def test_of_tokens() -> None:
    model = tiny("hubert-gslm-100")
    tokens = model.encode([sound(model, 2000), sound(model, 900, 1)])
    units, durations = deduplicate(tokens[1])
    assert torch.equal(repeat(units, durations), tokens[1].codes[0][0])
    with pytest.raises(TokensError, match=r"2 clips in 1 streams; expected one clip \(tokens\[i\]\)"):
        deduplicate(tokens)


@pytest.mark.parametrize("codes", [[1.5], [[1, 2]], torch.zeros(2), np.zeros((2, 2), int), ["a"]])
def test_what_are_no_codes(codes: Any) -> None:
    with pytest.raises(TokensError, match=r"expected whole numbers \(N,\)"):
        deduplicate(codes)


def test_durations_that_do_not_fit() -> None:
    with pytest.raises(TokensError, match="2 units with 1 durations"):
        repeat([1, 2], [1])
    with pytest.raises(TokensError, match="a duration of 0 frames"):
        repeat([1, 2], [1, 0])
