"""The output folder: one writer at a time, whole files or none, and a record of each shard by which a run resumes.

    DIR/part-00000.parquet ...   shards
    DIR/dataset.json             model, facts, fingerprint, source, arguments; totals when complete
    DIR/rejected.jsonl           clips that could not be tokenized
    DIR/.voxzoo/                 lock, temporary files, and a record of each shard: its clips, sha256 and rejected clips

A shard counts as done when its record is there and its sha256 agrees. `dataset.json` and `rejected.jsonl` follow from the
records, so a resumed run ends with the same bytes as an unbroken one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import CorpusError
from .claim import Claim
from .clips import Clip, Row, printable
from .shards import FORMAT, Layout, ShardWriter, shard_name
from .sources import PRIVATE

__all__ = ["Folder", "Shard"]


class Folder(Claim):
    """An output folder, locked until `close` (or the end of the process).

    Raises `CorpusError` when another run is writing into it, or when it holds files that are not ours.
    """

    kind = "token shards"
    safe = "the finished shards are"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.done: dict[int, dict[str, Any]] = {}
        super().__init__(path)

    def _known(self) -> bool:
        return bool(self._about())

    def _empty(self) -> None:
        for pattern in ("part-*.parquet", "dataset.json", "rejected.jsonl", f"{PRIVATE}/*.json"):
            for old in self.path.glob(pattern):
                old.unlink()

    # ------------------------------------------------------------------ what the folder is of
    def _about(self) -> dict[str, Any]:
        try:
            about = json.loads((self.path / "dataset.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) and about.get("format") == FORMAT else {}

    def begin(self, about: Mapping[str, Any], resume: bool = True, overwrite: bool = False) -> None:
        """Claim the folder for a run, or find that it is of this very run.

        Raises `CorpusError` when it was made with another model, source or arguments, or with `resume=False` at all.
        """
        if overwrite:
            with self.writing():
                self._empty()
        old = self._about()
        if old:
            _compare(str(self.path), old, about, resume)
        elif list(self.path.glob("part-*.parquet")):
            raise CorpusError(
                f"{str(self.path)!r} holds shards, but no whole dataset.json: name another folder, or --overwrite"
            )
        else:
            self._write_json(self.path / "dataset.json", {**about, "complete": False})

    # ------------------------------------------------------------------ shards
    def record(self, number: int, start: int) -> dict[str, Any] | None:
        """The record of a finished shard that begins at clip `start` and is whole on disk; None: make it (again)."""
        try:
            record = json.loads(self._record_path(number).read_text(encoding="utf-8"))
            with open(self.path / shard_name(number), "rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest()
            if record["start"] != start or record["sha256"] != whole or record["clips"] < 1:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self.done[number] = record
        return dict(record)

    def _record_path(self, number: int) -> Path:
        return self.private / f"{shard_name(number).removesuffix('.parquet')}.json"

    def commit(self, shard: Shard) -> None:
        """Move a finished shard to its place; its record follows, so a record never speaks of a shard that is not there."""
        with self.writing():
            record = shard.finish()
            self._record_path(shard.number).unlink(missing_ok=True)
            os.replace(shard.temporary, self.path / shard_name(shard.number))
            self.sync()
        self._write_json(self._record_path(shard.number), record)
        self.done[shard.number] = record

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write `rejected.jsonl` and the totals, once all shards are there."""
        records = [self.done[number] for number in sorted(self.done)]
        rejected = [json.dumps(line, ensure_ascii=False) + "\n" for record in records for line in record["rejected"]]
        totals = {key: sum(record[key] for record in records) for key in ("rows", "samples", "codes")}
        kept = self._about() or about
        self.write(self.path / "rejected.jsonl", "".join(rejected))
        self._write_json(
            self.path / "dataset.json",
            {**kept, "complete": True, "totals": {"shards": len(records), "rejected": len(rejected), **totals}},
        )

    def _write_json(self, path: Path, data: Mapping[str, Any]) -> None:
        self.write(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


class Shard:
    """A shard being made: rows and rejected clips, in order."""

    def __init__(self, folder: Folder, layout: Layout, number: int, start: int) -> None:
        self.number, self.start = number, start
        self.temporary = folder.private / f"{shard_name(number)}.tmp"
        self.writer = ShardWriter(self.temporary, layout)
        self.rejected: list[dict[str, str]] = []
        self.rows = self.samples = self.codes = 0

    def add(self, clip: Clip, outcome: Row | str) -> None:
        """A clip's tokens, or the reason why there are none."""
        if isinstance(outcome, str):
            reason = printable(" ".join(outcome.split()))
            self.rejected.append({"id": printable(clip.id), "path": printable(clip.path), "reason": reason})
            return
        self.rows += 1
        self.samples += outcome.num_samples
        self.codes += sum(map(len, outcome.codes))
        self.writer.add(clip, outcome)

    def finish(self) -> dict[str, Any]:
        """Close the file; returns the record."""
        sha256 = self.writer.close()
        return {"start": self.start, "clips": self.rows + len(self.rejected), "rows": self.rows, "samples": self.samples,
                "codes": self.codes, "sha256": sha256, "rejected": self.rejected}  # fmt: skip

    def abandon(self) -> None:
        """Leave nothing behind."""
        self.writer.abandon()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def _compare(folder: str, old: Mapping[str, Any], new: Mapping[str, Any], resume: bool) -> None:
    """Raise `CorpusError` unless a run described by `new` may go on where the one described by `old` stopped."""
    hint = "name another folder, or start afresh with --overwrite"
    if not resume:
        raise CorpusError(f"{folder!r} holds tokens already: {hint}, or leave out --no-resume")
    if old.get("fingerprint") != new["fingerprint"]:
        raise CorpusError(
            f"{folder!r} holds tokens of {old.get('model')} (fingerprint {str(old.get('fingerprint'))[:16]}), "
            f"this run is of {new['model']} (fingerprint {new['fingerprint'][:16]}): {hint}"
        )
    then, now = old.get("arguments") or {}, new["arguments"]
    differ = [f"{key}={then.get(key)} then and {value} now" for key, value in now.items() if then.get(key) != value]
    if differ:
        raise CorpusError(f"{folder!r} was begun with other arguments: {', '.join(differ)}; {hint}")
    was, source = old.get("source") or {}, new["source"]
    if was.get("sha256") != source["sha256"]:
        raise CorpusError(
            f"{folder!r} holds tokens of the source {was.get('path')!r} ({was.get('clips')} clips), this run's source "
            f"{source['path']!r} ({source['clips']} clips) is another or has changed: {hint}"
        )
