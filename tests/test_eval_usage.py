"""Entropies, imbalance, usage growth and runs against textbook values, scipy and slow loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from voxzoo import TokensError
from voxzoo.eval.entropy import conditional_entropy, conditional_entropy_of_pairs, entropy, perplexity
from voxzoo.eval.runs import boundaries, run_lengths
from voxzoo.eval.usage import (
    dead_codes,
    expected_used,
    gini,
    growth,
    lorenz,
    share_of_most_used,
    share_of_rarest,
    usage,
    zipf_slope,
)

RNG = np.random.default_rng(0)
SKEWED = np.concatenate([RNG.zipf(1.5, 80).clip(max=9000), np.zeros(20, np.int64)])


# ---------------------------------------------------------------------- entropy
@pytest.mark.parametrize("counts", [np.ones(64, int), np.array([0, 0, 7]), SKEWED, np.array([1, 2, 3], np.uint32)])
def test_entropy_is_scipys(counts: np.ndarray) -> None:
    assert entropy(counts) == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-12)
    assert perplexity(counts) == pytest.approx(2 ** scipy.stats.entropy(counts, base=2))


@pytest.mark.parametrize(("contexts", "codes"), [(5, 9), (700, 3), (1, 40)])
def test_conditional_entropy_is_joint_less_marginal(contexts: int, codes: int) -> None:
    table = RNG.poisson(0.7, (contexts, codes)).astype(np.uint32)
    wanted = scipy.stats.entropy(table.ravel(), base=2) - scipy.stats.entropy(table.sum(1), base=2)
    assert conditional_entropy(table) == pytest.approx(wanted, abs=1e-12)
    context, code = np.repeat(np.indices(table.shape).reshape(2, -1), table.ravel(), axis=1)
    shuffled = RNG.permutation(len(context))
    assert conditional_entropy_of_pairs(context[shuffled], code[shuffled], codes) == pytest.approx(wanted, abs=1e-12)


def test_no_tokens_have_no_entropy() -> None:
    for function, argument in ((entropy, np.zeros(4, int)), (conditional_entropy, np.zeros((2, 2), int)), (gini, np.zeros(4))):
        with pytest.raises(TokensError):
            function(argument)
    with pytest.raises(TokensError, match="no pairs"):
        conditional_entropy_of_pairs(np.zeros(0, int), np.zeros(0, int), 4)


# ---------------------------------------------------------------------- imbalance
def test_gini_of_the_textbook() -> None:
    assert gini(np.full(10, 3)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 5])) == pytest.approx(3 / 4)
    assert gini(np.array([1, 2, 3, 4])) == pytest.approx(0.25)
    differences = np.abs(SKEWED[:, None] - SKEWED[None]).sum()  # mean absolute difference over twice the mean
    assert gini(SKEWED) == pytest.approx(differences / (2 * len(SKEWED) ** 2 * SKEWED.mean()))
    grid = np.linspace(0, 1, 100_001)
    assert gini(SKEWED) == pytest.approx(1 - 2 * np.trapezoid(lorenz(SKEWED, grid), grid), abs=1e-6)


def test_lorenz_points_and_what_lies_between() -> None:
    counts = np.array([4, 0, 1, 5])  # sorted: 0 1 4 5
    assert lorenz(counts, np.array([0, 0.25, 0.5, 0.75, 1])) == pytest.approx([0, 0, 0.1, 0.5, 1])
    assert share_of_rarest(counts, 0.375) == pytest.approx(0.05)
    assert share_of_rarest(counts) == 0  # the dead code takes the rarest fifth
    assert share_of_rarest(counts[counts > 0]) == pytest.approx(0.6 * 0.1)
    assert share_of_most_used(counts, 0.25) == pytest.approx(0.5)
    assert share_of_rarest(np.full(7, 3)) == pytest.approx(0.2)


def test_zipf_slope_of_a_power_law_and_of_scipys_fit() -> None:
    exact = 1e9 / np.arange(1, 400) ** 1.3
    assert zipf_slope(RNG.permutation(exact)) == pytest.approx(-1.3)
    used = np.sort(SKEWED[SKEWED > 0])[::-1]
    fit = scipy.stats.linregress(np.log10(np.arange(1, len(used) + 1)), np.log10(used))
    assert zipf_slope(SKEWED) == pytest.approx(fit.slope)
    assert zipf_slope(np.array([5, 0, 3])) is None


# ---------------------------------------------------------------------- usage
def test_usage_and_dead_codes() -> None:
    assert usage(np.array([3, 0, 1, 0])) == 0.5
    assert dead_codes(np.array([3, 0, 1, 0])) == 2


def test_growth_is_the_mean_over_all_draws() -> None:
    tokens = [0, 0, 0, 1, 1, 2]
    for drawn in range(len(tokens) + 1):
        draws = [len(set(draw)) for draw in itertools.combinations(tokens, drawn)]
        assert expected_used(np.array([3, 2, 1, 0]), np.array([drawn]))[0] == pytest.approx(np.mean(draws))


def test_growth_of_many_tokens() -> None:
    counts = SKEWED * 1_000_000
    curve = growth(counts)
    assert curve[0] == [1, 1]
    assert curve[-1] == [int(counts.sum()), 80]
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(curve))
    with pytest.raises(TokensError, match="11"):
        expected_used(np.array([10]), np.array([11]))


# ---------------------------------------------------------------------- runs
def test_runs_end_with_their_clips() -> None:
    clips = [[5, 5, 1], [1, 1], [], [1], [2, 2, 2, 2]]
    codes = np.array([code for clip in clips for code in clip])
    wanted = [len(list(group)) for clip in clips for _, group in itertools.groupby(clip)]
    assert run_lengths(codes, np.array(list(map(len, clips)))).tolist() == wanted
    assert run_lengths(codes).tolist() == [2, 4, 4]
    assert run_lengths(codes[:0]).tolist() == []
    assert boundaries(np.array([0, 2, 0, 3, 0])).tolist() == [2]
    assert math.isclose(len(codes) / len(wanted), np.mean(wanted))
