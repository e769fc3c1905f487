"""Counting shards: the same whatever the number of processes, equal to a loop over the clips, and damage named and survived."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxzoo import CorpusError, Facts, TokensError
from voxzoo.corpus import shards as corpus_shards
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.shards import FORMAT, Dataset, Info, Layout, ShardWriter, open_dataset, shard_name
from voxzoo.eval.row_groups import Group, row_groups
from voxzoo.eval.scan_shards import scan_shards
from voxzoo.eval.shard_clips import sample_clips
from voxzoo.eval.token_statistics import TokenStatistics

FACTS = Facts("toy", "acoustic", 8000, (Fraction(25), Fraction(50)), (40, 300), True, 0.0, 1, "", "", "", "")
INFO = Info(FACTS, "f" * 64, "soxr-hq", ("scales",))


def write(folder: Path, shards: int = 3, clips: int = 50, codes: tuple[int, int] = (40, 300)) -> Dataset:
    """Shards of clips of 0 to 39 frames, some of them empty, with an extra and two columns."""
    rng = np.random.default_rng(0)
    layout = Layout(INFO, [("speaker", pa.string(), False), ("phones", pa.string(), True)])
    for number in range(shards):
        writer = ShardWriter(folder / shard_name(number), layout)
        for i in range(clips):
            n = int(rng.integers(0, 40))
            streams = tuple((rng.random(m) ** 2 * v).astype(np.uint16) for m, v in zip((n, 2 * n), codes, strict=True))
            columns = {"speaker": f"s{i % 3}", "phones": [["a", 0.0]]}
            writer.add(Clip(f"{number}-{i}", "", "", columns), Row(320 * n, streams, {"scales": np.zeros(n, np.float32)}))
        writer.close()
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, **INFO.to_dict(), "complete": True}))
    return open_dataset(folder)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_shards, "GROUP_ROWS", 20)


def text(statistics: TokenStatistics) -> str:
    return json.dumps(statistics.summary())


@pytest.mark.usefixtures("small_groups")
def test_workers_change_nothing_and_a_loop_over_clips_finds_the_same(tmp_path: Path) -> None:
    dataset = write(tmp_path)
    alone, damaged = scan_shards(dataset, workers=1)
    assert damaged == []
    loop = TokenStatistics(FACTS.codebook_sizes, FACTS.frame_rates)
    for number, (_, tokens) in enumerate(dataset):
        loop.update([codes[0] for codes in tokens.codes], number)
    assert text(alone) == text(loop)
    seen: list[Group] = []
    several, damaged = scan_shards(dataset, workers=3, advance=seen.append)
    assert text(several) == text(alone)
    assert damaged == []
    assert sum(group.rows for group in seen) == 150
    assert len(seen) == 9


@pytest.mark.usefixtures("small_groups")
def test_a_limit_is_of_the_first_clips(tmp_path: Path) -> None:
    dataset = write(tmp_path)
    found, _ = scan_shards(dataset, limit=65)
    loop = TokenStatistics(FACTS.codebook_sizes, FACTS.frame_rates)
    for number, (_, tokens) in zip(range(65), dataset, strict=False):
        loop.update([codes[0] for codes in tokens.codes], number)
    assert text(found) == text(loop)
    assert [group.rows for group in row_groups(dataset, 65)[0]] == [20, 20, 10, 15]


def test_only_the_first_streams(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    writer = ShardWriter(tmp_path / shard_name(0), Layout(INFO, []))
    for i in range(5):
        writer.add(Clip(str(i), "", ""), Row(100, (rng.integers(0, 40, 9).astype(np.uint16),), {"scales": np.zeros(9)}))
    writer.close()
    about = {"format": FORMAT, **INFO.to_dict(), "arguments": {"streams": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    assert len(scan_shards(open_dataset(tmp_path))[0].summary()["streams"]) == 1


# ---------------------------------------------------------------------- damage
def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """Damage to the codes of the second row group, which its checksum shows."""
    group = pq.read_metadata(path).row_group(1)
    column = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith("codes"))
    data = bytearray(path.read_bytes())
    middle = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2
    data[middle] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(("harm", "lost", "workers"), [(cut, None, 1), (flip, 20, 1), (flip, 20, 2)])
def test_a_damaged_shard_is_named_and_the_rest_counted(
    tmp_path: Path, harm: Callable[[Path], None], lost: int | None, workers: int
) -> None:
    dataset = write(tmp_path)
    harm(tmp_path / shard_name(1))
    found, damaged = scan_shards(dataset, workers)
    assert [(d.shard, d.clips) for d in damaged] == [("part-00001.parquet", lost)]
    assert damaged[0].reason
    assert found.clips == 150 - (50 if lost is None else lost)
    assert {clip.id.split("-")[0] for clip in sample_clips(dataset, 1000)} >= {"0", "2"}


def test_codes_out_of_range_are_damage(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match=r"part-00000.*stream 1 holds code \d+; expected 0 to 299"):
        scan_shards(write(tmp_path, codes=(40, 900)))


def test_nothing_to_count(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no clips of tokens; tokenize something"):
        scan_shards(write(tmp_path, shards=0))
    dataset = write(tmp_path, shards=1)
    cut(tmp_path / shard_name(0))
    with pytest.raises(CorpusError, match="part-00000"):
        scan_shards(dataset)


def test_a_process_that_dies_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxzoo.eval.scan_shards.COMMAND", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(CorpusError, match="SIGKILL"):
        scan_shards(write(tmp_path), workers=2)


# ---------------------------------------------------------------------- clips
@pytest.mark.usefixtures("small_groups")
def test_clips_drawn_at_random_come_with_their_columns(tmp_path: Path) -> None:
    dataset = write(tmp_path)
    every = dict(dataset)
    drawn = list(sample_clips(dataset, 30, seed=1))
    assert len({clip.id for clip in drawn}) == 30
    assert [clip.id for clip in drawn] == [clip.id for clip in sample_clips(dataset, 30, seed=1)]
    assert [clip.id for clip in drawn] != [clip.id for clip in sample_clips(dataset, 30, seed=2)]
    for clip in drawn:
        assert all(np.array_equal(a, b) for a, b in zip(clip.tokens.codes, every[clip.id].codes, strict=True))
        assert clip.columns == {"speaker": f"s{int(clip.id.split('-')[1]) % 3}", "phones": [["a", 0.0]]}
    assert [clip.id for clip in sample_clips(dataset, 1000)] == list(every)
    assert all(clip.id.startswith("0-") for clip in sample_clips(dataset, 1000, limit=50))
