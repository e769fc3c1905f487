"""Statistics of the tokens of a folder of shards: one pass, bounded memory, worker processes that share out the row groups.

The result does not depend on the number of workers or on which of them read what. A row group that cannot be read costs its
own clips, which are counted and named; the rest goes on. Each worker is a fresh Python at the other end of a pipe (no fork of a
process with threads, no second run of the user's script), which is given row groups one by one, a line of JSON each, and
writes its statistics, to be merged with the others, to a file when there are no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

from ..core.errors import CorpusError, TokensError
from ..corpus.shards import Dataset
from .row_groups import Damage, Group, count_group, row_groups, stream_count
from .token_statistics import TokenStatistics

__all__ = ["scan_shards", "work"]

INLINE = 1 << 25  # codes, below which starting processes costs more than it saves
MOST = 8  # processes by default: each holds up to 300 MB
COMMAND = "from voxzoo.eval.scan_shards import work; work()"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "ARROW_IO")}


def scan_shards(
    dataset: Dataset, workers: int | None = None, limit: int | None = None, advance: Callable[[Group], None] | None = None
) -> tuple[TokenStatistics, list[Damage]]:
    """Count the tokens of a dataset.

    Args:
        dataset: see `corpus.shards.open_dataset`.
        workers: processes; None: as many as there are cores, at most 8 (one for small datasets).
        limit: only the first so many clips.
        advance: called after each row group, by one thread at a time.

    Returns:
        The statistics, and what could not be read, by shard.

    Raises:
        CorpusError: no clips at all, or a worker process that died.
        TokensError: nothing of it can be read.
    """
    groups, unopened = row_groups(dataset, limit)
    if not groups:
        why = f"{unopened[0].shard}: {unopened[0].reason}" if unopened else "tokenize something into it first"
        raise CorpusError(f"{str(dataset.path)!r} holds no clips of tokens; {why}")
    plan = _Plan(groups, advance)
    streams, facts = stream_count(dataset), dataset.facts
    statistics = TokenStatistics(facts.codebook_sizes[:streams], facts.frame_rates[:streams])
    count = min(_cores(), MOST) if workers is None else max(1, workers)
    if count == 1 or (workers is None and sum(group.codes for group in groups) < INLINE):
        for group in plan.groups():
            plan.done(group, count_group(statistics, group))
    else:
        statistics = _scan_in_processes(statistics, plan, min(count, len(groups)))
    damaged = sorted([*unopened, *plan.damaged()], key=lambda damage: damage.shard)
    if not statistics.clips:
        raise TokensError(f"nothing of {str(dataset.path)!r} can be read: {damaged[0].shard}: {damaged[0].reason}")
    return statistics, damaged


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Plan:
    """Row groups to be given out, and what came of them; several threads may use it."""

    def __init__(self, groups: Sequence[Group], advance: Callable[[Group], None] | None = None) -> None:
        self._left = iter(groups)
        self._advance = advance
        self._bad: list[tuple[Group, str]] = []
        self._lock = threading.Lock()

    def groups(self) -> Iterator[Group]:
        """Row groups that nobody has taken yet."""
        while True:
            with self._lock:
                group = next(self._left, None)
            if group is None:
                return
            yield group

    def done(self, group: Group, problem: str) -> None:
        """A row group was counted ("") or could not be, for the reason given."""
        with self._lock:
            if problem:
                self._bad.append((group, problem))
            if self._advance:
                self._advance(group)

    def damaged(self) -> list[Damage]:
        """By shard: how many clips are lost, and the reason of the first loss."""
        lost: dict[str, Damage] = {}
        for group, problem in sorted(self._bad, key=lambda bad: bad[0].number):
            name = Path(group.shard).name
            before = lost.get(name, Damage(name, 0, problem))
            lost[name] = Damage(name, (before.clips or 0) + group.rows, before.reason)
        return list(lost.values())


# ---------------------------------------------------------------------- processes
def _scan_in_processes(statistics: TokenStatistics, plan: _Plan, count: int) -> TokenStatistics:
    """Count all row groups of the plan with `count` processes.

    Args:
        statistics: empty; says what is counted.

    Raises:
        CorpusError: a process died.
    """
    with tempfile.TemporaryDirectory(prefix="voxzoo-") as folder:
        results = [Path(folder) / str(i) for i in range(count)]
        _run(statistics, plan, results)
        for result in results:
            with open(result, "rb") as file:
                statistics.merge(pickle.load(file))  # our own process wrote it, into a folder of ours
            result.unlink()
    return statistics


def _run(statistics: TokenStatistics, plan: _Plan, results: Sequence[Path]) -> None:
    with ThreadPoolExecutor(len(results)) as threads, contextlib.ExitStack() as processes:
        running = []
        for result in results:
            process = processes.enter_context(_start(statistics, result))
            processes.callback(process.kill)  # does nothing to one that has ended
            running.append(threads.submit(_drive, process, plan))
        for future in running:
            future.result()


def _start(statistics: TokenStatistics, result: Path) -> subprocess.Popen[str]:
    about = [str(result), statistics.sizes, [str(rate) for rate in statistics.rates]]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", COMMAND, json.dumps(about)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **ONE_THREAD}, start_new_session=True,
    )  # fmt: skip


def _drive(process: subprocess.Popen[str], plan: _Plan) -> None:
    """Give a process one row group after the other, and wait for its statistics."""
    given, answers = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    with contextlib.suppress(OSError, ValueError):  # it has died, or was ended: its status tells
        for group in plan.groups():
            print(json.dumps(vars(group)), file=given, flush=True)
            answer = answers.readline()
            if not answer:
                break
            plan.done(group, json.loads(answer))
    with contextlib.suppress(OSError):  # what was not taken is still in the pipe's buffer, and would be written on leaving
        given.close()
    status = process.wait()
    if status:
        told = f"signal {signal.Signals(-status).name}, perhaps for want of memory" if status < 0 else f"exit status {status}"
        raise CorpusError(f"a process that counted tokens ended with {told}; try fewer --workers")


def work() -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, sizes, rates = json.loads(sys.argv[1])
    statistics = TokenStatistics(sizes, [Fraction(rate) for rate in rates])
    for line in sys.stdin:
        print(json.dumps(count_group(statistics, Group(**json.loads(line)))), flush=True)
    with open(path, "wb") as file:
        pickle.dump(statistics, file, protocol=5)
