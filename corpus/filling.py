"""One model's folder while a run fills it: the shard that is being made, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .clips import Row, printable
from .folder import Folder, Shard
from .options import Summary
from .plan import Scan, Task
from .shards import Info, Layout

__all__ = ["Filling"]


class Filling:
    """A claimed folder, with the model that fills it.

    Attributes:
        info: of the model.
        last_samples: of sound in the last task.
    """

    def __init__(self, folder: Folder, info: Info, about: Mapping[str, Any], found: Scan) -> None:
        self.folder, self.info, self.about = folder, info, about
        self.layout = Layout(info, found.fields)
        self.shard: Shard | None = None
        self.last_samples = 0

    def begin(self, resume: bool, overwrite: bool) -> None:
        """Claim the folder for this run. Raises `CorpusError` when it is of another."""
        self.folder.begin(self.about, resume, overwrite)

    def done(self, number: int, start: int) -> int | None:
        """Clips of shard `number`, which begins at clip `start`, if it is there and whole."""
        record = self.folder.record(number, start)
        return None if record is None else int(record["clips"])

    def add(self, task: Task, outcomes: Sequence[Row | str]) -> None:
        """Write what became of a task's clips; with its last task, a shard takes its place."""
        with self.folder.writing():
            self.shard = self.shard or Shard(self.folder, self.layout, task.shard, task.start)
            for clip, outcome in zip(task.clips, outcomes, strict=True):
                self.shard.add(clip, outcome)
        if task.last:
            self.folder.commit(self.shard)
            self.shard = None
        self.last_samples = sum(outcome.num_samples for outcome in outcomes if isinstance(outcome, Row))

    def finish(self) -> None:
        """All shards are there: write the totals."""
        self.folder.finish(self.about)

    def abandon(self) -> None:
        """Leave no half-made shard behind."""
        if self.shard:
            self.shard.abandon()

    def summary(self, streams: int | None, **of_run: Any) -> Summary:
        """Of the folder, and of this run what `Summary` says of it."""
        records, facts = self.folder.done.values(), self.info.facts
        rows = sum(record["rows"] for record in records)
        seconds = sum(record["samples"] for record in records) / facts.sample_rate
        bitrate = facts.bitrate_of(streams or facts.streams)
        rejected = sum(record["clips"] for record in records) - rows
        return Summary(printable(str(self.folder.path)), facts.name, rows, rejected, len(records), seconds, bitrate,
                       **of_run)  # fmt: skip
