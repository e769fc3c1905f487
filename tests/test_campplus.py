"""CAM++'s front end and its errors, on graphs written by the tests; and recordings as voices of CosyVoice's flows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from voxzoo import Audio
from voxzoo.core.decoder import random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import AudioError, MissingExtraError, ModelError, WeightsError
from voxzoo.core.flow import Flow
from voxzoo.core.kaldi_fbank import kaldi_fbank
from voxzoo.decoders.campplus import CamPlus

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def graphs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_files", Path(__file__).parent / "onnx_files.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loudest(graphs: Any, path: Path, bands: int = 80) -> str:
    """(1, T, 80) -> (1, 80): the frame at which each band is loudest."""
    nodes = [graphs.node("ArgMax", ["mel"], "place", axis=1, keepdims=0), graphs.node("Cast", ["place"], "out", to=1)]
    return str(graphs.write(path, nodes, [graphs.value(11, "mel", 1, "T", bands)], graphs.value(12, "out", 1, bands)))


def voice(seconds: float, rate: int = 16000) -> Audio:
    t = np.arange(int(rate * seconds)) / rate
    return Audio((0.2 * np.sin(2 * np.pi * 150 * t) * np.sin(3 * t) ** 2).astype(np.float32), rate)


def test_it_hears_kaldis_bands_less_their_mean(graphs: ModuleType, tmp_path: Path) -> None:
    model = CamPlus(loudest(graphs, tmp_path / "a.onnx"))
    audio = voice(0.7)
    frames = kaldi_fbank(torch.from_numpy(audio.samples)[None])[0]
    want = (frames - frames.mean(0)).argmax(0)
    vector = model.embed(audio)
    assert vector.dtype == np.float32
    assert vector.tolist() == want.tolist()
    again = audio.resample(24000)
    assert np.abs(model.embed(again) - vector).mean() < 3  # frames


def test_a_recording_is_a_voice(graphs: ModuleType, tmp_path: Path) -> None:
    item = decoder_entry("cosyvoice-flow")
    flow: Any = random_decoder(item, {**item.config, **item.tiny, "speaker_dim": 80})
    assert isinstance(flow, Flow)
    with pytest.raises(ModelError, match="speakers"):
        flow.voice(voice(0.5))
    flow.speakers = CamPlus(loudest(graphs, tmp_path / "a.onnx"))
    assert flow.voice(voice(0.5)).shape == (1, 80)
    assert flow.mel([1, 2, 3], voice=voice(0.5)).frames.shape[1] == 80
    wider: Any = random_decoder(item, {**item.config, **item.tiny})
    wider.speakers = flow.speakers
    with pytest.raises(ModelError, match="voice of 80 numbers; cosyvoice-flow wants 192"):
        wider.voice(voice(0.5))


def test_bad_input(graphs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        CamPlus(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(WeightsError, match="not an ONNX model"):
        CamPlus(tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match="another graph"):
        CamPlus(loudest(graphs, tmp_path / "b.onnx", bands=128))
    with pytest.raises(WeightsError, match="another graph"):
        CamPlus(graphs.two_inputs(tmp_path / "c.onnx"))
    with pytest.raises(WeightsError, match="not an ONNX model"):
        CamPlus(graphs.custom_operator(tmp_path / "d.onnx"))
    model = CamPlus(loudest(graphs, tmp_path / "a.onnx"))
    with pytest.raises(AudioError, match="too short"):
        model.embed(voice(0.01))


def test_onnxruntime_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        CamPlus(tmp_path / "a.onnx")
