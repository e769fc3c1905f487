"""`verify` finds what is wrong with shards, `merge` puts whole ones together, `stats` counts them."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile

import voxzoo
from voxzoo import CorpusError, WrongModelError
from voxzoo.cli.main import main
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.merge import merge
from voxzoo.corpus.stats import EDGES, statistics
from voxzoo.corpus.verify import verify

from token_shards import FACTS, FIELDS, make_shards  # isort: skip


def make(folder: Path, rows: list[int] | None = None, **options: Any) -> str:
    make_shards(folder, rows or [6, 3], extras=("scales",), **options)
    return str(folder)


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table], name: str = "part-00000.parquet") -> None:
    table = pq.read_table(folder / name)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), folder / name)


def with_column(name: str, value: Any, row: int) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        field = table.schema.field(name)
        return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

    return change


def lines(folder: Path) -> list[str]:
    return [f"{problem.file}: {problem.what}" for problem in verify(str(folder)).problems]


def test_whole_shards(tmp_path: Path) -> None:
    make(tmp_path)
    seen: list[tuple[int, float]] = []
    found = verify(str(tmp_path), advance=lambda *clips: seen.append(clips))
    rows = [row for path in sorted(tmp_path.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert found.good
    assert [clips for clips, _ in seen] == [6, 3]
    assert sum(sound for _, sound in seen) == pytest.approx(sum(row["duration"] for row in rows))
    assert (found.clips, found.shards, found.rejected) == (9, 2, 0)
    assert found.codes == sum(len(stream) for row in rows for stream in row["codes"])
    assert [what.split(":")[0] for what in found.unchecked] == [
        "no record of some shards, so their sha256 is not known", "the source cannot be listed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (with_column("codes", [[1024], [511]], 2), ["code of stream 0 outside 0 to 1023: 'clip/00002'"]),
        (with_column("codes", [[1], [512]], 2), ["code of stream 1 outside 0 to 511: 'clip/00002'"]),
        (
            with_column("id", "clip/00007", 2),
            ["part-00001.parquet: the id 'clip/00007' is there already, in part-00000.parquet"],
        ),
        (with_column("sample_rate", 8000, 2), ["sample_rate other than 16000: 'clip/00002'"]),
        (with_column("duration", 3.0, 2), ["duration other than num_samples / sample_rate: 'clip/00002'"]),
        (with_column("scales", [0.5] * 99, 3), ["scales not one for each frame: 'clip/00003'"]),
        (with_column("codes", [[1]], 0), ["damaged: damaged rows: not every clip has 1 streams of codes"]),
        (lambda table: table.slice(1), ["9 rows according to it; 8 are there", "its source had 9 clips; 8 in shards"]),
        (lambda table: table.drop_columns("duration"), ["damaged: "]),
    ],
)
def test_rows_that_are_wrong(tmp_path: Path, change: Callable[[pa.Table], pa.Table], problems: list[str]) -> None:
    make(tmp_path)
    rewrite(tmp_path, change)
    found = lines(tmp_path)
    for problem in problems:
        assert any(problem in line for line in found), (problem, found)


def test_many_wrong_rows_are_counted(tmp_path: Path) -> None:
    make(tmp_path)
    rewrite(tmp_path, lambda t: t.set_column(t.schema.get_field_index("duration"), "duration", pc.add(t["duration"], 1.0)))
    wrong = "duration other than num_samples / sample_rate: 'clip/00000', 'clip/00001', 'clip/00002' and 3 more"
    assert lines(tmp_path) == [f"part-00000.parquet: {wrong}"]


def test_files_that_are_wrong(tmp_path: Path) -> None:
    make(tmp_path, [4, 4, 4])
    shard = tmp_path / "part-00001.parquet"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    (tmp_path / "rejected.jsonl").write_text("{\n")
    found = lines(tmp_path)
    assert any(line.startswith("part-00001.parquet: damaged: ") for line in found)
    assert any(line.startswith("rejected.jsonl: damaged: JSONDecodeError") for line in found)
    shard.unlink()
    (tmp_path / "rejected.jsonl").unlink()
    found = lines(tmp_path)
    assert "part-00002.parquet: part-00001.parquet was expected here: a shard is missing or does not belong" in found
    assert "rejected.jsonl: it is not there" in found
    assert "dataset.json: 3 shards according to it; 2 are there" in found
    make_shards(tmp_path / "other", [4], fingerprint="e" * 64)
    (tmp_path / "other/part-00000.parquet").rename(shard)
    assert f"part-00001.parquet: made by toy (fingerprint {'e' * 16}), the dataset by {'f' * 16}" in lines(tmp_path)
    with pytest.raises(CorpusError, match="not a folder of token shards"):
        verify(str(tmp_path / "nothing"))


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight short files and one that is no sound, tokenized."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "sound").mkdir()
    random = np.random.default_rng(0)
    for i in range(8):
        soundfile.write(root / f"sound/{i}.wav", random.normal(0, 0.1, 3000 + 700 * i), 16000)
    (root / "sound/bad.wav").write_bytes(b"no sound")
    options = Options(
        source=str(root / "sound"), model="vox-rvq-16k", output=str(root / "tokens"), workers=0, shard_clips=4, quiet=True
    )
    tokenize(options)
    return root


def test_a_real_run_is_whole(tokenized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tokenized / "tokens"
    found = verify(str(folder))
    assert (found.problems, found.unchecked) == ([], [])
    assert (found.clips, found.rejected, found.shards) == (8, 1, 3)
    assert main(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["good"] is True
    before = (folder / "part-00001.parquet").read_bytes()
    rewrite(folder, lambda table: table.slice(0, 3), "part-00001.parquet")
    (tokenized / "sound/new.wav").write_bytes((tokenized / "sound/1.wav").read_bytes())
    assert main(["verify", str(folder)]) == 3
    out, err = capsys.readouterr()
    assert "part-00001.parquet: 3 rows; its record has 4" in out
    assert "part-00001.parquet: sha256 " in out
    assert "dataset.json: 2 clips are in the source and not here, such as '" in out
    assert out.endswith("1 rejected: 9 problems\n")
    assert "not checked: the source is listed otherwise than it was" in err
    assert main(["verify", str(folder), "--source", str(tmp_path / "gone")]) == 2
    (folder / "part-00001.parquet").write_bytes(before)
    (tokenized / "sound/new.wav").unlink()
    assert verify(str(folder)).good


# ---------------------------------------------------------------------- merge
def test_merging(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", [3, 2]), make(tmp_path / "b", [4], first_ids=[5])
    (tmp_path / "b/rejected.jsonl").write_text(json.dumps({"id": "x", "path": "x", "reason": "é"}) + "\n")
    about = json.loads((tmp_path / "b/dataset.json").read_text())
    about["totals"]["rejected"] = 1
    about["source"]["clips"] = 5
    (tmp_path / "b/dataset.json").write_text(json.dumps(about))
    done = merge([first, second], str(tmp_path / "all"))
    assert (done.clips, done.shards, done.rejected) == (9, 3, 1)
    for number, path in enumerate(("a/part-00000", "a/part-00001", "b/part-00000")):
        assert (tmp_path / f"all/part-{number:05d}.parquet").read_bytes() == (tmp_path / f"{path}.parquet").read_bytes()
    found = verify(str(tmp_path / "all"))
    assert (found.problems, found.clips, found.rejected) == ([], 9, 1)
    assert found.unchecked == ["the source is not one that can be listed"]
    reader = voxzoo.open(tmp_path / "all")
    assert [record.id for record in reader] == [f"clip/{i:05d}" for i in range(9)]
    record = json.loads((tmp_path / "all/.voxzoo/part-00002.json").read_text())
    digest = hashlib.sha256((tmp_path / "b/part-00000.parquet").read_bytes()).hexdigest()
    assert (record["start"], record["clips"], record["sha256"]) == (5, 5, digest)


def test_columns_that_a_dataset_lacks(tmp_path: Path) -> None:
    first = make(tmp_path / "a", [3])
    second = make(tmp_path / "b", [4], first_ids=[3], fields=[FIELDS[0], ("more", pa.int64(), False)])
    merge([first, second], str(tmp_path / "all"))
    assert verify(str(tmp_path / "all")).good
    reader = voxzoo.open(tmp_path / "all")
    assert [record["speaker"] for record in reader] == ["s0", "s1", "s2", *[None] * 4]
    assert "more" in reader.column_names
    merge([second, first], str(tmp_path / "other"))
    assert len(voxzoo.open(tmp_path / "other")) == 7


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fingerprint": "e" * 64}, WrongModelError, f"two models: toy .fingerprint {'f' * 16}. and toy .fingerprint e{{16}}."),
        ({"first_ids": [2]}, CorpusError, "the id 'clip/00002' is in '.*a' and in '.*b'; ids"),
        ({"fields": [("text", pa.int64(), False)]}, CorpusError, "columns of one name have different types"),
        ({"fields": [("text", pa.string(), True)]}, CorpusError, "the column 'text' is text in one dataset and JSON"),
    ],
)  # fmt: skip
def test_what_does_not_merge(tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    first = make(tmp_path / "a", [3])
    if "fields" in options:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("token_shards.columns", lambda number: {"text": number})
            second = make(tmp_path / "b", [3], first_ids=[3], **options)
    else:
        second = make(tmp_path / "b", [3], **{"first_ids": [3], **options})
    with pytest.raises(error, match=message):
        merge([first, second], str(tmp_path / "all"))
    assert not (tmp_path / "all").exists()


def test_merging_needs_whole_datasets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make(tmp_path / "a", [3]), make(tmp_path / "b", [2], first_ids=[3])
    for change, message in (
        ({"complete": False}, "b' is not complete"),
        ({"resampler": "torchaudio-sinc"}, "have not the same resampler: soxr-hq and torchaudio-sinc"),
        ({"arguments": {"streams": 1}}, "have not the same streams: None and 1"),
    ):
        about = json.loads((tmp_path / "b/dataset.json").read_text())
        (tmp_path / "b/dataset.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(CorpusError, match=message):
            merge([first, second], str(tmp_path / "all"))
        (tmp_path / "b/dataset.json").write_text(json.dumps(about))
    with pytest.raises(CorpusError, match="1 folder to merge; expected at least 2"):
        merge([first], str(tmp_path / "all"))
    assert main(["merge", first, second, "-o", str(tmp_path / "all")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'all'}: 5 clips in 2 shards of 2 folders, 0 rejected\n"
    assert main(["merge", first, second, "-o", str(tmp_path / "all")]) == 2


# ---------------------------------------------------------------------- stats
def test_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path, [30, 20])
    rows = [row for path in sorted(tmp_path.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    found = statistics(voxzoo.open(folder), "speaker")
    seconds = [row["duration"] for row in rows]
    assert (found["clips"], found["hours"]) == (50, pytest.approx(sum(seconds) / 3600))
    assert found["durations"]["mean"] == pytest.approx(sum(seconds) / 50)
    assert found["durations"]["longest"] == max(seconds)
    for k, stream in enumerate(found["streams"]):
        counts = Counter(code for row in rows for code in row["codes"][k])
        total = sum(counts.values())
        assert (stream["size"], stream["codes"], stream["used"]) == (FACTS.codebook_sizes[k], total, len(counts))
        assert stream["entropy"] == pytest.approx(-sum(n / total * math.log2(n / total) for n in counts.values()))
    assert found["tokens"] == sum(stream["codes"] for stream in found["streams"])
    edges = [*EDGES, math.inf]
    assert found["durations"]["counts"] == [sum(a <= s < b for s in seconds) for a, b in itertools.pairwise(edges)]
    speakers = Counter(row["speaker"] for row in rows)
    assert {name: value["clips"] for name, value in found["by"].items()} == speakers
    filtered = statistics(voxzoo.open(folder, where=[("speaker", "==", "s0")]))
    assert (filtered["clips"], filtered["hours"]) == (speakers["s0"], pytest.approx(found["by"]["s0"]["hours"]))
    assert main(["stats", folder, "--by", "speaker"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{folder}: 50 clips, ")
    assert f"s0        {speakers['s0']}" in out
    assert main(["stats", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 50
    assert main(["stats", folder, "--by", "nothing"]) == 2
    make_shards(tmp_path / "empty", [])
    with pytest.raises(CorpusError, match="holds no clips"):
        statistics(voxzoo.open(tmp_path / "empty"))
