"""Several folders of token shards as one: shards are copied as they are, and numbered through."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError, TokensError, WrongModelError
from .new_folder import new_folder
from .reading import Reader
from .reading import open as open_reader
from .shards import Dataset, shard_name
from .sources import PRIVATE

__all__ = ["Merging", "merge"]


@dataclass
class Merging:
    """What was merged."""

    output: str
    datasets: int
    shards: int
    clips: int
    rejected: int


def merge(sources: Sequence[str], output: str, advance: Callable[[int, float], None] | None = None) -> Merging:
    """Merge datasets of one model.

    Args:
        sources: folders that `voxzoo tokenize` wrote, in order.
        output: a new folder.
        advance: called with the number of clips that were copied, and the seconds of sound that they hold.

    Raises:
        WrongModelError: fingerprints differ.
        CorpusError: fewer than two folders, one that is not complete, other resamplers, streams or types of columns, an id that
            is there twice, an output that exists.
        TokensError: damaged shards.
    """
    if len(sources) < 2:
        raise CorpusError(f"{len(sources)} folder to merge; expected at least 2")
    readers = [open_reader(source) for source in sources]
    for reader in readers[1:]:
        _check_alike(readers[0].dataset, reader.dataset)
    if unfinished := [str(reader.dataset.path) for reader in readers if not reader.dataset.complete]:
        raise CorpusError(f"{unfinished[0]!r} is not complete: let `voxzoo tokenize` finish it first")
    _check_ids(readers)
    with new_folder(output) as folder:
        return _Merger(readers, _schema(readers), folder, output).run(advance)


def _check_alike(first: Dataset, other: Dataset) -> None:
    names = f"{str(first.path)!r} and {str(other.path)!r}"
    if first.fingerprint != other.fingerprint:
        raise WrongModelError(
            f"{names} are of two models: {first.facts.name} (fingerprint {first.fingerprint[:16]}) and {other.facts.name} "
            f"(fingerprint {other.fingerprint[:16]}); tokens of different models mean different things"
        )
    streams = [(dataset.about.get("arguments") or {}).get("streams") for dataset in (first, other)]
    for what, then, now in (("resampler", first.resampler, other.resampler), ("streams", *streams)):
        if then != now:
            raise CorpusError(f"{names} have not the same {what}: {then} and {now}")


def _check_ids(readers: Sequence[Reader]) -> None:
    seen: dict[str, str] = {}
    for reader in readers:
        where = str(reader.dataset.path)
        for batch in reader.select().batches():
            for id in batch.ids:
                if id in seen:
                    raise CorpusError(f"the id {id!r} is in {seen[id]!r} and in {where!r}; ids of a dataset are unique")
                seen[id] = where


def _schema(readers: Sequence[Reader]) -> pa.Schema:
    """The columns of all; one that a dataset lacks is null there."""
    schemas = [reader._schema for reader in readers if reader.dataset.shards]
    if not schemas:
        return pa.schema([])
    kinds: dict[str, bool] = {}
    for field in (field for schema in schemas for field in schema):
        as_json = (field.metadata or {}).get(b"voxzoo") == b"json"
        if kinds.setdefault(field.name, as_json) != as_json:
            raise CorpusError(f"the column {field.name!r} is text in one dataset and JSON in another; merge them without it")
    try:
        return pa.unify_schemas(schemas).with_metadata(schemas[0].metadata)
    except pa.ArrowException as error:
        raise CorpusError(f"columns of one name have different types: {str(error).splitlines()[0]}") from None


class _Merger:
    def __init__(self, readers: Sequence[Reader], schema: pa.Schema, folder: Path, output: str) -> None:
        self.readers, self.schema, self.folder = readers, schema, folder
        self.result = Merging(output, len(readers), 0, 0, 0)
        self.totals = {"rows": 0, "samples": 0, "codes": 0}
        self.start = 0  # number of the next shard's first clip
        (folder / PRIVATE).mkdir()

    def run(self, advance: Callable[[int, float], None] | None) -> Merging:
        rejected = []
        for reader in self.readers:
            lines = _rejected(reader.dataset.path)
            rejected += lines
            if lines and not reader.dataset.shards:
                raise CorpusError(f"{str(reader.dataset.path)!r} holds nothing but rejected clips; leave it out")
            for place, shard in enumerate(reader.dataset.shards):
                rows, samples = self._add(shard, lines if place == 0 else [])  # in the record of its first shard
                if advance:
                    advance(rows, samples / reader.dataset.facts.sample_rate)
        self.result.rejected = len(rejected)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rejected)
        (self.folder / "rejected.jsonl").write_text(text, encoding="utf-8")
        self._write(self.folder / "dataset.json", self._about())
        return self.result

    def _add(self, shard: Path, rejected: list[Any]) -> tuple[int, int]:
        number = self.result.shards
        target = self.folder / shard_name(number)
        rows, samples, codes = self._copy(shard, target)
        with open(target, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        record = {"start": self.start, "clips": rows + len(rejected), "rows": rows, "samples": samples, "codes": codes,
                  "sha256": digest, "rejected": rejected}  # fmt: skip
        self._write(self.folder / PRIVATE / f"{target.stem}.json", record)
        self.result.shards += 1
        self.result.clips += rows
        for key, count in (("rows", rows), ("samples", samples), ("codes", codes)):
            self.totals[key] += count
        self.start += rows + len(rejected)
        return rows, samples

    def _copy(self, shard: Path, target: Path) -> tuple[int, int, int]:
        """Copy a shard, with null columns where it lacks some; returns rows, samples and codes."""
        rows = samples = codes = 0
        try:
            with pq.ParquetFile(shard, page_checksum_verification=True) as file:
                same = file.schema_arrow.equals(self.schema)
                writer = None if same else pq.ParquetWriter(target, self.schema, compression="zstd", write_page_checksum=True)
                for group in range(file.metadata.num_row_groups):
                    table = file.read_row_group(group, columns=["codes", "num_samples"] if same else None)
                    rows += table.num_rows
                    samples += sum(table["num_samples"].to_pylist())
                    codes += sum(len(chunk.flatten().flatten()) for chunk in table["codes"].chunks)
                    if writer:
                        writer.write_table(_widened(table, self.schema))
                if writer:
                    writer.close()
                else:
                    shutil.copyfile(shard, target)
        except (OSError, pa.ArrowException) as error:
            raise TokensError(f"{str(shard)!r} is damaged: {error}; `voxzoo verify` tells what else is") from None
        return rows, samples, codes

    def _about(self) -> dict[str, Any]:
        abouts = [reader.dataset.about for reader in self.readers]
        sources = [about.get("source") or {} for about in abouts]
        digest = hashlib.sha256("".join(str(source.get("sha256")) for source in sources).encode()).hexdigest()
        source = {"path": [source.get("path") for source in sources], "sha256": digest,
                  "clips": self.result.clips + self.result.rejected}  # fmt: skip
        totals = {"shards": self.result.shards, "rejected": self.result.rejected, **self.totals}
        merged = [str(reader.dataset.path) for reader in self.readers]
        return {**abouts[0], "source": source, "merged": merged, "complete": True, "totals": totals}

    def _write(self, path: Path, data: Any) -> None:
        path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _widened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    arrays = [table[f.name] if f.name in table.column_names else pa.nulls(len(table), f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def _rejected(folder: Path) -> list[Any]:
    path = folder / "rejected.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    except (OSError, ValueError) as error:
        raise CorpusError(f"{str(path)!r} is damaged: {error}") from None
