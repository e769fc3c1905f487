"""`voxzoo models`, `info` and `weights`."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from voxzoo import entry, models
from voxzoo.cli import models as models_verb
from voxzoo.cli import weights as weights_verb
from voxzoo.cli.main import main
from voxzoo.core.registry import Weights

Capture = pytest.CaptureFixture[str]


def test_models_are_all_listed(capsys: Capture) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["model", "kind", "kHz"]
    assert [line.split()[0] for line in lines[1:]] == models()


def test_models_as_json(capsys: Capture) -> None:
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == models()
    ours = next(row for row in rows if row["name"] == "vox-rvq-16k")
    assert (ours["bitrate"], ours["bundled"], ours["frame_rates"]) == (4000, True, ["50"] * 8)


def test_models_as_markdown(capsys: Capture) -> None:
    assert main(["models", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(models())


def test_figures_of_the_table() -> None:
    item = entry("vox-rvq-16k")
    cells = dict(zip(models_verb.HEAD, models_verb.cells(item), strict=True))
    assert (cells["kHz"], cells["frames/s"], cells["codebooks"], cells["kbit/s"]) == ("16", "50", "8 x 1024", "4")
    assert cells["params"] == f"{item.facts.params / 1e6:.1f} M"
    from fractions import Fraction

    unequal = replace(item.facts, frame_rates=(Fraction(12000, 1024), Fraction(24000, 1024)), codebook_sizes=(4096, 512))
    assert models_verb.frame_rates(unequal) == "11.7, 23.4"
    assert models_verb.codebooks(unequal) == "1 x 4096, 1 x 512"


@pytest.mark.parametrize("name", models())
def test_info_tells_everything(name: str, capsys: Capture) -> None:
    item = entry(name)
    assert main(["info", name]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for wanted in (item.about, item.streaming, item.facts.source, item.facts.paper, *item.exceptions.values()):
        assert " ".join(wanted.split()) in text
    assert main(["info", name, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["exceptions"] == dict(item.exceptions)
    assert data["weights"]["model"] == name


@pytest.mark.parametrize("name", models())
def test_weights_tells_what_to_fetch(name: str, capsys: Capture) -> None:
    item = entry(name)
    assert main(["weights", name]) == 0
    text = capsys.readouterr().out
    if item.weights is None:
        assert (item.unpublished or "nothing to fetch") in text
        return
    for file, digest in item.weights.files.items():
        assert (item.weights.url(file) or item.weights.gated) in text
        assert (digest or "not recorded") in text


def test_weights_checks_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"config.json": None, "good.bin": hashlib.sha256(b"good").hexdigest(), "bad.bin": "0" * 64, "none.bin": None}
    ours = entry("vox-rvq-16k")
    item = replace(ours, facts=replace(ours.facts, name="m"), weights=Weights("someone/m", "1" * 40, files))
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(tmp_path))
    (tmp_path / "m").mkdir()
    for name in ("config.json", "good.bin", "bad.bin"):
        (tmp_path / "m" / name).write_bytes(b"good")
    data = weights_verb.report(item)
    states = {file["file"]: file["state"] for file in data["files"]}
    assert states["config.json"] == "present"
    assert states["good.bin"] == "present, sha256 verified"
    assert "expected 0000" in states["bad.bin"]
    assert states["none.bin"] == "not on this machine"
    assert data["files"][3]["put"] == str(tmp_path / "m" / "none.bin")
    assert data["files"][3]["here"] is None


def test_weights_as_json(capsys: Capture) -> None:
    assert main(["weights", "vox-rvq-16k", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["bundled"] is True
    assert [file["file"] for file in data["files"]] == ["config.json", "model.safetensors"]
