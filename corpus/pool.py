"""Worker processes that may die without taking the run along.

Each worker is a fresh Python (no fork of a process that has threads, no second run of the user's script) at the other end of
a socket. A worker that dies, by a fault in a decoding library or by the kernel's memory guard, is replaced; the clips it was
at are tried again one by one, and the one that kills its worker twice is rejected. What a worker does is up to its settings
(`serve.py`): `tokenize` and `bench` share this. `ray_engine.py` has workers of another kind under the same rules.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from ..core.errors import CorpusError, VoxzooError
from .clips import Clip
from .plan import Task
from .profile import Clock
from .serve import Settings, one_thread

__all__ = ["InlinePool", "Pool"]

QUEUED = 2  # tasks given to a worker at a time: one to work on, one to begin at once
AHEAD = 16  # tasks per worker that may be done before an earlier one is
MAX_DEATHS = 20
COMMAND = "import sys; from voxzoo.corpus.serve import serve; serve(int(sys.argv[1]))"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}


@dataclass(eq=False)
class Slot:
    """A task and what is known of its clips."""

    task: Task
    outcomes: list[Any]

    def whole(self) -> bool:
        return all(outcome is not None for outcome in self.outcomes)


@dataclass(eq=False)
class Job:
    """Clips of a slot from `first` on, given to one worker at once."""

    slot: Slot
    first: int
    clips: Sequence[Clip]
    deaths: int = 0


@dataclass(eq=False)
class Member(ABC):
    """One worker as the pool sees it: jobs it was given, in order; not `ready` until its model is loaded."""

    device: str
    jobs: deque[Job] = field(default_factory=deque)
    ready: bool = False

    @abstractmethod
    def send(self, clips: Sequence[Clip]) -> None:
        """Give it clips. Raises `OSError` when it has just died."""

    @abstractmethod
    def receive(self) -> Any:
        """What it has to say: first its `info` or the error of its start, then outcomes. Raises `EOFError` when it has died."""

    @abstractmethod
    def last_words(self) -> str:
        """What it complained of, beginning with a colon; or nothing."""

    @abstractmethod
    def end(self) -> str:
        """See that it is gone; says how it went."""


@dataclass(eq=False)
class _Process(Member):
    """A worker process."""

    process: subprocess.Popen[bytes] = field(kw_only=True)
    pipe: Connection = field(kw_only=True)
    errors: Any = field(kw_only=True)

    def send(self, clips: Sequence[Clip]) -> None:
        self.pipe.send(list(clips))

    def receive(self) -> Any:
        try:
            return self.pipe.recv()
        except OSError as error:
            raise EOFError from error

    def last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def end(self) -> str:
        """Wait for the process, which leaves when its pipe is closed."""
        self.pipe.close()
        try:
            return _status(self.process.wait(5))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return _status(self.process.wait())
        finally:
            self.errors.close()


class InlinePool:
    """The same, in this process: for a few clips, and for debugging. On a CPU it has one thread too, while it works."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        with one_thread(settings):
            self.worker = settings.start()
        self.workers = [self.worker]
        self.info = self.worker.info

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Any]]]:
        """Tasks with the outcomes of their clips, in order."""
        for task in tasks:
            with one_thread(self.settings):
                outcomes = self.worker.run(task.clips)
            self.clock.add(getattr(outcomes, "seconds", {}))
            yield task, outcomes

    def close(self) -> None:
        """Nothing to end."""


class Pool:
    """`count` worker processes, on the device of the settings or spread over several `devices`.

    `info` is known once the first worker has loaded its model, `clock` has what the workers counted. Raises what loading the
    model raises, or `CorpusError` when a worker cannot start.
    """

    def __init__(self, settings: Any, count: int, devices: Sequence[str] = ()) -> None:
        self.settings: Any = settings
        self.queue: deque[Job] = deque()
        self.clock = Clock()
        self.deaths = 0
        self.workers: list[Member] = []
        devices = devices or [settings.device]
        try:
            self.workers += [self._start(devices[i % len(devices)]) for i in range(count)]
            self.info: Any = self._hear_first(self._first())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            if isinstance(worker, _Process):
                worker.pipe.close()  # all of them, before the first is waited for
        for worker in self.workers:
            worker.end()
        self.workers = []

    def _start(self, device: str) -> Member:
        ours, theirs = Pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        extra = ONE_THREAD if device == "cpu" else {}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, pass_fds=[theirs.fileno()], start_new_session=True,
            env={**os.environ, **extra},
        )  # fmt: skip
        theirs.close()
        ours.send(self.settings if device == self.settings.device else replace(self.settings, device=device))
        return _Process(device, process=process, pipe=ours, errors=errors)

    def _first(self) -> Member:
        """The first worker that has something to say."""
        while not (heard := self._readable(60.0)):
            pass
        return heard[0]

    def _hear_first(self, worker: Member) -> Any:
        try:
            return self._greet(worker)
        except EOFError:
            raise self._cannot_start(worker) from None

    def _cannot_start(self, worker: Member) -> CorpusError:
        words = worker.last_words()
        self.workers.remove(worker)
        return CorpusError(f"a worker cannot start ({worker.end()}){words}")

    def _greet(self, worker: Member) -> Any:
        """The first thing that a worker says, its `info`. Raises the error of its start, `EOFError` when it died instead."""
        message = worker.receive()
        if isinstance(message, VoxzooError):
            raise message
        worker.ready = True
        return message

    def _readable(self, timeout: float) -> list[Member]:
        """Workers that have something to say, or are dead; waits for one up to `timeout` seconds."""
        pipes = {worker.pipe: worker for worker in self.workers if isinstance(worker, _Process)}
        return [pipes[pipe] for pipe in wait(list(pipes), timeout)]  # type: ignore[index]

    # ------------------------------------------------------------------ the run
    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, list[Any]]]:
        """Tasks with the outcomes of their clips, in order; `tasks` is read as workers fall idle."""
        slots: deque[Slot] = deque()
        more = True
        while more or slots:
            more = self._feed(tasks, slots) if more else False
            self._give()
            while slots and slots[0].whole():
                slot = slots.popleft()
                yield slot.task, [outcome for outcome in slot.outcomes if outcome is not None]
            if slots or not any(worker.ready and not worker.jobs for worker in self.workers):
                for worker in self._readable(1.0):
                    self._hear(worker)

    def _feed(self, tasks: Iterator[Task], slots: deque[Slot]) -> bool:
        """Queue tasks for the room there is; False when there are no more."""
        room = sum(QUEUED - len(worker.jobs) for worker in self.workers if worker.ready) - len(self.queue)
        while room > 0 and len(slots) < AHEAD * len(self.workers):
            task = next(tasks, None)
            if task is None:
                return False
            slots.append(Slot(task, [None] * len(task.clips)))
            self.queue.append(Job(slots[-1], 0, task.clips))
            room -= 1
        return True

    def _give(self) -> None:
        """Give queued jobs to the workers with the least to do."""
        while self.queue:
            free = [worker for worker in self.workers if worker.ready and len(worker.jobs) < QUEUED]
            if not free:
                return
            worker = min(free, key=lambda worker: len(worker.jobs))
            job = self.queue.popleft()
            worker.jobs.append(job)
            try:
                worker.send(job.clips)
            except OSError:  # it has just died: reading from it will tell
                return

    def _hear(self, worker: Member) -> None:
        try:
            if not worker.ready:
                self._greet(worker)
                return
            outcomes = worker.receive()
        except EOFError:
            if not any(other.ready for other in self.workers):
                raise self._cannot_start(worker) from None
            self._bury(worker)
            return
        self.clock.add(getattr(outcomes, "seconds", {}))
        job = worker.jobs.popleft()
        job.slot.outcomes[job.first : job.first + len(outcomes)] = outcomes

    def _bury(self, worker: Member) -> None:
        """Replace a dead worker; what it had not begun goes to others, what it was at is tried clip by clip."""
        status = worker.end()
        self.workers.remove(worker)
        self.deaths += 1
        if self.deaths > MAX_DEATHS:
            raise CorpusError(
                f"worker processes died {self.deaths} times, lastly by {status}; try fewer --workers, or see the system's log"
            )
        jobs = worker.jobs
        if jobs:
            suspect = jobs.popleft()
            self.queue.extendleft(reversed(jobs))
            self.queue.extendleft(reversed(self._suspects(suspect, status)))
        self.workers.append(self._start(worker.device))

    def _suspects(self, job: Job, status: str) -> list[Job]:
        if len(job.clips) > 1:
            return [Job(job.slot, job.first + i, [clip]) for i, clip in enumerate(job.clips)]
        if job.deaths:
            job.slot.outcomes[job.first] = f"{job.clips[0].path!r} twice ended the process that read it ({status})"
            return []
        return [Job(job.slot, job.first, job.clips, deaths=1)]


def _status(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else str(-code)
    return f"signal {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
