"""`tokenize`: a source of sound to folders of token shards. The plan and the writing are here; the work is a pool's."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .clips import printable
from .filling import Filling
from .folder import Folder, Shard
from .options import Options, Summary
from .plan import Scan, Task, scan, shard_tasks
from .pool import InlinePool, Pool
from .profile import Clock
from .progress import Progress
from .shards import FORMAT, Info
from .sources import Source, open_source

__all__ = ["Folder", "Options", "Shard", "Summary", "tokenize", "tokenize_all"]

CPU_TASK = (32, 2 << 20)  # clips, bytes: some seconds of work, so that the workers end together
GPU_TASK = (2048, 256 << 20)  # as much as is sorted by length at a time


def tokenize(options: Options) -> Summary:
    """Tokenize a source. Each clip ends up in a shard or in `rejected.jsonl`; interrupted, the same call goes on.

    Raises:
        CorpusError: a source or output folder that cannot be used, a full disk.
        ModelError, WeightsError: a model that cannot be loaded.
        MissingExtraError: `engine="ray"` without Ray.
    """
    return tokenize_all(options)[0]


def tokenize_all(options: Options) -> list[Summary]:
    """The same, with a summary for each model."""
    options.check()
    source = open_source(options.source)
    found = scan(source, options.limit)
    with contextlib.ExitStack() as undo:
        folders: list[Folder] = []
        for path in options.folders():
            folders.append(Folder(path))
            undo.callback(folders[-1].close)
        pool = _pool(options, found.clips)
        undo.callback(pool.close)
        return _Run(options, source, found, folders, pool).run()


def _pool(options: Options, clips: int) -> Pool | InlinePool:
    """The workers for so many clips, with the models loaded."""
    settings, count, devices = options.settings(), options.count(), options.devices()
    if options.engine == "ray":
        from .ray_engine import RayPool

        return RayPool(settings, None if options.workers is None else min(max(1, count), clips))
    if count == 0:
        return InlinePool(settings)
    return Pool(settings, min(count, clips)) if options.kind == "cpu" else Pool(settings, len(devices), devices)


class _Run:
    """One run, from claimed folders to the summaries."""

    def __init__(
        self, options: Options, source: Source, found: Scan, folders: Sequence[Folder], pool: Pool | InlinePool
    ) -> None:
        self.options, self.source, self.found, self.pool = options, source, found, pool
        infos: tuple[Info, ...] = pool.info if options.more else (pool.info,)
        self.fillings = [Filling(folder, info, self._about(info), found) for folder, info in zip(folders, infos, strict=True)]
        self.progress = Progress(found.clips, options.quiet)
        self.clock = Clock(options.profile)
        self.resumed = 0

    def run(self) -> list[Summary]:
        """Make the shards that are not there, in order."""
        for filling in self.fillings:
            filling.begin(self.options.resume, self.options.overwrite)
        try:
            for task, outcomes in self.pool.results(self._tasks()):
                with self.clock("write"):
                    self._add(task, outcomes)
            with self.clock("write"):
                for filling in self.fillings:
                    filling.finish()
        finally:
            self.progress.close()
            for filling in self.fillings:
                filling.abandon()
        return self._summaries()

    def _add(self, task: Task, outcomes: Sequence[Any]) -> None:
        wanted = task.clips[0].models or range(len(self.fillings))
        for number in wanted:
            of_model = [outcome[number] if isinstance(outcome, tuple) else outcome for outcome in outcomes]
            self.fillings[number].add(task, of_model)
        filling = self.fillings[wanted[0]]
        self.progress.advance(len(outcomes), filling.last_samples / filling.info.facts.sample_rate)

    def _about(self, info: Info) -> dict[str, Any]:
        options, found = self.options, self.found
        source = {"path": printable(options.source), "kind": self.source.kind, "clips": found.clips, "sha256": found.sha256}
        # What shapes the shards, and nothing else: neither the number of workers does, nor the engine, nor models beside it.
        arguments = {"streams": options.streams, "shard_clips": options.shard_clips, "limit": options.limit,
                     "device": options.kind, "resampler": options.resampler}  # fmt: skip
        if options.dtype != "float32":
            arguments["dtype"] = options.dtype
        return {"format": FORMAT, **info.to_dict(), "source": source, "arguments": arguments}

    def _tasks(self) -> Iterator[Task]:
        """Tasks of all shards that are not there or not whole, for the models that lack them."""
        size = CPU_TASK if self.options.kind == "cpu" else GPU_TASK
        number = start = 0
        clips: Iterator[Any] | None = None
        while start < self.found.clips:
            counts = [filling.done(number, start) for filling in self.fillings]
            if counts[0] and all(count == counts[0] for count in counts):
                start += counts[0]
                self.resumed += counts[0]
                self.progress.skip(counts[0])
                clips = None
            else:
                if clips is None:
                    clips = itertools.islice(self.source.clips(start), self.found.clips - start)
                lacking = tuple(i for i, count in enumerate(counts) if count is None) or tuple(range(len(counts)))
                for task in shard_tasks(clips, number, start, self.found, self.options.shard_clips, size):
                    yield self._for(task, lacking)
                    start = task.start + len(task.clips)
            number += 1

    def _for(self, task: Task, models: tuple[int, ...]) -> Task:
        if len(models) == len(self.fillings):
            return task
        return replace(task, clips=[replace(clip, models=models) for clip in task.clips])

    def _summaries(self) -> list[Summary]:
        progress = self.progress
        self.clock.add(self.pool.clock.take())
        profile = self.clock.take() if self.options.profile else None
        of_run = {"resumed_clips": self.resumed, "run_seconds": progress.seconds, "elapsed": progress.elapsed,
                  "speed": progress.speed, "workers": len(self.pool.workers), "profile": profile}  # fmt: skip
        return [filling.summary(self.options.streams, **of_run) for filling in self.fillings]
