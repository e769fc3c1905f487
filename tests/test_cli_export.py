"""`voxzoo export`: what is refused before any work, what is printed, and that a bundle below the mark is not kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from voxzoo.cli.main import main
from voxzoo.core.errors import ExportError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp8"], "--precision fp8; expected one of fp32, fp16, bf16, int8"),
        (["--device", "tpu"], "--device tpu; expected cpu or cuda"),
        (["--calibrate", "a.wav"], "--calibrate is for --precision int8"),
        (["--min-agreement", "99"], "--min-agreement 99.0; expected 0 to 1"),
        (["--no-parity", "--min-agreement", "0.5"], "--no-parity compares nothing"),
        (["--audio", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main(["export", "vox-rvq-16k", "-o", str(tmp_path / "b"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("voxzoo: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_a_folder_in_use_and_a_model_without_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["export", "vox-rvq-16k", "-o", str(tmp_path)]) == 2
    assert "is in use; name a folder that is new or empty" in capsys.readouterr().err
    assert main(["export", "no-such-model", "-o", str(tmp_path / "b")]) == 2
    assert "no model is called 'no-such-model'" in capsys.readouterr().err


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The work itself replaced; what it was asked for is kept."""
    asked: dict[str, Any] = {}

    def export_model(model: Any, folder: Path, options: Any, check: Any) -> Any:
        from voxzoo.core.registry import entry
        from voxzoo.export.bundle import GraphFile, Manifest

        asked.update(model=model.facts.name, options=options)
        folder.mkdir()
        try:
            check(folder)
        except ExportError:
            shutil.rmtree(folder)
            raise
        facts = entry("vox-rvq-16k").facts
        files = {"encoder.onnx": GraphFile("0" * 64, 12_800_000, "encoder")}
        return Manifest(
            "vox-rvq-16k", facts, "f" * 64, {}, "soxr-hq", "fp32", "cpu", 20, {}, "pad", 320, {}, 20.0, [], {}, files
        )

    def compare(model: Any, folder: Path, clips: Any, quality: Any) -> dict[str, Any]:
        asked.update(clips=len(clips), quality=set(quality))
        return {
            "model": "vox-rvq-16k", "precision": "fp32", "ran_on": "cpu", "seconds": 11.4, "clips": 13,
            "share": 0.99, "first": 1.0, "later": 0.98, "streams": [1.0, 0.98], "sound": {"largest_error": 1e-6},
            "quality": {"stoi": {"model": 0.9, "bundle": 0.9, "clips": 1}},
        }  # fmt: skip

    monkeypatch.setattr("voxzoo.export.graphs.export_model", export_model)
    monkeypatch.setattr("voxzoo.export.parity.compare", compare)
    return asked


def test_a_bundle_below_the_mark_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: dict[str, Any]) -> None:
    folder = tmp_path / "b"
    assert main(["export", "vox-rvq-16k", "-o", str(folder)]) == 2
    assert "keep 99.000% of the codes, less than the 99.990% asked for" in capsys.readouterr().err
    assert not folder.exists()
    assert main(["export", "vox-rvq-16k", "-o", str(folder), "--min-agreement", "0.9", "--streaming"]) == 0
    assert json.loads((folder / "parity.json").read_text())["least"] == 0.9
    shown = capsys.readouterr().out
    assert "codes equal 99.000% (first stream 100.00%, later ones 98.00%), over 11.4 s of 13 clips" in shown
    assert "12.8 MB" in shown
    assert (made["model"], made["clips"], made["options"].streaming) == ("vox-rvq-16k", 1, True)


def test_json_and_no_parity(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: dict[str, Any]) -> None:
    assert main(["export", "vox-rvq-16k", "-o", str(tmp_path / "b"), "--no-parity", "--json", "--precision", "fp16"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "bundle": str(tmp_path / "b"),
        "files": {"encoder.onnx": 12_800_000},
        "parity": None,
    }
    assert made["options"].precision == "fp16"
    assert "clips" not in made
