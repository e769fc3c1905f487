"""Speaker similarity: calibration against a plain loop over pairs, and both encoders through the family."""

from importlib import resources
from pathlib import Path

import numpy as np
import onnx_files
import pytest

from voxzoo.core.audio import Audio
from voxzoo.core.errors import VoxzooError
from voxzoo.eval.metric import MetricError, Original, Pair
from voxzoo.eval.speaker_embedding import embed_ge2e
from voxzoo.eval.speaker_similarity import calibrate, cosine, open_ge2e, open_onnx, relative

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples


def test_calibration_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    speakers: list[str | None] = ["a", "b", "a", None, "c", "b", "a", "b"]
    vectors = rng.normal(size=(8, 5)) + 1
    same, different = [], []
    for i in range(8):
        for j in range(i):
            if speakers[i] is not None and speakers[j] is not None:
                c = vectors[i] @ vectors[j] / np.sqrt((vectors[i] @ vectors[i]) * (vectors[j] @ vectors[j]))
                (same if speakers[i] == speakers[j] else different).append(c)
    found = calibrate(vectors, speakers)
    assert found.pop("pairs") == [len(same), len(different)] == [6, 15]
    assert found == pytest.approx(
        {"same": np.mean(same), "same_sd": np.std(same), "different": np.mean(different), "different_sd": np.std(different),
         "clips": 7, "speakers": 3}
    )  # fmt: skip


def test_a_calibration_that_cannot_be_made_says_why() -> None:
    one = calibrate(np.eye(3), ["a", "a", "a"])
    assert (one["same"], one["different"], one["pairs"]) == (0.0, None, [3, 0])
    assert one["missing"] == {"different": "there are not two speakers"}
    single = calibrate(np.eye(3), ["a", "b", "c"])
    assert (single["same"], single["pairs"]) == (None, [0, 3])
    assert single["missing"] == {"same": "no speaker has two clips"}
    for empty in (calibrate(np.eye(3), [None] * 3), calibrate(np.zeros((0, 3)), [])):
        assert empty["missing"] == {"same": "no clip has a speaker", "different": "no clip has a speaker"}
        assert empty["pairs"] == [0, 0]
    with pytest.raises(MetricError, match="speaker"):
        relative(0.5, single)
    with pytest.raises(VoxzooError, match="2 speakers"):
        calibrate(np.eye(3), ["a", "b"])
    with pytest.raises(MetricError, match="no direction"):
        calibrate(np.zeros((2, 3)), ["a", "b"])


def test_a_similarity_on_the_scale_of_the_calibration() -> None:
    scale = {"same": 0.9, "different": 0.6}
    assert [relative(x, scale) for x in (0.6, 0.75, 0.9, 0.96)] == pytest.approx([0, 0.5, 1, 1.2])
    with pytest.raises(MetricError, match="does not tell"):
        relative(0.5, {"same": 0.6, "different": 0.6})


def test_cosines() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(0.5**0.5)
    assert cosine(np.array([1.0, 2.0]), np.array([-2.0, -4.0])) == pytest.approx(-1)
    with pytest.raises(MetricError, match="no direction"):
        cosine(np.zeros(2), np.ones(2))
    with pytest.raises(VoxzooError, match="shapes"):
        cosine(np.ones(2), np.ones(3))


def test_the_ge2e_family(speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("_webrtcvad")
    pytest.importorskip("onnxruntime")
    measure = open_ge2e(None)
    speech = speech[: 3 * RATE]
    original = Original(Audio(speech, RATE), RATE)
    own = measure(Pair(original, speech))
    assert own["speaker_similarity"] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(own["speaker_embedding"], embed_ge2e(speech), atol=1e-6)
    faster = np.interp(np.arange(0, len(speech), 1.5), np.arange(len(speech)), speech).astype(np.float32)  # a higher voice
    other = measure(Pair(original, faster))
    assert other["speaker_embedding"] == own["speaker_embedding"]
    assert other["speaker_similarity"] == pytest.approx(float(embed_ge2e(faster) @ embed_ge2e(speech)), abs=1e-5)
    assert other["speaker_similarity"] < 0.9
    for decoded, reason in (
        (np.zeros_like(speech), "decoded sound is silent"),
        (np.full_like(speech, np.nan), "decoded sound is not finite"),
        (speech[:1600], r"shorter than 0\.25 s"),
    ):
        with pytest.raises(MetricError, match=reason):
            measure(Pair(original, decoded))
    with pytest.raises(MetricError, match="original is silent"):
        measure(Pair(Original(Audio(np.zeros(RATE, np.float32), RATE), RATE), speech))


def test_the_family_of_an_onnx_encoder(tmp_path: Path, speech: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    measure = open_onnx(onnx_files.moments(tmp_path / "encoder.onnx", 4))
    original, decoded = Original(Audio(speech, RATE), RATE), 0.5 * speech[:RATE]

    def answers(x: np.ndarray) -> np.ndarray:
        return np.array([x.mean(), (x**2).mean(), np.abs(x).mean(), x.max()])

    found = measure(Pair(original, decoded))
    a, b = answers(speech), answers(decoded)
    assert found["speaker_onnx_similarity"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    np.testing.assert_allclose(found["speaker_onnx_embedding"], a / np.linalg.norm(a), atol=1e-5)
    with pytest.raises(MetricError, match="there is no file"):
        open_onnx(str(tmp_path / "none.onnx"))
