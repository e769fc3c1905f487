"""Columns, shards and the plan: schemas known beforehand, rows that come back, cuts that follow from the source alone."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxzoo import CorpusError, Facts, TokensError
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.columns import Columns, Observed
from voxzoo.corpus.plan import Task, scan, shard_tasks
from voxzoo.corpus.shards import FORMAT, Info, Layout, ShardWriter, open_dataset
from voxzoo.corpus.sources import FileSource

FACTS = Facts(
    name="toy",
    kind="acoustic",
    sample_rate=8000,
    frame_rates=(Fraction(50), Fraction(25)),
    codebook_sizes=(256, 65536),
    causal=True,
    latency=0.0,
    params=1,
    code_licence="",
    weights_licence="",
    source="",
    paper="",
)
INFO = Info(FACTS, "f" * 64, "soxr-hq", ("scales",))


def observed(rows: list[dict[str, Any]]) -> list[tuple[str, pa.DataType, bool]]:
    seen = Observed()
    for row in rows:
        seen.add(row)
    return seen.fields()


@pytest.mark.parametrize(
    ("values", "kind", "as_json"),
    [
        ([True, None], pa.bool_(), False),
        ([1, -(1 << 62)], pa.int64(), False),
        ([1, 2.5], pa.float64(), False),
        ([1 << 60, 2.5], pa.string(), True),
        ([1 << 63], pa.string(), True),
        (["a", None], pa.string(), False),
        ([None], pa.string(), False),
        (["a", 1], pa.string(), True),
        ([True, 1], pa.string(), True),
        ([{"a": [1]}, None], pa.string(), True),
    ],
)
def test_types_of_carried_columns(values: list[Any], kind: pa.DataType, as_json: bool) -> None:
    rows = [{"x": value} for value in values]
    fields = observed(rows)
    assert fields == [("x", kind, as_json)]
    (array,) = Columns(fields, []).arrays([*rows, {}])
    expected = [None if v is None else json.dumps(v) if as_json else v for v in values]
    assert array.to_pylist() == [*expected, None]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.integers(), max_size=2)
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "id"]), VALUES, max_size=3), max_size=6))
def test_no_values_can_fail_late(rows: list[dict[str, Any]]) -> None:
    columns = Columns(observed(rows), ["id"])
    arrays = columns.arrays(rows)
    assert [array.type for array in arrays] == [field.type for field in columns.fields]
    assert all(len(array) == len(rows) for array in arrays)


def test_names_that_are_ours_are_kept_apart() -> None:
    fields = [(name, pa.string(), False) for name in ("duration", "source_duration", "scales", "text", "\udcff")]
    names = [field.name for field in Layout(INFO, fields).columns.fields]
    assert names == ["source_duration", "source_source_duration", "source_scales", "text", "\\udcff"]


def row(samples: int, seed: int) -> Row:
    rng = np.random.default_rng(seed)
    frames = -(-samples // 320) * 2
    codes = (rng.integers(0, 256, frames).astype(np.uint16), rng.integers(0, 65536, frames // 2).astype(np.uint16))
    return Row(samples, codes, {"scales": rng.random(frames).astype(np.float32)})


def write(folder: Path, count: int = 5) -> list[tuple[str, Row]]:
    rows = [(f"clip é {i}", row(1 + 400 * i, i)) for i in range(count)]
    writer = ShardWriter(folder / "part-00000.parquet", Layout(INFO, [("text", pa.string(), False)]))
    for name, tokens in rows:
        writer.add(Clip(name, name, name, {"text": f"<{name}>"}), tokens)
    writer.close()
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, "complete": True, **INFO.to_dict()}))
    return rows


def test_rows_come_back(tmp_path: Path) -> None:
    rows = write(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (len(dataset), dataset.fingerprint, dataset.facts, dataset.complete) == (5, INFO.fingerprint, FACTS, True)
    for (name, wanted), (id, tokens) in zip(rows, dataset, strict=True):
        assert (id, tokens.lengths.tolist(), tokens.resampler) == (name, [wanted.num_samples], "soxr-hq")
        assert all(np.array_equal(a, b[0]) for a, b in zip(wanted.codes, tokens.codes, strict=True))
        assert np.array_equal(wanted.extras["scales"], tokens.extras["scales"][0])


def test_the_schema_is_the_promised_one(tmp_path: Path) -> None:
    write(tmp_path)
    schema = pq.read_schema(tmp_path / "part-00000.parquet")
    assert [(f.name, str(f.type)) for f in schema] == [
        ("id", "string"), ("codes", "list<element: list<element: uint16>>"), ("num_samples", "int64"), ("sample_rate", "int32"),
        ("duration", "double"), ("scales", "list<element: float>"), ("text", "string"),
    ]  # fmt: skip
    table = pq.read_table(tmp_path / "part-00000.parquet")
    assert table["duration"].to_pylist() == [n / 8000 for n in table["num_samples"].to_pylist()]
    assert json.loads(schema.metadata[b"voxzoo"])["fingerprint"] == INFO.fingerprint
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet").row_group(0).column(1)
    assert metadata.compression == "ZSTD"
    assert "RLE_DICTIONARY" in metadata.encodings


def test_codes_beyond_16_bits_take_32(tmp_path: Path) -> None:
    facts = Facts.from_dict({**FACTS.to_dict(), "codebook_sizes": [65537, 4]})
    assert Layout(Info(facts, "", "", ()), []).schema.field("codes").type == pa.list_(pa.list_(pa.uint32()))


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, 40)
    assert (tmp_path / "a/part-00000.parquet").read_bytes() == (tmp_path / "b/part-00000.parquet").read_bytes()


def test_long_clips_are_cut_into_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxzoo.corpus.shards.GROUP_CODES", 10)
    rows = write(tmp_path)
    assert pq.read_metadata(tmp_path / "part-00000.parquet").num_row_groups > 1
    assert [id for id, _ in open_dataset(tmp_path)] == [name for name, _ in rows]


def test_damage_is_found_when_reading(tmp_path: Path) -> None:
    write(tmp_path, 200)
    path = tmp_path / "part-00000.parquet"
    whole = path.read_bytes()
    for damaged in (whole[:-100], b"", whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:]):
        path.write_bytes(damaged)
        with pytest.raises(TokensError, match="is damaged"):
            list(open_dataset(tmp_path))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"format": "other"}', f'{{"format": "{FORMAT}"}}'])
def test_what_is_no_dataset_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(CorpusError, match=r"token shards|damaged"):
        open_dataset(tmp_path)


def tasks(names: list[str], shard_clips: int, size: tuple[int, int] = (3, 1 << 20)) -> list[Task]:
    source = FileSource("", names)
    found, clips, out, start, number = scan(source), source.clips(), [], 0, 0
    while start < found.clips:
        out += shard_tasks(clips, number, start, found, shard_clips, size)
        start, number = start + sum(len(t.clips) for t in out if t.shard == number), number + 1
    return out


def test_shards_and_tasks_cover_the_source_in_order() -> None:
    names = [f"{i:03d}.wav" for i in range(23)]
    cut = tasks(names, 10)
    assert [clip.path for task in cut for clip in task.clips] == names
    assert [(task.shard, task.start, len(task.clips)) for task in cut][:5] == [
        (0, 0, 3),
        (0, 3, 3),
        (0, 6, 3),
        (0, 9, 1),
        (1, 10, 3),
    ]
    assert [task.shard for task in cut if task.last] == [0, 1, 2]


def test_big_files_end_tasks_and_shards_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxzoo.corpus.plan.SHARD_BYTES", 250)
    for i in range(5):
        (tmp_path / f"{i}.wav").write_bytes(b"x" * 100)
    cut = tasks([str(tmp_path / f"{i}.wav") for i in range(5)], 10, (10, 150))
    assert [(task.shard, len(task.clips)) for task in cut] == [(0, 2), (0, 1), (1, 2)]


def test_later_clips_of_an_id_are_marked() -> None:
    source = FileSource("", ["a.wav", "b.wav", "c.wav"])
    source.ids = ["x", "y", "x"]
    found = scan(source)
    (task,) = shard_tasks(source.clips(), 0, 0, found, 10, (10, 10))
    assert [clip.problem for clip in task.clips][:2] == [None, None]
    assert "clip 0" in str(task.clips[2].problem)


def test_the_digest_of_a_source_sees_ids_paths_and_columns() -> None:
    digests = {scan(FileSource(root, names)).sha256 for root, names in [("", ["a.wav"]), ("", ["a.flac"]), ("/x", ["a.wav"])]}
    assert len(digests) == 3
