"""Worker processes that count row groups, each into statistics of its own, which are merged when all are done.

Each is a fresh Python at the other end of a pipe (no fork of a process with threads, no second run of the user's script). It
is given row groups one by one, a line of JSON each, and writes its statistics to a file when there are no more.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from ..core.errors import CorpusError
from .row_groups import Group, count_group
from .token_statistics import TokenStatistics

if TYPE_CHECKING:
    from .scan_shards import Plan

__all__ = ["scan_in_processes", "work"]

COMMAND = "from voxzoo.eval.scan_processes import work; work()"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "ARROW_IO")}


def scan_in_processes(statistics: TokenStatistics, plan: Plan, count: int) -> TokenStatistics:
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


def _run(statistics: TokenStatistics, plan: Plan, results: Sequence[Path]) -> None:
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


def _drive(process: subprocess.Popen[str], plan: Plan) -> None:
    """Give a process one row group after the other, and wait for its statistics."""
    given, answers = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    with contextlib.suppress(OSError, ValueError):  # it has died, or was ended: its status tells
        for group in plan.groups():
            print(json.dumps(vars(group)), file=given, flush=True)
            answer = answers.readline()
            if not answer:
                break
            plan.done(group, json.loads(answer))
        given.close()
    status = process.wait()
    if status:
        told = f"signal {signal.Signals(-status).name}, perhaps for want of memory" if status < 0 else f"exit status {status}"
        raise CorpusError(f"a process that counted tokens ended with {told}; try fewer --workers")


def work() -> None:
    """The life of a worker process."""
    from fractions import Fraction

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, sizes, rates = json.loads(sys.argv[1])
    statistics = TokenStatistics(sizes, [Fraction(rate) for rate in rates])
    for line in sys.stdin:
        print(json.dumps(count_group(statistics, Group(**json.loads(line)))), flush=True)
    with open(path, "wb") as file:
        pickle.dump(statistics, file, protocol=5)
