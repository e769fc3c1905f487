"""The engine: every clip in a shard or rejected, whatever the files are; resumed runs equal to unbroken ones, byte by byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo import CorpusError
from voxzoo.core.loading import random_model
from voxzoo.core.weights import save_folder
from voxzoo.corpus import engine, pool
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.shards import open_dataset

MODEL = "encodec-24k"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), 0)


def make_model(folder: Path, seed: int) -> Path:
    item = voxzoo.entry(MODEL)
    model = random_model(item, {**item.config, **item.tiny}, seed=seed)
    save_folder(folder, MODEL, model.config, model.network.state_dict())
    return folder


def sound(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.3 * rng.standard_normal(max(1, round(seconds * rate)))).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 clips of 0.05 to 2 s in a folder, with a broken one among them."""
    root = tmp_path_factory.mktemp("corpus")
    for i in range(40):
        soundfile.write(root / f"{i:02d}.wav", sound(0.05 + (i * 7 % 40) / 20, 4000, i), 4000)
    (root / "17.wav").write_text("this is no sound")
    return root


def options(corpus: Path, output: Path, model: Path, **settings: Any) -> Options:
    return Options(str(corpus), str(output), str(model), **{"workers": 0, "shard_clips": 6, "quiet": True, **settings})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def unbroken(corpus: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "tokens"
    tokenize(options(corpus, folder, model_folder))
    return folder


def rejected(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------------- what comes out
def test_tokens_equal_those_of_one_by_one(corpus: Path, model_folder: Path, unbroken: Path) -> None:
    model, dataset = voxzoo.load(model_folder), open_dataset(unbroken)
    assert dataset.fingerprint == model.fingerprint
    assert dataset.complete
    seen = []
    for id, tokens in dataset:
        alone = model.encode(corpus / f"{id}.wav").numpy()
        assert all(np.array_equal(a, b) for a, b in zip(alone.codes, tokens.codes, strict=True))
        assert alone.lengths.tolist() == tokens.lengths.tolist()
        seen.append(id)
    assert seen == [f"{i:02d}" for i in range(40) if i != 17]
    assert [(line["id"], line["path"]) for line in rejected(unbroken)] == [("17", str(corpus / "17.wav"))]
    assert len(list(unbroken.glob("part-*.parquet"))) == 7


def test_nothing_but_the_promised_files_is_visible(unbroken: Path) -> None:
    names = {p.name for p in unbroken.iterdir() if not p.name.startswith(".")}
    assert names == {f"part-{i:05d}.parquet" for i in range(7)} | {"dataset.json", "rejected.jsonl"}
    assert not list(unbroken.rglob("*.tmp"))


def test_batches_and_processes_do_not_change_a_byte(corpus: Path, model_folder: Path, unbroken: Path, tmp_path: Path) -> None:
    tokenize(options(corpus, tmp_path / "a", model_folder, workers=2, batch_seconds=0))
    assert tree(tmp_path / "a") == tree(unbroken)


def test_fewer_streams_and_a_limit(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    summary = tokenize(options(corpus, tmp_path / "a", model_folder, streams=2, limit=3))
    assert summary.clips == len(open_dataset(tmp_path / "a")) == 3
    assert all(len(tokens.codes) == 2 for _, tokens in open_dataset(tmp_path / "a"))
    assert summary.bitrate == open_dataset(tmp_path / "a").facts.bitrate_of(2)


def test_long_clips_go_through_the_streaming_form(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/long.wav", sound(45, 2400), 2400)
    soundfile.write(tmp_path / "in/short.wav", sound(1, 2400), 2400)
    tokenize(options(tmp_path / "in", tmp_path / "out", model_folder))
    (_, long), _ = open_dataset(tmp_path / "out")
    assert long.lengths.tolist() == [45 * 2400]
    wanted = voxzoo.load(model_folder).encode(tmp_path / "in/long.wav").numpy()
    assert all(np.array_equal(a, b) for a, b in zip(wanted.codes, long.codes, strict=True))


def test_readers_and_windows_do_not_change_a_token(
    corpus: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = options(corpus, tmp_path, model_folder).settings()
    clips = list(engine.open_source(str(corpus)).clips())
    wanted = pool.InlinePool(replace(settings, batch_seconds=0)).worker.run(clips)
    monkeypatch.setattr("voxzoo.corpus.worker.WINDOW_CLIPS", 11)
    found = pool.InlinePool(replace(settings, batch_seconds=600, readers=4)).worker.run(clips)
    for a, b in zip(wanted, found, strict=True):
        if isinstance(a, str) or isinstance(b, str):
            assert a == b
        else:
            assert all(np.array_equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))


# ---------------------------------------------------------------------- bad input
def test_bad_files_cost_one_line_each(model_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    good = {"8k": (8000, "PCM_16"), "192k": (192000, "PCM_16"), "double": (4000, "DOUBLE")}
    good |= {"u8": (4000, "PCM_U8"), "24bit": (4000, "PCM_24")}
    good |= dict.fromkeys(["é ñ 日本", "new\nline", "with space"], (4000, "PCM_16"))
    for name, (rate, subtype) in good.items():
        soundfile.write(root / f"{name}.wav", sound(0.2, rate), rate, subtype=subtype)
    soundfile.write(root / "six.wav", np.stack([sound(0.2, 4000, c) for c in range(6)], 1), 4000)
    soundfile.write(root / "one.wav", sound(0, 4000), 4000)
    soundfile.write(root / "zeros.wav", np.zeros(900), 4000)
    os.rename(root / "with space.wav", os.fsencode(root) + b"/\xff\xfe.wav")
    soundfile.write(root / "with space.wav", sound(0.2, 4000), 4000)
    soundfile.write(root / "none.wav", np.zeros(0), 4000)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        soundfile.write(root / f"{name}.wav", np.r_[sound(0.1, 4000), np.float32(value)], 4000, subtype="FLOAT")
    soundfile.write(root / "cut.wav", sound(1, 4000), 4000)
    os.truncate(root / "cut.wav", 1000)
    soundfile.write(root / "cut.flac", sound(3, 16000), 16000)
    os.truncate(root / "cut.flac", 20000)
    (root / "empty.wav").write_bytes(b"")
    (root / "text.wav").write_text("hello")
    (root / "folder.wav").mkdir()
    (root / "gone.wav").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.wav")
    soundfile.write(root / "secret.wav", sound(0.2, 4000), 4000)
    (root / "secret.wav").chmod(0)
    summary = tokenize(options(root, tmp_path / "out", model_folder))
    kept = {id for id, _ in open_dataset(tmp_path / "out")}
    bad = {line["id"]: line["reason"] for line in rejected(tmp_path / "out")}
    secret = set() if os.geteuid() == 0 else {"secret"}  # root may read everything
    assert kept == {*good, "six", "one", "zeros", "\\udcff\\udcfe", "secret"} - secret
    assert set(bad) == {"none", "nan", "inf", "cut.wav", "cut.flac", "empty", "text", "folder", "gone", "pipe"} | secret
    assert all(reason and "\n" not in reason for reason in bad.values())
    assert (summary.clips, summary.rejected) == (len(kept), len(bad))
    for word, id in (
        ("truncated", "cut.wav"),
        ("0 bytes", "empty"),
        ("folder", "folder"),
        ("no samples", "none"),
        ("pipe", "pipe"),
    ):
        assert word in bad[id]


def test_duplicate_ids_keep_the_first(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    rows = [{"id": "x", "path": str(corpus / "01.wav")}, {"id": "y", "path": str(corpus / "02.wav")}] * 2 + [
        {"path": "gone.wav"}
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenize(options(tmp_path / "m.jsonl", tmp_path / "out", model_folder, shard_clips=1))
    assert [id for id, _ in open_dataset(tmp_path / "out")] == ["x", "y"]
    assert [line["id"] for line in rejected(tmp_path / "out")] == ["x", "y", "gone"]
    assert "is taken" in rejected(tmp_path / "out")[0]["reason"]


def test_a_model_that_fails_on_one_clip_rejects_that_one(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    worker = pool.InlinePool(options(corpus, tmp_path / "out", model_folder).settings()).worker
    encode, length = worker.model._encode, []

    def failing(wav: Any, *rest: Any) -> Any:
        length.append(wav.shape)
        if (wav.abs().amax(1) > 0.9).any():
            raise RuntimeError("out of memory")
        return encode(wav, *rest)

    worker.model._encode = failing  # type: ignore[method-assign]
    for i, peak in enumerate((0.5, 1.0, 0.5)):
        soundfile.write(tmp_path / f"{i}.wav", np.full(500, peak, np.float32), 2400, subtype="FLOAT")
    source = engine.open_source(str(tmp_path))
    outcomes = worker.run(list(source.clips()))
    assert [isinstance(outcome, str) for outcome in outcomes] == [False, True, False]
    assert outcomes[1] == "RuntimeError: out of memory"
    assert length[0][0] == 3  # they did share a batch


# ---------------------------------------------------------------------- resume
KILL_SERVER = """
import os, sys, time
from voxzoo.corpus.engine import Options, tokenize
import torch
torch.set_num_threads(1)
import voxzoo.codecs.encodec
corpus, model, base, points = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def run(output):
    pid = os.fork()
    if not pid:
        tokenize(Options(corpus, output, model, workers=0, shard_clips=6, quiet=True))
        os._exit(0)
    return pid
os.waitpid(run(base + "/first"), 0)
began = time.monotonic()
os.waitpid(run(base + "/whole"), 0)
whole = time.monotonic() - began
for point in range(points):
    pid = run(base + "/killed")
    time.sleep(whole * (point + 0.5) / points)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    if point % 3 == 2:  # after three kills of one folder, let it end
        assert os.waitpid(run(base + "/killed"), 0)[1] == 0
        os.rename(base + "/killed", f"{base}/ended-{point}")
"""


@pytest.mark.slow
def test_killed_with_a_real_model_it_ends_with_the_same_bytes(
    corpus: Path, model_folder: Path, unbroken: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILL_SERVER, str(corpus), str(model_folder), str(tmp_path), "15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    wanted = tree(unbroken)
    ended = sorted(tmp_path.glob("ended-*"))
    assert len(ended) == 5
    for folder in [tmp_path / "whole", *ended]:
        assert tree(folder) == wanted


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_stopped_between_any_two_steps_of_writing(
    corpus: Path, model_folder: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, nth: int
) -> None:
    calls, real = [0], getattr(os, name.removeprefix("os."))

    def step(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth:
            raise Stop
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(name, step)
        with pytest.raises(Stop):
            tokenize(options(corpus, tmp_path / "out", model_folder))
    tokenize(options(corpus, tmp_path / "out", model_folder))
    assert tree(tmp_path / "out") == tree(unbroken)


LIMITED = """
import resource, sys
from voxzoo.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # as a full disk does, writes fail half-way through a file
sys.exit(main(["tokenize", sys.argv[1], "-m", sys.argv[2], "-o", sys.argv[3], "--workers", "0"]))
"""


def test_a_disk_that_takes_half_a_file(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(corpus), str(model_folder), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot write into" in done.stderr
    assert not list((tmp_path / "out").rglob("*.tmp")) + list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "record", "other"])
def test_a_damaged_shard_is_found_and_remade(
    corpus: Path, model_folder: Path, unbroken: Path, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    tokenize(options(corpus, out, model_folder))
    shard, record = out / "part-00003.parquet", out / ".voxzoo/part-00003.json"
    data = shard.read_bytes()
    if damage == "flip":
        shard.write_bytes(data[:500] + bytes([data[500] ^ 8]) + data[501:])
    elif damage == "cut":
        shard.write_bytes(data[:-7])
    elif damage == "delete":
        shard.unlink()
    elif damage == "record":
        record.write_text("{")
    else:
        shard.write_bytes((out / "part-00002.parquet").read_bytes())
        record.write_bytes((out / ".voxzoo/part-00002.json").read_bytes())
    summary = tokenize(options(corpus, out, model_folder))
    assert summary.resumed_clips == 34
    assert tree(out) == tree(unbroken)


# ---------------------------------------------------------------------- what is refused
def test_a_folder_of_another_run_is_refused(corpus: Path, model_folder: Path, unbroken: Path, tmp_path: Path) -> None:
    before, same = tree(unbroken), options(corpus, unbroken, model_folder)
    other = make_model(tmp_path / "other", 1)
    fingerprints = [voxzoo.load(folder).fingerprint[:16] for folder in (model_folder, other)]
    with pytest.raises(CorpusError, match=r"{}.*{}".format(*fingerprints)):
        tokenize(replace(same, model=str(other)))
    soundfile.write(tmp_path / "x.wav", sound(1, 4000), 4000)
    with pytest.raises(CorpusError, match="is another or has changed"):
        tokenize(replace(same, source=str(tmp_path / "x.wav")))
    with pytest.raises(CorpusError, match="streams=None then and 1 now"):
        tokenize(replace(same, streams=1))
    with pytest.raises(CorpusError, match="leave out --no-resume"):
        tokenize(replace(same, resume=False))
    assert tree(unbroken) == before


def test_overwrite_starts_afresh_but_not_with_a_wrong_model(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    first = options(corpus, tmp_path / "out", model_folder, limit=9)
    tokenize(first)
    before = tree(tmp_path / "out")
    with pytest.raises(voxzoo.ModelError):
        tokenize(replace(first, model=str(tmp_path / "nothing"), overwrite=True))
    assert tree(tmp_path / "out") == before
    tokenize(replace(first, limit=3, overwrite=True))
    assert len(open_dataset(tmp_path / "out")) == 3
    assert len(list((tmp_path / "out").rglob("part-*"))) == 2  # the shard and its record


def test_two_runs_into_one_folder(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    first = engine.Folder(tmp_path / "out")
    with pytest.raises(CorpusError, match="another run is writing"):
        tokenize(options(corpus, tmp_path / "out", model_folder))
    first.close()
    assert tokenize(options(corpus, tmp_path / "out", model_folder)).clips == 39


def test_a_folder_of_other_files_is_not_touched(corpus: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(CorpusError, match="not token shards"):
        tokenize(options(corpus, tmp_path, model_folder))
    with pytest.raises(CorpusError, match="cannot write into"):
        tokenize(options(corpus, tmp_path / "thesis.txt", model_folder))
    assert tree(tmp_path) == {"thesis.txt": b"precious"}


@pytest.mark.parametrize("wrong", [{"shard_clips": 0}, {"batch_seconds": -1}, {"workers": -1}, {"limit": 0}, {"streams": 0}])
def test_options_out_of_range(corpus: Path, model_folder: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(CorpusError, match="expected at least"):
        tokenize(options(corpus, tmp_path / "out", model_folder, **wrong))
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- worker processes
def test_errors_of_the_model_come_through_the_pipe(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(voxzoo.UnknownModelError):
        tokenize(options(corpus, tmp_path / "out", Path("encodec-24")))
    with pytest.raises(voxzoo.ModelError, match="not a model folder"):
        tokenize(options(corpus, tmp_path / "out", tmp_path / "nothing", workers=1))
