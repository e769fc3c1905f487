"""`voxzoo demo`: the bundled speech to tokens and back at two bitrates, with a table of what that cost."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._common import add_engine_options, add_json_option, load_model, make_folder, print_json, table

if TYPE_CHECKING:
    import numpy as np

    from ..core.audio import Audio
    from ..core.model import Model

MODEL = "vox-rvq-16k"
HEAD = ("streams", "kbit/s", "bits stored", "x real time", "log-mel dB", "file")
NOTE = (
    "bits stored: codes times log2 of their codebook's size. x real time: seconds of sound per second of encoding and\n"
    "decoding. log-mel dB: mean absolute difference from the original over 40 mel bands and 10 ms steps, both\n"
    "floored 60 dB below the original's peak (0 is identical)."
)


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="hear it: the bundled speech at two bitrates",
        description="Tokenize the bundled speech and decode it at two bitrates.",
    )
    parser.add_argument("-o", "--output", default="voxzoo-demo", metavar="DIR", help="folder to write (default: voxzoo-demo)")
    parser.add_argument("-m", "--model", default=MODEL, metavar="MODEL", help=f"default: {MODEL}")
    add_engine_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode, decode, measure, and write everything into one folder."""
    from ..core.audio import Audio
    from ..core.weights import bundled_folder

    model = load_model(args.model, args)
    folder = make_folder(args.output)
    speech = Audio.read(bundled_folder("demo") / "speech.wav").resample(model.facts.sample_rate)
    speech.write(folder / "original.wav")
    model.decode(model.encode(speech))  # the first run also pays for set-up
    full = model.facts.streams
    rows = [_measure(model, speech, streams, folder) for streams in dict.fromkeys((full, max(1, full // 4)))]
    tokens = folder / "tokens.safetensors"
    model.encode(speech).save(tokens)
    if args.json:
        print_json({"model": model.facts.name, "seconds": speech.duration, "original": str(folder / "original.wav"),
                    "tokens": str(tokens), "decoded": rows})  # fmt: skip
        return 0
    print(f"{model.facts.name} on {speech.duration:.1f} s of synthesised speech\n")
    cells = [(str(r["streams"]), f"{r['bitrate'] / 1000:.2f}", f"{r['bits']:.0f}", f"{r['speed']:.0f}",
              f"{r['log_mel_db']:.1f}", r["file"]) for r in rows]  # fmt: skip
    print(table([HEAD, *cells], right=range(5)))
    print(f"\n{NOTE}\n\noriginal: {folder / 'original.wav'}\ntokens:   {tokens}")
    return 0


def _measure(model: Model, speech: Audio, streams: int, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    tokens = model.encode(speech, streams=streams)
    decoded = model.decode(tokens)
    seconds = time.perf_counter() - start
    path = folder / f"decoded-{streams}-streams.wav"
    decoded.write(path)
    bits = sum(int(n) * math.log2(size) for n, size in zip(tokens.frames[0], model.facts.codebook_sizes, strict=False))
    distance = log_mel_distance(speech.samples, decoded.samples, speech.sample_rate)
    return {"streams": streams, "bitrate": tokens.bitrate, "bits": bits, "speed": speech.duration / seconds,
            "log_mel_db": distance, "file": str(path)}  # fmt: skip


def log_mel_distance(a: np.ndarray, b: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB; a and b float32 (T,).

    32 ms Hann windows every 10 ms, 40 mel bands to the Nyquist rate; both are floored 60 dB below the peak of `a`.
    """
    import numpy as np

    mel_a, mel_b = (_mel_power(x, sample_rate) for x in (a, b))
    floor = max(mel_a.max() * 1e-6, 1e-20)
    return float(np.abs(10 * np.log10(np.maximum(mel_a, floor) / np.maximum(mel_b, floor))).mean())


def _mel_power(wav: np.ndarray, sample_rate: int, bands: int = 40) -> np.ndarray:
    """wav (T,) -> power (frames, bands) under triangles evenly spaced on O'Shaughnessy's mel scale."""
    import numpy as np

    window, hop = round(0.032 * sample_rate), round(0.01 * sample_rate)
    padded = np.pad(wav.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 1400), bands + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    rise, fall = (hz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hz) / np.diff(edges)[1:]
    mel: np.ndarray = power @ np.maximum(np.minimum(rise, fall), 0)
    return mel
