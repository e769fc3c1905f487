"""A bundle on a device: `python benchmarks/bundle_device.py BUNDLE ... [--device cuda]`.

Against the same graphs on the CPU: codes that differ on the bundled speech, and the largest difference of decoded sound. Then
seconds of sound encoded and decoded per second, for batches of several sizes; and, of a bundle with stream graphs, milliseconds
of a push of 0.1 s (or the least that the graph takes) with the state kept on the device, and with it fetched and brought back.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import voxzoo
from voxzoo import Audio
from voxzoo.core.weights import bundled_folder
from voxzoo.export.runtime import BundleModel, open_bundle

SECONDS = 5.0  # of a clip
ROUNDS = 5
PUSHES = 40


def speech(rate: int) -> np.ndarray:
    """The bundled speech."""
    return Audio.read(bundled_folder("demo") / "speech.wav").resample(rate).samples


def median(work: Callable[[], object]) -> float:
    """Seconds, after a warm-up."""
    work()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def parity(here: BundleModel, there: BundleModel) -> None:
    """One line."""
    audio = Audio(speech(here.facts.sample_rate), here.facts.sample_rate)
    wanted, found = here.encode(audio), there.encode(audio)
    differ = [f"{int((a != b).sum())}/{a.size}" for a, b in zip(wanted.codes, found.codes, strict=True)]
    line = f"  codes that differ from the CPU's: {' '.join(differ)}"
    if here.decodes:
        line += f"; sound within {np.abs(here.decode(wanted).samples - there.decode(wanted).samples).max():.1e}"
    print(line)


def throughput(model: BundleModel, sizes: list[int]) -> None:
    """One line for each size of a batch."""
    rate = model.facts.sample_rate
    clip = speech(rate)[: int(SECONDS * rate)]
    for size in sizes:
        sound, clips = size * len(clip) / rate, [clip] * size
        took = median(partial(model.encoded, clips, model.facts.streams))
        line = f"  batch {size:3d}: encode {sound / took:8.0f}x real time"
        if model.decodes:
            lengths = np.full(size, model.facts.decoded_length(len(clip)))
            took = median(partial(model.parts.decode, model.encoded(clips, model.facts.streams), lengths))
            line += f", decode {sound / took:8.0f}x"
        print(line)


def pushes(model: BundleModel) -> None:
    """One line, of stream graphs."""
    if not model.parts.has("encoder_stream"):
        return
    rate, multiple = model.facts.sample_rate, int(model.parts.file("encoder_stream").stream.get("multiple", 1))
    step = max(1, round(0.1 * rate / multiple)) * multiple
    wav = np.resize(speech(rate), (PUSHES + 4) * step)
    graph = model.parts.graph("encoder_stream")
    kept = _push_time(model, wav, step)
    run = graph.run
    graph.run = lambda feeds, keep=(): run(feeds)  # type: ignore[method-assign]
    fetched = _push_time(model, wav, step)
    graph.run = run  # type: ignore[method-assign]
    print(f"  stream: a push of {1000 * step / rate:.0f} ms takes {1000 * kept:.2f} ms with the state on the device, "
          f"{1000 * fetched:.2f} ms with it fetched and brought back")  # fmt: skip


def _push_time(model: BundleModel, wav: np.ndarray, step: int) -> float:
    times = []
    with model.stream_encoder() as encoder:
        for i in range(0, len(wav), step):
            began = time.perf_counter()
            encoder.push(wav[i : i + step])
            times.append(time.perf_counter() - began)
    return statistics.median(times[4:])


def main() -> None:
    """All bundles, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--threads", type=int, help="on a CPU")
    args = parser.parse_args()
    for bundle in args.bundles:
        model = open_bundle(bundle, device=args.device, threads=args.threads)
        print(f"{bundle}: {model.facts.name}, {model.precision}, on {args.device} (voxzoo {voxzoo.__version__})")
        parity(open_bundle(bundle), model)
        throughput(model, args.batches)
        pushes(model)


if __name__ == "__main__":
    main()
