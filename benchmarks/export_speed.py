"""CPU time of bundles against torch: one process, one thread, the same sound, real sizes, random weights if none are bundled.

    python benchmarks/export_speed.py --bundles DIR [--seconds 10] [--repeats 3] [--precision fp32] [MODEL ...]

Prints process-CPU seconds per second of sound (the least of the repeats, taken in turns) of the bundle in onnxruntime, of
Voxzoo's own torch, and of the published implementation in eager torch where it is installed (`snac`, and `transformers` for
EnCodec, Mimi, DAC and HuBERT); then how many times the bundle is as fast as each. All streams are
encoded. Bundles are made in DIR when they are not there. Wanted against the published implementation: SNAC 3 times,
Mimi and S3 v2 2 times, EnCodec and HuBERT 1.2 times.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from codecs_vs_references import NAMES, least, reference

import voxzoo
from voxzoo import Audio
from voxzoo.core.registry import entry
from voxzoo.core.ssl import _torchaudio_or_none
from voxzoo.core.weights import bundled_folder
from voxzoo.export.bundle import is_bundle
from voxzoo.export.graphs import Options, export_model
from voxzoo.export.runtime import open_bundle

MODELS = ["vox-rvq-16k", "vox-snac-16k", "vox-s3-16k", "snac-24k", "encodec-24k", "mimi", "dac-16k", "s3-v2", "hubert-gslm-100"]
Way = Callable[[], Any]


def speech(seconds: float, rate: int) -> np.ndarray:
    """The bundled clip, again and again."""
    clip = Audio.read(bundled_folder("demo") / "speech.wav").resample(rate).samples
    count = int(seconds * rate)
    return np.tile(clip, -(-count // len(clip)))[:count]


def published(name: str, wav: np.ndarray) -> list[Way]:
    """Encoding and decoding by the published implementation, of all streams, as far as there is one."""
    x = torch.from_numpy(wav)[None, None]
    kind = {"encodec-24k": "Encodec", "mimi": "Mimi", "hubert-gslm-100": "Hubert"}.get(name)
    if kind is not None:
        with _torchaudio_or_none():  # it imports what it is asked for only now
            import transformers

            settings = {"num_hidden_layers": 6} if kind == "Hubert" else {}
            net = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**settings)).eval()
        if kind == "Hubert":
            return [lambda: net(x[0]).last_hidden_state]
        more = {"bandwidth": 24.0} if kind == "Encodec" else {}
        found = net.encode(x, **more)
        given: list[Any] = [found.audio_codes] if kind == "Mimi" else [found.audio_codes, found.audio_scales]
        last = {} if kind == "Mimi" else {"last_frame_pad_length": getattr(found, "last_frame_pad_length", 0)}
        return [lambda: net.encode(x, **more), lambda: net.decode(*given, **last)]
    if name not in NAMES:
        return []
    encode, decode = reference(name)
    out = encode(x)
    return [lambda: encode(x), lambda: decode(out)]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--bundles", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<18}{'':<8}{'bundle':>9}{'torch':>9}{'published':>11}{'x torch':>9}{'x published':>13}")
    for name in args.models:
        model = voxzoo.load(name, engine="torch", weights=None if entry(name).bundled else "random")
        folder = args.bundles / f"{name}-{args.precision}"
        if not is_bundle(folder):
            export_model(model, folder, Options(args.precision))
        measure(name, model, open_bundle(folder, threads=1), args.seconds, args.repeats)


@torch.no_grad()
def measure(name: str, model: Any, bundle: Any, seconds: float, repeats: int) -> None:
    """Print a line for each side."""
    rate = model.facts.sample_rate
    wav = speech(seconds, rate)
    tokens = model.encode(wav, rate)
    sides = {"encode": [lambda: bundle.encode(wav, rate), lambda: model.encode(wav, rate)]}
    if model.decodes:
        sides["decode"] = [lambda: bundle.decode(tokens), lambda: model.decode(tokens)]
    others = published(name, wav)
    for i, (side, ways) in enumerate(sides.items()):
        spent = [s / seconds for s in least([*ways, *others[i : i + 1]], repeats)]
        shown = [f"{s:.4f}" for s in spent] + ["-"] * (3 - len(spent))
        ratios = [f"{s / spent[0]:.2f}" for s in spent[1:]] + ["-"] * (3 - len(spent))
        print(f"{name:<18}{side:<8}{shown[0]:>9}{shown[1]:>9}{shown[2]:>11}{ratios[0]:>9}{ratios[1]:>13}", flush=True)


if __name__ == "__main__":
    main()
