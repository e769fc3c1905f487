"""`voxzoo bench` with two workers against one: 100 clips, three light models, the default metrics, start and cost included.

    python benchmarks/bench_workers.py [--source DIR] [--clips 100] [--seconds 4]

Prints both times and their ratio from one run, each with what it spent on the clips alone. Without --source it makes clips of
the bundled speech. A machine that does other work meanwhile gives a ratio that means nothing: the load is printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from voxzoo import Audio
from voxzoo.core.weights import bundled_folder

ENTRIES = ("vox-rvq-16k:8", "vox-rvq-16k:4", "opus:12")


def make_clips(folder: Path, clips: int, seconds: float) -> None:
    """Pieces of the bundled speech, from another place and a little louder or softer each."""
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    rng = np.random.default_rng(0)
    folder.mkdir()
    length = min(len(speech), round(seconds * speech.sample_rate))
    for i in range(clips):
        start = int(rng.integers(0, len(speech) - length + 1))
        piece = speech.samples[start : start + length] * rng.uniform(0.5, 1)
        soundfile.write(folder / f"{i:03d}.flac", piece, speech.sample_rate)


def bench(source: Path, output: Path, workers: int, clips: int) -> float:
    """Seconds from start to results."""
    command = [sys.executable, "-m", "voxzoo.cli.main", "bench", str(source), "-o", str(output), "--workers", str(workers)]
    command += ["--limit", str(clips), *(part for entry in ENTRIES for part in ("-m", entry))]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of sound files (default: made here)")
    parser.add_argument("--clips", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of those made here (default: 4)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source = args.source or work / "speech"
        if not args.source:
            make_clips(source, args.clips, args.seconds)
        took = {}
        for workers in (1, 2):
            load = os.getloadavg()[0]
            took[workers] = bench(source, work / str(workers), workers, args.clips)
            seconds = json.loads((work / str(workers) / "results.json").read_text())["about"]["seconds"]
            print(
                f"{workers} worker(s): {took[workers]:.1f} s for {seconds:.0f} s of sound (load before: {load:.1f})", flush=True
            )
        same = [json.loads((work / str(workers) / "results.json").read_text())["clips"] for workers in (1, 2)]
        print(f"two workers against one: {took[1] / took[2]:.2f} times; scores {'equal' if same[0] == same[1] else 'DIFFER'}")


if __name__ == "__main__":
    main()
