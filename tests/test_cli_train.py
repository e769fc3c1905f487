"""`voxzoo train`."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxzoo import Audio
from voxzoo.cli.main import main
from voxzoo.training import trainer

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    Audio((0.1 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32), 16000).write(tmp_path / "a.wav")
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps({"path": "a.wav"}) + "\n")
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the trainer was asked for."""
    seen: list[tuple[Any, ...]] = []

    def train(recipe: str, data: list[str], out: str, **settings: Any) -> Path:
        seen.append((recipe, data, out, settings))
        return Path(out)

    monkeypatch.setattr(trainer, "train", train)
    return seen


def test_settings_reach_the_trainer(manifest: Path, calls: list[tuple[Any, ...]], capsys: Capture) -> None:
    options = "-o run --resume --steps 7 --minutes 1.5 --seed 3 --batch 2 --precision fp32 --cache c --from m"
    assert main(["train", "vox-rvq-16k", "--data", str(manifest), str(manifest), *options.split()]) == 0
    recipe, data, out, settings = calls[0]
    assert (recipe, data, out) == ("vox-rvq-16k", [str(manifest)] * 2, "run")
    wanted: dict[str, Any] = {"resume": True, "device": "cpu", "max_steps": 7, "max_minutes": 1.5, "seed": 3}
    wanted |= {"batch": 2, "precision": "fp32", "cache": "c", "start_from": "m"}
    assert settings == wanted
    assert "voxzoo encode" in capsys.readouterr().out
    assert main(["train", "vox-rvq-16k", "--data", str(manifest), "-o", "run"]) == 0
    wanted |= {
        "resume": False,
        "max_steps": None,
        "max_minutes": None,
        "seed": 0,
        "batch": None,
        "precision": "auto",
        "cache": None,
        "start_from": None,
    }
    assert calls[1][3] == wanted


def test_a_run_is_not_overwritten(manifest: Path, calls: list[tuple[Any, ...]], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "checkpoint.pt").touch()
    assert main(["train", "vox-rvq-16k", "--data", str(manifest), "-o", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert not calls


@pytest.mark.parametrize(("line", "words"), [
    ("train nosuch --data {m} -o {o}", "vox-rvq-16k"),
    ("train vox-rvq-16k --data none.jsonl -o {o}", "none.jsonl"),
    ("train vox-rvq-16k --data {m} -o {o} --device tin", "tin"),
    ("train vox-rvq-16k --data {m} -o {o} --precision fp7", "fp7"),
])  # fmt: skip
def test_what_cannot_be_trained(line: str, words: str, manifest: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(line.format(m=manifest, o=tmp_path / "run").split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("option", ["--steps 0", "--steps x", "--minutes -1", "--minutes nan"])
def test_numbers_that_make_no_sense(option: str, manifest: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main(["train", "vox-rvq-16k", "--data", str(manifest), "-o", "run", *option.split()])
    assert done.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Leave logging as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
