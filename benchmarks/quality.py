"""Reconstruction quality of a codec over its streams, beside Opus: mean PESQ-WB and STOI of the clips of a manifest.

    python benchmarks/quality.py CLIPS_DIR_OR_MANIFEST -m vox-rvq-16k [--weights DIR] [--opus] [--json OUT.json]

Definitions. PESQ-WB: ITU-T P.862.2 as in the `pesq` package, mode "wb", at 16 kHz, original against decoded, whole clip.
STOI: `pystoi`, not extended, at 16 kHz. Both are means over clips. Kbit/s is nominal, frame rate times log2 of the codebook
size; for Opus it is the bytes of the Opus packets' file (Ogg container included) over the duration. Clips at other rates
are resampled to 16 kHz with soxr HQ. Needs `pip install 'voxzoo[eval]'`; `--opus` needs ffmpeg with libopus.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import voxzoo
from voxzoo import Audio

RATE = 16000


def clips(source: str, limit: int | None) -> list[Path]:
    """Sound files of a folder or of a `manifest.jsonl`."""
    path = Path(source)
    if path.suffix == ".jsonl":
        found = [path.parent / json.loads(line)["path"] for line in path.read_text().splitlines() if line.strip()]
    else:
        found = sorted(p for p in path.rglob("*") if p.suffix in (".wav", ".flac", ".opus", ".ogg"))
    return found[:limit]


def score(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """(PESQ-WB, STOI)."""
    from pesq import pesq
    from pystoi import stoi

    return pesq(RATE, original, decoded, "wb"), float(stoi(original, decoded, RATE))


def opus(samples: np.ndarray, kbps: int) -> tuple[np.ndarray, float]:
    """Through libopus and back, and the bits per second of the file."""
    with tempfile.TemporaryDirectory() as folder:
        wav, ogg = os.path.join(folder, "a.wav"), os.path.join(folder, "a.opus")
        Audio(samples, RATE).write(wav)
        run = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
        subprocess.run([*run, "-i", wav, "-c:a", "libopus", "-b:a", f"{kbps}k", ogg], check=True)
        bits = os.path.getsize(ogg) * 8 / (len(samples) / RATE)
        subprocess.run([*run, "-i", ogg, "-ar", str(RATE), wav], check=True)
        back = Audio.read(wav).samples
    return np.pad(back, (0, max(0, len(samples) - len(back))))[: len(samples)], bits


def measure(name: str, files: list[Path], code: Callable[[np.ndarray], tuple[np.ndarray, float]]) -> dict[str, float | str]:
    """Code every clip and average; one printed line."""
    rows, rates = [], []
    for file in files:
        original = Audio.read(file, RATE).samples
        decoded, bits = code(original)
        rows.append(score(original, decoded))
        rates.append(bits)
    pesq, stoi = np.mean(rows, axis=0)
    result: dict[str, float | str] = {"codec": name, "kbps": float(np.mean(rates)) / 1000, "pesq_wb": pesq, "stoi": stoi}
    print(f"{name:28s} {result['kbps']:7.2f} {pesq:8.3f} {stoi:7.3f}", flush=True)
    return result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("-m", "--model", default="vox-rvq-16k")
    parser.add_argument("--weights")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--opus", action="store_true", help="also Opus at 6, 12 and 24 kbit/s")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json")
    args = parser.parse_args()
    files = clips(args.source, args.limit)
    model = voxzoo.load(args.model, weights=args.weights)

    def through(streams: int) -> Callable[[np.ndarray], tuple[np.ndarray, float]]:
        def code(samples: np.ndarray) -> tuple[np.ndarray, float]:
            tokens = model.encode(Audio(samples, RATE), streams=streams)
            return model.decode(tokens).resample(RATE).samples[: len(samples)], tokens.bitrate

        return code

    print(f"{len(files)} clips\n{'codec':28s} {'kbit/s':>7s} {'PESQ-WB':>8s} {'STOI':>7s}")
    results = [measure(f"{args.model}, {k} streams", files, through(k)) for k in args.streams if k <= model.facts.streams]
    if args.opus:
        results += [measure(f"Opus at {k} kbit/s", files, functools.partial(opus, kbps=k)) for k in (6, 12, 24)]
    if args.json:
        Path(args.json).write_text(json.dumps({"clips": len(files), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
