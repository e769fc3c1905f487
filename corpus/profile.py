"""Where the time of a run went, and what limits it: `voxzoo tokenize --profile`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Clock", "Outcomes", "describe"]

# Seconds are of wall time, summed over workers and their threads. Reading, decoding and resampling go on beside the model.
STAGES = {
    "read": "reading files",
    "decode": "decoding",
    "resample": "resampling",
    "model": "the model",
    "starved": "the model waiting for sound",
    "idle": "workers waiting for clips",
    "write": "writing shards (main process)",
}
BUSY = 0.7  # of the time there is, from where on the main process is what limits
HUNGRY = 0.2  # of the workers' time without sound or clips, from where on the model does not limit


class Clock:
    """Seconds by stage; threads may share one. Without `on`, it does nothing."""

    def __init__(self, on: bool = True) -> None:
        self.on = on
        self.seconds: dict[str, float] = {}
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what the block takes."""
        if not self.on:
            yield
            return
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds by stage."""
        with self.lock:
            for stage, more in seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + more

    def take(self) -> dict[str, float]:
        """What was counted since the last time."""
        with self.lock:
            taken, self.seconds = self.seconds, {}
        return taken


class Outcomes(list[Any]):
    """Outcomes of a task, with the `seconds` by stage that they took."""

    def __init__(self, outcomes: list[Any], seconds: Mapping[str, float]) -> None:
        super().__init__(outcomes)
        self.seconds = dict(seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.seconds)


def limit(seconds: Mapping[str, float], workers: int, elapsed: float) -> str:
    """Which stage a faster one of would make the run faster."""
    whole = max(elapsed, 1e-9)
    if seconds.get("write", 0.0) > BUSY * whole:
        return "write"
    share = {stage: seconds.get(stage, 0.0) / (whole * max(workers, 1)) for stage in STAGES}
    if share["idle"] > max(HUNGRY, share["starved"]):
        return "idle"
    if share["starved"] > HUNGRY:
        return max(("read", "decode", "resample"), key=lambda stage: share[stage])
    return "model"


def describe(seconds: Mapping[str, float], workers: int, elapsed: float) -> str:
    """A table of lines, and what limits."""
    lines = [f"where the time went ({workers} {'worker' if workers == 1 else 'workers'}, {elapsed:.1f} s):"]
    for stage, words in STAGES.items():
        time_there = elapsed if stage == "write" else elapsed * workers
        spent = seconds.get(stage, 0.0)
        lines.append(f"  {words:30s} {spent:9.2f} s {100 * spent / max(time_there, 1e-9):5.1f} %")
    advice = {
        "model": "a GPU, more cores or a smaller model would help; more workers only up to the number of cores",
        "read": "storage is too slow: copy the files nearer, or pack them in tars",
        "decode": "more workers (or, with a GPU, more of its --workers) would help; WAV and FLAC decode fastest",
        "resample": "store the files at the model's rate",
        "idle": "the source is listed too slowly for the workers, or there are too few clips for them",
        "write": "the disk is too slow, or there are too many workers for one writer",
    }
    stage = limit(seconds, workers, elapsed)
    return "\n".join([*lines, f"what limits: {STAGES[stage]}; {advice[stage]}"])
