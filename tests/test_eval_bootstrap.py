"""Intervals and paired tests against scipy, enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from voxzoo import VoxzooError
from voxzoo.eval.bootstrap import LEAST_PAIRS, PERMUTATIONS, holm, interval, paired

RNG = np.random.default_rng(7)


def test_the_interval_is_that_of_scipy_but_for_the_draws() -> None:
    x = RNG.gamma(2.0, size=80)
    ours = interval(x, resamples=20000)
    theirs = scipy.stats.bootstrap((x,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    assert ours.mean == pytest.approx(x.mean())
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
    assert ours.count == 80


def test_weights_are_drawn_with_their_clips() -> None:
    x, w = RNG.normal(size=60), RNG.integers(1, 30, 60).astype(float)
    ours = interval(x, w, resamples=20000)
    assert ours.mean == pytest.approx(np.average(x, weights=w))
    rng = np.random.default_rng(3)
    means = []
    for _ in range(5000):  # the slow way
        drawn = rng.integers(60, size=60)
        means.append(sum(x[i] * w[i] for i in drawn) / sum(w[i] for i in drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    assert ours.low == pytest.approx(low, abs=0.05 * (high - low))
    assert ours.high == pytest.approx(high, abs=0.05 * (high - low))


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    rng, held, runs = np.random.default_rng(5), 0, 600
    for run in range(runs):
        found = interval(rng.exponential(size=50), resamples=400, seed=run)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 0.89 <= held / runs <= 0.97  # the percentile bootstrap of 50 skewed values is known to be a little too narrow


def test_it_repeats_exactly_and_the_seed_matters() -> None:
    x, y = RNG.normal(size=40), RNG.normal(size=40)
    assert interval(x) == interval(x)
    assert interval(x) != interval(x, seed=1)
    assert paired(x, y) == paired(x, y)


def test_few_clips_have_no_interval_and_no_p() -> None:
    assert interval([2.0]) == interval([2.0], resamples=9)
    assert (interval([2.0]).mean, interval([2.0]).low) == (2.0, None)
    assert interval([]).mean is None
    assert interval([1.0, 2.0], [0.0, 0.0]).mean is None
    few = paired([1.0] * (LEAST_PAIRS - 1), [0.0] * (LEAST_PAIRS - 1))
    assert (few.difference, few.p) == (1.0, None)
    assert "5 pairs" in few.reason
    assert paired([1.0] * LEAST_PAIRS, [0.0] * LEAST_PAIRS).p == 2 / 2**LEAST_PAIRS


@pytest.mark.parametrize("n", [6, 9, 13])
def test_p_of_few_pairs_counts_all_sign_flips(n: int) -> None:
    d = RNG.normal(0.4, 1, size=n)
    y = RNG.normal(size=n)
    flipped = [abs(np.mean(d * signs)) for signs in itertools.product((1, -1), repeat=n)]
    wanted = np.mean([value >= abs(d.mean()) - 1e-12 for value in flipped])
    assert paired(y + d, y).p == pytest.approx(wanted)


def test_p_of_many_pairs_is_near_the_t_test_and_uniform_without_a_difference() -> None:
    x = RNG.normal(size=200)
    y = x + RNG.normal(0.1, 0.6, size=200)
    assert paired(x, y).p == pytest.approx(scipy.stats.ttest_rel(x, y).pvalue, abs=0.02)
    assert paired(x, x + 5).p == 1 / (PERMUTATIONS + 1)
    rng = np.random.default_rng(11)
    ps = [paired(rng.normal(size=8), rng.normal(size=8), resamples=0).p or 0.0 for _ in range(300)]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.08


def test_pairs_swap_with_their_weights() -> None:
    a, b = RNG.normal(size=7), RNG.normal(size=7)
    wa, wb = RNG.integers(1, 9, 7).astype(float), RNG.integers(1, 9, 7).astype(float)
    wanted = np.average(a, weights=wa) - np.average(b, weights=wb)
    extreme = 0
    for swaps in itertools.product((False, True), repeat=7):
        s = np.array(swaps)
        x, wx, y, wy = np.where(s, b, a), np.where(s, wb, wa), np.where(s, a, b), np.where(s, wa, wb)
        extreme += abs(np.average(x, weights=wx) - np.average(y, weights=wy)) >= abs(wanted) - 1e-12
    found = paired(a, b, wa, wb)
    assert found.difference == pytest.approx(wanted)
    assert found.p == pytest.approx(extreme / 2**7)


def test_the_difference_has_an_interval_of_its_own() -> None:
    x = RNG.normal(0, 10, size=100)
    found = paired(x + RNG.normal(0.5, 0.1, 100), x)  # clips differ much, entries within a clip little
    assert found.low is not None
    assert found.high is not None
    assert 0.45 < found.low < 0.5 < found.high < 0.55


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(VoxzooError, match="must be finite"):
        interval([1.0, float("nan")])
    with pytest.raises(VoxzooError, match="not negative"):
        interval([1.0, 2.0], [1.0, -1.0])
    with pytest.raises(VoxzooError, match="one of each entry"):
        paired([1.0], [1.0, 2.0])
