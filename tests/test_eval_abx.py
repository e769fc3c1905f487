"""ABX: against a triple loop over items with a plain dynamic program; its chance line; speech with known phones."""

from __future__ import annotations

import math
from collections import defaultdict
from types import ModuleType

import numpy as np
import pytest

from voxzoo.core.errors import TokensError
from voxzoo.eval.abx import ABX, abx, distance_matrix
from voxzoo.eval.metric import MetricError
from voxzoo.eval.phonetic import Phone, triphones


def frame_distance(p: np.ndarray, q: np.ndarray, distance: str) -> float:
    if distance == "equal":
        return float(p != q)
    if distance == "euclidean":
        return math.dist(p, q)
    if distance == "kl":
        return float(0.5 * sum((a - b) * (math.log(a + 1e-6) - math.log(b + 1e-6)) for a, b in zip(p, q, strict=True)))
    if not p.any() or not q.any():
        return 0.0 if not p.any() and not q.any() else 0.5
    return math.acos(max(-1.0, min(1.0, p @ q / math.sqrt(p @ p) / math.sqrt(q @ q)))) / math.pi


def slow_warp(x: np.ndarray, y: np.ndarray, distance: str) -> float:
    """The whole table, and the path traced back from its end."""
    cost = [[frame_distance(p, q, distance) for q in y] for p in x]
    table: dict[tuple[int, int], float] = {}
    for i in range(len(x)):
        for j in range(len(y)):
            before = [table[c] for c in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if c in table]
            table[i, j] = cost[i][j] + min(before, default=0.0)
    i, j, steps = len(x) - 1, len(y) - 1, 1
    while (i, j) != (0, 0):
        ways = [c for c in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if c in table]
        i, j = min(ways, key=lambda c: table[c])  # the first of equals
        steps += 1
    return table[len(x) - 1, len(y) - 1] / steps


def slow_abx(items: list, phones: list, speakers: list, contexts: list, mode: str, distance: str) -> tuple[float, int, int]:
    """Every triplet by itself."""
    cells = defaultdict(list)
    n = range(len(items))
    d = {(x, a): slow_warp(items[x], items[a], distance) for x in n for a in n if contexts[x] == contexts[a]}
    for x in n:
        for a in n:
            for b in n:
                if not (contexts[x] == contexts[a] == contexts[b] and phones[x] == phones[a] != phones[b]):
                    continue
                if speakers[a] != speakers[b] or x == a or (speakers[x] == speakers[a]) != (mode == "within"):
                    continue
                score = 1.0 if d[x, a] < d[x, b] else 0.5 if d[x, a] == d[x, b] else 0.0
                cells[phones[a], phones[b], speakers[a], contexts[a], speakers[x]].append(score)
    by_speaker = defaultdict(list)
    for (a, b, s, _, _), scores in cells.items():
        by_speaker[a, b, s].append(1 - np.mean(scores))
    by_pair = defaultdict(list)
    for (a, b, _), errors in by_speaker.items():
        by_pair[a, b].append(np.mean(errors))
    return float(np.mean([np.mean(e) for e in by_pair.values()])), len(cells), sum(map(len, cells.values()))


def material(seed: int = 0, count: int = 60, codes: bool = False, spread: float = 1.0) -> tuple[list, list, list, list]:
    rng = np.random.default_rng(seed)
    phones = [str(p) for p in rng.choice(["a", "e", "i"], count)]
    speakers = [str(s) for s in rng.choice(["anna", "ben", "cleo"], count)]
    contexts = [tuple(c) for c in rng.choice(["t", "k"], (count, 2))]
    centres = {p: rng.normal(size=5) for p in "aei"}
    items = []
    for phone in phones:
        frames = centres[phone] + spread * rng.normal(size=(rng.integers(1, 7), 5))
        items.append(np.abs(frames).round().astype(int).sum(1) % 4 if codes else frames)
    return items, phones, speakers, contexts


@pytest.mark.parametrize("mode", ["within", "across"])
@pytest.mark.parametrize("distance", ["angular", "euclidean", "kl", "equal"])
def test_equals_a_triple_loop(mode: str, distance: str) -> None:
    items, phones, speakers, contexts = material(codes=distance == "equal")
    if distance == "kl":
        items = [np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in items]
    error, cells, triplets = slow_abx(items, phones, speakers, contexts, mode, distance)
    got = abx(items, phones, speakers, contexts, mode=mode, distance=distance, max_items=None, max_x_speakers=None)
    assert abs(got.error - error) < 1e-12
    assert (got.cells, got.triplets, got.left_out) == (cells, triplets, 0.0)
    assert 0.02 < got.error < 0.6


@pytest.mark.parametrize("distance", ["angular", "euclidean", "equal"])
def test_warping_equals_the_plain_table(distance: str) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 20, 40)
    if distance == "equal":
        items = [rng.integers(0, 3, n) for n in sizes]  # few codes: many paths of equal cost
    else:
        items = [rng.normal(size=(n, 4)) * (rng.random((n, 1)) > 0.1) for n in sizes]  # frames of zeros too
    want = [[slow_warp(a, b, distance) for b in items[:10]] for a in items]
    assert np.abs(distance_matrix(items, items[:10], distance) - want).max() < (1e-12 if distance == "equal" else 2e-8)


def test_distances_of_a_textbook_case() -> None:
    """1 2 3 against 1 3: the path (1,1) (2,1) (3,3) or (1,1) (2,3) (3,3) costs 1 over three cells."""
    one, two = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [3.0]])
    assert distance_matrix([one, two], [one, two], "euclidean").ravel().tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0])
    ways = [np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([[-3.0, 0.0]])]
    assert distance_matrix(ways[:1], ways).ravel().tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_what_is_known() -> None:
    items, phones, speakers, contexts = material(spread=1e-3)
    assert abx(items, phones, speakers, contexts).error == 0.0
    assert abx(items, phones, speakers, contexts, mode="across").error == 0.0
    constant = [np.ones((len(x), 5)) for x in items]
    for distance in ("angular", "euclidean"):
        assert abx(constant, phones, speakers, contexts, distance=distance).error == 0.5
    items, phones, speakers, _ = material(count=600, spread=0.7)
    assert abx(items, phones, speakers).error < 0.2
    shuffled = np.random.default_rng(1).permutation(phones).tolist()
    for mode in ("within", "across"):
        assert abs(abx(items, shuffled, speakers, mode=mode).error - 0.5) < 0.04


def test_caps_are_kept_and_seeded() -> None:
    items, phones, speakers, contexts = material(count=300)
    full = abx(items, phones, speakers, contexts, mode="across", max_items=None)
    capped = abx(items, phones, speakers, contexts, mode="across", max_items=2, max_x_speakers=1)
    assert capped.distances < full.distances / 4
    assert capped == abx(items, phones, speakers, contexts, mode="across", max_items=2, max_x_speakers=1)
    assert capped != abx(items, phones, speakers, contexts, mode="across", max_items=2, max_x_speakers=1, seed=1)
    few = abx(items, phones, speakers, contexts, max_distances=3000)
    assert few.distances <= 3000
    assert 0 < few.left_out < 1
    assert abs(few.error - full.error) < 0.2


def test_bad_input() -> None:
    items, phones, speakers, contexts = material()
    with pytest.raises(MetricError, match="no items"):
        abx([], [], [])
    with pytest.raises(MetricError, match="one phone only"):
        abx(items, ["a"] * len(items), speakers)
    with pytest.raises(MetricError, match="one speaker only"):
        abx(items, phones, ["anna"] * len(items), mode="across")
    assert isinstance(abx(items, phones, ["anna"] * len(items)), ABX)
    with pytest.raises(MetricError, match="no phone occurs twice"):
        abx(items[:2], ["a", "b"], ["anna", "anna"])
    with pytest.raises(MetricError, match="no two speakers"):
        abx(items[:3], ["a", "b", "a"], ["anna", "anna", "ben"], [1, 1, 2], mode="across")
    with pytest.raises(TokensError, match="59 phones"):
        abx(items, phones[:-1], speakers, contexts)
    with pytest.raises(TokensError, match="item 1 has shape"):
        abx([items[0], items[1][:0]], ["a", "b"], ["x", "x"])
    with pytest.raises(TokensError, match="NaN"):
        abx([*items[:-1], np.full((2, 5), np.nan)], phones, speakers)
    with pytest.raises(TokensError, match="frames of 4 values"):
        abx([*items[:-1], np.ones((2, 4))], phones, speakers)
    with pytest.raises(TokensError, match="sum to 1"):
        abx(items, phones, speakers, distance="kl")
    with pytest.raises(TokensError, match="expected angular"):
        abx(items, phones, speakers, distance="cosine")


def cut(espeak: ModuleType, voices: int, sentences: int) -> tuple[list, list, list, list, list]:
    """Triphones of the labelled speech: features, codes, and their labels."""
    out: tuple[list, list, list, list, list] = ([], [], [], [], [])
    for clip, frames, codes in zip(espeak.corpus(voices, sentences), *espeak.units(voices, sentences), strict=True):
        for span in triphones([Phone(*p) for p in clip.phones], len(frames), 50.0):
            row = (frames[span.first : span.last], codes[span.first : span.last], span.label, clip.speaker, span.context)
            for column, value in zip(out, row, strict=True):
                column.append(value)
    return out


def test_speech(espeak: ModuleType) -> None:
    """Features tell more than their tokens, a speaker's own phones are nearer than another's, and all beat chance."""
    features, codes, phones, speakers, contexts = cut(espeak, 3, 8)
    across = abx(features, phones, speakers, contexts, mode="across").error
    of_codes = abx(codes, phones, speakers, contexts, mode="across", distance="equal").error
    assert across < of_codes < 0.35
    rng = np.random.default_rng(0)  # few triplets are left when phones are shuffled: many shuffles
    shuffled = [
        abx(codes, rng.permutation(phones).tolist(), speakers, contexts, mode="across", distance="equal") for _ in range(40)
    ]
    assert abs(np.mean([found.error for found in shuffled]) - 0.5) < 0.06


@pytest.mark.slow
def test_speech_at_full_size(espeak: ModuleType) -> None:
    """8 voices x 40 sentences: near 2.1 / 10.3 % for features and 3.1 / 26.9 % for tokens, within / across."""
    features, codes, phones, speakers, contexts = cut(espeak, 8, 40)
    for mode, low, high in (("within", 0.005, 0.04), ("across", 0.04, 0.16)):
        assert low < abx(features, phones, speakers, contexts, mode=mode).error < high
    for mode, low, high in (("within", 0.02, 0.07), ("across", 0.15, 0.32)):
        assert low < abx(codes, phones, speakers, contexts, mode=mode, distance="equal").error < high
