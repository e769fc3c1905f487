"""Voices changed in batches, against Praat's "Change gender" clip by clip: how fast, and does Praat hear what was asked for?

    python benchmarks/perturbation.py FOLDER [--clips 24] [--seconds 6] [--device cpu] [--threads 2]

FOLDER holds speech (*.flac, *.wav, *.ogg). Speed is in seconds of sound a second, of the change of voice alone and with the
equaliser; Praat's is that of one process, as trainings call it, and the ratio of ours to it is printed; then the same per
second of processor time, which other work on the machine moves less. Then for each change the
median over clips of the pitch and of the first three formants that Praat measures, each over what was asked for, on the frames
that are voiced before and after. Needs praat-parselmouth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import parselmouth
import torch
from parselmouth.praat import call
from torch import Tensor

import voxzoo
from voxzoo.training.perturb import Change, Strength, changed, perturbed

RATE = 16000
ASKED = ((1.5, 1.0), (0.67, 1.0), (2.0, 1.0), (0.5, 1.0), (1.0, 1.2), (1.0, 0.83), (1.5, 1.2), (0.67, 0.83))


def read(folder: Path, clips: int, seconds: float) -> Tensor:
    """float32 (B, T): the first seconds of clips that are as long as that, spread over the folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav", ".ogg", ".opus"))
    found: list[np.ndarray] = []
    for path in files[:: max(1, len(files) // (4 * clips))]:
        wav = voxzoo.Audio.read(path).resample(RATE).samples
        if len(wav) >= seconds * RATE:
            found.append(wav[: int(seconds * RATE)])
        if len(found) == clips:
            break
    return torch.from_numpy(np.stack(found))


def best(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Seconds of the fastest run, and the least of processor time."""
    work()
    wall, cpu = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return min(wall), min(cpu)


def praat_change(wav: np.ndarray, rng: np.random.Generator) -> Any:
    """As Spin's training data is made: pitch's median, then all three changed."""
    sound = parselmouth.Sound(wav, RATE)
    pitch = call(sound, "To Pitch", 0.8 / 75, 75, 600)
    median = call(pitch, "Get quantile", 0, 0, 0.5, "Hertz")
    if not median > 0:
        return sound
    return call((sound, pitch), "Change gender", rng.uniform(1, 1.4), median * rng.uniform(1, 2), rng.uniform(1, 1.5), 1)


def pitch_of(wav: np.ndarray) -> np.ndarray:
    options = (0.01, 50, 15, "no", 0.03, 0.45, 0.01, 0.35, 0.14, 900)
    return np.asarray(call(parselmouth.Sound(wav, RATE), "To Pitch (ac)", *options).selected_array["frequency"])


def formants_of(wav: np.ndarray, top: float, times: np.ndarray) -> np.ndarray:
    found = parselmouth.Sound(wav, RATE).to_formant_burg(0.01, 5, top, 0.025, 50)
    return np.array([[found.get_value_at_time(k, t) for k in (1, 2, 3)] for t in times])


def heard(before: np.ndarray, after: np.ndarray, pitch: float, formants: float) -> list[float]:
    """Measured over asked: pitch, and three formants."""
    first, second = pitch_of(before), pitch_of(after)
    places = np.flatnonzero((first > 0) & (second > 0))
    times = 0.01 * places + 0.03  # Praat's first frame is centred three periods of 50 Hz from the start
    moved = formants_of(after, 5500 * formants, times) / formants_of(before, 5500, times)
    return [float(np.median(second[places] / first[places])) / pitch, *(np.nanmedian(moved, 0) / formants)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    wav = read(args.folder, args.clips, args.seconds)
    there = wav.to(args.device)
    rng, total = np.random.default_rng(0), wav.numel() / RATE
    plain = wav.double().numpy()
    praat = best(lambda: [praat_change(one, rng) for one in plain], 2)
    voice = best(lambda: changed(there, RATE, Change.drawn(len(there), Strength(), rng, there.device)))
    whole = best(lambda: perturbed(there, RATE, Strength(), rng))
    print(f"{len(wav)} clips of {args.seconds:g} s, x real time:  Praat     voice (times Praat)   with equaliser (times Praat)")
    for name, p, v, w in zip(("second", "second of processor"), praat, voice, whole, strict=True):
        print(f"  a {name:20}{total / p:12.0f}{total / v:12.0f} ({p / v:.1f}){total / w:19.0f} ({p / w:.1f})")
    print(f"{'pitch':>6}{'formants':>9} | measured / asked, median over clips: pitch, F1, F2, F3 (least and most of pitch)")
    for pitch, formants in ASKED:
        ratios = [torch.full((len(wav),), value) for value in (pitch, 1.0, formants)]
        out = changed(wav, RATE, Change(*ratios)).double().numpy()
        rows = np.array([heard(a, b, pitch, formants) for a, b in zip(plain, out, strict=True)])
        middle = "".join(f"{value:8.3f}" for value in np.nanmedian(rows, 0))
        print(f"{pitch:6.2f}{formants:9.2f} |{middle}   ({np.nanmin(rows[:, 0]):.3f} to {np.nanmax(rows[:, 0]):.3f})")


if __name__ == "__main__":
    main()
