"""The verb `bench`: what it prints and its exit status; a run that is killed."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry("encodec-24k"), tmp_path_factory.mktemp("model")
    tiny = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, item.name, tiny.config, tiny.network.state_dict())
    return str(folder)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        soundfile.write(root / f"{i}.wav", 0.1 * rng.standard_normal(6000 + 800 * i), 8000)
    return root


def run(*arguments: object) -> int:
    few = ("--metrics", "si_sdr,stoi,bitrate_nominal", "--rate", 8000, "--workers", 0, "--examples", 1, "--no-report")
    return main(["bench", *map(str, (*arguments, *few))])


def test_a_table_and_files(
    corpus: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # the width of the table
    out = tmp_path / "out"
    soundfile.write(corpus / "short.wav", np.full(100, 0.1), 8000)
    assert run(corpus, "-m", model, "-m", f"{model}:1", "-o", out) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("5 clips, 0.1 min, compared at 8000 Hz")
    head = next(line for line in lines if line.startswith("reconstruction"))
    assert "SI-SDR dB ↑" in head
    assert "STOI ↑" in head
    row = next(line for line in lines if line.startswith(f"{model}:1"))
    assert "(1)" in row  # the short clip has no STOI
    assert [line.split()[-1] for line in lines if line.startswith(model)][-2:] == ["4800", "1200"]
    assert "values are missing, in brackets in the table" in printed.err
    assert "Traceback" not in printed.err
    for name in ("results.json", "scores.parquet", "rejected.jsonl", "audio"):
        assert (out / name).exists()


def test_what_is_between_speakers_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from voxzoo.cli.bench import _print

    metric = {
        "name": "s",
        "label": "Similarity",
        "group": "speaker",
        "unit": "cosine",
        "better": "higher",
        "digits": 3,
        "per": "clip",
    }
    entry = {"label": "a", "summary": {"s": {"mean": 0.9, "missing": {}}}}
    scale = {"same": None, "different": 0.5, "pairs": [0, 6], "missing": {"same": "no speaker has two clips"}}
    about = {"clips": 4, "seconds": 60.0, "rate": 16000}
    _print({"about": about, "metrics": [metric], "entries": [entry], "calibration": {"s": scale}}, "out", False)
    printed = capsys.readouterr().out
    assert "Similarity cosine ↑" in printed
    assert (
        "Similarity between two originals of one speaker: no value, no speaker has two clips; of two speakers: 0.500 (6 pairs)"
        in (printed)
    )
    assert "definitions are in out/results.json" in printed


def test_json_and_the_status_of_a_run_with_rejected_clips(
    corpus: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "bad.wav").write_text("nothing")
    assert run(corpus, "-m", model, "-o", tmp_path / "out", "--json") == 3
    printed = capsys.readouterr()
    results = json.loads(printed.out)
    assert results == json.loads((tmp_path / "out/results.json").read_text())
    assert [line["id"] for line in results["rejected"]] == ["bad"]
    assert "1 clips were rejected, as bad:" in printed.err


def test_the_report_is_written(corpus: Path, model: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["bench", corpus, "-m", model, "-o", tmp_path / "out", "--metrics", "si_sdr", "--rate", 8000, "--workers", 0]
    arguments += ["--examples", 1, "--limit", 2]
    assert main([str(argument) for argument in arguments]) == 0
    assert (tmp_path / "out/report.html").stat().st_size > 10_000
    assert (tmp_path / "out/table.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "vox-rvq-16"], "did you mean 'vox-rvq-16k'"),
        (["-m", "gsm", "--checkpoint", "utmos"], "--checkpoint 'utmos'; expected METRIC=PATH"),
        (["-m", "vox-rvq-16k", "--weights", "vox-rvq-16k=a", "--weights", "vox-rvq-16k=b"], "names 'vox-rvq-16k' twice"),
        (["-m", "vox-rvq-16k:0"], "asks for 0 codebooks"),
        (["-m", "opus:1"], "from 6 to 256 kbit/s"),
    ],
)
def test_errors_are_one_line_and_status_2(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(corpus, "-o", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_gives_the_same(model: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        soundfile.write(root / f"{i:02d}.wav", 0.1 * rng.standard_normal(8000), 8000)
    command = [sys.executable, "-m", "voxzoo.cli.main", "bench", str(root), "-m", model, "-m", f"{model}:2", "--rate", "8000"]
    command += ["--metrics", "si_sdr,lsd,stft,stoi,rate", "--workers", "2", "--no-report"]
    out = tmp_path / "killed"
    record = out / ".voxzoo/record.jsonl"
    for lines in (3, 20, 41):
        running = subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.DEVNULL, start_new_session=True)
        while not record.exists() or record.read_bytes().count(b"\n") < lines:
            assert running.poll() is None
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        kept = record.read_bytes().count(b"\n")
        assert kept < 60
    subprocess.run([*command, "-o", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert json.loads((out / "results.json").read_text()) == json.loads((tmp_path / "whole/results.json").read_text())
    clips = [json.loads(line)["clip"] for line in record.read_text().splitlines()]
    assert clips == list(range(60))  # nothing lost, nothing twice
