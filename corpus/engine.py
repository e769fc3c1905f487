"""`tokenize`: a source of sound to a folder of token shards, with the local engine (worker processes on this machine)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import CorpusError
from ..core.loading import is_folder
from ..core.registry import entry
from ..core.resampling import SOXR, check_resampler
from .clips import Row, printable
from .folder import Folder, Shard
from .plan import Scan, Task, scan, shard_tasks
from .pool import InlinePool, Pool
from .progress import Progress
from .shards import FORMAT, Info, Layout
from .sources import Source, open_source
from .worker import Settings

__all__ = ["Options", "Summary", "tokenize"]

CPU_TASK = (32, 2 << 20)  # clips, bytes: some seconds of work, so that the workers end together
GPU_TASK = (2048, 256 << 20)  # as much as is sorted by length at a time
CPU_BATCH, GPU_BATCH = 20.0, 600.0  # seconds of sound


@dataclass(frozen=True)
class Options:
    """What to tokenize, with what, into where.

    Attributes:
        source: see `sources.open_source`.
        output: the folder.
        model, weights, device, resampler: as `voxzoo.load` takes them.
        streams: only the first so many streams (codebooks).
        workers: processes (on a GPU: threads that decode sound for the one process with the model); 0: this process alone;
            None: as many as there are cores.
        shard_clips: clips in a shard.
        batch_seconds: sound in a batch, padding included; None: a default for the device.
        limit: only the first so many clips.
        resume: go on where an earlier run stopped; else refuse a folder with tokens.
        overwrite: throw away what the folder holds.
        quiet: no progress.
    """

    source: str
    output: str
    model: str
    weights: str | None = None
    device: str = "cpu"
    resampler: str = SOXR
    streams: int | None = None
    workers: int | None = None
    shard_clips: int = 1000
    batch_seconds: float | None = None
    limit: int | None = None
    resume: bool = True
    overwrite: bool = False
    quiet: bool = False

    def settings(self) -> Settings:
        """For the workers."""
        gpu = self.device != "cpu"
        default = GPU_BATCH if gpu else CPU_BATCH
        batch = default if self.batch_seconds is None else self.batch_seconds
        readers = max(1, self._count()) if gpu else 1
        return Settings(self.model, self.weights, self.device, self.resampler, self.streams, batch, readers)

    def _count(self) -> int:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cores if self.workers is None else self.workers

    def pool(self, clips: int) -> Pool | InlinePool:
        """The workers for so many clips, with the model loaded."""
        count = self._count()
        if count == 0:
            return InlinePool(self.settings())
        return Pool(self.settings(), min(count, clips) if self.device == "cpu" else 1)


@dataclass(frozen=True)
class Summary:
    """What a run did. Sound in seconds; `clips`, `rejected` and `seconds` are of the whole folder, the rest of this run."""

    output: str
    model: str
    clips: int
    rejected: int
    shards: int
    seconds: float
    bitrate: float
    resumed_clips: int
    run_seconds: float
    elapsed: float
    speed: float


def tokenize(options: Options) -> Summary:
    """Tokenize a source. Each clip ends up in a shard or in `rejected.jsonl`; interrupted, the same call goes on.

    Raises:
        CorpusError: a source or output folder that cannot be used, a full disk.
        ModelError, WeightsError: a model that cannot be loaded.
    """
    _check(options)
    source = open_source(options.source)
    found = scan(source, options.limit)
    folder = Folder(options.output)
    try:
        pool = options.pool(found.clips)
        try:
            return _Run(options, source, found, folder, pool).run()
        finally:
            pool.close()
    finally:
        folder.close()


def _check(options: Options) -> None:
    for name, low in (("shard_clips", 1), ("batch_seconds", 0), ("workers", 0), ("limit", 1), ("streams", 1)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise CorpusError(f"{name}={value}; expected at least {low}")
    check_resampler(options.resampler)
    if os.sep not in options.model and not is_folder(options.model):
        entry(options.model)  # an unknown name is told before anything is made


class _Run:
    """One run, from a claimed folder to the summary."""

    def __init__(self, options: Options, source: Source, found: Scan, folder: Folder, pool: Pool | InlinePool) -> None:
        self.options, self.source, self.found, self.folder, self.pool = options, source, found, folder, pool
        self.info: Info = pool.info
        self.layout = Layout(self.info, found.fields)
        self.progress = Progress(found.clips, options.quiet)
        self.resumed = 0

    def run(self) -> Summary:
        """Make the shards that are not there, in order."""
        about = self._about()
        self.folder.begin(about, self.options.resume, self.options.overwrite)
        shard: Shard | None = None
        try:
            for task, outcomes in self.pool.results(self._tasks()):
                with self.folder.writing():
                    shard = shard or Shard(self.folder, self.layout, task.shard, task.start)
                    for clip, outcome in zip(task.clips, outcomes, strict=True):
                        shard.add(clip, outcome)
                if task.last:
                    self.folder.commit(shard)
                    shard = None
                samples = sum(outcome.num_samples for outcome in outcomes if isinstance(outcome, Row))
                self.progress.advance(len(outcomes), samples / self.info.facts.sample_rate)
            self.folder.finish(about)
        finally:
            self.progress.close()
            if shard:
                shard.abandon()
        return self._summary()

    def _about(self) -> dict[str, Any]:
        options, found = self.options, self.found
        source = {"path": printable(options.source), "kind": self.source.kind, "clips": found.clips, "sha256": found.sha256}
        # What shapes the shards, and nothing else: the number of workers does not.
        device = options.device.partition(":")[0]
        arguments = {"streams": options.streams, "shard_clips": options.shard_clips, "limit": options.limit, "device": device,
                     "resampler": options.resampler}  # fmt: skip
        return {"format": FORMAT, **self.info.to_dict(), "source": source, "arguments": arguments}

    def _tasks(self) -> Iterator[Task]:
        """Tasks of all shards that are not there or not whole."""
        size = CPU_TASK if self.options.device == "cpu" else GPU_TASK
        number = start = 0
        clips: Iterator[Any] | None = None
        while start < self.found.clips:
            if record := self.folder.record(number, start):
                start += record["clips"]
                self.resumed += record["clips"]
                self.progress.skip(record["clips"])
                clips = None
            else:
                if clips is None:
                    clips = itertools.islice(self.source.clips(start), self.found.clips - start)
                for task in shard_tasks(clips, number, start, self.found, self.options.shard_clips, size):
                    yield task
                    start = task.start + len(task.clips)
            number += 1

    def _summary(self) -> Summary:
        done, progress, facts = self.folder.done.values(), self.progress, self.info.facts
        rows = sum(record["rows"] for record in done)
        seconds = sum(record["samples"] for record in done) / facts.sample_rate
        bitrate = facts.bitrate_of(self.options.streams or facts.streams)
        rejected = sum(record["clips"] for record in done) - rows
        return Summary(printable(self.options.output), facts.name, rows, rejected, len(done), seconds, bitrate, self.resumed,
                       progress.seconds, progress.elapsed, progress.speed)  # fmt: skip
