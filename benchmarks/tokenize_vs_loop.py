"""Throughput of `voxzoo tokenize`, whole verb from FLAC files to shards, model load excluded.

    python benchmarks/tokenize_vs_loop.py [--source DIR] [--clips 40]

1. `vox-rvq-16k`: seconds of sound per second.
2. SNAC 24 kHz at its real size with random weights, against the loop a user would write: read with soundfile, resample with
   soxr, encode one by one with the `snac` package as it is, on as many threads as torch chooses. Both get the same weights
   and files in the same run; the tokens are compared.

Needs the `test` extra (for `snac`). Without --source it makes speech-like FLAC files of its own (16 kHz, 1 to 20 s).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

import voxzoo
from voxzoo.corpus.shards import open_dataset
from voxzoo.corpus.sources import open_source

RATE = 16000  # Hz, of the files made here


def speech_like(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Voiced syllables of a gliding pitch, with breath between them."""
    n = round(seconds * RATE)
    time_axis = np.arange(n) / RATE
    pitch = 120 * 2 ** (0.5 * np.sin(2 * np.pi * 0.3 * time_axis + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 2 * time_axis + rng.uniform(0, 6)), 0, None)
    return (0.08 * syllables * voiced + 0.01 * rng.standard_normal(n)).astype(np.float32)


def make_files(folder: Path, clips: int) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(clips):
        seconds = float(np.clip(rng.lognormal(np.log(5.5), 0.8), 1, 20))
        soundfile.write(folder / f"{i:05d}.flac", speech_like(seconds, rng), RATE)


def tokenize(source: Path, output: Path, model: str, *more: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "voxzoo.cli.main",
        "tokenize",
        str(source),
        "-m",
        model,
        "-o",
        str(output),
        "--json",
        *more,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def make_snac(folder: Path) -> Any:
    """The package's own model with random weights, saved in the form in which SNAC is published."""
    from snac import SNAC

    torch.manual_seed(0)
    config = dict(voxzoo.entry("snac-24k").config)
    model = SNAC(**config).eval()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


def plain_loop(model: Any, files: dict[str, str], rate: int) -> tuple[dict[str, list[np.ndarray]], float]:
    tokens = {}
    began = time.perf_counter()
    for id, path in files.items():
        samples, file_rate = soundfile.read(path, dtype="float32")
        wav = torch.from_numpy(soxr.resample(samples, file_rate, rate))
        with torch.inference_mode():
            tokens[id] = [codes[0].numpy() for codes in model.encode(wav[None, None])]
    return tokens, time.perf_counter() - began


def count_differences(loop: dict[str, list[np.ndarray]], dataset: Path) -> tuple[int, int]:
    different = total = 0
    for id, tokens in open_dataset(dataset):
        for a, b in zip(loop[id], tokens.codes, strict=True):
            different += int((a != b[0]).sum()) if a.shape == b[0].shape else a.size
            total += a.size
    return different, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of sound files (default: made here)")
    parser.add_argument("--clips", type=int, default=40, help="files of the SNAC comparison (default: 40)")
    parser.add_argument("--weights", help="weights of vox-rvq-16k, as `voxzoo tokenize` takes them (default: the bundled ones)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source = args.source or work / "speech"
        if not args.source:
            make_files(source, 10 * args.clips)

        more = ["--weights", args.weights] if args.weights else []
        ours = tokenize(source, work / "rvq", "vox-rvq-16k", *more)
        took = f"{ours['seconds']:.0f} s of sound in {ours['elapsed']:.1f} s"
        print(f"vox-rvq-16k: {ours['clips']} clips, {took}: {ours['speed']:.0f}x real time", flush=True)

        model = make_snac(work / "snac")
        ours = tokenize(source, work / "tokens", "snac-24k", "--weights", str(work / "snac"), "--limit", str(args.clips))
        files = {
            clip.id: str(clip.source) for clip, _ in zip(open_source(str(source)).clips(), range(args.clips), strict=False)
        }
        tokens, seconds = plain_loop(model, files, 24000)
        different, total = count_differences(tokens, work / "tokens")
        fast, slow = ours["clips"] / ours["elapsed"], len(files) / seconds
        loop = f"the plain loop on {torch.get_num_threads()} threads"
        print(f"snac-24k: {fast:.2f} clips/s against {slow:.2f} of {loop}: {fast / slow:.2f} times")
        print(f"snac-24k: {different} of {total} tokens differ")


if __name__ == "__main__":
    main()
