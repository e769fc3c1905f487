"""Plug-ins: ONNX files with known answers, and NISQA against torchmetrics on a random checkpoint of the published form."""

import importlib.util
import pickle
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxzoo.core.audio import Audio
from voxzoo.eval.metric import Measure, MetricError, Original, Pair
from voxzoo.eval.mos_plugins import NISQA, SQUIM, open_nisqa, open_squim, open_utmos, predict
from voxzoo.eval.nisqa import nisqa, read_nisqa

RATE = 16000
pytest.importorskip("onnxruntime")

_spec = importlib.util.spec_from_file_location("onnx_files", Path(__file__).with_name("onnx_files.py"))
assert _spec
assert _spec.loader
onnx_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(onnx_files)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples


def pair(samples: np.ndarray, rate: int = RATE) -> Pair:
    return Pair(Original(Audio(np.ones(rate, np.float32), rate), rate), samples)


def answers(samples: np.ndarray) -> list[float]:
    x = samples.astype(np.float64)
    return [x.mean(), (x**2).mean(), np.abs(x).mean(), x.max(), x.min()]


OPENERS = {"utmos": (open_utmos, ("utmos",)), "nisqa": (open_nisqa, NISQA), "squim": (open_squim, SQUIM)}


@pytest.mark.parametrize("name", OPENERS)
def test_an_onnx_predictor_hears_the_decoded_sound(name: str, tmp_path: Path, speech: np.ndarray) -> None:
    opener, names = OPENERS[name]
    measure: Measure = opener(onnx_files.moments(tmp_path / "m.onnx", len(names)))
    for samples in (speech, speech[:4000], 3 * speech):  # the last is clipped
        heard = np.clip(samples, -1, 1)
        assert measure(pair(samples)) == pytest.approx(dict(zip(names, answers(heard), strict=False)), abs=1e-5)
    resampled = measure(pair(Audio(speech, RATE).resample(24000).samples, 24000))  # it is given 16 kHz
    assert resampled == pytest.approx(dict(zip(names, answers(speech), strict=False)), abs=1e-2)
    for samples, reason in (
        (np.zeros(RATE, np.float32), "decoded sound is silent"),
        (np.full(RATE, np.nan, np.float32), "decoded sound is not finite"),
        (speech[:1600], r"shorter than 0\.25 s"),
    ):
        with pytest.raises(MetricError, match=reason):
            measure(pair(samples))


def test_files_that_are_no_predictor(tmp_path: Path, speech: np.ndarray) -> None:
    with pytest.raises(MetricError, match="there is no file"):
        open_utmos(str(tmp_path / "none.onnx"))
    for make in (onnx_files.custom_operator, lambda path: str(path.write_text("no graph") and path)):
        with pytest.raises(MetricError, match="is not an ONNX model that runs here"):
            open_utmos(make(tmp_path / f"{id(make)}.onnx"))
    with pytest.raises(MetricError, match="gives 5 values; expected 3: squim_stoi, squim_pesq, squim_si_sdr"):
        predict(onnx_files.moments(tmp_path / "5.onnx", 5), speech, SQUIM)
    with pytest.raises(MetricError, match=r"expected one input, a waveform float32 \(1, T\)"):
        predict(onnx_files.two_inputs(tmp_path / "2.onnx"), speech, ("utmos",))
    two = predict(onnx_files.extremes(tmp_path / "outputs.onnx"), speech, ("a", "b"))
    assert two == pytest.approx({"a": speech.max(), "b": speech.min()})  # several outputs, as SQUIM has them
    with pytest.raises(MetricError, match="not finite"):
        predict(onnx_files.logarithm(tmp_path / "log.onnx"), -np.abs(speech), ("utmos",))


# ---------------------------------------------------------------------- NISQA's own checkpoint
SETTINGS = {
    "ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02, "ms_n_mels": 48, "ms_fmax": 20000, "ms_seg_length": 15,
    "ms_seg_hop_length": 4, "ms_max_segments": 1300, "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3],
    "cnn_dropout": 0.2, "cnn_kernel_size": (3, 3), "cnn_c_out_1": 16, "cnn_c_out_2": 32, "cnn_c_out_3": 64,
    "td_sa_d_model": 64, "td_sa_nhead": 1, "td_sa_num_layers": 2, "td_sa_h": 64, "td_sa_dropout": 0.1, "pool_att_h": 128,
    "pool_att_dropout": 0.1,
}  # fmt: skip


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchmetrics with a random checkpoint at `tmp_path / "nisqa.tar"`, in the form NISQA's are published in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("torchmetrics.functional.audio.nisqa")
        pytest.importorskip("librosa")
    torch.manual_seed(0)
    network = module._NISQADIM(SETTINGS)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
    torch.save({"args": SETTINGS, "model_state_dict": network.state_dict()}, tmp_path / "nisqa.tar")
    monkeypatch.setattr(module, "NISQA_DIR", str(tmp_path))
    module._load_nisqa_model.cache_clear()
    yield module.non_intrusive_speech_quality_assessment
    module._load_nisqa_model.cache_clear()


@pytest.mark.parametrize("rate", [16000, 48000])
def test_nisqa_is_that_of_torchmetrics(rate: int, reference: Any, tmp_path: Path, speech: np.ndarray) -> None:
    model = read_nisqa(str(tmp_path / "nisqa.tar"))
    samples = Audio(speech, RATE).resample(rate).samples
    for clip in (samples, samples[: rate // 3], 0.01 * samples[rate : 2 * rate]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = reference(torch.from_numpy(clip), rate).tolist()
        assert nisqa(model, clip, rate) == pytest.approx(theirs, abs=1e-4)


def test_the_nisqa_family_takes_the_published_file(reference: Any, tmp_path: Path, speech: np.ndarray) -> None:
    path = str(tmp_path / "nisqa.tar")
    assert open_nisqa(path)(pair(speech)) == dict(zip(NISQA, nisqa(read_nisqa(path), speech, RATE), strict=True))
    with pytest.raises(MetricError, match="longer than NISQA reaches"):
        open_nisqa(path)(pair(np.tile(speech, 6)))
    with pytest.raises(MetricError, match="silent"):
        open_nisqa(path)(pair(np.zeros(RATE, np.float32)))


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("harm", "w"))


def test_a_nisqa_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.tar").write_bytes(pickle.dumps(Harmful()))
    torch.save({"args": {}, "model_state_dict": Harmful()}, tmp_path / "worse.tar")
    torch.save({"args": SETTINGS, "model_state_dict": {}}, tmp_path / "empty.tar")
    for name in ("bad.tar", "worse.tar", "empty.tar"):
        with pytest.raises(MetricError, match="is not a NISQA v2 checkpoint"):
            open_nisqa(name)
    assert not Path("harm").exists()
    with pytest.raises(MetricError, match="there is no file"):
        open_nisqa("absent.tar")
