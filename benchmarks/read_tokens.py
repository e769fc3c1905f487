"""How fast token shards are read back: `python benchmarks/read_tokens.py [--tokens 100e6] [--streams 1]`.

Makes shards of clips of about 10 s (one stream: 247 tokens, Zipf-distributed codes with repetitions, as semantic tokens have;
more streams: uniform codes), reads them row group by row group and clip by clip, and, for comparison in the same run, as bare
pyarrow reads the same columns without giving any clip to anybody.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import voxzoo
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.shards import FORMAT, Info, Layout, ShardWriter, shard_name

CLIPS = 1000  # of a shard


def info(streams: int) -> Info:
    """Of a model that never was."""
    rates = (Fraction(25) if streams == 1 else Fraction(25, 2),) * streams
    facts = voxzoo.Facts(
        "toy", "semantic", 16000, rates, (1024 if streams == 1 else 2048,) * streams, True, 0.0, 1, "", "", "", ""
    )
    return Info(facts, "f" * 64, "soxr-hq", ())


def clips(tokens: int, streams: int) -> Iterator[Row]:
    """Rows of about `tokens` codes in all."""
    random = np.random.default_rng(0)
    pool = np.minimum(random.zipf(1.3, 4 << 20), 1024).astype(np.uint16) - 1
    pool = np.repeat(pool, random.integers(1, 3, len(pool))) if streams == 1 else random.integers(0, 2048, 4 << 20, np.uint16)
    made = 0
    while made < tokens:
        frames = int(random.lognormal(5.3, 0.6)) + 1 if streams == 1 else int(random.lognormal(4.6, 0.6)) + 1
        starts = random.integers(0, len(pool) - frames, streams).tolist()
        yield Row(frames * 640, tuple(pool[a : a + frames] for a in starts), {})
        made += frames * streams


def make(folder: Path, tokens: int, streams: int) -> tuple[int, int]:
    """Write the shards; returns clips and tokens."""
    about, writer, count, made = info(streams), None, 0, 0
    for row in clips(tokens, streams):
        if count % CLIPS == 0:
            if writer:
                writer.close()
            writer = ShardWriter(folder / shard_name(count // CLIPS), Layout(about, []))
        assert writer
        name = f"speaker-{count % 97:04d}/clip-{count:08d}"
        writer.add(Clip(name, name, name), row)
        count, made = count + 1, made + sum(map(len, row.codes))
    if writer:
        writer.close()
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, "complete": True, **about.to_dict()}))
    return count, made


def bare(folder: Path) -> int:
    """pyarrow alone."""
    return sum(
        len(chunk.values.values)
        for shard in sorted(folder.glob("*.parquet"))
        for chunk in pq.read_table(shard, columns=["codes"], memory_map=True)["codes"].chunks
    )


def by_group(folder: Path) -> int:
    """All codes of a row group as one array."""
    return sum(len(batch.values) for batch in voxzoo.open(folder, columns=["codes"]).batches())


def by_clip(folder: Path) -> int:
    """Each stream of each clip as an array."""
    return sum(len(stream) for record in voxzoo.open(folder, columns=["codes"]) for stream in record.codes)


def by_clip_and_id(folder: Path) -> int:
    """The same, with the clip's id."""
    reader = voxzoo.open(folder, columns=["codes"])
    return sum(len(stream) for record in reader if record.id for stream in record.codes)


def main() -> None:
    """Make, read, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=float, default=100e6)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="the fastest counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count, made = make(folder, int(args.tokens), args.streams)
        size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
        print(f"{count} clips, {made / 1e6:.1f} M tokens in {args.streams} streams, {8 * size / made:.2f} bits a token on disk")
        ways: list[Callable[[Path], int]] = [bare, by_group, by_clip, by_clip_and_id]
        best = {way: (float("inf"), float("inf")) for way in ways}
        for _ in range(args.rounds):
            for way in ways:
                start, used = time.perf_counter(), time.process_time()
                assert way(folder) == made
                took = time.perf_counter() - start, time.process_time() - used
                best[way] = min(best[way][0], took[0]), min(best[way][1], took[1])
        print(f"{'':15} M tokens/s  of bare  per second of one core, all threads")
        for way, (wall, core) in best.items():
            print(f"{way.__name__:15} {made / wall / 1e6:10.1f}  {best[bare][0] / wall:7.2f}  {made / core / 1e6:6.1f}")
        reader = voxzoo.open(folder)
        numbers = np.random.default_rng(1).integers(0, count, 200).tolist()
        start = time.perf_counter()
        for number in numbers:
            assert len(reader[number].codes) == args.streams
        print(f"one clip by number: {(time.perf_counter() - start) / len(numbers) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
