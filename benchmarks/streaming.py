"""Streaming in chunks of 80 ms, both directions, random weights: real-time factor and memory over a long sound.

    python benchmarks/streaming.py [NAME ...] [--minutes 60] [--threads 1]

Each chunk is encoded and its tokens decoded before the next one comes, as in a conversation. A line for every tenth of the
sound gives the real-time factor (CPU seconds per second of sound, encoding and decoding apart), the longest time a chunk took
on the clock, and the process's resident memory; the last line says by how much memory grew after the first tenth. Models
have the published sizes; Mimi runs with 8 streams, EnCodec 24 kHz with 8 (6 kbit/s).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import voxzoo

NAMES = ("mimi", "encodec-24k")
STREAMS = 8
CHUNK = 0.08  # seconds
PARTS = 10


def resident() -> float:
    """MiB that the process holds now."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(name: str, minutes: float) -> None:
    """Print a line for each tenth, and one for all."""
    model = voxzoo.load(name, weights="random")
    rate = model.facts.sample_rate
    size = round(CHUNK * rate)
    rng = np.random.default_rng(0)
    chunks = max(1, round(minutes * 60 / CHUNK / PARTS))
    totals, first, given = [0.0, 0.0], 0.0, 0
    with model.stream_encoder(streams=STREAMS) as encoder, model.stream_decoder() as decoder:
        for part in range(PARTS):
            spent, longest = [0.0, 0.0], 0.0
            for _ in range(chunks):
                wav = (0.1 * rng.standard_normal(size)).astype(np.float32)
                start, cpu = time.perf_counter(), time.process_time()
                tokens = encoder.push(wav)
                middle = time.process_time()
                given += len(decoder.push(tokens))
                spent[0], spent[1] = spent[0] + middle - cpu, spent[1] + time.process_time() - middle
                longest = max(longest, time.perf_counter() - start)
            memory = resident()
            first = first or memory
            seconds = chunks * CHUNK
            totals = [a + b for a, b in zip(totals, spent, strict=True)]
            print(
                f"{name:12} to {(part + 1) * seconds / 60:5.1f} min: real-time factor {spent[0] / seconds:.3f} encoding, "
                f"{spent[1] / seconds:.3f} decoding; longest chunk {1000 * longest:.0f} ms; {memory:.1f} MiB",
                flush=True,
            )
        given += len(decoder.push(encoder.finish())) + len(decoder.finish())
    total = PARTS * chunks * size
    if given != total:
        raise SystemExit(f"{name} gave {given} samples for {total}")
    seconds = total / rate
    print(
        f"{name:12} all {seconds / 60:.1f} min: real-time factor {totals[0] / seconds:.3f} encoding, "
        f"{totals[1] / seconds:.3f} decoding; memory grew by {memory - first:.1f} MiB after the first tenth",
        flush=True,
    )


def main() -> None:
    """All of them, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.names:
        measure(name, args.minutes)


if __name__ == "__main__":
    main()
