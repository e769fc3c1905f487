"""What other packages write is read: folders of Hugging Face `datasets`, tars of `webdataset`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from voxzoo import Audio, CorpusError
from voxzoo.corpus.sources import open_source

SOUNDS = [(0.1 * np.random.default_rng(i).standard_normal(800 + i)).clip(-1, 1).astype(np.float32) for i in range(7)]


def wav(i: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUNDS[i], 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    rows = {"id": [f"u{i}" for i in range(7)], "audio": [{"bytes": wav(i), "path": f"{i}.wav"} for i in range(7)],
            "n": list(range(7)), "tags": [["a"] * i for i in range(7)]}  # fmt: skip
    made = datasets.Dataset.from_dict(rows).cast_column("n", datasets.Value("int32"))
    made = made.cast_column("audio", datasets.Audio(sampling_rate=8000, decode=False))
    parts = datasets.DatasetDict({"train": made.select(range(5)), "test": made.select([5, 6])})
    parts["train"].save_to_disk(tmp_path / "one", num_shards=2)
    parts.save_to_disk(tmp_path / "dict")
    return tmp_path


@pytest.mark.parametrize(("name", "count"), [("one", 5), ("dict", 7)])
def test_a_saved_dataset(saved: Path, name: str, count: int) -> None:
    source = open_source(str(saved / name))
    clips = list(source.clips())
    assert source.kind == "datasets"
    assert [clip.id for clip in clips] == [clip.id for clip in source.listing()] == [f"u{i}" for i in range(count)]
    assert all(np.array_equal(Audio.read(c.open()).samples, SOUNDS[i]) for i, c in enumerate(clips))
    assert clips[3].columns == {"n": 3, "tags": ["a"] * 3}
    assert source.fields() == [("n", pa.int32(), False), ("tags", pa.list_(pa.string()), False)]
    for start in range(count + 1):
        assert list(source.clips(start)) == clips[start:]


def test_damage_in_a_saved_dataset(saved: Path) -> None:
    first = saved / "one/data-00000-of-00002.arrow"
    first.write_bytes(first.read_bytes()[:-3000])
    clips = list(open_source(str(saved / "one")).clips())
    assert [clip.id for clip in clips if clip.problem] == ["data-00000-of-00002.arrow(damaged)"]
    assert [clip.id for clip in clips][-2:] == ["u3", "u4"]
    first.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="not a whole Arrow file"):
        open_source(str(saved / "one"))
    (saved / "one/state.json").write_text("{}")
    with pytest.raises(CorpusError, match="damaged Hugging Face dataset"):
        open_source(str(saved / "one"))


def test_tars_that_webdataset_writes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(f"{tmp_path}/x-%03d.tar", maxcount=3, verbose=0) as sink:
        for i in range(7):
            sink.write({"__key__": f"k{i}", "wav": wav(i), "json": {"n": i}, "txt": f"words {i}"})
    clips = list(open_source(f"{tmp_path}/x-{{000..002}}.tar").clips())
    assert [clip.id for clip in clips] == [f"x-{i // 3:03d}/k{i}" for i in range(7)]
    assert [clip.columns for clip in clips] == [{"n": i, "txt": f"words {i}"} for i in range(7)]
    assert all(np.array_equal(Audio.read(c.open()).samples, SOUNDS[i]) for i, c in enumerate(clips))
