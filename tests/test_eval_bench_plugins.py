"""Through the whole benchmark: metrics that take a local file, weights of a model, Chinese texts, and all metrics at once."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx_files
import pytest
import soundfile

import voxzoo
from voxzoo import Audio, MissingExtraError, VoxzooError
from voxzoo.core.loading import random_model
from voxzoo.core.weights import bundled_folder, save_folder
from voxzoo.eval import onnx_session
from voxzoo.eval.alignment import align
from voxzoo.eval.bench import Options, bench
from voxzoo.eval.metrics import FAMILIES, select

pytest.importorskip("onnxruntime")
TEXTS = ("今天天气很好", "你好、世界", "他说\u201c三点见\u201d")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry("encodec-24k"), tmp_path_factory.mktemp("model")
    tiny = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, item.name, tiny.config, tiny.network.state_dict())
    return str(folder)


@pytest.fixture
def options(model: str, tmp_path: Path) -> Options:
    """Three pieces of the bundled speech, of two speakers, said to be Chinese."""
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    lines = []
    for i, text in enumerate(TEXTS):
        piece = speech.samples[i * 30000 : i * 30000 + 24000]
        soundfile.write(tmp_path / f"{i}.wav", piece, speech.sample_rate)
        lines.append({"id": f"句{i}", "path": f"{i}.wav", "text": text, "speaker": i % 2, "lang": "zh"})
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return Options(
        str(manifest), (model,), str(tmp_path / "out"), metrics=("si_sdr",), workers=0, examples=0, resamples=50, report=False,
        quiet=True,
    )  # fmt: skip


def test_local_predictors_are_taken_with_their_files(options: Options, model: str, tmp_path: Path) -> None:
    files = {
        "utmos": onnx_files.moments(tmp_path / "utmos.onnx", 1),
        "speaker_onnx": onnx_files.moments(tmp_path / "s.onnx", 5),
    }
    results = bench(dataclasses.replace(options, checkpoints=files))
    assert {"utmos", "speaker_onnx_similarity", "si_sdr"} <= {metric["name"] for metric in results["metrics"]}
    assert results["about"]["arguments"]["checkpoints"] == files
    original, decoded = results["entries"]
    assert (original["label"], decoded["label"]) == ("original", model)
    loaded = voxzoo.load(model)
    for i, clip in enumerate(results["clips"]):
        audio = Audio.read(tmp_path / f"{i}.wav")
        after, _ = align(audio.samples, loaded.decode(loaded.encode(audio)).resample(16000).samples, 16000)
        assert clip["values"]["original"]["utmos"] == pytest.approx(audio.samples.mean(), abs=1e-6)
        assert clip["values"][model]["utmos"] == pytest.approx(np.clip(after, -1, 1).mean(), abs=1e-6)
        assert -1 <= clip["values"][model]["speaker_onnx_similarity"] <= 1
    calibration = results["calibration"]["speaker_onnx_similarity"]
    assert calibration["pairs"] == [1, 2]
    assert -1 <= calibration["different"] <= 1


def test_another_file_in_its_place_is_measured_anew(options: Options, model: str, tmp_path: Path) -> None:
    path = tmp_path / "utmos.onnx"
    options = dataclasses.replace(options, checkpoints={"utmos": onnx_files.moments(path, 1)})
    first = bench(options)["clips"][0]["values"]["original"]["utmos"]
    path.unlink()
    with pytest.raises(VoxzooError, match="does not exist"):
        bench(options)
    onnx_files.logarithm(path)
    onnx_session.session.cache_clear()  # as a new process would
    clip = bench(options)["clips"][0]
    if first > 0:
        assert clip["values"]["original"]["utmos"] == pytest.approx(np.log(first), abs=1e-3)
    else:
        assert "utmos" in clip["reasons"]["original"]


def test_what_was_given_a_file_must_be_installed(options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxzoo.eval import mos_plugins

    def missing(path: str) -> None:
        raise MissingExtraError("onnxruntime", "eval")

    monkeypatch.setattr(mos_plugins, "session", missing)
    files = {"utmos": onnx_files.moments(tmp_path / "utmos.onnx", 1)}
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        bench(dataclasses.replace(options, checkpoints=files))
    monkeypatch.undo()
    (tmp_path / "none.onnx").write_text("no graph")
    with pytest.raises(VoxzooError, match="is not an ONNX model"):
        bench(dataclasses.replace(options, checkpoints={"utmos": str(tmp_path / "none.onnx")}))


def test_weights_of_a_model_by_name(options: Options, model: str) -> None:
    there = bench(dataclasses.replace(options, models=("vox-rvq-16k:1",), weights={"vox-rvq-16k": "random"}, limit=1))
    entry = there["entries"][0]
    assert (entry["label"], entry["model"], entry["streams"]) == ("vox-rvq-16k:1", "vox-rvq-16k", 1)
    assert entry["fingerprint"] == voxzoo.load("vox-rvq-16k", weights="random").fingerprint
    assert entry["fingerprint"] != voxzoo.load("vox-rvq-16k").fingerprint
    assert there["about"]["arguments"]["weights"] == {"vox-rvq-16k": "random"}


def test_texts_in_chinese(options: Options, model: str) -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("jiwer")
    results = bench(dataclasses.replace(options, metrics=("wer", "si_sdr")))
    assert [(clip["id"], clip["text"], clip["speaker"]) for clip in results["clips"]] == [
        (f"句{i}", text, str(i % 2)) for i, text in enumerate(TEXTS)
    ]
    assert "今天天气很好" in (Path(options.output) / "results.json").read_text(encoding="utf-8")
    names = [metric["name"] for metric in results["metrics"]]
    assert "wer" in names
    assert "cer" not in names  # one metric was named, not its family
    for entry in results["entries"]:  # the recogniser knows English only: no value, never a number
        assert entry["summary"]["wer"]["mean"] is None
        assert sum(entry["summary"]["wer"]["missing"].values()) == len(TEXTS)


def test_all_is_every_family_that_needs_no_file() -> None:
    assert select(["all"], {}) == [family for family in FAMILIES if not family.checkpoint]
    assert {family.group for family in FAMILIES} == {"reconstruction", "mos", "intelligibility", "speaker"}


@pytest.mark.slow
def test_all_metrics_have_values_on_speech(options: Options, model: str) -> None:
    needed = ("pesq", "pystoi", "pyworld", "visqol", "speechmos", "pocketsphinx", "resemblyzer", "jiwer", "constriction")
    if gone := [package for package in needed if importlib.util.find_spec(package) is None]:
        pytest.skip(f"{', '.join(gone)} not installed")
    manifest = Path(options.source)
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"zh"', '"en"').replace(TEXTS[0], "good day"))
    results = bench(dataclasses.replace(options, metrics=("all",), models=("vox-rvq-16k",)))
    (entry,) = (entry for entry in results["entries"] if entry["label"] == "vox-rvq-16k")
    for metric in results["metrics"]:
        summary = entry["summary"][metric["name"]]
        assert summary["mean"] is not None, (metric["name"], summary["missing"])
        assert np.isfinite(summary["mean"])
        assert metric["definition"]
