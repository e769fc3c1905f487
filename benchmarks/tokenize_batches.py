"""How much sound a batch should hold on a CPU, model by model: what the default of 20 s rests on.

    python benchmarks/tokenize_batches.py MODEL ... [--weights random] [--seconds 120] [--batches 0 10 20 60]

Tokenizes the same clips (2 to 15 s of the bundled speech) as a worker does, on one thread, with batches of each size in turns,
and prints seconds of sound per second of CPU time, which a busy machine disturbs little. Tokens are compared with those of the
first size.
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
import soundfile
import torch

from voxzoo import Audio
from voxzoo.core.weights import bundled_folder
from voxzoo.corpus.clips import Clip
from voxzoo.corpus.worker import Settings, Worker


def make_clips(seconds: float) -> list[Clip]:
    speech = Audio.read(bundled_folder("demo") / "speech.wav")
    rng, clips, made = np.random.default_rng(0), list[Clip](), 0.0
    while made < seconds:
        length = min(len(speech), round(float(np.clip(rng.lognormal(np.log(6), 0.6), 2, 15)) * speech.sample_rate))
        start = int(rng.integers(0, len(speech) - length + 1))
        file = io.BytesIO()
        soundfile.write(file, speech.samples[start : start + length], speech.sample_rate, format="FLAC")
        clips.append(Clip(str(len(clips)), "speech", file.getvalue()))
        made += length / speech.sample_rate
    return clips


def same(a: object, b: object) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))  # type: ignore[attr-defined]


def measure(model: str, weights: str | None, clips: list[Clip], batches: list[float], repeats: int) -> None:
    worker = Worker(Settings(model, weights))
    best: dict[float, float] = dict.fromkeys(batches, 0.0)
    wanted = None
    for _ in range(repeats):
        for size in batches:
            worker.tokenizers[0].batch_seconds = size
            began = time.process_time()
            rows = worker.run(clips)
            sound = sum(row.num_samples for row in rows) / worker.model.facts.sample_rate
            best[size] = max(best[size], sound / (time.process_time() - began))
            wanted = wanted or rows
            if not all(map(same, wanted, rows)):
                print(f"{model}: batches of {size:g} s give other tokens")
    told = ", ".join(f"{size:g} s: {speed:.1f}" for size, speed in best.items())
    print(f"{model} ({worker.model.batching}): {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--weights", help="as `voxzoo tokenize` takes them")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--batches", type=float, nargs="+", default=[0.0, 10.0, 20.0, 60.0])
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = make_clips(args.seconds)
    for model in args.models:
        measure(model, args.weights, clips, args.batches, args.repeats)


if __name__ == "__main__":
    main()
