"""A few clips of a benchmark to listen to: the original and what every entry made of it, as sound files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import CorpusError
from ..corpus.clips import Clip, printable
from ..corpus.plan import Task
from ..corpus.pool import InlinePool, Pool
from .bench_worker import SENT, Example, job_of

__all__ = ["spread", "write_examples"]

SECONDS = (1.0, 20.0)  # clips that make good examples


def spread(seconds: Mapping[int, float], count: int) -> set[int]:
    """Up to `count` of the clips (number -> seconds), evenly over them; no very short or long ones where there are others."""
    able = sorted(seconds)
    good = [number for number in able if SECONDS[0] <= seconds[number] <= SECONDS[1]]
    able = good if len(good) >= min(count, len(able)) else able
    if count >= len(able):
        return set(able)
    return {able[(2 * i + 1) * len(able) // (2 * count)] for i in range(count)}


def write_examples(
    pool: Pool | InlinePool, clips: Mapping[int, Clip], labels: Sequence[str], output: str
) -> list[dict[str, Any]]:
    """Have the workers write `output`/audio/ENTRY/000.flac and so on; returns what `results.json` says of each clip.

    Raises `CorpusError` when a file cannot be written.
    """
    wanted = dict.fromkeys(labels, (SENT,))
    tasks: list[Task] = []
    for number, clip in clips.items():
        into = (output, f"{len(tasks):03d}.flac")
        job = job_of(clip, wanted, into)
        tasks.append(Task(0, number, [job], False))
    found = []
    for task, (example, *_) in pool.results(iter(tasks)):
        if not isinstance(example, Example):
            raise CorpusError(f"an example cannot be written: {example}; what was measured is safe")
        found.append({"id": printable(task.clips[0].id), "seconds": example.seconds, "original": example.original,
                      "decoded": dict(example.decoded), "codes": dict(example.codes)})  # fmt: skip
    return found
