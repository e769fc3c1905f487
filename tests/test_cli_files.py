"""`voxzoo encode` and `voxzoo decode`."""

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxzoo import Audio, Tokens, entry, load
from voxzoo.cli.decode import safe_name
from voxzoo.cli.main import main
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

Capture = pytest.CaptureFixture[str]
NAME = "vox-rvq-16k"
RATE = 1600  # of its tiny configuration, Hz


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny model, where VOXZOO_WEIGHTS points."""
    folder = tmp_path_factory.mktemp("weights")
    item = entry(NAME)
    random_model(item, {**item.config, **item.tiny}).save(folder / NAME)
    random_model(item, {**item.config, **item.tiny}, seed=1).save(folder / "other")
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with one sound file."""
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(home))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Audio((0.1 * rng.standard_normal(987)).astype(np.float32), RATE).write("in.wav")
    return tmp_path


@pytest.fixture
def model(home: Path) -> Model:
    return load(home / NAME)


def refused(line: str, capsys: Capture, *words: str) -> None:
    """The line exits 2 with one line on stderr, and writes nothing."""
    before = sorted(os.listdir())
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err
    assert sorted(os.listdir()) == before


def test_there_and_back(model: Model, capsys: Capture) -> None:
    assert main(["encode", "in.wav", "-m", NAME, "-o", "a.safetensors"]) == 0
    assert "0.62 s as 8 x 31 codes" in capsys.readouterr().out
    tokens = Tokens.load("a.safetensors")
    assert all(bool((a == b).all()) for a, b in zip(tokens.codes, model.encode("in.wav").codes, strict=True))
    assert main(["decode", "a.safetensors", "-o", "back.flac"]) == 0
    assert "0.62 s at 1600 Hz" in capsys.readouterr().out
    back = Audio.read("back.flac")
    assert len(back) == 987
    assert np.abs(back.samples - model.decode(tokens).samples.clip(-1, 1)).max() < 1e-4


def test_streams_and_json(capsys: Capture) -> None:
    assert main(["encode", "in.wav", "-m", NAME, "-o", "a.safetensors", "--streams", "2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["frames"] == [31, 31]
    assert data["samples"] == 987
    assert data["bitrate"] == Tokens.load("a.safetensors").bitrate
    assert main(["decode", "a.safetensors", "-o", "b.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": "b.wav", "model": NAME, "samples": 987, "sample_rate": RATE}


def test_a_model_folder_by_hand(home: Path, capsys: Capture) -> None:
    assert main(["encode", "in.wav", "-m", str(home / "other"), "-o", "a.safetensors"]) == 0
    capsys.readouterr()
    refused("decode a.safetensors -o b.wav", capsys, "fingerprint", "weights that made them")
    assert main(["decode", "a.safetensors", "-m", str(home / "other"), "-o", "b.wav"]) == 0
    assert main(["decode", "a.safetensors", "--weights", str(home / "other"), "-o", "b.wav"]) == 0


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes, *args: str) -> bytes:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setattr(sys, "stdout", out)
    assert main(list(args)) == 0
    monkeypatch.undo()
    return out.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_pipes(home: Path, model: Model, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Path("in.wav").read_bytes()
    folder = str(home / NAME)
    made = pipe(monkeypatch, sound, "encode", "-", "-m", folder, "-o", "-")
    back = pipe(monkeypatch, made, "decode", "-", "-m", folder, "-o", "-")
    assert len(Audio.read(back)) == 987
    assert model.encode(str(here / "in.wav")).to_bytes() == made


def test_several_clips_go_into_a_folder(model: Model, capsys: Capture) -> None:
    sound = Audio.read("in.wav")
    model.encode([sound, Audio(sound.samples[:10], RATE)]).save("two.safetensors")
    assert main(["decode", "two.safetensors", "-o", "out"]) == 0
    assert "2 of 2 clips" in capsys.readouterr().out
    assert sorted(os.listdir("out")) == ["00000.wav", "00001.wav"]
    assert [len(Audio.read(f"out/{name}")) for name in sorted(os.listdir("out"))] == [987, 10]
    refused("decode two.safetensors -o -", capsys, "folder")


@pytest.mark.parametrize(("line", "words"), [
    ("encode none.wav -m {m} -o a.st", "none.wav"),
    ("encode in.wav -m nosuch -o a.st", "nosuch"),
    ("encode in.wav -m {m} -o none/a.st", "'none' does not exist"),
    ("encode in.wav -m {m} -o .", "folder"),
    ("encode in.wav -m {m} -o in.wav", "is the input"),
    ("encode in.wav -m {m} -o a.st --streams 9", "streams=9"),
    ("encode in.wav -m {m} -o a.st --streams 0", "streams=0"),
    ("encode in.wav -m {m} -o a.st --device tin", "tin"),
    ("encode in.wav -m {m} -o a.st --weights none", "'none' does not exist"),
    ("encode in.wav -m {m} -o - --json", "--json"),
    ("decode none.st -o b.wav", "none.st"),
    ("decode in.wav -o b.wav", "tokens file"),
    ("decode . -o out", "dataset.json"),
])  # fmt: skip
def test_what_cannot_be_done(line: str, words: str, capsys: Capture) -> None:
    refused(line.format(m=NAME), capsys, words)


def test_damaged_tokens(model: Model, capsys: Capture) -> None:
    data = model.encode("in.wav").to_bytes()
    Path("cut.safetensors").write_bytes(data[:-20])
    refused("decode cut.safetensors -o b.wav", capsys, "cut.safetensors")
    model.encode("in.wav").save("a.safetensors")
    refused("decode a.safetensors -o b.xyz", capsys, "b.xyz", "extension")


# ---------------------------------------------------------------- folders of shards


@pytest.fixture(scope="module")
def made(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of three clips, made by `voxzoo tokenize`."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for i, (name, samples) in enumerate((("one", 400), ("..two", 33), ("été\n", 1))):
        Audio(np.full(samples, 0.1, np.float32), RATE).write(folder / f"{i}.wav")
        rows.append(json.dumps({"id": f"a/{name}", "path": f"{i}.wav"}) + "\n")
    (folder / "clips.jsonl").write_text("".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXZOO_WEIGHTS", str(home))
        assert main(["tokenize", str(folder / "clips.jsonl"), "-m", NAME, "-o", str(folder / "tokens"), "--workers", "1"]) == 0
    return folder / "tokens"


@pytest.fixture
def shards(made: Path, here: Path) -> Path:
    """A copy of them to spoil."""
    shutil.copytree(made, here / "tokens")
    return here / "tokens"


def test_a_folder_of_shards_becomes_a_folder_of_sound(shards: Path, capsys: Capture) -> None:
    assert main(["decode", str(shards), "-o", "out", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["clips"], data["failed"]) == (3, [])
    found = {name: len(Audio.read(f"out/{name}")) for name in os.listdir("out")}
    assert found == {"a%2Fone.wav": 400, "a%2F..two.wav": 33, "a%2Fété%0A.wav": 1}


def test_a_damaged_shard_is_reported(shards: Path, capsys: Capture) -> None:
    part = shards / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    assert main(["decode", str(shards), "-o", "out"]) == 2
    captured = capsys.readouterr()
    assert "part-00000.parquet" in captured.err
    assert captured.err.count("\n") == 1


def test_shards_of_other_weights_are_refused(shards: Path, home: Path, capsys: Capture) -> None:
    assert main(["decode", str(shards), "-o", "out", "-m", str(home / "other")]) == 2
    assert "fingerprint" in capsys.readouterr().err
    assert os.listdir("out") == []


def test_a_clip_that_cannot_be_written_costs_only_itself(
    shards: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs("out/a%2Fone.wav")  # a folder is in the way
    assert main(["decode", str(shards), "-o", "out", "--json"]) == 3
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert data["clips"] == 2
    assert [failed["id"] for failed in data["failed"]] == ["a/one"]
    assert "'a/one' was not decoded" in captured.err
    shutil.rmtree("out")


# ---------------------------------------------------------------- names of files


@pytest.mark.parametrize(("name", "file"), [
    ("61-70968-0001", "61-70968-0001"), ("a/b", "a%2Fb"), ("..", "%2E."), (".hidden", "%2Ehidden"), ("100%", "100%25"),
    ("", "%"), ("a\nb\0", "a%0Ab%00"), ("été 声", "été 声"), ("\udcff", "%ED%B3%BF"), ("a\\b:c", "a%5Cb%3Ac"),
])  # fmt: skip
def test_ids_become_file_names(name: str, file: str) -> None:
    assert safe_name(name) == file


def test_long_ids_stay_apart() -> None:
    names = [safe_name("x" * n + end) for n in (150, 199, 200, 300) for end in ("a", "b")]
    assert len(set(names)) == len(names)
    assert max(len(name.encode()) for name in names) <= 200


text: Any = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(
    ["%", "%2F", "/", "%25", ".", "..", "a/b", "a%2Fb"]
)


@given(text, text)
def test_two_ids_never_share_a_file(a: str, b: str) -> None:
    for name in (safe_name(a), safe_name(b)):
        assert name not in ("", ".", "..")
        assert not {"/", "\0", "\n"} & set(name)
        assert len(name.encode()) <= 200
    assert (safe_name(a) == safe_name(b)) == (a == b)
