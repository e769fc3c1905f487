"""CPU time of our ports against the packages they are ports of: one process, one thread, the same sound, random weights.

    python benchmarks/codecs_vs_references.py [NAME ...] [--seconds 10] [--repeats 3]

Prints process-CPU seconds per second of sound (the least of the repeats, taken in turns) and their ratio: above 1, ours is
the faster. Models have the published sizes. "1 clip" is the reference package's own call on one clip of `--seconds`; "8 clips"
is one call on clips of 1 to 8 s; the reference gets them padded to the longest, as its batches are. EnCodec 24 kHz runs with
8 streams (6 kbit/s), EnCodec 48 kHz with 4 (6 kbit/s), Mimi with 8, the others with all. The references are transformers
(EnCodec, DAC, Mimi) and snac.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import sys
import time
import types
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

import voxzoo

STREAMS = {"encodec-24k": 8, "encodec-48k": 4, "mimi": 8}
NAMES = ("snac-24k", "encodec-24k", "encodec-48k", "mimi", "dac-16k")
Call = Callable[[], Any]


def least(functions: Sequence[Call], repeats: int) -> list[float]:
    """Least CPU seconds of each, called in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            best[i] = min(best[i], time.process_time() - start)
    return best


def reference(name: str) -> tuple[Callable[[torch.Tensor], Any], Callable[[Any], Any]]:
    """(encode, decode) of the reference package, on wav (B, C, T)."""
    if name.startswith("snac"):
        import snac

        model = snac.SNAC(**voxzoo.entry(name).config).eval()
        return model.encode, model.decode
    if "torchaudio" not in sys.modules:  # transformers imports it where it is installed, and does not need it here
        stub = types.ModuleType("torchaudio")
        stub.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stub
    import transformers

    if name == "mimi":
        mimi = transformers.MimiModel(transformers.MimiConfig()).eval()
        return lambda wav: mimi.encode(wav, num_quantizers=8).audio_codes, mimi.decode
    if name == "dac-16k":
        dac = transformers.DacModel(transformers.DacConfig(downsampling_ratios=[2, 4, 5, 8], n_codebooks=12)).eval()
        return lambda wav: dac.encode(wav).audio_codes, lambda codes: dac.decode(audio_codes=codes)
    encodec = transformers.EncodecModel(transformers.EncodecConfig(**voxzoo.entry(name).config)).eval()
    return (
        lambda wav: encodec.encode(wav, bandwidth=6.0),
        lambda found: encodec.decode(
            found.audio_codes, found.audio_scales, last_frame_pad_length=getattr(found, "last_frame_pad_length", 0)
        ),
    )


def compare(name: str, seconds: int, repeats: int) -> None:
    """Print four lines."""
    model = voxzoo.load(name, weights="random")
    streams = STREAMS.get(name, model.facts.streams)
    rate = model.facts.sample_rate
    encode, decode = reference(name)
    unit = model.pad_multiple
    for label, lengths in (("1 clip", [seconds]), ("8 clips", list(range(1, 9)))):
        wavs = [0.1 * torch.randn(-(-n * rate // unit) * unit) for n in lengths]
        padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)[:, None].expand(-1, model.facts.channels, -1)
        with torch.no_grad():
            codes, tokens = encode(padded), model.encode(wavs, rate, streams=streams)
            pairs: dict[str, list[Call]] = {
                "encode": [partial(encode, padded), partial(model.encode, wavs, rate, streams=streams)],
                "decode": [partial(decode, codes), partial(model.decode, tokens)],
            }  # fmt: skip
            for what, functions in pairs.items():
                a, b = (t / sum(lengths) for t in least(functions, repeats))
                print(f"{name:12} {what} {label:7}: reference {a:.4f}, ours {b:.4f} CPU-s per s, ratio {a / b:.2f}", flush=True)


def main() -> None:
    """All of them, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in args.names:
        compare(name, args.seconds, args.repeats)


if __name__ == "__main__":
    main()
