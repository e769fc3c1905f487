"""Is a folder of token shards whole? Everything that can be told of it is compared with everything else that tells of it.

Each shard: its sha256 and counts against its record, its pages against their checksums, its rows against the facts (streams,
codes, samples, rates, extras), its ids against all others. The folder: shards in a row, totals, rejected clips, and the source,
where it can still be listed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError, VoxzooError
from .batches import Batch
from .plan import scan
from .shards import Dataset, open_dataset, shard_name
from .sources import PRIVATE, open_source

__all__ = ["Problem", "Verification", "verify"]

EACH = 3  # problems told of a kind in a shard; the others are counted


@dataclass(frozen=True)
class Problem:
    """What is wrong, and in which file."""

    file: str
    what: str


@dataclass
class Verification:
    """What was found. `unchecked`: what there was nothing to compare with."""

    path: str
    shards: int = 0
    clips: int = 0
    codes: int = 0
    samples: int = 0
    rejected: int = 0
    problems: list[Problem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: str, source: str | None = None, advance: Callable[[int, float], None] | None = None) -> Verification:
    """Verify a folder of token shards.

    Args:
        path: the folder.
        source: what it was made of, where that lies elsewhere now; by default what `dataset.json` names, if it is there.
        advance: called with the number of clips that were read, and the seconds of sound that they hold.

    Raises:
        CorpusError: it is no such folder, or `source` cannot be listed.
    """
    return _Verifier(open_dataset(path), source).run(advance)


class _Verifier:
    def __init__(self, dataset: Dataset, source: str | None) -> None:
        self.dataset, self.source = dataset, source
        self.found = Verification(str(dataset.path))
        self.streams = int((dataset.about.get("arguments") or {}).get("streams") or dataset.facts.streams)
        self.ids: dict[str, str] = {}
        self.start = 0  # number of the clip at which the next record has to begin

    def problem(self, file: str, what: str) -> None:
        self.found.problems.append(Problem(file, " ".join(what.split())))

    def run(self, advance: Callable[[int, float], None] | None) -> Verification:
        found = self.found
        if not self.dataset.complete:
            self.problem("dataset.json", "the run that made it did not end; the same `voxzoo tokenize` goes on with it")
        for number, shard in enumerate(self.dataset.shards):
            if shard.name != shard_name(number):
                self.problem(shard.name, f"{shard_name(number)} was expected here: a shard is missing or does not belong")
            clips, samples = found.clips, found.samples
            self._shard(shard)
            if advance:
                advance(found.clips - clips, (found.samples - samples) / self.dataset.facts.sample_rate)
        found.shards = len(self.dataset.shards)
        rejected = self._rejected()
        self._totals()
        self._source(rejected)
        return found

    # ------------------------------------------------------------------ one shard
    def _shard(self, shard: Path) -> None:
        before = vars(self.found).copy()
        record = self._record(shard)
        try:
            with pq.ParquetFile(shard, page_checksum_verification=True) as file:
                self._schema(shard.name, file.schema_arrow)
                for group in range(file.metadata.num_row_groups):
                    for name, what in self._rows(file.read_row_group(group), shard.name):
                        self.problem(name, what)
        except (OSError, pa.ArrowException, VoxzooError, KeyError) as error:
            self.problem(shard.name, f"damaged: {error}")
            return
        for key, name in (("rows", "clips"), ("samples", "samples"), ("codes", "codes")):
            counted = vars(self.found)[name] - before[name]
            if record is not None and record.get(key) != counted:
                self.problem(shard.name, f"{counted} {key}; its record has {record.get(key)}")

    def _record(self, shard: Path) -> Mapping[str, Any] | None:
        path = self.dataset.path / PRIVATE / f"{shard.stem}.json"
        if not path.is_file():
            if "no record of some shards, so their sha256 is not known" not in self.found.unchecked:
                self.found.unchecked.append("no record of some shards, so their sha256 is not known")
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            with open(shard, "rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest()
            if record["sha256"] != whole:
                self.problem(shard.name, f"sha256 {whole[:16]}, its record has {str(record['sha256'])[:16]}")
            if record["start"] != self.start:
                self.problem(shard.name, f"its record begins at clip {record['start']}; clip {self.start} was next")
            if record["clips"] != record["rows"] + len(record["rejected"]):
                self.problem(
                    shard.name, f"its record has {record['clips']} clips, of which neither rows nor rejected make as many"
                )
            self.start = record["start"] + record["clips"]
            return dict(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.problem(path.name, f"the record is damaged: {type(error).__name__}: {error}")
            return None

    def _schema(self, name: str, schema: pa.Schema) -> None:
        try:
            about = json.loads((schema.metadata or {})[b"voxzoo"])
            if about["fingerprint"] != self.dataset.fingerprint:
                mark = f"{about['model']} (fingerprint {str(about['fingerprint'])[:16]})"
                self.problem(name, f"made by {mark}, the dataset by {self.dataset.fingerprint[:16]}")
        except (KeyError, ValueError, TypeError):
            self.problem(name, "its metadata does not say which model made it")

    def _rows(self, table: pa.Table, name: str) -> Iterator[tuple[str, str]]:
        """(file, what is wrong) of the rows of a group, which are counted."""
        batch, facts = Batch(table, self.dataset), self.dataset.facts
        self.found.clips += len(batch)
        samples = table["num_samples"].to_numpy()
        self.found.samples += int(samples.sum())
        for id in batch.ids:
            if id in self.ids:
                yield name, f"the id {id!r} is there already, in {self.ids[id]}"
            self.ids.setdefault(id, name)
        if batch.streams != self.streams and len(batch):
            yield name, f"clips of {batch.streams} streams; {self.streams} were asked for"
            return
        self.found.codes += int(batch.lengths.sum())
        checks = {f"code of stream {k} outside 0 to {size - 1}": self._outside(batch, k, size) for k, size in self._sizes()}
        checks["num_samples below 0"] = samples < 0
        checks[f"sample_rate other than {facts.sample_rate}"] = table["sample_rate"].to_numpy() != facts.sample_rate
        checks["duration other than num_samples / sample_rate"] = table["duration"].to_numpy() != samples / facts.sample_rate
        for extra in self.dataset.extras:
            lengths = np.array([len(value) for value in table[extra].to_pylist()])
            checks[f"{extra} not one for each frame"] = lengths != batch.lengths[:, 0]
        for what, wrong in checks.items():
            places = np.flatnonzero(wrong)
            more = f" and {len(places) - EACH} more" if len(places) > EACH else ""
            if len(places):
                yield name, f"{what}: {', '.join(repr(batch.ids[i]) for i in places[:EACH])}{more}"

    def _sizes(self) -> list[tuple[int, int]]:
        return list(enumerate(self.dataset.facts.codebook_sizes[: self.streams]))

    def _outside(self, batch: Batch, stream: int, size: int) -> np.ndarray:
        wrong = np.zeros(len(batch), bool)
        flat = batch.flat(stream)
        if len(flat) and int(flat.max()) >= size:
            wrong[:] = [len(record.codes[stream]) and int(record.codes[stream].max()) >= size for record in batch]
        return wrong

    # ------------------------------------------------------------------ the folder
    def _rejected(self) -> list[str]:
        path = self.dataset.path / "rejected.jsonl"
        if not path.is_file():
            if self.dataset.complete:
                self.problem(path.name, "it is not there")
            return []
        try:
            ids = [str(json.loads(line)["id"]) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.problem(path.name, f"damaged: {type(error).__name__}: {error}")
            return []
        self.found.rejected = len(ids)
        return ids

    def _totals(self) -> None:
        totals = self.dataset.about.get("totals")
        if not totals:
            return
        found = {"shards": self.found.shards, "rejected": self.found.rejected, "rows": self.found.clips,
                 "samples": self.found.samples, "codes": self.found.codes}  # fmt: skip
        for key, count in found.items():
            if totals.get(key) != count:
                self.problem("dataset.json", f"{totals.get(key)} {key} according to it; {count} are there")
        clips = (self.dataset.about.get("source") or {}).get("clips")
        if clips is not None and clips != self.found.clips + self.found.rejected:
            has = f"{self.found.clips} in shards and {self.found.rejected} rejected"
            self.problem("dataset.json", f"its source had {clips} clips; {has}")

    def _source(self, rejected: list[str]) -> None:
        about = self.dataset.about.get("source") or {}
        spec = self.source if self.source is not None else about.get("path")
        if not isinstance(spec, str):
            self.found.unchecked.append("the source is not one that can be listed")
            return
        limit = (self.dataset.about.get("arguments") or {}).get("limit")
        try:
            source = open_source(spec)
            wanted = {clip.id for clip in itertools.islice(source.listing(), limit)}
            digest = scan(source, limit).sha256
        except (CorpusError, OSError) as error:
            if self.source is not None:
                raise
            self.found.unchecked.append(f"the source cannot be listed: {error}")
            return
        here = {*self.ids, *rejected}
        for what, ids in (("are in the source and not here", wanted - here), ("are here and not in the source", here - wanted)):
            if ids:
                self.problem("dataset.json", f"{len(ids)} clips {what}, such as {min(ids)!r}")
        if digest != about.get("sha256"):
            self.found.unchecked.append("the source is listed otherwise than it was (sizes, columns or place), or has moved")
