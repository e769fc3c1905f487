"""Held-out n-gram code length against a plain loop and closed forms; byte-pair encoding against a plain one."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from voxzoo import TokensError
from voxzoo.eval.bpe import bpe_gain, bpe_lengths, bpe_merges
from voxzoo.eval.ngrams import ngram_bits


def slow_bits(train: list[list[int]], test: list[list[int]], size: int, order: int) -> float:
    """The definition, word for word."""
    follows: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for clip in train:
        for t, code in enumerate(clip):
            for n in range(min(order, t + 1)):
                follows[tuple(clip[t - n : t])][code] += 1

    def probability(code: int, history: tuple[int, ...]) -> float:
        shorter = probability(code, history[1:]) if history else 1 / size
        counts = follows.get(history)
        if not counts:
            return shorter
        return (counts[code] + len(counts) * shorter) / (sum(counts.values()) + len(counts))

    bits = [
        -math.log2(probability(code, tuple(clip[max(0, t - order + 1) : t]))) for clip in test for t, code in enumerate(clip)
    ]
    return sum(bits) / len(bits)


@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_a_plain_loop_gives_the_same_bits(size: int) -> None:
    rng = np.random.default_rng(size)
    clips = [(rng.random(int(n)) ** 2 * size).astype(np.uint16) for n in rng.integers(0, 60, 40)]
    train, test = clips[:30], clips[30:]
    found = ngram_bits(train, test, size, (1, 2, 3, 4))
    for order in (1, 2, 3, 4):
        wanted = slow_bits([c.tolist() for c in train], [c.tolist() for c in test], size, order)
        assert found[order] == pytest.approx(wanted, abs=1e-10)


def test_tokens_never_seen_cost_bits_and_are_never_impossible() -> None:
    train, test = [np.array([0, 1, 0, 1])], [np.array([9, 9, 9])]
    found = ngram_bits(train, test, 10)
    assert found[1] == pytest.approx(-math.log2(2 * 0.1 / 6))  # (0 + T / V) / (N + T)
    assert found[2] == found[1]  # no history known


def test_a_markov_chain_approaches_its_entropy_rate() -> None:
    """Two states that are kept with probability 0.9: H = h(0.1) bits a token; the unigram needs 1 bit."""
    rng = np.random.default_rng(0)
    clips = [np.cumsum(rng.random(1000) < 0.1) % 2 for _ in range(100)]
    found = ngram_bits(clips[10:], clips[:10], 2)
    rate = -0.1 * math.log2(0.1) - 0.9 * math.log2(0.9)
    assert found[1] == pytest.approx(1, abs=0.01)
    assert found[2] == pytest.approx(rate, abs=0.02)
    assert found[3] == pytest.approx(rate, abs=0.02)


def test_what_has_no_value() -> None:
    one = [np.array([1, 2])]
    with pytest.raises(TokensError, match="2 training and 0 held-out"):
        ngram_bits(one, [], 4)
    with pytest.raises(TokensError, match="0 training"):
        ngram_bits([], one, 4)
    with pytest.raises(TokensError, match="63 bits"):
        ngram_bits(one, one, 1 << 22)


# ---------------------------------------------------------------------- byte pairs
def slow_lengths(clips: list[list[int]], size: int, merges: int) -> list[int]:
    lengths = [sum(map(len, clips))]
    for symbol in range(size, size + merges):
        counts = Counter(pair for clip in clips for pair in itertools.pairwise(clip))
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        clips = [_replaced(clip, best, symbol) for clip in clips]
        lengths.append(sum(map(len, clips)))
    return lengths


def _replaced(clip: list[int], pair: tuple[int, int], symbol: int) -> list[int]:
    out, i = [], 0
    while i < len(clip):
        found = tuple(clip[i : i + 2]) == pair
        out.append(symbol if found else clip[i])
        i += 2 if found else 1
    return out


@pytest.mark.parametrize("seed", range(40))
def test_byte_pairs_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    clips = [rng.integers(0, size, int(n)) for n in rng.integers(0, 50, 6)]
    assert bpe_lengths(clips, bpe_merges(clips, size, 30), size) == slow_lengths([c.tolist() for c in clips], size, 30)


@pytest.mark.parametrize("seed", range(10))
def test_merges_apply_to_other_clips_in_their_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    train, test = ([rng.integers(0, 4, 60) for _ in range(n)] for n in (4, 2))
    merges, clips = bpe_merges(train, 4, 20), [clip.tolist() for clip in test]
    lengths = [120]
    for symbol, pair in enumerate(merges, 4):
        clips = [_replaced(clip, pair, symbol) for clip in clips]
        lengths.append(sum(map(len, clips)))
    assert bpe_lengths(test, merges, 4) == lengths


def test_noise_gains_nothing_on_held_out_clips() -> None:
    rng = np.random.default_rng(0)
    train, test = ([rng.integers(0, 500, 2000) for _ in range(n)] for n in (5, 2))
    assert bpe_gain(train, train, 500)["saved"] > 0.03
    assert bpe_gain(train, test, 500)["saved"] < 0.003
    assert bpe_gain(train, test, 500)["saved_bits"] < 0


def test_byte_pair_gain() -> None:
    found = bpe_gain([np.array([0, 1] * 4)], [np.array([0, 1] * 8)], 2, merges=1)
    assert found == {
        "merges": 1,
        "tokens": 16,
        "after": 8,
        "saved": 0.5,
        "saved_bits": pytest.approx(1 - 8 * math.log2(3) / 16),
    }
    assert bpe_gain([np.arange(5)], [np.arange(5)], 8)["merges"] == 0
    assert bpe_gain([], [], 8)["saved"] is None


def test_byte_pairs_of_many_tokens() -> None:
    rng = np.random.default_rng(0)
    clips = [(rng.random(500) ** 2 * 200).astype(int) for _ in range(40)]
    assert bpe_lengths(clips, bpe_merges(clips, 200, 20), 200) == slow_lengths([c.tolist() for c in clips], 200, 20)
