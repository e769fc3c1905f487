"""The life of a worker process (see `pool.py`): settings come first, then lists of clips; outcomes go back.

The settings say what the process is: anything with a `device` and a `start()` that gives a worker. Where they say that the work
does without torch (`torch` is False), it is not imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ..core.errors import VoxzooError
from .clips import Clip

__all__ = ["Settings", "Worker", "one_thread", "serve"]


class Worker(Protocol):
    """What turns clips into outcomes. `info` is what the main process wants to know before the first of them."""

    info: Any

    def run(self, clips: Sequence[Clip]) -> list[Any]:
        """One outcome for each clip; a `str` is the reason why there is none. Never raises for what a clip holds."""
        ...


class Settings(Protocol):
    """What a worker process needs to know; it is pickled."""

    @property
    def device(self) -> str:
        """On "cpu" a worker has one thread."""
        ...

    def start(self) -> Worker:
        """Load what the work needs. Raises `VoxzooError` when that fails."""
        ...


@contextlib.contextmanager
def one_thread(settings: Settings) -> Iterator[None]:
    """Work on the CPU with one thread, as a worker process does; the number that was set before comes back."""
    if settings.device != "cpu":
        yield
        return
    with contextlib.ExitStack() as undo:
        undo.enter_context(_one_omp_thread())  # even of torch's own models some are played as graphs
        if getattr(settings, "torch", True):
            import torch

            undo.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        if importlib.util.find_spec("threadpoolctl"):  # numpy's own threads, where they can be reached
            pools: Any = importlib.import_module("threadpoolctl")
            undo.enter_context(pools.threadpool_limits(1))
        yield


@contextlib.contextmanager
def _one_omp_thread() -> Iterator[None]:
    """By the environment, where a bundle's graphs look when they are opened."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def serve(handle: int) -> None:
    """The life of a worker process: settings come first, then tasks; ends when the other side of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(handle)
    settings: Settings = pipe.recv()
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    with one_thread(settings):
        try:
            worker = settings.start()
        except VoxzooError as error:
            pipe.send(error)
            return
        pipe.send(worker.info)
        with open(os.devnull, "w") as nothing:  # decoding libraries may write a line for every file
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        while True:
            pipe.send(worker.run(tasks.get()))


def _receive(pipe: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    """Take tasks as they come, so that sending never waits for the model; leave at once when the main process is gone."""
    while True:
        try:
            tasks.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)
