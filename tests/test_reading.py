"""Reading shards back: every row by number, by id and in order; filters, joins, and shares for training."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import voxzoo
from voxzoo import CorpusError, TokensError
from voxzoo.corpus.reading import Reader

from token_shards import FACTS, make_shards  # isort: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens")
    make_shards(path, [30, 1, 19], group_rows=8)
    return path


@pytest.fixture
def reader(folder: Path) -> Reader:
    return voxzoo.open(folder)


def wanted(folder: Path) -> list[dict[str, Any]]:
    return [row for shard in sorted(folder.glob("*.parquet")) for row in pq.read_table(shard).to_pylist()]


def test_rows_in_order_by_number_and_by_id(folder: Path, reader: Reader) -> None:
    rows = wanted(folder)
    assert len(reader) == len(rows) == 50
    assert len(reader.groups) == 8
    for i, (row, record) in enumerate(zip(rows, reader, strict=True)):
        for found in (record, reader[i], reader[i - 50], reader[row["id"]]):
            assert found.id == row["id"]
            assert [stream.tolist() for stream in found.codes] == row["codes"]
            assert found.columns == {key: value for key, value in row.items() if key != "codes"}
    assert [record.id for record in reader[47:]] == [row["id"] for row in rows[47:]]
    assert rows[3]["id"] in reader
    assert "nothing" not in reader
    with pytest.raises(KeyError, match="no clip 'nothing'"):
        _ = reader["nothing"]
    with pytest.raises(IndexError):
        _ = reader[50]


def test_tokens_of_a_record(reader: Reader) -> None:
    tokens = reader[5].tokens()
    assert (tokens.facts, tokens.fingerprint, tokens.resampler) == (FACTS, "f" * 64, "soxr-hq")
    assert tokens.lengths.tolist() == [reader[5].num_samples]
    assert [stream[0].tolist() for stream in tokens.codes] == [stream.tolist() for stream in reader[5].codes]
    assert reader[5].duration == reader[5]["duration"]
    with pytest.raises(TokensError, match="'num_samples' is not among those that were asked for"):
        reader.select("codes")[5].tokens()
    with pytest.raises(TokensError, match="codes are not among the columns"):
        _ = reader.select("text")[5].codes


def test_codes_are_views(reader: Reader) -> None:
    batch = next(reader.batches())
    values = batch.table["codes"].chunk(0).values.values
    assert batch.values.__array_interface__["data"][0] == values.buffers()[1].address
    assert all(np.shares_memory(stream, batch.values) for record in batch for stream in record.codes if len(stream))
    assert batch.lengths.tolist() == [[len(stream) for stream in record.codes] for record in batch]
    assert batch.flat(1).tolist() == [code for record in batch for code in record.codes[1].tolist()]
    assert batch[-1].id == batch.ids[-1]
    with pytest.raises(ValueError, match="read-only"):
        batch.values[0] = 1


@pytest.mark.parametrize("condition", [[("speaker", "==", "s1"), ("duration", ">", 0.1)],
                                       (pc.field("speaker") == "s1") & (pc.field("duration") > 0.1)])  # fmt: skip
def test_filters(folder: Path, condition: Any) -> None:
    rows = [row for row in wanted(folder) if row["speaker"] == "s1" and row["duration"] > 0.1]
    reader = voxzoo.open(folder, columns=["codes"], where=condition)
    assert 2 < len(rows) < 40
    assert len(reader) == len(rows)
    assert [record.columns for record in reader] == [{"id": row["id"]} for row in rows]
    assert [reader[i].id for i in range(len(rows))] == [row["id"] for row in rows]
    assert reader[rows[1]["id"]].codes[0].tolist() == rows[1]["codes"][0]


def text_of(ids: list[str]) -> dict[str, str]:
    return {id: f"said by {id}" for id in ids}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet", "mapping"])
def test_joins(folder: Path, tmp_path: Path, reader: Reader, kind: str) -> None:
    ids = [record.id for record in reader]
    texts = text_of(ids[10:20][::-1])
    path = tmp_path / f"text.{kind}"
    lines: dict[str, Callable[[], Any]] = {
        "jsonl": lambda: path.write_text("".join(json.dumps({"key": k, "words": v}) + "\n" for k, v in texts.items())),
        "csv": lambda: path.write_text("key,words\n" + "".join(f"{k},{v}\n" for k, v in texts.items())),
        "tsv": lambda: path.write_text("key\twords\n" + "".join(f"{k}\t{v}\n" for k, v in texts.items())),
        "parquet": lambda: pq.write_table(pa.table({"key": list(texts), "words": list(texts.values())}), path),
    }
    if kind == "mapping":
        joined, name = reader.join(texts, inner=True), "text"
        outer = reader.join(texts)
    else:
        lines[kind]()
        joined, name = reader.select("codes").join(path, on="key", inner=True), "words"
        outer = reader.join(path, on="key")
    assert len(joined) == 10
    assert [(record.id, record[name]) for record in joined] == [(id, texts[id]) for id in ids[10:20]]
    assert [record[name] for record in outer] == [texts.get(id) for id in ids]
    assert [record.id for record in outer.where([(name, "==", texts[ids[12]])])] == [ids[12]]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda r: r.select("nothing"), "no column 'nothing'; there are id, codes"),
        (lambda r: r.where([("duration", "~", 1)]), "is no filter"),
        (lambda r: len(r.where([("nothing", ">", 1)])), "the filter does not suit the columns"),
        (lambda r: r.join({"a": "b"}, on="key"), "has no column 'key'; it has id, text"),
        (lambda r: r.join(pa.table({"id": ["a", "a"], "x": [1, 2]})), "has the id 'a' 2 times"),
        (lambda r: r.join("nothing.csv"), "cannot be read as a table"),
        (lambda r: r.join("nothing.txt"), "is no table to join"),
        (lambda r: r.torch(rank=2, world_size=2), "rank 2 of 2"),
    ],
)
def test_what_cannot_be_asked_for(reader: Reader, use: Callable[[Reader], Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        use(reader)


def test_reading_needs_no_torch(folder: Path) -> None:
    code = f"import sys, voxzoo; n = len(voxzoo.open({str(folder)!r})[3].codes); print(n, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["2", "False"]


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a folder of token shards"):
        voxzoo.open(tmp_path)
    (tmp_path / "layout.json").write_text("{}")
    with pytest.raises(CorpusError, match="holds packed sequences, not token shards; `voxzoo unpack`"):
        voxzoo.open(tmp_path)


def test_an_empty_dataset(tmp_path: Path) -> None:
    make_shards(tmp_path, [])
    reader = voxzoo.open(tmp_path)
    assert len(reader) == 0
    assert list(reader) == list(reader.torch()) == []


def test_a_damaged_shard(tmp_path: Path) -> None:
    make_shards(tmp_path, [4])
    shard = tmp_path / "part-00000.parquet"
    reader = voxzoo.open(tmp_path)
    data = bytearray(shard.read_bytes())
    place = pq.read_metadata(shard).row_group(0).column(1).data_page_offset + 60
    data[place] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(TokensError, match=r"part-00000.parquet' is damaged: .*`voxzoo verify`"):
        list(reader)
    shard.write_bytes(data[:100])
    with pytest.raises(TokensError, match="is damaged"):
        voxzoo.open(tmp_path)[0]


def test_an_id_that_is_there_twice(tmp_path: Path) -> None:
    make_shards(tmp_path, [3, 3], first_ids=[0, 2])
    with pytest.raises(CorpusError, match="the id 'clip/00002' is there twice"):
        _ = voxzoo.open(tmp_path)["clip/00001"]


# ---------------------------------------------------------------------- training
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("world", [1, 3, 7])
def test_shares_hold_each_clip_once(reader: Reader, shuffle: bool, world: int) -> None:
    ids = [record.id for record in reader]
    found = [[r.id for r in reader.torch(shuffle=shuffle, seed=3, rank=i, world_size=world)] for i in range(world)]
    assert max(map(len, found)) - min(map(len, found)) <= 1
    together = [id for share in found for id in share]
    assert sorted(together) == sorted(ids)
    assert (together == ids) == (not shuffle)


def test_each_epoch_has_its_order(reader: Reader) -> None:
    stream = reader.torch(shuffle=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append([record.id for record in stream])
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 13, 24, 25])
def test_a_stream_goes_on_where_it_stopped(reader: Reader, shuffle: bool, stop: int) -> None:
    def stream() -> Any:
        return reader.torch(shuffle=shuffle, seed=1, rank=1, world_size=2)

    whole = [record.id for record in stream()]
    first = stream()
    iterator = iter(first)
    begun = [next(iterator).id for _ in range(stop)]
    state = json.loads(json.dumps(first.state_dict()))
    second = stream()
    second.load_state_dict(state)
    assert begun + [record.id for record in second] == whole
    assert [record.id for record in second] == whole  # the next time it begins at the beginning
    with pytest.raises(CorpusError, match="of another stream: parts=2 then and 4 now"):
        reader.torch(shuffle=shuffle, seed=1, rank=1, world_size=4).load_state_dict(state)


def test_filters_and_joins_reach_the_stream(folder: Path, reader: Reader) -> None:
    rows = [row["id"] for row in wanted(folder) if row["speaker"] == "s1"]
    view = reader.where([("speaker", "==", "s1")]).join(text_of(rows))
    found = [(r.id, r["text"]) for i in range(2) for r in view.torch(shuffle=True, rank=i, world_size=2)]
    assert sorted(found) == sorted(text_of(rows).items())


def test_workers_share_the_clips(reader: Reader) -> None:
    loader = DataLoader(reader.torch(), batch_size=None, num_workers=2)
    items = list(loader)
    assert sorted(item["id"] for item in items) == sorted(record.id for record in reader)
    by_id = {record.id: record for record in reader}
    for item in items:
        assert all(codes.dtype == torch.int64 for codes in item["codes"])
        assert [codes.tolist() for codes in item["codes"]] == [codes.tolist() for codes in by_id[item["id"]].codes]
