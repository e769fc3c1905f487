"""Sources at URLs (fsspec's memory:// stands for any storage), from commands, with names in braces, and with sidecars."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from voxzoo import Audio, AudioError, CorpusError
from voxzoo.corpus.clips import Clip
from voxzoo.corpus.listing import expand
from voxzoo.corpus.parts import Part
from voxzoo.corpus.sources import open_source

fsspec = pytest.importorskip("fsspec")
SOUND = (0.1 * np.random.default_rng(0).standard_normal(8000)).clip(-1, 1).astype(np.float32)


def wav() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def store() -> Iterator[Any]:
    """A storage with one file system's manners."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def put(store: Any, **files: bytes) -> None:
    for name, data in files.items():
        store.pipe_file(f"/b/{name}", data)


def samples(clip: Clip) -> np.ndarray:
    return Audio.read(clip.open()).samples


def test_folders_globs_and_files(store: Any) -> None:
    put(store, **{"d/a.wav": wav(), "d/e/b.wav": wav(), "d/.hidden.wav": wav(), "d/a.json": b'{"speaker": 3}'})
    source = open_source("memory://b/d")
    clips = list(source.clips())
    assert [(clip.id, clip.size) for clip in clips] == [("a", len(wav())), ("e/b", len(wav()))]
    assert clips[0].columns == {"speaker": 3}
    assert all(np.array_equal(samples(clip), SOUND) for clip in clips)
    assert [clip.id for clip in open_source("memory://b/d/*/*.wav").clips()] == ["e/b"]
    (one,) = open_source("memory://b/d/e/b.wav").clips()
    assert one.path == "memory://b/d/e/b.wav"
    gone = Clip("x", "memory://b/x.wav", "memory://b/x.wav")
    with pytest.raises(AudioError, match=r"memory://b/x\.wav' cannot be read"):
        gone.open()


def test_manifests_name_urls_and_stand_at_them(store: Any, tmp_path: Path) -> None:
    put(store, **{"m.jsonl": b'{"path": "d/a.wav", "offset": 0.25, "duration": 0.5}\n{"path": "memory://b/d/a.wav"}'})
    put(store, **{"d/a.wav": wav()})
    part, whole = open_source("memory://b/m.jsonl").clips()
    assert np.array_equal(samples(part), SOUND[2000:6000])
    assert part.id == "d/a-00000250-00000750"
    assert np.array_equal(samples(whole), SOUND)
    (tmp_path / "here.csv").write_text("id,path\nx,memory://b/d/a.wav\n")
    (clip,) = open_source(str(tmp_path / "here.csv")).clips()
    assert np.array_equal(samples(clip), SOUND)


def test_tars_of_several_names_are_read_where_they_lie(store: Any) -> None:
    for i in range(3):
        put(store, **{f"x-{i:02d}.tar": tar({"a.wav": wav(), "a.json": b'{"n": %d}' % i, "c.wav": wav()})})
    source = open_source("memory://b/x-{00..02}.tar")
    clips = list(source.clips())
    assert [clip.id for clip in clips] == [f"x-{i:02d}/{n}" for i in range(3) for n in "ac"]
    assert [clip.columns.get("n") for clip in clips] == [0, None, 1, None, 2, None]
    assert not isinstance(clips[0].source, bytes)
    assert np.array_equal(samples(clips[3]), SOUND)
    assert list(source.clips(3)) == clips[3:]
    assert [c.id for c in open_source("memory://b").clips()] == [clip.id for clip in clips]
    broken = tar({"a.wav": wav(), "c.wav": wav()})[:-20000]
    put(store, **{"x-01.tar": broken})
    with pytest.raises(AudioError, match="truncated"):
        list(open_source("memory://b/x-01.tar").clips())[1].open()


def test_parquet(store: Any) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": ["x", "y"], "audio": [wav(), None], "text": ["a", "b"]}), file)
    put(store, **{"p.parquet": file.getvalue()})
    x, y = open_source("memory://b/p.parquet").clips()
    assert np.array_equal(samples(x), SOUND)
    assert (x.columns, y.problem is None) == ({"text": "a"}, False)


def test_a_command_that_writes_a_tar(tmp_path: Path) -> None:
    (tmp_path / "t-0.tar").write_bytes(tar({"a.wav": wav(), "c.wav": wav()}))
    (tmp_path / "t-1.tar").write_bytes(tar({"a.wav": wav()}))
    source = open_source(f"pipe:cat '{tmp_path}/t-{{0..1}}.tar'")
    clips = list(source.clips())
    assert [clip.id for clip in clips] == ["000000/a", "000000/c", "000001/a"]
    assert np.array_equal(samples(clips[2]), SOUND)
    assert list(source.clips(1)) == clips[1:]
    first = next(open_source(f"pipe:cat {tmp_path}/t-0.tar; yes").clips())  # a command without an end is not waited for
    assert np.array_equal(samples(first), SOUND)
    *good, bad = open_source(f"pipe:cat {tmp_path}/t-0.tar; exit 7").clips()
    assert len(good) == 2
    assert "status 7" in str(bad.problem)


def test_sidecars(tmp_path: Path) -> None:
    for name in ("a", "c", "d"):
        (tmp_path / f"{name}.mp3").write_bytes(b"x")
    (tmp_path / "a.json").write_text(json.dumps({"id": "EN_1", "text": "hi", "dnsmos": 3.2}))
    (tmp_path / "c.json").write_text("[1, 2")
    (tmp_path / "d.txt").write_text("said\n")
    (tmp_path / "other.json").write_text("{}")
    a, c, d = open_source(str(tmp_path)).clips()
    assert (a.id, a.columns) == ("a", {"id": "EN_1", "text": "hi", "dnsmos": 3.2})
    assert "beside the sound, is not a JSON object" in str(c.problem)
    assert d.columns == {"txt": "said"}


def test_emilia_as_a_manifest(tmp_path: Path) -> None:
    row = {"id": "EN_B00000_S00000_W000000", "wav": "EN_B00000/mp3/W000000.mp3", "text": "x", "duration": 3.7, "dnsmos": 3.1}
    (tmp_path / "EN_B00000.jsonl").write_text(json.dumps(row))
    (clip,) = open_source(str(tmp_path / "EN_B00000.jsonl")).clips()
    assert (clip.id, clip.path, clip.part) == (row["id"], str(tmp_path / row["wav"]), None)


def test_names_in_braces() -> None:
    assert expand("x.tar") == ["x.tar"]
    assert expand("x-{08..11}.tar") == ["x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar"]
    assert expand("{0..1}/{0..1}") == ["0/0", "0/1", "1/0", "1/1"]
    assert expand("{a,b}") == ["{a,b}"]


def test_segments_of_one_url_fetch_it_once(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, **{"a.wav": wav()})
    clips = [Clip(str(i), "memory://b/a.wav", "memory://b/a.wav", part=Part(i / 10, 0.1)) for i in range(5)]
    opened, real = [], type(store).open
    monkeypatch.setattr(type(store), "open", lambda self, *given, **more: (opened.append(1), real(self, *given, **more))[1])
    assert np.array_equal(np.concatenate([samples(clip) for clip in clips]), SOUND[:4000])
    assert len(opened) == 1


def test_a_storage_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(CorpusError, match="Install s3fs"):
        open_source("s3://bucket/x.tar")
