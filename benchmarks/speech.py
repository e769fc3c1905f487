"""How fast tokens are spoken: flow and vocoder, each alone and together, and the compute until the first sound of a stream.

    python benchmarks/speech.py [--flow vox-flow-16k] [--steps 10] [--seconds 10] [--threads 2] [--weights random]

Prints times real time, as seconds of sound over seconds it took (the best of a few runs), and the first packet's in ms; by the
clock, and by the processor's time, which tells what it would be on a machine that does nothing else where threads is 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, cast

import torch

from voxzoo.core.decoder import load_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import ModelError
from voxzoo.core.flow import Flow, FlowSettings
from voxzoo.core.mel import Mel
from voxzoo.core.vocoder import Vocoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", default="vox-flow-16k")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=0.7)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", help="a folder, or random (default: those that are bundled, or in $VOXZOO_WEIGHTS)")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    flow = cast(Flow, load_decoder(args.flow, weights=args.weights))
    vocoder = cast(Vocoder, load_decoder(decoder_entry(args.flow).vocoder, weights=args.weights))
    settings = FlowSettings(args.steps, args.guidance)
    counts = [max(1, int(args.seconds * float(rate))) for rate in flow.rates(flow.config)]
    codes = torch.randint(0, min(flow.vocabulary(flow.config)), (max(counts),), generator=torch.Generator().manual_seed(0))
    if len(counts) > 1:
        raise SystemExit(f"{args.flow} takes {len(counts)} streams; choose a flow of one")
    mel = cast(Mel, flow.mel(codes, settings=settings))
    seconds = mel.frames.shape[2] / flow.front.rate
    print(f"{args.flow}, {args.steps} steps, guidance {args.guidance:g}, {args.threads} threads, {seconds:.1f} s of sound")
    for name, clock in (("clock", time.perf_counter), ("processor", time.process_time)):
        alone = best(lambda: flow.mel(codes, settings=settings), args.runs, clock)
        wave = best(lambda: vocoder.synthesize(mel), args.runs, clock)
        together = seconds / (alone + wave)
        print(f"{name}: flow {seconds / alone:.1f} x, vocoder {seconds / wave:.1f} x, together {together:.1f} x real time")
        try:
            took, waited = first_packet(flow, vocoder, codes, settings, clock)
            print(f"{name}: first sound after {waited} tokens and {1000 * took:.0f} ms of compute")
        except ModelError as error:
            print(error)


def best(run: Callable[[], Any], runs: int, clock: Callable[[], float]) -> float:
    """Seconds of the quickest run."""
    times = []
    for _ in range(runs):
        began = clock()
        run()
        times.append(clock() - began)
    return min(times)


def first_packet(
    flow: Flow, vocoder: Vocoder, codes: torch.Tensor, settings: FlowSettings, clock: Callable[[], float]
) -> tuple[float, int]:
    """Seconds of compute until the first sound of a stream, and the tokens pushed by then."""
    with flow.stream(settings=settings) as tokens, vocoder.stream() as frames:
        began = clock()
        for i, code in enumerate(codes.split(1)):
            if len(frames.push(tokens.push(code))):
                return clock() - began, i + 1
    return clock() - began, len(codes)


if __name__ == "__main__":
    main()
