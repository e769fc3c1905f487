"""CPU time of each signal metric of the benchmark: one process, one thread, milliseconds per second of sound.

    python benchmarks/metrics_speed.py [--seconds 10] [--repeats 3] [--models 3]

Prints for each family the least CPU time of the repeats on a new clip ("first model": the original is analysed too) and on
the same clip again ("next models": what is kept of the original is there), their mean over a run with `--models` models, and
how often faster than real time that is. Speech is the package's demo, repeated; the decoded sound is speech with noise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import voxzoo
from voxzoo.eval.alignment import align
from voxzoo.eval.metric import Original, Pair
from voxzoo.eval.signal_table import SIGNAL

RATE = 16000


def cpu(function: Callable[[], object]) -> float:
    """Milliseconds of CPU of one call."""
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def sounds(seconds: int) -> tuple[voxzoo.Audio, list[np.ndarray]]:
    """Speech, and two noisy copies of it."""
    demo = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav", RATE).samples
    speech = np.resize(demo, seconds * RATE)
    random = np.random.default_rng(0)
    noisy = [(speech + 0.003 * random.standard_normal(len(speech))).astype(np.float32) for _ in range(2)]
    return voxzoo.Audio(speech, RATE), noisy


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", type=int, default=3)
    args = parser.parse_args()
    audio, (one, two) = sounds(args.seconds)
    rows: list[tuple[str, float, float]] = []
    alone = min(cpu(lambda: align(audio.samples, one, RATE)) for _ in range(args.repeats)) / args.seconds
    rows.append(("alignment", alone, alone))
    for family in SIGNAL:
        measure = family.open(None)
        measure(Pair(Original(audio, RATE), one))  # what is made once for all: filters, compiled loops
        first, following = [], []
        for _ in range(args.repeats):
            original = Original(audio, RATE)
            first.append(cpu(lambda: measure(Pair(original, one))))  # noqa: B023
            following.append(cpu(lambda: measure(Pair(original, two))))  # noqa: B023
        rows.append((family.name, min(first) / args.seconds, min(following) / args.seconds))
    print(f"{'':14}{'first model':>14}{'next models':>14}{'mean':>8}  CPU ms per s of sound, {args.models} models")
    for name, new, known in rows:
        print(f"{name:14}{new:14.1f}{known:14.1f}{(new + (args.models - 1) * known) / args.models:8.1f}")
    for name, chosen in (("all", rows), ("but ViSQOL", [row for row in rows if row[0] != "visqol"])):
        total = sum(new + (args.models - 1) * known for _, new, known in chosen) / args.models
        new, known = (sum(column) for column in zip(*(row[1:] for row in chosen), strict=True))
        print(f"{name:14}{new:14.1f}{known:14.1f}{total:8.1f}  {1000 / total:.1f} x real time")


if __name__ == "__main__":
    main()
