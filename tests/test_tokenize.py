"""The verb: what it prints, its exit status, an interruption, and the way back to sound."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo.cli.main import main
from voxzoo.core.loading import random_model
from voxzoo.core.weights import save_folder

MODEL = "encodec-24k"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry(MODEL), tmp_path_factory.mktemp("model")
    model = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, MODEL, model.config, model.network.state_dict())
    return str(folder)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(root / f"{i}.wav", 0.1 * rng.standard_normal(2000 + 100 * i), 2400)
    return root


def run(*arguments: object) -> int:
    return main(["tokenize", *map(str, arguments)])


def test_a_folder_to_shards_and_back(
    corpus: Path, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "tokens", (corpus, "-m", model_folder, "-o", tmp_path / "tokens", "--workers", 0)
    assert run(*again) == 0
    assert "5 clips" in (line := capsys.readouterr().out)
    assert "4.8 kbit/s" in line
    assert "0 rejected" in line
    assert run(*again) == 0
    assert "all were there already" in capsys.readouterr().out
    assert main(["decode", str(out), "-m", model_folder, "-o", str(tmp_path / "wav")]) == 0
    for i in range(5):
        assert soundfile.info(tmp_path / f"wav/{i}.wav").frames == 2000 + 100 * i


def test_folders_whose_names_are_not_utf8(corpus: Path, model_folder: str, tmp_path: Path) -> None:
    strange = os.fsdecode(b"\xff\n")
    corpus.rename(tmp_path / strange)
    assert run(tmp_path / strange, "-m", model_folder, "-o", tmp_path / f"out{strange}", "--workers", 0) == 0
    about = json.loads((tmp_path / f"out{strange}" / "dataset.json").read_text(encoding="utf-8"))
    assert about["source"]["path"] == f"{tmp_path}/\\udcff\n"


def test_json_and_the_status_of_a_run_with_rejected_clips(
    corpus: Path, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "bad.wav").write_text("nothing")
    assert run(corpus, "-m", model_folder, "-o", tmp_path / "tokens", "--workers", 0, "--json") == 3
    summary = json.loads(capsys.readouterr().out)
    assert (summary["clips"], summary["rejected"], summary["shards"], summary["bitrate"]) == (5, 1, 1, 4800)
    assert summary["seconds"] == pytest.approx(11000 / 2400)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard-clips", "0"], "expected at least 1"),
        (["--streams", "9", "--workers", "0"], "streams=9"),
        (["--device", "cuda:99"], "cuda"),
    ],
)
def test_errors_are_one_line_and_status_2(
    corpus: Path, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(corpus, "-m", model_folder, "-o", tmp_path / "tokens", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_of_torch_is_imported_by_the_parser() -> None:
    code = "import sys; from voxzoo.cli.main import parser; parser(); print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_interrupted_it_says_so_and_goes_on_later(model_folder: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    soundfile.write(root / "0.wav", 0.1 * np.random.default_rng(0).standard_normal(2400 * 5), 2400)
    for i in range(1, 400):
        os.link(root / "0.wav", root / f"{i}.wav")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "voxzoo.cli.main", "tokenize", str(root), "-m", model_folder, "-o", str(out)]
    command += ["--workers", "1", "--shard-clips", "8"]
    # a shell starts what it runs in the background with SIGINT ignored, and processes pass that on
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heard)
    while not (out / "part-00001.parquet").exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGSTOP)  # or it might be done before the second run has even started
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert "another run is writing" in second.stderr
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGCONT)
    _, error = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    assert not list(out.glob("*.tmp"))
    assert not (out / "part-00049.parquet").exists()
    assert main([*command[3:-4], "--workers", "0", "--shard-clips", "8"]) == 0
    assert not list(out.rglob("*.tmp"))
    assert len(list(out.glob("part-*.parquet"))) == 50
