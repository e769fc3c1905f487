"""`tokenize --engine ray`: actors on a Ray cluster hold the model; the plan and the writing are those of the local engine.

Ray runs the work and nothing else: which clips go to which shard, the shards themselves and resuming are as in `engine.py`, so
the bytes are the same. An actor that dies, alone or with its node, is replaced wherever there is room, under the rules of
`pool.py`. Every node needs this package and must see the sound under the same names (a shared file system, or URLs); the
shards are written by the process that started the run.

    ray start --head                        # on one machine; `ray start --address HEAD:6379` on the others
    RAY_ADDRESS=auto voxzoo tokenize s3://bucket/x-{000..999}.tar -m MODEL -o DIR --engine ray

Without `RAY_ADDRESS`, the cluster that this machine is part of is taken; where there is none, one of this machine alone is
started, and ended with the run.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import CorpusError, MissingExtraError, VoxzooError
from .clips import Clip
from .pool import Member, Pool
from .serve import one_thread

__all__ = ["RayPool"]

CPUS, GPUS = "CPU", "GPU"  # Ray's names of them


class _Worker:
    """What runs in an actor: the same worker as in a process of `pool.py`."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.worker: Any = None
        self.held = contextlib.ExitStack()

    def start(self) -> Any:
        """The worker's `info`, or the error of its start."""
        self.held.enter_context(one_thread(self.settings))
        try:
            self.worker = self.settings.start()
        except VoxzooError as error:
            return error
        return self.worker.info

    def run(self, clips: Sequence[Clip]) -> Any:
        """Outcomes."""
        if self.worker is None:
            raise RuntimeError("the worker was not started")
        return self.worker.run(clips)


@dataclass(eq=False)
class _Actor(Member):
    """An actor, and what it was asked for, in order."""

    handle: Any = field(kw_only=True)
    asked: deque[Any] = field(default_factory=deque, kw_only=True)
    words: str = field(default="", kw_only=True)

    def send(self, clips: Sequence[Clip]) -> None:
        self.asked.append(self.handle.run.remote(list(clips)))

    def receive(self) -> Any:
        import ray

        try:
            return ray.get(self.asked.popleft())
        except ray.exceptions.RayTaskError as error:
            raise CorpusError(f"an actor failed: {' '.join(str(error).split())[-400:]}") from None
        except ray.exceptions.RayError as error:
            self.words = type(error).__name__
            raise EOFError from error

    def last_words(self) -> str:
        return ""

    def end(self) -> str:
        import ray

        with contextlib.suppress(Exception):  # it may be gone, or the cluster may be
            ray.kill(self.handle)
        return self.words


class RayPool(Pool):
    """`count` actors; None: as many as the cluster has cores (GPUs, for a model on these).

    Raises as `Pool`, `MissingExtraError` without Ray, and `CorpusError` when the cluster cannot be reached or has nothing of
    the kind that is needed.
    """

    def __init__(self, settings: Any, count: int | None) -> None:
        self.own = _connect()
        try:
            self.need = {CPUS: settings.readers} if settings.device == "cpu" else {CPUS: settings.readers, GPUS: 1}
            super().__init__(settings, self._room(count))
        except BaseException:
            self._leave()
            raise

    def _room(self, count: int | None) -> int:
        import ray

        have = ray.cluster_resources()
        room = min(int(have.get(name, 0) // wanted) for name, wanted in self.need.items())
        if room < 1:
            kinds = ", ".join(f"{wanted} {name}" for name, wanted in self.need.items())
            raise CorpusError(f"the Ray cluster has no node for an actor (it needs {kinds}; there are {dict(have)})")
        return room if count is None else min(count, room)

    def close(self) -> None:
        """End all actors, and the cluster where it was ours alone."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        if self.own:
            import ray

            ray.shutdown()
            self.own = False

    def _start(self, device: str) -> Member:
        import ray

        actor = ray.remote(_Worker).options(num_cpus=self.need[CPUS], num_gpus=self.need.get(GPUS, 0), max_restarts=0)
        handle = actor.remote(self.settings)
        member = _Actor(device, handle=handle)
        member.asked.append(handle.start.remote())
        return member

    def _readable(self, timeout: float) -> list[Member]:
        import ray

        heads = {worker.asked[0]: worker for worker in self.workers if isinstance(worker, _Actor) and worker.asked}
        if not heads:
            return []
        ready, _ = ray.wait(list(heads), timeout=timeout, fetch_local=False)
        return [heads[reference] for reference in ready]


def _connect() -> bool:
    """Be part of a cluster; True where it was started here. Raises `MissingExtraError` or `CorpusError`."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "ray") from None
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    except Exception as error:  # Ray raises many kinds
        raise CorpusError(f"no Ray cluster: {type(error).__name__}: {error}") from None
    return True
