"""The command line as a whole: start-up, errors, exit statuses. The verbs have files of their own."""

import io
import os
import subprocess
import sys
from typing import Any

import pytest

import voxzoo
from voxzoo.cli import main as cli
from voxzoo.cli import models as verb
from voxzoo.cli.main import main

LIGHT = [
    "--help",
    "--version",
    "models",
    "models --json",
    "info vox-rvq-16k",
    "encode --help",
    "tokenize --help",
    "train --help",
    "analyze --help",
    "bench --help",
]


def process(*args: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxzoo.cli.main", *args], capture_output=True, text=True, check=False, timeout=60, **settings
    )


@pytest.mark.parametrize("line", LIGHT)
def test_light_verbs_import_nothing_heavy(line: str) -> None:
    code = f"""
import contextlib, io, sys
from voxzoo.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({line.split()!r})
print(*sorted({{"torch", "numpy", "transformers", "pyarrow", "soundfile", "soxr", "matplotlib"}} & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    for name in ("models", "info", "encode", "decode", "tokenize", "train", "weights", "demo"):
        assert f"\n    {name} " in out


def test_version() -> None:
    assert process("--version").stdout == f"voxzoo {voxzoo.__version__}\n"


@pytest.mark.parametrize(("line", "words"), [
    ("", "VERB"),
    ("sing", "sing"),
    ("encode", "IN"),
    ("encode a.wav -m x", "-o/--output"),
    ("encode a.wav -m x -o y --mod z", "--mod"),
    ("models --js", "--js"),
    ("encode a.wav -m x -o y --streams two", "two"),
    ("info nosuch", "nosuch"),
])  # fmt: skip
def test_errors_are_one_line_and_exit_2(line: str, words: str) -> None:
    done = process(*line.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("voxzoo: error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize(("error", "status", "words"), [
    (voxzoo.AudioError("first\nsecond"), 2, "voxzoo: error: first second\n"),
    (OSError(28, "No space left on device", "out\n.wav"), 2, "voxzoo: error: No space left on device: 'out\\n.wav'\n"),
    (OSError("odd"), 2, "voxzoo: error: odd\n"),
    (KeyboardInterrupt(), 130, "voxzoo: error: interrupted\n"),
])  # fmt: skip
def test_what_a_verb_raises(
    error: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(verb, "run", fail)
    assert main(["models"]) == status
    assert capsys.readouterr().err == words


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "run", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def test_the_status_of_a_verb_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "run", lambda _: 3)
    assert main(["models"]) == 3


def test_a_reader_that_went_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "voxzoo.cli.main", "models"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_long_options_are_not_abbreviated() -> None:
    top = cli.parser()
    assert not top.allow_abbrev
    assert isinstance(top, cli.Parser)


def test_output_is_flushed_before_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["models"]) == 2
