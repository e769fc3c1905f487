"""`voxzoo encode` and `voxzoo decode` with bitstreams."""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from voxzoo import Audio, Tokens, entry, load
from voxzoo.cli.main import main
from voxzoo.core._bitstream_header import Header
from voxzoo.core._chunks import Chunk, write_chunk
from voxzoo.core._header_bytes import header_bytes
from voxzoo.core.bitstream import bitstream_bytes, write_bitstream
from voxzoo.core.loading import random_model

pytest.importorskip("constriction")
Capture = pytest.CaptureFixture[str]
NAME = "vox-rvq-16k"
RATE = 1600  # of its tiny configuration, Hz


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two tiny models."""
    folder = tmp_path_factory.mktemp("weights")
    item = entry(NAME)
    for seed, name in enumerate((NAME, "other")):
        random_model(item, {**item.config, **item.tiny}, seed=seed).save(folder / name)
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with ten seconds of noise."""
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(home))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Audio((0.1 * rng.standard_normal(10 * RATE - 3)).astype(np.float32), RATE).write("in.wav")
    return tmp_path


def spoil(path: str, place: int, to: str) -> None:
    data = bytearray(Path(path).read_bytes())
    data[place] ^= 0x20
    Path(to).write_bytes(data)


@pytest.mark.parametrize("coder", ["packed", "static", "adaptive"])
def test_there_and_back(coder: str, capsys: Capture) -> None:
    assert main(["encode", "in.wav", "-m", NAME, "-o", "a.safetensors"]) == 0
    assert main(["encode", "in.wav", "-m", NAME, "-o", "odd.name", "--coder", coder]) == 0
    tokens = Tokens.load("a.safetensors")
    assert os.path.getsize("odd.name") == bitstream_bytes(tokens, coder)[0]  # type: ignore[arg-type]
    assert all(bool((a == b).all()) for a, b in zip(Tokens.load("odd.name").codes, tokens.codes, strict=True))
    assert main(["decode", "a.safetensors", "-o", "a.wav"]) == 0
    assert main(["decode", "odd.name", "-o", "b.wav"]) == 0  # told by what it holds, not by its name
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    capsys.readouterr()


def test_the_extension_is_enough(capsys: Capture) -> None:
    assert main(["encode", "in.wav", "-m", NAME, "-o", "a.VXB"]) == 0
    assert Path("a.VXB").read_bytes()[:4] == b"\x89VXB"
    assert main(["encode", "in.wav", "-m", NAME, "-o", "a.vxb", "--streams", "1"]) == 0
    assert os.path.getsize("a.vxb") < os.path.getsize("a.VXB") / 2
    with pytest.raises(SystemExit):
        main(["encode", "in.wav", "-m", NAME, "-o", "a.vxb", "--coder", "zip"])
    assert "zip" in capsys.readouterr().err


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes, *args: str) -> bytes:
    out = io.TextIOWrapper(io.BytesIO())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        patch.setattr(sys, "stdout", out)
        assert main(list(args)) == 0
    return out.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pipe(monkeypatch, Path("in.wav").read_bytes(), "encode", "-", "-m", NAME, "-o", "-", "--coder", "adaptive")
    assert made[:4] == b"\x89VXB"
    assert len(Audio.read(pipe(monkeypatch, made, "decode", "-", "-o", "-"))) == 10 * RATE - 3


def test_a_damaged_chunk_is_named_and_skipped_when_asked(home: Path, capsys: Capture) -> None:
    model = load(home / NAME)
    tokens = model.encode("in.wav")
    write_bitstream(tokens, "a.vxb")
    header = bitstream_bytes(tokens)[1]
    size = (os.path.getsize("a.vxb") - header) // 5
    spoil("a.vxb", header + size * 3 // 2, "bad.vxb")
    assert main(["decode", "bad.vxb", "-o", "b.wav"]) == 2
    assert "chunk 1 (2.00 to 4.00 s)" in capsys.readouterr().err
    assert not Path("b.wav").exists()
    assert main(["decode", "bad.vxb", "-o", "b.wav", "--skip-damaged", "--json"]) == 3
    captured = capsys.readouterr()
    assert "chunk 1 (2.00 to 4.00 s) cannot be read" in captured.err
    assert "silence" in captured.err
    assert json.loads(captured.out)["damaged"][0]["first"] == 1
    whole, found = model.decode(tokens).samples, Audio.read("b.wav").samples
    assert len(found) == len(whole)
    sure = 2 * RATE - RATE // 5  # the last frames before a gap sound on into it
    assert np.abs(found[:sure] - whole[:sure].clip(-1, 1)).max() < 1e-3
    assert not found[2 * RATE : 4 * RATE].any()
    assert found[4 * RATE :].any()
    assert main(["decode", "a.vxb", "-o", "b.wav", "--skip-damaged"]) == 0


def test_times_that_cannot_be_are_refused(home: Path, capsys: Capture) -> None:
    """One whole chunk that says it ends, or begins, after years of sound."""
    tokens = load(home / NAME).encode("in.wav").numpy()
    years = int(10 * 365 * 86400 * tokens.facts.frame_rates[0])
    codes = [c[0] for c in tokens.codes]
    for period, number, total in ((years, 60, 61 * 3 * 10**9 * 16), (1000, 0, 10**15)):
        shape = Header(tokens.facts, tokens.fingerprint, tokens.resampler, False, "packed", len(codes), period,
                       self_contained=True)  # fmt: skip
        Path("a.vxb").write_bytes(header_bytes(shape) + write_chunk(shape, number, Chunk(codes, {}, total)))
        assert main(["decode", "a.vxb", "-o", "b.wav", "--skip-damaged"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    exact = 60 * years * tokens.facts.sample_rate / tokens.facts.frame_rates[0] + int(tokens.lengths[0])
    shape = Header(tokens.facts, tokens.fingerprint, tokens.resampler, False, "packed", len(codes), years, self_contained=True)
    Path("a.vxb").write_bytes(header_bytes(shape) + write_chunk(shape, 60, Chunk(codes, {}, int(exact))))
    assert main(["decode", "a.vxb", "-o", "b.wav", "--skip-damaged"]) == 2
    assert "samples, which cannot be right" in capsys.readouterr().err
    assert not Path("b.wav").exists()


def test_what_cannot_be_salvaged(home: Path, capsys: Capture) -> None:
    tokens = load(home / NAME).encode("in.wav")
    tokens.save("a.safetensors")
    write_bitstream(tokens, "a.vxb")
    spoil("a.vxb", 20, "header.vxb")
    Path("none.vxb").write_bytes(Path("a.vxb").read_bytes()[: bitstream_bytes(tokens)[1]])
    for line, words in (
        ("a.safetensors -o b.wav --skip-damaged", "not a bitstream"),
        ("header.vxb -o b.wav --skip-damaged", "header of the bitstream is damaged"),
        ("header.vxb -o b.wav", "header of the bitstream is damaged"),
        ("none.vxb -o b.wav --skip-damaged", "no chunk"),
        (". -o out --skip-damaged", "folder"),
        (f"a.vxb -o b.wav -m {home / 'other'}", "fingerprint"),
        (f"a.vxb -o b.wav --skip-damaged -m {home / 'other'}", "fingerprint"),
    ):
        assert main(["decode", *line.split()]) == 2, line
        captured = capsys.readouterr()
        assert words in captured.err, line
        assert captured.err.count("\n") == 1
    assert not Path("b.wav").exists()
