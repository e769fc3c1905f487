"""Worker processes that die, that cannot start, and that end with the main process; the model is a stand-in without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from voxzoo import CorpusError, MissingExtraError
from voxzoo.corpus import pool
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.plan import Task
from voxzoo.corpus.pool import InlinePool, Pool
from voxzoo.corpus.worker import Settings

STAND_IN = """
import os
import voxzoo.corpus.worker as worker
from voxzoo.corpus.clips import Row
from voxzoo.corpus.shards import Info

class Worker:
    def __init__(self, settings):
        self.settings, self.info = settings, Info(None, "f", "r", ())

    def run(self, clips):
        if any(clip.id in self.settings.model.split(",") for clip in clips):
            os.kill(os.getpid(), 11)
        return [Row(int(clip.id), (), {}) for clip in clips]

worker.Worker = Worker
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "COMMAND", STAND_IN + pool.COMMAND)


def tasks(count: int, size: int = 3) -> Iterator[Task]:
    clips = [Clip(str(i), f"{i}.wav", f"{i}.wav") for i in range(count)]
    for i in range(0, count, size):
        yield Task(0, i, clips[i : i + size], i + size >= count)


def run(deadly: str, count: int, workers: int) -> dict[str, Row | str]:
    workers_ = Pool(Settings(deadly, device="none"), workers)
    try:
        done = list(workers_.results(tasks(count)))
    finally:
        workers_.close()
    assert [task.start for task, _ in done] == list(range(0, count, 3))
    return {clip.id: outcome for task, outcomes in done for clip, outcome in zip(task.clips, outcomes, strict=True)}


@pytest.mark.usefixtures("stand_in")
def test_a_clip_that_kills_its_worker_costs_itself_alone() -> None:
    outcomes = run("4,59", 60, 2)
    assert [outcome.num_samples if isinstance(outcome, Row) else -1 for outcome in outcomes.values()] == [
        -1 if i in (4, 59) else i for i in range(60)
    ]
    assert outcomes["4"] == "'4.wav' twice ended the process that read it (signal SIGSEGV)"


@pytest.mark.usefixtures("stand_in")
def test_workers_that_keep_dying_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_DEATHS", 2)
    with pytest.raises(CorpusError, match="died 3 times, lastly by signal SIGSEGV"):
        run("1,2,3", 6, 1)


def test_workers_that_cannot_start_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "COMMAND", "raise SystemExit('no torch here')")
    with pytest.raises(CorpusError, match=r"cannot start \(exit status 1\): no torch here"):
        Pool(Settings("x"), 2)


def test_errors_of_the_start_come_through_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "\nfrom voxzoo import MissingExtraError\ndef refuse(*given): raise MissingExtraError('gone', 'eval')\n"
    monkeypatch.setattr(pool, "COMMAND", STAND_IN + refuse + "worker.Worker = refuse\n" + pool.COMMAND)
    with pytest.raises(MissingExtraError, match=r"^`gone` is not installed; run: pip install 'voxzoo\[eval\]'$"):
        Pool(Settings("", device="none"), 1)


def test_in_this_process_there_is_one_thread_while_it_works() -> None:
    import torch

    seen: list[int] = []

    class Worker:
        info = None

        def __init__(self) -> None:
            seen.append(torch.get_num_threads())

        def run(self, clips: Sequence[Clip]) -> list[str]:
            seen.append(torch.get_num_threads())
            return [""] * len(clips)

    class Plain:
        def __init__(self, device: str) -> None:
            self.device = device

        def start(self) -> Worker:
            return Worker()

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for device in ("cpu", "cuda"):
            for _ in InlinePool(Plain(device)).results(tasks(3)):
                assert torch.get_num_threads() == 3
        assert seen == [1, 1, 3, 3]
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("stand_in")
def test_workers_are_spread_over_devices_and_replaced_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = "\nreal = Worker.run\nWorker.run = lambda self, clips: (real(self, clips), [self.settings.device] * len(clips))[1]\n"
    monkeypatch.setattr(pool, "COMMAND", STAND_IN + seen + pool.COMMAND.partition(STAND_IN)[2])
    workers = Pool(Settings("4", device="a"), 2, ["a", "b"])
    assert [worker.device for worker in workers.workers] == ["a", "b"]
    outcomes = [outcome for _, found in workers.results(tasks(60)) for outcome in found]
    assert sorted(worker.device for worker in workers.workers) == ["a", "b"]
    workers.close()
    assert "twice ended the process" in outcomes[4]
    assert {outcome for number, outcome in enumerate(outcomes) if number != 4} <= {"a", "b"}
    assert "b" in outcomes


@pytest.mark.usefixtures("stand_in")
def test_results_left_half_way_do_not_stop_the_next() -> None:
    workers = Pool(Settings("", device="none"), 1)
    for _ in range(3):
        next(workers.results(tasks(60, 1)))
    assert len(list(workers.results(tasks(60)))) == 20
    workers.close()


@pytest.mark.usefixtures("stand_in")
def test_a_worker_killed_while_it_starts_is_replaced() -> None:
    workers = Pool(Settings("", device="none"), 2)
    first, second = sorted(workers.workers, key=lambda worker: not worker.ready)
    second.process.kill()
    second.process.wait()
    assert len(list(workers.results(tasks(60)))) == 20
    assert first in workers.workers
    workers.close()


@pytest.mark.usefixtures("stand_in")
def test_a_worker_killed_while_idle_is_replaced() -> None:
    workers = Pool(Settings("", device="none"), 1)
    results = workers.results(tasks(6))
    next(results)
    workers.workers[0].process.kill()
    assert len(list(results)) == 1
    workers.close()


def test_workers_end_with_the_main_process() -> None:
    script = (
        "from voxzoo.corpus import pool; from voxzoo.corpus.worker import Settings\n"
        f"pool.COMMAND = {STAND_IN!r} + pool.COMMAND\n"
        "p = pool.Pool(Settings('', device='none'), 1); print(p.workers[0].process.pid, flush=True); input()"
    )
    main = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert main.stdout
    worker = int(main.stdout.readline())
    os.kill(worker, 0)
    main.send_signal(signal.SIGKILL)
    main.communicate()
    for _ in range(100):
        status = Path(f"/proc/{worker}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived the run")
