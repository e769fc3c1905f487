"""Speaker embeddings: those of the resemblyzer package itself, and those of an ONNX file with a known answer."""

import importlib.util
import sys
import types
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.eval.metric import MetricError
from voxzoo.eval.speaker_embedding import embed_ge2e, embed_onnx, embed_utterance, preprocess

RATE = 16000
_spec = importlib.util.spec_from_file_location("onnx_files", Path(__file__).with_name("onnx_files.py"))
assert _spec
assert _spec.loader
onnx_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(onnx_files)
vad = pytest.importorskip("_webrtcvad")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples


class Vad:
    """What `webrtcvad` is around its C module; its own import needs an old setuptools."""

    def __init__(self, mode: int) -> None:
        self.detector = vad.create()
        vad.init(self.detector)
        vad.set_mode(self.detector, mode)

    def is_speech(self, pcm: bytes, sample_rate: int) -> bool:
        return vad.process(self.detector, sample_rate, pcm, len(pcm) // 2)


@pytest.fixture(scope="module")
def reference() -> Any:
    stub = types.ModuleType("webrtcvad")
    stub.Vad = Vad
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setitem(sys.modules, "webrtcvad", stub)
        warnings.simplefilter("ignore")
        package = pytest.importorskip("resemblyzer")
        return types.SimpleNamespace(preprocess=package.preprocess_wav, encoder=package.VoiceEncoder("cpu", verbose=False))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("samples", "gain"),
    [(4000, 1.0), (25599, 0.03), (25600, 1.0), (40001, 0.03), pytest.param(150001, 1.0, marks=pytest.mark.slow)],
)
def test_embeddings_are_those_of_resemblyzer(reference: Any, speech: np.ndarray, samples: int, gain: float) -> None:
    clip = np.float32(gain) * speech[2000 : 2000 + samples]
    theirs = reference.preprocess(clip)
    ours = preprocess(clip)
    np.testing.assert_allclose(ours, theirs, atol=1e-7)
    np.testing.assert_allclose(embed_ge2e(clip), reference.encoder.embed_utterance(theirs), atol=1e-5)
    np.testing.assert_allclose(embed_utterance(clip), reference.encoder.embed_utterance(clip), atol=1e-5)


def test_an_embedding_has_length_one_and_quiet_clips_are_raised(speech: np.ndarray) -> None:
    loud, quiet = embed_ge2e(0.1 * speech), embed_ge2e(0.02 * speech)
    assert loud.shape == (256,)
    assert np.linalg.norm(loud) == pytest.approx(1, abs=1e-6)
    assert loud.min() >= 0
    assert loud @ quiet > 0.99


def test_what_has_no_speaker_is_refused(speech: np.ndarray) -> None:
    hum = 0.001 * np.sin(np.arange(RATE) * 2 * np.pi * 50 / RATE).astype(np.float32)
    for samples, reason in (
        (np.zeros(RATE, np.float32), "silent"),
        (np.full(RATE, np.nan, np.float32), "not finite"),
        (speech[:1600], r"shorter than 0\.25 s"),
        (hum, "no speech is found"),
    ):
        with pytest.raises(MetricError, match=reason):
            embed_ge2e(samples)
    assert preprocess(speech[:100]).shape == (0,)


def test_an_encoder_from_an_onnx_file(tmp_path: Path, speech: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    path = onnx_files.moments(tmp_path / "encoder.onnx", 3)
    expected = np.array([np.mean(speech), np.mean(speech**2), np.mean(np.abs(speech))])
    np.testing.assert_allclose(embed_onnx(path, speech), expected / np.linalg.norm(expected), atol=1e-5)
    assert embed_onnx(path, speech[:4000]).shape == (3,)
    with pytest.raises(MetricError, match="silent"):
        embed_onnx(path, np.zeros(RATE, np.float32))
    with pytest.raises(MetricError, match="gives largest, smallest; expected one output"):
        embed_onnx(onnx_files.extremes(tmp_path / "two.onnx"), speech)
    with pytest.raises(MetricError, match="there is no file"):
        embed_onnx(str(tmp_path / "none.onnx"), speech)
