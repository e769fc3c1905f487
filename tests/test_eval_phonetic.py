"""PNMI and purities: hand-made tables, scikit-learn, and the frames phones fall on."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest

from voxzoo.core.errors import TokensError
from voxzoo.eval.metric import MetricError
from voxzoo.eval.phonetic import (
    Phone,
    frame_labels,
    joint_counts,
    mutual_information,
    phone_content,
    phone_content_of_counts,
    triphones,
)

PHONES = [Phone(0.0, 0.1, "_"), Phone(0.1, 0.2, "a"), Phone(0.2, 0.3, "b"), Phone(0.3, 0.36, "c"), Phone(0.36, 0.5, "_")]


def test_a_table_by_hand() -> None:
    """Tokens x phones [[4, 0], [2, 2]]: purities 6/8 and (4 + 2)/8; I = H(phone) - H(phone | token)."""
    content = phone_content_of_counts(np.array([[4, 0], [2, 2]]))
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert content.phone_purity == 0.75
    assert content.cluster_purity == 0.75
    assert content.phone_entropy == pytest.approx(entropy)
    assert content.token_entropy == pytest.approx(1.0)
    assert content.pnmi == pytest.approx((entropy - 0.5) / entropy)
    assert (content.frames, content.phones, content.tokens) == (8, 2, 2)
    one = phone_content_of_counts(np.array([[5, 0], [0, 3], [0, 0]]))
    assert (one.pnmi, one.phone_purity, one.cluster_purity) == (1.0, 1.0, 1.0)
    none = phone_content_of_counts(np.array([[2, 4], [3, 6]]))
    assert none.pnmi < 1e-12
    assert none.phone_purity == 10 / 15
    assert none.cluster_purity == 9 / 15


def test_information_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, 2000)
    phones = np.array(list("abcdefgh"))[(tokens + rng.integers(0, 6, 2000)) % 8]
    got = phone_content(tokens, phones)
    assert got.information == pytest.approx(metrics.mutual_info_score(tokens, phones) / math.log(2), abs=1e-12)
    homogeneity = metrics.homogeneity_score(phones, tokens)  # I / H(phone) by another road
    assert got.pnmi == pytest.approx(homogeneity, abs=1e-12)
    table = metrics.cluster.contingency_matrix(tokens, phones)
    assert np.array_equal(joint_counts(tokens, phones), table)
    assert mutual_information(table.T) == pytest.approx(got.information)


@pytest.mark.parametrize("rate", [10.0, 12.5, 50.0, 75.0])
def test_frames_take_the_phone_of_their_centre(rate: float) -> None:
    frames = int(0.6 * rate)
    want = []
    for i in range(frames):
        time = (i + 0.5) / rate
        want.append(next((p.label for p in PHONES if p.start <= time < p.end), ""))
    assert frame_labels(PHONES, frames, rate).tolist() == want
    assert "" in want
    assert frame_labels([], 3, rate).tolist() == ["", "", ""]
    assert frame_labels(PHONES[::-1], frames, rate).tolist() == want


def test_triphones() -> None:
    """At 50 Hz centres are 0.01, 0.03, ...: b with its neighbours is 0.1 to 0.36, centres 0.11 to 0.35."""
    assert triphones(PHONES, 25, 50.0) == [(5, 18, "b", ("a", "c"))]
    assert triphones(PHONES, 7, 50.0) == [(5, 7, "b", ("a", "c"))]
    assert triphones(PHONES, 5, 50.0) == []
    gap = [Phone(0, 0.1, "a"), Phone(0.1, 0.2, "b"), Phone(0.25, 0.3, "c")]
    assert triphones(gap, 50, 50.0) == []
    assert triphones(PHONES[:2], 50, 50.0) == []
    edges = [Phone(0.01, 0.03, "a"), Phone(0.03, 0.05, "b"), Phone(0.05, 0.07, "c")]  # both ends belong
    assert triphones(edges, 50, 50.0)[0][:2] == (0, 4)


def test_bad_input() -> None:
    with pytest.raises(MetricError, match="no frames"):
        phone_content(np.zeros(0, int), np.zeros(0, str))
    with pytest.raises(MetricError, match="one phone only"):
        phone_content(np.arange(4), np.array(["a"] * 4))
    with pytest.raises(MetricError, match="one phone only"):
        phone_content_of_counts(np.zeros((3, 2), int))
    with pytest.raises(TokensError, match="3 labels against 2"):
        joint_counts(np.arange(3), np.arange(2))
    with pytest.raises(TokensError, match="positive rate"):
        frame_labels(PHONES, 3, 0.0)


def labelled(espeak: ModuleType, voices: int, sentences: int) -> tuple[np.ndarray, np.ndarray]:
    """Code and phone of each frame."""
    clips, codes = espeak.corpus(voices, sentences), espeak.units(voices, sentences)[1]
    labels = [frame_labels([Phone(*p) for p in u.phones], len(z), 50.0) for u, z in zip(clips, codes, strict=True)]
    return np.concatenate(codes), np.concatenate(labels)


def test_speech(espeak: ModuleType) -> None:
    tokens, phones = labelled(espeak, 4, 10)
    real, chance = phone_content(tokens, phones), phone_content(tokens, np.random.default_rng(0).permutation(phones))
    assert real.pnmi > 0.5 > 0.15 > chance.pnmi
    assert real.phone_purity > 0.4 > 0.15 > chance.phone_purity
    assert real.cluster_purity > 2 * chance.cluster_purity


@pytest.mark.slow
def test_speech_at_full_size(espeak: ModuleType) -> None:
    """8 voices x 40 sentences: near PNMI 0.52, phone purity 0.47, cluster purity 0.25."""
    content = phone_content(*labelled(espeak, 8, 40))
    assert abs(content.pnmi - 0.52) < 0.03
    assert abs(content.phone_purity - 0.47) < 0.03
    assert abs(content.cluster_purity - 0.25) < 0.05
