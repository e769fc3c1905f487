"""How much of a model's speed is left in `voxzoo tokenize`, and what a second worker brings.

    python benchmarks/tokenize_workers.py [--source DIR] [--model vox-rvq-16k] [--seconds 600] [--repeats 3] [--ray]

1. The whole of tokenizing FLAC files (reading, decoding, resampling, writing shards) with one worker, against the model on
   batches that are ready in memory, alone in a process of its own with one thread.
2. Two workers against one.
3. With --ray, two Ray actors against two workers.

All in one run, in turns; of the repeats the fastest counts. Workers have loaded their models before the clock starts. Ratios
of wall time mean something on an idle machine with two free cores only; the load is printed, and CPU time beside. Without
--source it makes FLAC files of the bundled speech.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from voxzoo import Audio
from voxzoo.core.weights import bundled_folder
from voxzoo.corpus.engine import Options, _pool, _Run
from voxzoo.corpus.folder import Folder
from voxzoo.corpus.plan import scan, shard_tasks
from voxzoo.corpus.sources import open_source

ALONE = """
import json, sys, time
import torch
torch.set_num_threads(1)
from voxzoo import Audio, load
from voxzoo.corpus.sources import open_source
model = load(sys.argv[2])
sounds = [Audio.read(clip.open(), model.facts.sample_rate) for clip in open_source(sys.argv[1]).clips()]
sounds = [sound for sound in sounds if sound.duration <= model.window]
model.encode(sounds[:2])
for _ in range(1):
    seconds = spent = cpu = 0.0
    for start in range(0, len(sounds), 32):  # as many as a task has, batched as a worker does it
        batch = []
        for sound in [*sorted(sounds[start : start + 32], key=len), None]:
            if sound is None or (len(batch) + 1) * sound.duration > 20:
                if batch:
                    began, before = time.perf_counter(), time.process_time()
                    model.encode(batch).numpy()
                    spent += time.perf_counter() - began
                    cpu += time.process_time() - before
                    seconds += sum(one.duration for one in batch)
                batch = []
            if sound is not None:
                batch.append(sound)
    print(json.dumps([seconds / spent, seconds / cpu]))
"""


def make_files(folder: Path, seconds: float) -> None:
    """Pieces of the bundled speech, 2 to 15 s long, a little louder or softer each."""
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    rng, made = np.random.default_rng(0), 0.0
    folder.mkdir()
    while made < seconds:
        length = min(len(speech), round(float(np.clip(rng.lognormal(np.log(6), 0.6), 2, 15)) * speech.sample_rate))
        start = int(rng.integers(0, len(speech) - length + 1))
        piece = speech.samples[start : start + length] * rng.uniform(0.5, 1)
        soundfile.write(folder / f"{made:09.2f}.flac", piece, speech.sample_rate)
        made += length / speech.sample_rate


def alone(source: str, model: str) -> tuple[float, float]:
    """Seconds of sound per second of wall time and of CPU, of the model on ready batches."""
    done = subprocess.run([sys.executable, "-c", ALONE, source, model], capture_output=True, text=True, check=True)
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def cpu_seconds(pool: Any) -> float:
    """CPU of this process and its workers (Linux; Ray's actors are no children of ours)."""
    spent = time.process_time()
    for worker in pool.workers:
        if process := getattr(worker, "process", None):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def whole(source: str, output: Path, model: str, workers: int, engine: str) -> tuple[float, float]:
    """Seconds of sound per second of wall time and of CPU, of the whole verb, once the workers are ready."""
    options = Options(source, str(output), model, workers=workers, quiet=True, engine=engine)
    opened = open_source(source)
    found = scan(opened)
    with contextlib.closing(_pool(options, found.clips)) as pool, contextlib.closing(Folder(output)) as folder:
        while not all(getattr(worker, "ready", True) for worker in pool.workers):
            first = shard_tasks(opened.clips(), 0, 0, found, found.clips, (1, 1 << 30))
            for _, _ in zip(range(4), pool.results(first), strict=False):
                pass
        began, before = time.perf_counter(), cpu_seconds(pool)
        (summary,) = _Run(options, opened, found, [folder], pool).run()
        return summary.seconds / (time.perf_counter() - began), summary.seconds / (cpu_seconds(pool) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="folder of sound files (default: made here)")
    parser.add_argument("--model", default="vox-rvq-16k")
    parser.add_argument("--seconds", type=float, default=600.0, help="of sound made here (default: 600)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="Ray with two actors, too")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    best, cpus = dict[str, float](), dict[str, float]()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source = args.source or str(work / "speech")
        if not args.source:
            make_files(work / "speech", args.seconds)
        for repeat in range(args.repeats):
            speeds = {"alone": alone(source, args.model)}
            for label, workers, engine in [("one", 1, "local"), ("two", 2, "local"), ("ray", 2, "ray")]:
                if engine == "local" or args.ray:
                    speeds[label] = whole(source, work / f"{label}-{repeat}", args.model, workers, engine)
            best = {label: max(speed, best.get(label, 0.0)) for label, (speed, _) in speeds.items()}
            told = ", ".join(
                f"{label} {speed:.1f}" + (f" ({cpu:.1f} by CPU time)" if label != "ray" else "")
                for label, (speed, cpu) in speeds.items()
            )
            print(f"times real time: {told}; load {os.getloadavg()[0]:.1f}", flush=True)
            cpus = {label: max(cpu, cpus.get(label, 0.0)) for label, (_, cpu) in speeds.items()}
    print(f"the whole with one worker: {100 * best['one'] / best['alone']:.0f} % of the model alone")
    print(f"of the CPU that the whole takes, the model alone would take {100 * cpus['one'] / cpus['alone']:.0f} %")
    print(f"two workers: {best['two'] / best['one']:.2f} times one")
    if args.ray:
        print(f"Ray with two actors: {100 * best['ray'] / best['two']:.0f} % of two workers")


if __name__ == "__main__":
    main()
