"""A manifest of a million clips: how long until a run is planned, and until a finished run finds that it is finished.

    python benchmarks/corpus_million.py [--clips 1000000]

The model is a stand-in that gives every clip 20 tokens without reading it, so that a million clips are there in minutes; the
plan, the shards and the resuming are the real ones. Prints seconds of wall time and of this process's CPU, and the largest
resident set.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from voxzoo import Facts
from voxzoo.corpus import worker
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.engine import Options, tokenize
from voxzoo.corpus.plan import scan
from voxzoo.corpus.shards import Info
from voxzoo.corpus.sources import open_source

FACTS = Facts(
    name="stand-in", kind="semantic", sample_rate=16000, frame_rates=(Fraction(25),), codebook_sizes=(1024,), causal=True,
    latency=0.0, params=1, code_licence="", weights_licence="", source="", paper="",
)  # fmt: skip


class StandIn:
    """20 tokens for every clip."""

    def __init__(self, settings: worker.Settings) -> None:
        self.info = Info(FACTS, "f" * 64, "soxr-hq", ())

    def run(self, clips: Sequence[Clip]) -> list[Row]:
        """Tokens that depend on nothing."""
        return [Row(12800, (np.arange(20, dtype=np.uint16),), {}) for _ in clips]


def write(path: Path, clips: int) -> None:
    with open(path, "w") as file:
        for i in range(clips):
            row = {"id": f"utt-{i:07d}", "path": f"wav/{i // 1000:04d}/{i:07d}.flac", "duration": i % 20 + 0.5,
                   "text": "some words that were said here, about ten of them", "speaker": f"spk{i % 997}"}  # fmt: skip
            file.write(json.dumps(row) + "\n")


def step(what: str, manifest: str, output: str) -> None:
    """One step, timed; run in a process of its own."""
    vars(worker)["Worker"] = StandIn
    began, cpu = time.perf_counter(), time.process_time()
    if what == "plan":
        clips = scan(open_source(manifest)).clips
        said = f"{clips} clips planned"
    else:
        summary = tokenize(Options(manifest, output, "encodec-24k", workers=0, quiet=True))
        said = f"{summary.clips} clips, {summary.resumed_clips} of them there already"
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what}: {said} in {wall:.1f} s (CPU {spent:.1f} s), at most {peak:.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(*args.step)
        return
    with tempfile.TemporaryDirectory() as name:
        manifest, output = Path(name) / "m.jsonl", Path(name) / "out"
        write(manifest, args.clips)
        for what in ("plan", "run", "resume"):
            subprocess.run([sys.executable, __file__, "--step", what, str(manifest), str(output)], check=True)


if __name__ == "__main__":
    main()
