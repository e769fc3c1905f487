"""Plug-ins: ONNX files with known answers, and NISQA against torchmetrics on a random checkpoint of the published form."""

import pickle
import warnings
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx_files
import pytest
import torch

from voxzoo.core.audio import Audio
from voxzoo.eval.metric import Measure, MetricError, Original, Pair
from voxzoo.eval.mos_plugins import NISQA, SQUIM, open_nisqa, open_squim, open_utmos, predict
from voxzoo.eval.nisqa import _build, nisqa, read_nisqa

RATE = 16000
pytest.importorskip("onnxruntime")


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


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A `nisqa.tar` in the form NISQA's are published in, of numbers that are the same everywhere."""
    random = np.random.RandomState(0)
    state = _build(SETTINGS).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            drawn = random.uniform(0.5, 2.0, value.shape)
        elif value.ndim > 1:
            drawn = random.normal(0, (4 / value[0].numel()) ** 0.5, value.shape)
        else:
            drawn = random.normal(0, 0.3, value.shape) + name.endswith("weight")
        state[name] = torch.as_tensor(drawn).to(value.dtype)
    path = tmp_path_factory.mktemp("nisqa") / "nisqa.tar"
    torch.save({"args": SETTINGS, "model_state_dict": state}, path)
    return str(path)


def bursts(rate: int, seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.1 * np.random.RandomState(1).normal(size=len(t)) * np.sin(2 * np.pi * 1.5 * t) ** 2).astype(np.float32)


CLIPS = [(16000, 2.0), (48000, 1.0), (16000, 0.31)]
FIGURES = [
    (-0.66922, -1.28298, 1.87670, 1.19960, -0.41051),
    (-0.35329, -1.83000, 1.29058, 2.81678, 0.51229),
    (-0.59185, -1.06162, 2.15700, 0.69801, -0.41456),
]


@pytest.mark.parametrize(("clip", "figures"), list(zip(CLIPS, FIGURES, strict=True)), ids=str)
def test_nisqa_gives_the_figures_of_torchmetrics(clip: tuple[int, float], figures: tuple[float, ...], checkpoint: str) -> None:
    """Its import alone takes seconds; the slow test below holds the figures against it."""
    assert nisqa(read_nisqa(checkpoint), bursts(*clip), clip[0]) == pytest.approx(figures, abs=1e-3)


@pytest.mark.slow
def test_the_figures_are_those_of_torchmetrics(checkpoint: str, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("librosa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("torchmetrics.functional.audio.nisqa")
        monkeypatch.setattr(module, "NISQA_DIR", str(Path(checkpoint).parent))
        module._load_nisqa_model.cache_clear()
        theirs = module.non_intrusive_speech_quality_assessment
        for (rate, seconds), figures in zip(CLIPS, FIGURES, strict=True):
            assert theirs(torch.from_numpy(bursts(rate, seconds)), rate).tolist() == pytest.approx(figures, abs=1e-3)
        for clip in (speech, speech[: RATE // 3], 0.01 * speech[RATE : 2 * RATE]):
            found = nisqa(read_nisqa(checkpoint), clip, RATE)
            assert found == pytest.approx(theirs(torch.from_numpy(clip), RATE).tolist(), abs=1e-4)
        module._load_nisqa_model.cache_clear()


def test_the_nisqa_family_takes_the_published_file(checkpoint: str, speech: np.ndarray) -> None:
    path, speech = checkpoint, speech[: 3 * RATE]
    assert open_nisqa(path)(pair(speech)) == dict(zip(NISQA, nisqa(read_nisqa(path), speech, RATE), strict=True))
    with pytest.raises(MetricError, match="longer than NISQA reaches"):
        nisqa(replace(read_nisqa(path), settings={**SETTINGS, "ms_max_segments": 70}), speech, RATE)
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
