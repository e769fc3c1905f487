"""Probes and mutual information: labels that are there are found, labels that are not there give chance."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest

from voxzoo.core.errors import TokensError
from voxzoo.eval.metric import MetricError
from voxzoo.eval.probes import _scaled, _wilson, histograms, label_information, probe

pytest.importorskip("sklearn")


def clips(count: int, leak: float, seed: int = 0) -> tuple[list[np.ndarray], list[str], list[int]]:
    """Codes below 20 of clips of four speakers; `leak` is the share of frames that the speaker sets."""
    rng = np.random.default_rng(seed)
    speakers = np.arange(count) % 4
    codes = [np.where(rng.random(60) < leak, 5 * s + rng.integers(0, 5, 60), rng.integers(0, 20, 60)) for s in speakers]
    return codes, [f"speaker {s}" for s in speakers], (np.arange(count) // 4).tolist()


def test_histograms() -> None:
    assert histograms([np.array([0, 0, 2, 1]), np.zeros(0, int)], 4).tolist() == [[0.5, 0.25, 0.25, 0], [0, 0, 0, 0]]
    with pytest.raises(TokensError, match="expected 0 to 3"):
        histograms([np.array([4])], 4)


def test_a_label_that_is_there_and_one_that_is_not() -> None:
    codes, speakers, sentences = clips(160, 0.5)
    found = probe(histograms(codes, 20), speakers, sentences)
    assert found.accuracy > 0.95
    assert found.low < found.accuracy <= found.high <= 1
    assert (found.chance, found.clips, found.labels, found.folds, found.left_out) == (0.25, 160, 4, 5, 0)
    codes, speakers, sentences = clips(160, 0.0)
    none = probe(histograms(codes, 20), speakers, sentences)
    assert none.low < 0.25 < none.high
    assert probe(histograms(codes, 20), speakers, sentences) == none


def test_a_sentence_is_never_in_training_and_test() -> None:
    """Features that tell the sentence alone, and labels that go with it: learnt by heart, useless for others."""
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(40), 4)
    features = np.eye(40)[sentences]
    labels = np.array(["odd", "even"])[rng.permutation(np.arange(40) % 2)][sentences]
    assert probe(features, labels.tolist(), None).accuracy > 0.95
    assert probe(features, labels.tolist(), sentences.tolist()).accuracy < 0.7


def test_more_values_than_clips() -> None:
    """Logistic regression on all values predicts what it predicts on the space the clips span."""
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    train, test, labels = rng.normal(size=(30, 80)), rng.normal(size=(50, 80)), np.arange(30) % 3
    train[:, 3] = 2.0
    spread = np.where(train.std(0) > 1e-12, train.std(0), 1.0)
    scaled = [(x - train.mean(0)) / spread for x in (train, test)]
    want = linear.LogisticRegression(max_iter=5000, tol=1e-8).fit(scaled[0], labels).predict_proba(scaled[1])
    seen, new = _scaled(train, test)
    assert seen.shape == (30, 30)
    got = linear.LogisticRegression(max_iter=5000, tol=1e-8).fit(seen, labels).predict_proba(new)
    assert np.abs(got - want).max() < 1e-5


def test_wilson_equals_its_roots() -> None:
    """The interval's ends solve |p - share| = z sqrt(p (1 - p) / n)."""
    for right, total in ((7, 10), (150, 160), (1, 30)):
        for end in _wilson(right, total):
            assert abs(abs(end - right / total) - 1.959964 * math.sqrt(end * (1 - end) / total)) < 1e-9
    assert _wilson(0, 9)[0] == 0.0
    assert _wilson(9, 9)[1] == 1.0


def test_information() -> None:
    known = label_information([np.array([0, 1]), np.array([2, 3]), np.array([1, 0]), np.array([3, 2])], ["a", "b", "a", "b"])
    assert known.value == pytest.approx(1.0)
    assert known.entropy == pytest.approx(1.0)
    metrics = pytest.importorskip("sklearn.metrics")
    codes, speakers, _ = clips(80, 0.3)
    got = label_information(codes, speakers)
    want = metrics.mutual_info_score(np.concatenate(codes), np.repeat(speakers, 60)) / math.log(2)
    assert got.information == pytest.approx(want, abs=1e-12)
    assert got.value > 5 * got.shuffled
    codes, speakers, _ = clips(80, 0.0)
    none = label_information(codes, speakers)
    assert none.value == pytest.approx(none.shuffled, rel=0.5)
    assert none.value > 0


def test_bad_input() -> None:
    codes, speakers, _ = clips(8, 0.5)
    features = histograms(codes, 20)
    with pytest.raises(MetricError, match="fewer than two labels"):
        probe(features, ["one"] * 8)
    with pytest.raises(MetricError, match="fewer than two labels"):
        probe(features, [str(i) for i in range(8)])
    with pytest.raises(TokensError, match="NaN"):
        probe(features * np.nan, speakers)
    with pytest.raises(TokensError, match="one row a clip"):
        probe(features[:-1], speakers)
    assert probe(features, [*speakers[:-1], "another"]).left_out == 2
    with pytest.raises(MetricError, match="one label"):
        label_information(codes, ["one"] * 8)
    with pytest.raises(MetricError, match="no frames"):
        label_information([np.zeros(0, int)], ["one"])
    with pytest.raises(TokensError, match="8 clips and 7 labels"):
        label_information(codes, speakers[:-1])


def test_speech(espeak: ModuleType) -> None:
    """Long-term spectra of synthetic voices tell them apart; shuffled labels do not."""
    heard = espeak.corpus(4, 10)
    features = np.stack([np.log(np.abs(np.fft.rfft(u.samples, 1 << 16)[: 1 << 14]).reshape(64, -1).mean(1)) for u in heard])
    found = probe(features, [u.speaker for u in heard], [u.sentence for u in heard])
    assert found.accuracy > 0.9
    assert probe(features, np.random.default_rng(0).permutation([u.speaker for u in heard]).tolist()).accuracy < 0.5


@pytest.mark.slow
def test_tokens_of_speech_at_full_size(espeak: ModuleType) -> None:
    """8 voices x 40 sentences: the voice is read off the tokens of nearly every clip, against 12.5 % by chance."""
    clips, codes = espeak.corpus(8, 40), espeak.units(8, 40)[1]
    found = probe(histograms(codes, 100), [u.speaker for u in clips], [u.sentence for u in clips])
    assert found.chance == 0.125
    assert found.accuracy > 0.97
    got = label_information(codes, [u.speaker for u in clips])
    assert got.value > 10 * got.shuffled
