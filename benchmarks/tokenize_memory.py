"""Peak memory of `voxzoo tokenize` over its whole tree of processes: one 3-hour file, and 100,000 tiny files.

    python benchmarks/tokenize_memory.py [--hours 3] [--files 100000] [--model vox-rvq-16k] [--weights random]

Prints the largest sum of resident sets (pages that processes share are counted once for each). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000  # Hz


def children(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += children(int(child))
    return found


def resident(pid: int) -> int:
    """Bytes of memory of a process and all below it; processes that end meanwhile count as nothing."""
    total = 0
    try:
        for process in children(pid):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    return total


def measure(label: str, source: Path, output: Path, more: list[str]) -> None:
    command = [sys.executable, "-m", "voxzoo.cli.main", "tokenize", str(source), "-o", str(output), "--json", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak, answer = 0, []
    reader = threading.Thread(target=lambda: answer.append(process.communicate()[0]))
    reader.start()
    began = time.monotonic()
    while reader.is_alive():
        peak = max(peak, resident(process.pid))
        time.sleep(0.05)
    wall = time.monotonic() - began
    summary = json.loads(answer[0])
    what = f"{summary['clips']} clips, {summary['seconds'] / 3600:.2f} h of sound"
    print(f"{label}: peak {peak / 1e9:.2f} GB; {what} in {wall:.0f} s", flush=True)


def make_long(path: Path, hours: float) -> None:
    minute = (0.2 * np.sin(2 * np.pi * 220 * np.arange(60 * RATE) / RATE)).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(round(60 * hours)):
            file.write(minute)


def make_many(folder: Path, count: int) -> None:
    soundfile.write(folder / "one.wav", 0.2 * np.sin(2 * np.pi * 220 * np.arange(800) / RATE), RATE)
    data = (folder / "one.wav").read_bytes()
    (folder / "one.wav").unlink()
    for i in range(count):
        if i % 1000 == 0:
            (folder / f"{i // 1000:03d}").mkdir()
        (folder / f"{i // 1000:03d}" / f"{i:06d}.wav").write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--model", default="vox-rvq-16k")
    parser.add_argument("--weights", help="as `voxzoo tokenize` takes them")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    more = ["-m", args.model, "--workers", str(args.workers), *(["--weights", args.weights] if args.weights else [])]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "long").mkdir()
        (work / "many").mkdir()
        make_long(work / "long/long.flac", args.hours)
        measure(f"one file of {args.hours:g} h", work / "long", work / "long-tokens", more)
        make_many(work / "many", args.files)
        measure(f"{args.files} files", work / "many", work / "many-tokens", more)


if __name__ == "__main__":
    main()
