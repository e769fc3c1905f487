"""Sizes of bitstreams, and speeds of their coders, against zlib and lzma on uint16.

    python benchmarks/bitstream.py [SOUND ...] [-m MODEL]

Sizes are of the given sound files (default: the bundled demo clip), one file for each clip, in % of the model's nominal bits,
log2 of the codebook sizes. Speeds are of all clips joined, the best of three; figures of one run compare with each other only.
"""

from __future__ import annotations

import argparse
import io
import lzma
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import voxzoo
from voxzoo.core.bitstream import CODERS, Coder, bitstream_bytes, read_bitstream, write_bitstream
from voxzoo.core.tokens import Tokens

DEMO = Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="*", default=[str(DEMO)])
    parser.add_argument("-m", "--model", default="vox-rvq-16k")
    args = parser.parse_args()
    model = voxzoo.load(args.model)
    clips = [model.encode(path).numpy() for path in args.sounds]
    seconds = sum(float(clip.durations[0]) for clip in clips)
    print(f"{len(clips)} clips of {seconds / len(clips):.1f} s in the mean, {args.model}; % of nominal bits")
    print("streams  kbit/s  file     header  chunks  payload  total   zlib   lzma")
    for streams in sorted({1, 2, 4, model.facts.streams}):
        sizes([clip.streams(streams) for clip in clips])
    long_chunks(clips)
    speeds(clips)


def sizes(clips: Sequence[Tokens]) -> None:
    nominal = sum(bits(clip) for clip in clips) / 8
    plain = [np.concatenate([c[0] for c in clip.codes]).astype("<u2").tobytes() for clip in clips]
    squeezed = [sum(len(squeeze(p)) for p in plain) for squeeze in (deflated, xz)]
    for coder in CODERS:
        both = [bitstream_bytes(clip, coder) for clip in clips]
        total, header = (sum(pair[i] for pair in both) for i in (0, 1))
        chunks = sum(6 * -(-float(clip.durations[0]) // 2) for clip in clips)
        shares = [100 * n / nominal for n in (header, chunks, total - header - chunks, total, *squeezed)]
        rate = clips[0].bitrate / 1000
        print(f"{len(clips[0].codes):7d} {rate:7.2f}  {coder:8s} {'  '.join(f'{share:6.1f}' for share in shares)}")


def long_chunks(clips: Sequence[Tokens]) -> None:
    """What resetting the coder every two seconds costs."""
    for seconds in (1.0, 2.0, 10.0, 60.0):
        totals = [sum(bitstream_bytes(c, coder, chunk_seconds=seconds)[0] for c in clips) for coder in ("packed", "adaptive")]
        print(f"adaptive in chunks of {seconds:4.0f} s: {100 * totals[1] / totals[0]:.1f} % of packed")


def speeds(clips: Sequence[Tokens]) -> None:
    """All clips as one."""
    streams = [np.concatenate([clip.codes[k] for clip in clips], 1) for k in range(len(clips[0].codes))]
    tokens = replace(clips[0], codes=streams, lengths=np.sum([clip.lengths for clip in clips], axis=0))
    count = sum(c.size for c in tokens.codes) / 1e6
    plain = np.concatenate([c[0] for c in tokens.codes]).astype("<u2").tobytes()
    print(f"{count:.3f} million codes: million codes a second, there and back")
    for coder in CODERS:
        data = written(tokens, coder)
        there = best(partial(written, tokens, coder))
        back = best(partial(read, data))
        print(f"{coder:9s} {count / there:7.2f} {count / back:7.2f}   {len(data)} bytes")
    for name, squeeze, open_ in (("zlib", deflated, zlib.decompress), ("lzma", xz, lzma.decompress)):
        small = squeeze(plain)
        print(f"{name:9s} {count / best(partial(squeeze, plain)):7.2f} {count / best(partial(open_, small)):7.2f}   "
              f"{len(small)} bytes")  # fmt: skip


def written(tokens: Tokens, coder: Coder) -> bytes:
    file = io.BytesIO()
    write_bitstream(tokens, file, coder)
    return file.getvalue()


def read(data: bytes) -> Tokens:
    return read_bitstream(io.BytesIO(data))


def best(work: Callable[[], Any], times: int = 3) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def bits(clip: Tokens) -> float:
    return float(sum(c.size * np.log2(size) for c, size in zip(clip.codes, clip.facts.codebook_sizes, strict=False)))


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9)


def xz(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


if __name__ == "__main__":
    main()
