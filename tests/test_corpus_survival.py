"""What a long run meets: kills at any moment, read errors, bad files of every kind, clocks that jump, sources that change.

After resuming, a folder holds the bytes that an unbroken run writes. The model is a stand-in without torch (its codes are the
samples), so that hundreds of runs take seconds; the sound is real files, really read.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxzoo import CorpusError, Facts
from voxzoo.corpus import clips as clips_module
from voxzoo.corpus import engine, source_tar, worker
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.profile import Clock
from voxzoo.corpus.shards import Info, open_dataset
from voxzoo.corpus.sounds import Sounds, Target

RATE = 4000
FACTS = Facts(
    name="stand-in", kind="acoustic", sample_rate=RATE, frame_rates=(Fraction(RATE),), codebook_sizes=(65536,), causal=True,
    latency=0.0, params=1, code_licence="", weights_licence="", source="", paper="",
)  # fmt: skip
CLIPS = 120
BAD = 6  # of them: one in twenty


class StandIn:
    """A worker whose tokens are the samples."""

    def __init__(self, settings: worker.Settings) -> None:
        self.info = Info(FACTS, "f" * 64, "soxr-hq", ())
        self.sounds = Sounds([Target(RATE, 20.0)], settings.resampler, 1, Clock(False))

    def run(self, clips: Sequence[Clip]) -> list[Row | str]:
        return [heard if isinstance(heard, str) else self._row(heard[0].samples) for heard in self.sounds.of(clips)]  # type: ignore[union-attr]

    def _row(self, samples: np.ndarray) -> Row:
        return Row(len(samples), (((samples + 1) * 30000).astype(np.uint16),), {})


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Worker", StandIn)


def sound(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(200 + int(rng.integers(600)))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in a folder, one in twenty bad, each in another way."""
    root = tmp_path_factory.mktemp("corpus")
    for i in range(CLIPS):
        soundfile.write(root / f"{i:03d}.wav", sound(i), RATE, subtype="FLOAT")
    spoil: list[Callable[[Path], Any]] = [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no sound"),
        lambda path: os.truncate(path, 300),
        lambda path: soundfile.write(path, np.r_[sound(0), np.float32(np.nan)], RATE, subtype="FLOAT"),
        lambda path: (path.unlink(), path.symlink_to("nowhere")),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ]
    for number, do in enumerate(spoil):
        do(root / f"{number * 20 + 7:03d}.wav")
    assert len(spoil) == BAD
    return root


def options(source: object, output: Path, **more: Any) -> Options:
    return Options(str(source), str(output), "encodec-24k", **{"workers": 0, "shard_clips": 10, "quiet": True, **more})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rejected(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def unbroken(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "tokens"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "Worker", StandIn)
        tokenize(options(corpus, folder))
    return folder


def test_every_clip_is_a_row_or_rejected(corpus: Path, unbroken: Path) -> None:
    bad = {f"{number * 20 + 7:03d}" for number in range(BAD)}
    assert [id for id, _ in open_dataset(unbroken)] == [f"{i:03d}" for i in range(CLIPS) if f"{i:03d}" not in bad]
    lines = rejected(unbroken)
    assert {line["id"] for line in lines} == bad
    assert len({line["reason"].replace(line["id"], "") for line in lines}) == BAD  # each for a reason of its own
    for id, tokens in open_dataset(unbroken):
        assert np.array_equal(tokens.codes[0][0], ((sound(int(id)) + 1) * 30000).astype(np.uint16))


# ---------------------------------------------------------------------- kills
STEPS = ("replace", "fsync", "unlink")


def forked(asked: Options, die_at: int | None = None, counts: bool = False) -> int:
    """A run in a process of its own; it kills itself at step `die_at` of its work. Returns the steps it took, if they count."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        taken = [0]

        def step() -> None:
            taken[0] += 1
            if taken[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def stepping(real: Any) -> Any:
            return lambda *given, **more: (step(), real(*given, **more))[1]

        for name in STEPS:
            setattr(os, name, stepping(getattr(os, name)))
        engine.Shard.add = stepping(engine.Shard.add)  # type: ignore[method-assign]
        try:
            tokenize(asked)
            os.write(write, str(taken[0]).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    with open(read, "rb") as pipe:
        told = pipe.read()
    assert os.WIFSIGNALED(status) == (not told)
    return int(told or 0)


def kill_often(corpus: Path, unbroken: Path, tmp_path: Path, kills: int, per_folder: int) -> None:
    rng = random.Random(0)
    steps = forked(options(corpus, tmp_path / "counted"))
    assert steps > CLIPS
    stood = set()
    for folder in range(kills // per_folder):
        asked = options(corpus, tmp_path / str(folder))
        for _ in range(per_folder):
            assert forked(asked, die_at=rng.randrange(1, steps // 2)) == 0
            stood.add(len(list((tmp_path / str(folder)).glob("part-*"))))
        forked(asked)
        assert tree(tmp_path / str(folder)) == tree(unbroken)
    assert len(stood) > 2, "the kills all fell at the same point"


def test_killed_a_dozen_times(corpus: Path, unbroken: Path, tmp_path: Path) -> None:
    kill_often(corpus, unbroken, tmp_path, 12, 2)


@pytest.mark.slow
def test_killed_two_hundred_times(corpus: Path, unbroken: Path, tmp_path: Path) -> None:
    kill_often(corpus, unbroken, tmp_path, 200, 2)


@pytest.mark.slow
def test_killed_by_the_clock_two_hundred_times(corpus: Path, unbroken: Path, tmp_path: Path) -> None:
    rng, asked, killed = random.Random(1), options(corpus, tmp_path / "out"), 0
    began = time.monotonic()
    forked(options(corpus, tmp_path / "timed"))
    whole = time.monotonic() - began
    while killed < 200:
        pid = os.fork()
        if not pid:
            tokenize(asked)
            os._exit(0)
        time.sleep(rng.uniform(0, whole / 2))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed += 1
        if killed % 4 == 0:
            tokenize(asked)
            assert tree(tmp_path / "out") == tree(unbroken)
            for path in (tmp_path / "out").glob(f"part-*{rng.randrange(10)}.parquet"):
                path.unlink()


# ---------------------------------------------------------------------- disks and clocks
@pytest.mark.parametrize("nth", [1, 30, 77, 119])
def test_a_disk_that_fills_at_any_row(
    corpus: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    rows, real = [0], engine.Shard.add

    def full(*given: Any) -> None:
        rows[0] += 1
        if rows[0] == nth:
            raise OSError(28, "No space left on device")
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(engine.Shard, "add", full)
        with pytest.raises(CorpusError, match="No space left on device; the finished shards are safe"):
            tokenize(options(corpus, tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert tokenize(options(corpus, tmp_path / "out")).resumed_clips == (nth - 1) // 10 * 10
    assert tree(tmp_path / "out") == tree(unbroken)


def test_a_clock_that_jumps(corpus: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: rng.uniform(0, 2e9))
    monkeypatch.setattr(time, "time_ns", lambda: rng.randrange(1 << 61))
    forked(options(corpus, tmp_path / "out"), die_at=60)
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (9e9, 9e9) if rng.random() < 0.5 else (0, 0))
    summary = tokenize(options(corpus, tmp_path / "out"))
    assert summary.resumed_clips > 0
    assert 0 <= summary.elapsed < 100
    assert tree(tmp_path / "out") == tree(unbroken)


# ---------------------------------------------------------------------- tars
@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of 20 clips."""
    root = tmp_path / "tars"
    root.mkdir()
    for number in range(3):
        with tarfile.open(root / f"{number}.tar", "w") as tar:
            for i in range(20):
                file = io.BytesIO()
                soundfile.write(file, sound(20 * number + i), RATE, format="WAV", subtype="FLOAT")
                info = tarfile.TarInfo(f"{i:02d}.wav")
                info.size = file.tell()
                file.seek(0)
                tar.addfile(info, file)
    return root


@pytest.mark.parametrize("damage", ["header", "end", "compressed"])
def test_a_tar_that_is_damaged_in_the_middle(tars: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray((tars / "1.tar").read_bytes())
    with tarfile.open(tars / "1.tar") as tar:
        header = tar.getmembers()[9].offset
    if damage == "end":
        del data[header:]
    else:
        data[header : header + 512] = random.Random(0).randbytes(512)
    if damage == "compressed":
        for number in range(3):
            packed = gzip.compress(bytes(data) if number == 1 else (tars / f"{number}.tar").read_bytes())
            (tars / f"{number}.tar.gz").write_bytes(packed)
            (tars / f"{number}.tar").unlink()
    else:
        (tars / "1.tar").write_bytes(data)
    tokenize(options(tars, tmp_path / "whole", shard_clips=7))
    ids = [id for id, _ in open_dataset(tmp_path / "whole")]
    assert ids == [f"{n}/{i:02d}" for n in range(3) for i in range(20) if n != 1 or i < 9]
    (line,) = rejected(tmp_path / "whole")
    assert line["id"] == "1/(damaged)"
    assert "is damaged after '08'" in line["reason"]
    forked(options(tars, tmp_path / "killed", shard_clips=7), die_at=40)
    tokenize(options(tars, tmp_path / "killed", shard_clips=7))
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.parametrize("failures", [2, 1000])
def test_storage_that_fails_for_a_moment_or_for_good(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tokenize(options(tars, tmp_path / "whole"))
    real, failed = clips_module.read_range, [0]

    def failing(path: str, start: int, size: int) -> bytes:
        if path.endswith("1.tar") and 5000 < start < 9000 and failed[0] < failures:
            failed[0] += 1
            raise OSError(5, "Input/output error")
        return real(path, start, size)

    monkeypatch.setattr(clips_module, "read_range", failing)
    monkeypatch.setattr(clips_module, "PAUSES", (0.0, 0.0))
    tokenize(options(tars, tmp_path / "out"))
    if failures == 2:
        assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    else:
        lines = rejected(tmp_path / "out")
        assert failed[0] == 3 * len(lines) > 0
        assert all(line["id"].startswith("1/") and "Input/output error" in line["reason"] for line in lines)
        assert len(open_dataset(tmp_path / "out")) + len(lines) == 60


def test_a_tar_that_cannot_be_listed_any_more_stops_the_run_and_not_its_order(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing was whole; when the clips are taken, the second tar breaks off. What follows must not move up."""
    tokenize(options(tars, tmp_path / "whole", shard_clips=7))
    real, passes = source_tar.members, [0]

    def breaking(file: str) -> Iterator[Any]:
        passes[0] += file.endswith("1.tar")
        for number, member in enumerate(real(file)):
            if file.endswith("1.tar") and passes[0] == 2 and number == 9:
                raise OSError(5, "Input/output error")
            yield member

    with monkeypatch.context() as patch:
        patch.setattr(source_tar, "members", breaking)
        with pytest.raises(CorpusError, match=r"the source changed while it was read: clip 29 .* run the same command again"):
            tokenize(options(tars, tmp_path / "out", shard_clips=7))
    assert tokenize(options(tars, tmp_path / "out", shard_clips=7)).resumed_clips == 28
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


# ---------------------------------------------------------------------- sources that change
def test_a_source_that_changed_is_noticed(corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i in range(5):
        soundfile.write(root / f"{i}.wav", sound(i), RATE)
    (root / "list.csv").write_text("path,text\n" + "".join(f"{i}.wav,t{i}\n" for i in range(5)))
    for source in (root, root / "list.csv"):
        out = tmp_path / f"out-{source.name}"
        tokenize(options(source, out, shard_clips=2))
        before = tree(out)
        kept = (root / "3.wav").read_bytes()
        soundfile.write(root / "3.wav", sound(77), RATE)  # the same name, another recording
        with pytest.raises(CorpusError, match="is another or has changed"):
            tokenize(options(source, out, shard_clips=2))
        (root / "3.wav").write_bytes(kept)
        assert tokenize(options(source, out, shard_clips=2)).resumed_clips == 5
        assert tree(out) == before
    text = (root / "list.csv").read_text()
    (root / "list.csv").write_text(text.replace("t4", "T4"))
    with pytest.raises(CorpusError, match="is another or has changed"):
        tokenize(options(root / "list.csv", tmp_path / "out-list.csv", shard_clips=2))


def test_ids_that_come_again_in_another_shard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", sound(0), RATE)
    rows = [{"id": f"u{i % 25}", "path": "x.wav"} for i in range(60)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenize(options(tmp_path / "m.jsonl", tmp_path / "whole"))
    assert [id for id, _ in open_dataset(tmp_path / "whole")] == [f"u{i}" for i in range(25)]
    assert [line["id"] for line in rejected(tmp_path / "whole")] == [f"u{i % 25}" for i in range(25, 60)]
    asked = options(tmp_path / "m.jsonl", tmp_path / "out")
    forked(asked, die_at=45)
    tokenize(replace(asked))
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
