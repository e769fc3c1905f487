"""`bench`: encode, decode and score the clips of a source with several models and anchors, in parallel; killed at any moment,
the same call goes on. What it gives does not depend on the number of workers, nor on interruptions (but for measured times)."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import CorpusError, MissingExtraError, VoxzooError
from ..core.loading import check_device
from ..corpus.clips import Clip, printable
from ..corpus.plan import Scan, Task, scan, shard_tasks
from ..corpus.pool import InlinePool, Pool
from ..corpus.progress import Progress
from ..corpus.sources import Source, open_source
from .assemble import Run, assemble
from .bench_examples import spread, write_examples
from .bench_worker import SENT, Scored, Settings, job_of
from .choice import Choice, choose, digest
from .cost import VERSION, cost, machine
from .entrants import ORIGINAL, Entrant, entrants
from .journal import FORMAT, Journal
from .metric import installed
from .metrics import DEFAULT
from .results import write_scores

__all__ = ["Options", "bench"]

RATES = (8000, 96000)  # Hz, that things can be compared at


@dataclass(frozen=True)
class Options:
    """What to compare, on what, into where.

    Attributes:
        source: see `corpus.sources.open_source`.
        models: entries: model names or folders, each perhaps with `:K` for its first K codebooks, and anchors.
        output: the folder.
        metrics: names of groups, families or single metrics, or "all".
        checkpoints: family of metrics -> local file or folder.
        weights: name of a model -> folder of its checkpoint.
        workers: processes; 0: this process alone; None: as many as there are cores.
        rate: Hz at which everything is compared.
        limit: only the first so many clips.
        examples: clips whose sound is kept for the report.
        device: of the models.
        resume: go on where an earlier run stopped; else refuse a folder with a benchmark.
        overwrite: throw away what the folder holds.
        resamples: of the bootstrap.
        seed: of bootstrap and permutations.
        report: write the report too.
        quiet: no progress.
    """

    source: str
    models: tuple[str, ...]
    output: str
    metrics: tuple[str, ...] = DEFAULT
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    rate: int = 16000
    limit: int | None = None
    examples: int = 5
    device: str = "cpu"
    resume: bool = True
    overwrite: bool = False
    resamples: int = 1000
    seed: int = 0
    report: bool = True
    quiet: bool = False

    def arguments(self) -> dict[str, Any]:
        """What shapes the results."""
        return {"models": list(self.models), "metrics": list(self.metrics), "checkpoints": dict(self.checkpoints),
                "weights": dict(self.weights), "rate": self.rate, "limit": self.limit, "examples": self.examples,
                "device": self.device, "bootstrap": self.resamples, "seed": self.seed}  # fmt: skip


def bench(options: Options) -> dict[str, Any]:
    """Run a benchmark; returns what is written to `results.json` (and adds `scores.parquet`, sound files and the report).

    Raises:
        VoxzooError: options that make no sense, unknown metrics, no ffmpeg for an anchor, a package missing.
        CorpusError: a source or folder that cannot be used, a full disk, no clip that can be read.
        ModelError, WeightsError: a model that cannot be loaded.
    """
    _check(options)
    choice = choose(options.metrics, options.checkpoints)
    entries = entrants(options.models, options.weights, options.rate)
    source = open_source(options.source)
    found = scan(source, options.limit)
    journal = Journal(options.output)
    try:
        about = {"path": printable(options.source), "kind": source.kind, "clips": found.clips, "sha256": found.sha256}
        return _Bench(options, choice, entries, source, found, journal).run(about)
    finally:
        journal.close()


def _check(options: Options) -> None:
    lows = (("workers", 0), ("limit", 1), ("examples", 0), ("resamples", 0), ("rate", RATES[0]), ("seed", 0))
    for name, low in lows:
        value = getattr(options, name)
        if value is not None and value < low:
            raise VoxzooError(f"{name}={value}; expected at least {low}")
    if options.rate > RATES[1]:
        raise VoxzooError(f"rate={options.rate}; expected {RATES[0]} to {RATES[1]} Hz")
    check_device(options.device)
    for module in ("scipy", *(["matplotlib"] if options.report else [])):  # before any work: the results need them
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module, "eval")


class _Bench:
    """One run, from a claimed folder to its results."""

    def __init__(
        self, options: Options, choice: Choice, entries: list[Entrant], source: Source, found: Scan, journal: Journal
    ) -> None:
        self.options, self.choice, self.entries = options, choice, entries
        self.source, self.found, self.journal = source, found, journal
        self.rejected: dict[int, dict[str, str]] = {}
        self.settings = Settings(tuple(entries), choice.families, choice.checkpoints, choice.required, options.rate,
                                 options.device, choice.wants("rate"))  # fmt: skip
        self.keys: dict[str, str] = {}
        self.family_keys = {SENT: choice.sent_key(), **{f.name: choice.family_key(f) for f in choice.families}}

    def run(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Measure what is missing, then put everything together."""
        pool = self._pool()
        try:
            info: dict[str, dict[str, Any]] = pool.info
            self._identify(info)
            header = {"format": FORMAT, "source": dict(source), "rate": self.options.rate}
            self.journal.begin(header, self.options.resume, self.options.overwrite)
            self._score(pool)
            examples = self._examples(pool)
        finally:
            pool.close()
        costs = self._costs() if self.choice.wants("cost") else {}
        self.journal.flush()
        run = Run(self.options.arguments(), dict(source), self.choice, info, self.keys, self.family_keys, self.rejected,
                  dict(enumerate(itertools.islice(self.source.listing(), self.found.clips))), examples, costs)  # fmt: skip
        results = assemble(run, self.journal, self.options.rate, self.options.resamples, self.options.seed)
        self._write(results)
        return results

    def _pool(self) -> Pool | InlinePool:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        default = cores if self.options.device == "cpu" else 1
        count = default if self.options.workers is None else self.options.workers
        return Pool(self.settings, min(count, self.found.clips)) if count else InlinePool(self.settings)

    def _identify(self, info: Mapping[str, Mapping[str, Any]]) -> None:
        """Keys of the entries, from what they are and not from what they are called."""
        device = self.options.device.partition(":")[0]
        self.keys = {ORIGINAL: ORIGINAL}
        for label, about in info.items():
            parts = {name: value for name, value in about.items() if name != "facts"}
            engine = [installed("torch"), device] if about["kind"] == "model" else []
            key = digest([parts, installed("voxzoo"), engine])
            twin = next((other for other, taken in self.keys.items() if taken == key), None)
            if twin:
                raise VoxzooError(f"the entries {twin!r} and {label!r} are the same: leave one out")
            self.keys[label] = key

    # ------------------------------------------------------------------ clips
    def _clips(self) -> Iterator[Clip]:
        """All clips, in order, those of a repeated id marked."""
        clips, start = itertools.islice(self.source.clips(), self.found.clips), 0
        while start < self.found.clips:
            for task in shard_tasks(clips, 0, start, self.found, self.found.clips, (1, 0)):
                yield from task.clips
                start += len(task.clips)

    def _wanted(self, number: int, clip: Clip) -> dict[str, tuple[str, ...]]:
        """Label -> names of families whose cells are not there yet, or are of other sound."""
        wanted: dict[str, tuple[str, ...]] = {}
        cells = self.journal.cells if self.journal.stamps.get(number) == _stamp(clip) else {}
        for label, key in self.keys.items():
            names = [f.name for f in self.choice.families if label != ORIGINAL or not f.intrusive]
            names += [] if label == ORIGINAL else [SENT]
            missing = tuple(name for name in names if (number, key, self.family_keys[name]) not in cells)
            if missing:
                wanted[label] = missing
        return wanted

    def _tasks(self, progress: Progress) -> Iterator[Task]:
        for number, clip in enumerate(self._clips()):
            wanted = self._wanted(number, clip)
            if wanted:
                job = job_of(clip, wanted)
                yield Task(0, number, [job], False)
            else:
                progress.skip(1)

    def _score(self, pool: Pool | InlinePool) -> None:
        progress = Progress(self.found.clips, self.options.quiet)
        try:
            for task, outcomes in pool.results(self._tasks(progress)):
                outcome = outcomes[0]
                if isinstance(outcome, Scored):
                    self._record(task.start, task.clips[0], outcome)
                else:
                    reason = printable(" ".join(outcome.split()))
                    clip = task.clips[0]
                    self.rejected[task.start] = {"id": printable(clip.id), "path": printable(clip.path), "reason": reason}
                progress.advance(1, outcome.seconds if isinstance(outcome, Scored) else 0.0)
        finally:
            progress.close()
        if len(self.rejected) == self.found.clips:
            first = next(iter(self.rejected.values()))
            raise CorpusError(f"none of the {self.found.clips} clips can be used; the first: {first['reason']}")

    def _record(self, number: int, clip: Clip, scored: Scored) -> None:
        cells = {
            self.keys[label]: {self.family_keys[name]: cell for name, cell in families.items()}
            for label, families in scored.cells.items()
        }
        self.journal.add_clip(number, _stamp(clip), scored.seconds, cells)

    # ------------------------------------------------------------------ what follows
    def _examples(self, pool: Pool | InlinePool) -> list[dict[str, Any]]:
        able = {number: held for number, held in self.journal.seconds.items() if number not in self.rejected}
        labels = [item.label for item in self.entries]
        clips = {number: next(self.source.clips(number)) for number in sorted(spread(able, self.options.examples))}
        return write_examples(pool, clips, labels, self.options.output)

    def _costs(self) -> dict[str, dict[str, Any]]:
        """Label -> what the entry costs, measured one after the other while all else is quiet."""
        costs = {}
        for item in self.entries:
            key = digest([self.keys[item.label], "cost", VERSION, self.options.device, machine()])
            if not self.journal.costs.get(key, {}).get("values"):  # what failed is tried again
                if not self.options.quiet:
                    print(f"measuring the cost of {item.label}", file=sys.stderr, flush=True)
                self.journal.add_cost(key, cost(item, self.options.device))
            costs[item.label] = self.journal.costs[key]
        return costs

    def _write(self, results: dict[str, Any]) -> None:
        folder = self.journal.path
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in results["rejected"]]
        self.journal.write(folder / "rejected.jsonl", "".join(lines))
        with self.journal.writing():
            write_scores(results, folder / "scores.parquet")
            self.journal.write(folder / "results.json", json.dumps(results, ensure_ascii=False, allow_nan=False) + "\n")
            if self.options.report:
                from .report import write_report

                write_report(results, folder)
            else:
                self.journal.remove_report()  # of an earlier run: it would tell other results than those beside it


def _stamp(clip: Clip) -> list[int]:
    """What tells a clip's sound from other sound of the same path."""
    if not isinstance(clip.source, str):
        return [clip.weight()]
    try:
        status = os.stat(clip.source)
    except (OSError, ValueError):
        return []
    return [status.st_size, status.st_mtime_ns]
