"""Time and memory of counting 100 million tokens in Parquet shards, beside a plain loop over the same clips.

    python benchmarks/analyze_tokens.py [--tokens 100000000] [--workers 2] [--case rvq|large|unequal]

Shards are made as `voxzoo tokenize` makes them (1000 clips each, 2 to 14 s), of Markov chains with dead codes, so that
entropies and runs look like those of speech. Peak memory is the largest sum over the whole tree of processes of what is
theirs alone and their part of what they share (PSS). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np

from voxzoo.core.facts import Facts
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.shards import FORMAT, Info, Layout, ShardWriter, open_dataset, shard_name

CASES = {
    "rvq": ([1024] * 8, [50] * 8),
    "large": ([65536], [25]),
    "unequal": ([4096] * 3, [12, 24, 48]),
}
CLIPS = 1000  # in a shard


def codes_of(random: np.random.Generator, size: int, frames: int) -> np.ndarray:
    """A chain over skewed codes: 30 % repeat the code before, 30 % follow from it, a tenth of the codebook is dead."""
    fresh = (random.random(frames) ** 2 * (0.9 * size)).astype(np.int64)
    kind = random.random(frames)
    codes = fresh.copy()
    codes[1:] = np.where(kind[1:] < 0.3, (fresh[:-1] * 31 + 7) % int(0.9 * size), codes[1:])
    repeat = kind < 0.3
    repeat[0] = False
    return codes[np.maximum.accumulate(np.where(repeat, 0, np.arange(frames)))]


def write(folder: Path, sizes: list[int], rates: list[int], tokens: int) -> int:
    """A dataset of at least so many tokens."""
    facts = Facts("trial", "acoustic", 16000, tuple(map(Fraction, rates)), tuple(sizes), True, 0.0, 0, "", "", "", "")
    info = Info(facts, "0" * 64, "soxr-hq", ())
    random = np.random.default_rng(0)
    written = shard = 0
    while written < tokens:
        writer = ShardWriter(folder / shard_name(shard), Layout(info, []))
        seconds = random.uniform(2, 14, CLIPS)
        long = [codes_of(random, size, int(seconds.sum() * rate) + CLIPS) for size, rate in zip(sizes, rates, strict=True)]
        at = [0] * len(sizes)
        for i, length in enumerate(seconds):
            frames = [int(length * rates[0]) * rate // rates[0] for rate in rates]
            codes = tuple(c[a : a + n].astype(np.uint16) for c, a, n in zip(long, at, frames, strict=True))
            at = [a + n for a, n in zip(at, frames, strict=True)]
            written += sum(frames)
            writer.add(Clip(f"{shard}-{i}", "", ""), Row(int(length * 16000), codes, {}))
        writer.close()
        shard += 1
    about = {"format": FORMAT, **info.to_dict(), "complete": True}
    (folder / "dataset.json").write_text(json.dumps(about))
    return written


def tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def memory(pid: int) -> int:
    total = 0
    try:
        for process in tree(pid):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) * 1024
    except (OSError, StopIteration):
        pass
    return total


def analyze(folder: Path, output: Path, workers: int) -> tuple[float, float, int]:
    """(seconds, processor seconds, bytes) of `voxzoo analyze`."""
    command = [sys.executable, "-m", "voxzoo.cli.main", "analyze", str(folder), "-o", str(output), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    began, before, peak = time.monotonic(), os.times(), 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        sys.exit(process.returncode)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, processor, peak


def plain_loop(folder: Path, seconds: float) -> float:
    """Tokens per second of processor of counting codes, pairs and runs in plain Python, measured for so many seconds."""
    began, counted = time.process_time(), 0
    counts: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    runs = 0
    for _, tokens in open_dataset(folder):
        for stream in tokens.numpy().codes:
            before = None
            for code in stream[0].tolist():
                counts[code] += 1
                if before is not None:
                    pairs[before, code] += 1
                runs += code != before
                before = code
                counted += 1
        if time.process_time() - began > seconds:
            break
    return counted / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case", choices=CASES, action="append")
    args = parser.parse_args()
    for case in args.case or CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "tokens"
            folder.mkdir()
            tokens = write(folder, *CASES[case], args.tokens)
            loop = plain_loop(folder, 5.0)
            wall, processor, peak = analyze(folder, Path(name) / "analysis", args.workers)
            time_taken = f"{wall:.1f} s ({processor:.1f} s of processor)"
            what = f"{tokens / 1e6:.0f} million tokens in {time_taken}, peak {peak / 1e6:.0f} MB, {args.workers} workers"
            ratio = tokens / processor / loop
            print(
                f"{case}: {what}; {ratio:.1f} times the tokens per processor second of a loop that counts codes, pairs and runs"
            )


if __name__ == "__main__":
    main()
