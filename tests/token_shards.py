"""Folders of token shards of a model that never was, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from voxzoo import Facts
from voxzoo.corpus.clips import Clip, Row
from voxzoo.corpus.shards import FORMAT, Info, Layout, ShardWriter, shard_name

SNAC = {"frame_rates": ["375/32", "375/16", "375/8"], "codebook_sizes": [4096] * 3, "sample_rate": 24000}
FACTS = Facts(
    name="toy", kind="acoustic", sample_rate=16000, frame_rates=(Fraction(25),) * 2, codebook_sizes=(1024, 512), causal=True,
    latency=0.0, params=1, code_licence="", weights_licence="", source="", paper="",
)  # fmt: skip
FIELDS = [("text", pa.string(), False), ("speaker", pa.string(), False), ("score", pa.float64(), False),
          ("ids", pa.string(), True), ("take", pa.int64(), False), ("pair", pa.string(), False)]  # fmt: skip
WORDS = ("one", "two", "three", "four", "five")


def like(**changes: Any) -> Facts:
    """`FACTS` with other values."""
    return Facts.from_dict({**FACTS.to_dict(), **changes})


def columns(number: int) -> dict[str, Any]:
    """What a manifest says of clip `number`."""
    text = " ".join(WORDS[(number * i) % 5] for i in range(number % 7)) if number % 11 else None
    return {
        "text": text, "speaker": f"s{number % 3}", "score": number / 7 if number % 5 else None,
        "ids": [number % 50 + 10, 7, 8] if number % 4 else None, "take": number,
        "pair": f"clip/{number ^ 1:05d}" if number % 10 < 8 else None,
    }  # fmt: skip


def make_row(facts: Facts, number: int, extras: Sequence[str] = ()) -> Row:
    """Tokens of clip `number`; clips 0 and 1 have no frames and one frame of the first stream."""
    random = np.random.default_rng(number)
    frames = number if number < 2 else int(random.integers(1, 40))
    counts = [int(frames * rate / facts.frame_rates[0]) for rate in facts.frame_rates]
    codes = tuple(random.integers(0, size, n).astype(np.uint16) for n, size in zip(counts, facts.codebook_sizes, strict=True))
    samples = int(frames * facts.sample_rate / facts.frame_rates[0])
    return Row(samples, codes, {name: random.random(counts[0]).astype(np.float32) for name in extras})


def make_shards(
    folder: Path, rows: Sequence[int], facts: Facts = FACTS, group_rows: int = 1000, first_ids: Sequence[int] | None = None,
    extras: tuple[str, ...] = (), fields: Any = FIELDS, fingerprint: str = "f" * 64,
) -> None:  # fmt: skip
    """Shards of `rows[i]` rows each, numbered through or from `first_ids[i]` on."""
    folder.mkdir(exist_ok=True)
    info = Info(facts, fingerprint, "soxr-hq", extras)
    layout = Layout(info, fields)
    start, codes, samples = 0, 0, 0
    with mock.patch("voxzoo.corpus.shards.GROUP_ROWS", group_rows):
        for part, count in enumerate(rows):
            writer = ShardWriter(folder / shard_name(part), layout)
            first = start if first_ids is None else first_ids[part]
            for number in range(first, first + count):
                row = make_row(facts, number, extras)
                name = f"clip/{number:05d}"
                writer.add(Clip(name, name, name, columns(number)), row)
                codes, samples = codes + sum(map(len, row.codes)), samples + row.num_samples
            writer.close()
            start += count
    totals = {"shards": len(rows), "rejected": 0, "rows": sum(rows), "samples": samples, "codes": codes}
    about = {"format": FORMAT, **info.to_dict(), "source": {"path": "nowhere", "clips": sum(rows), "sha256": "0" * 64},
             "arguments": {"streams": None}, "complete": True, "totals": totals}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(about, indent=2) + "\n")
    (folder / "rejected.jsonl").write_text("")
