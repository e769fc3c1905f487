"""Copy synthesis by a vocoder: sound to mel and back. `python benchmarks/vocoder.py FOLDER [NAME_OR_FOLDER]`

FOLDER holds speech (FLAC or WAV). Prints PESQ-WB and STOI against the sound that went in, and how many times faster than real
time the vocoder runs on as many threads as torch has.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi

from voxzoo import Audio, load_decoder
from voxzoo.core.vocoder import Vocoder


def main(folder: str, name: str = "vox-hifigan-16k") -> None:
    """Print the figures."""
    vocoder = load_decoder(name)
    assert isinstance(vocoder, Vocoder)
    scores: list[tuple[float, float]] = []
    spent = heard = 0.0
    vocoder.synthesize(torch.zeros(vocoder.front.bands, 100))  # what is slow the first time
    for path in sorted(path for path in Path(folder).rglob("*") if path.suffix in (".flac", ".wav")):
        audio = Audio.read(path).resample(vocoder.facts.sample_rate)
        mel = vocoder.mel(audio)
        began = time.perf_counter()
        made = vocoder.synthesize(mel)
        spent, heard = spent + time.perf_counter() - began, heard + made.duration
        want, got = audio.resample(16000).samples, made.resample(16000).samples
        want, got = want[: len(got)], got[: len(want)]
        scores.append((pesq(16000, want, got, "wb"), stoi(want, got, 16000)))
    means, worst = np.mean(scores, axis=0), np.min(scores, axis=0)
    print(f"{name}, {len(scores)} clips, {heard:.0f} s")
    print(f"PESQ-WB {means[0]:.3f} (least {worst[0]:.3f})   STOI {means[1]:.4f} (least {worst[1]:.4f})")
    print(f"{heard / spent:.0f} times real time on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main(*sys.argv[1:3])
