"""CPU time of our EnCodec against transformers' `EncodecModel`: one process, one thread, the same sound, random weights.

    python benchmarks/encodec_vs_transformers.py [--seconds 10] [--repeats 5]

Prints process-CPU seconds per second of sound (the least of the repeats, taken in turns) and their ratio: above 1, ours is
the faster. Both models have the published sizes; 24 kHz with 8 streams (6 kbit/s), 48 kHz with 4 (6 kbit/s).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

import voxzoo
from voxzoo.codecs.encodec import Encodec

KBPS = 6.0


def least(functions: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Least CPU seconds of each, called in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            best[i] = min(best[i], time.process_time() - start)
    return best


def compare(name: str, seconds: int, repeats: int) -> None:
    """Print two lines, encode and decode."""
    from transformers import EncodecConfig, EncodecModel

    ours = voxzoo.load(name, weights="random")
    assert isinstance(ours, Encodec)
    theirs = EncodecModel(EncodecConfig(**ours.config)).eval()
    for layer in theirs.quantizer.layers:
        layer.codebook.embed.normal_()
    rate = ours.facts.sample_rate
    wav = 0.1 * torch.randn(seconds * rate)
    wavs = wav.expand(1, ours.facts.channels, -1)
    with torch.no_grad():
        found = theirs.encode(wavs, bandwidth=KBPS)
        tokens = ours.encode(wav, rate, bandwidth=KBPS)
        pad = found.last_frame_pad_length
        encode = [lambda: theirs.encode(wavs, bandwidth=KBPS), lambda: ours.encode(wav, rate, bandwidth=KBPS)]
        decode = [
            lambda: theirs.decode(found.audio_codes, found.audio_scales, last_frame_pad_length=pad),
            lambda: ours.decode(tokens),
        ]
        for what, functions in (("encode", encode), ("decode", decode)):
            a, b = least(functions, repeats)
            print(f"{name} {what}: transformers {a / seconds:.4f}, ours {b / seconds:.4f} CPU-s per s, ratio {a / b:.2f}")


def main() -> None:
    """Both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("encodec-24k", "encodec-48k"):
        compare(name, args.seconds, args.repeats)


if __name__ == "__main__":
    main()
