"""Models on a CUDA GPU: agreement with the CPU, speed in float32 and in lower precision. Real size, random weights.

    python benchmarks/cuda.py [NAME ...] [--clips 32] [--seconds 10] [--wav FILE ...]

For each: the share of codes equal to the CPU's (one clip; first stream, all streams), seconds of sound encoded and decoded per
second in one batch, and for bfloat16 and float16 (autocast) the share of codes equal to float32's on the same card. float32 is
float32: TF32 is off but for the column that says so. Bundled models have their own weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

import voxzoo
from voxzoo import Audio, Tokens

NAMES = ("vox-rvq-16k", "snac-24k", "encodec-24k", "mimi", "dac-16k")


def clips_of(files: list[str], rate: int, count: int, seconds: int) -> list[Audio]:
    """`count` clips of equal length: cut from the files end to end, or noise under a slow envelope."""
    n = seconds * rate
    if files:
        sound = torch.cat([torch.from_numpy(Audio.read(file, rate).samples) for file in files])
        sound = sound.repeat(-(-count * n // len(sound)))
    else:
        sound = 0.1 * torch.randn(count * n) * torch.sin(torch.arange(count * n) * 3 / rate)
    return [Audio(sound[i * n : (i + 1) * n].numpy(), rate) for i in range(count)]


def agreement(a: Tokens, b: Tokens) -> str:
    """Share of equal codes: first stream / all streams."""
    equal = [(x.cpu() == y.cpu()).flatten() for x, y in zip(a.codes, b.codes, strict=True)]
    return f"{100 * equal[0].float().mean():.3f} / {100 * torch.cat(equal).float().mean():.3f} %"


def speed(call: Callable[[], Any], seconds: float, repeats: int = 3) -> float:
    """Seconds of sound per second, the best of the repeats after one to warm up."""
    call()
    best = float("inf")
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return seconds / best


def tf32(allowed: bool) -> None:
    """Whether float32 products may be rounded to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def measure(name: str, files: list[str], count: int, seconds: int) -> None:
    """Print what one model does."""
    bundled = voxzoo.entry(name).bundled
    weights = None if bundled else "random"
    tf32(False)
    exact = voxzoo.load(name, weights=weights, device="cuda")
    clips = clips_of(files, exact.facts.sample_rate, count, seconds)
    wavs = [torch.from_numpy(clip.samples).cuda() for clip in clips]
    here = voxzoo.load(name, weights=weights).encode(clips[:1])
    tokens = exact.encode(clips)
    total = float(count * seconds)
    print(f"{name}: codes equal to the CPU's {agreement(here, exact.encode(clips[:1]))}", flush=True)
    for label, dtype, fast in (
        ("float32", "float32", False),
        ("TF32", "float32", True),
        ("bfloat16", "bfloat16", False),
        ("float16", "float16", False),
    ):
        tf32(fast)
        model = voxzoo.load(name, weights=weights, device="cuda", dtype=dtype)
        found = model.encode(clips)
        encoding = speed(lambda model=model: model.encode(wavs, model.facts.sample_rate), total)  # type: ignore[misc]
        decoding = speed(lambda model=model, found=found: model.decode(found), total) if model.decodes else float("nan")  # type: ignore[misc]
        print(f"  {label:9} encode {encoding:8.0f} x, decode {decoding:8.0f} x, equal {agreement(tokens, found)}", flush=True)


def main() -> None:
    """Those named, or a few."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--wav", nargs="*", default=[])
    args = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch.manual_seed(0)
    for name in args.names:
        measure(name, args.wav, args.clips, args.seconds)


if __name__ == "__main__":
    main()
