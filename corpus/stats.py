"""What a folder of token shards holds: clips, hours, lengths, and how much of the codebooks they use; in one pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import CorpusError
from .batches import Batch
from .reading import Reader

__all__ = ["EDGES", "statistics"]

EDGES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 60.0, 600.0)  # s, of the histogram of durations


def statistics(reader: Reader, by: str | None = None, advance: Callable[[int, float], None] | None = None) -> dict[str, Any]:
    """Count a dataset.

    Args:
        reader: see `voxzoo.open`; a filter counts.
        by: a column, for clips and hours of each of its values.
        advance: called with the number of clips that were counted, and the seconds of sound that they hold.

    Returns:
        JSON-able: `model`, `clips`, `hours`, `tokens`, `kbps`, `durations` (s), `streams`, and `by` where it was asked for.

    Raises:
        CorpusError: no clips, or no such column.
        TokensError: damaged shards, codes out of range.
    """
    if not len(reader):
        raise CorpusError(f"{str(reader.dataset.path)!r} holds no clips; tokenize something into it first")
    counts = _Counts(reader, by)
    for batch in reader.select("codes", "num_samples", *([by] if by else [])).batches():
        counts.add(batch)
        if advance:
            advance(len(batch), batch.seconds)
    return counts.summary()


class _Counts:
    def __init__(self, reader: Reader, by: str | None) -> None:
        self.dataset, self.by = reader.dataset, by
        self.codes: list[np.ndarray] = []
        self.samples: list[np.ndarray] = []
        self.groups: Counter[str] = Counter()
        self.group_samples: Counter[str] = Counter()

    def add(self, batch: Batch) -> None:
        sizes = self.dataset.facts.codebook_sizes
        if not self.codes:
            self.codes = [np.zeros(size, np.int64) for size in sizes[: batch.streams]]
        for k, total in enumerate(self.codes):
            found = np.bincount(batch.flat(k), minlength=len(total))
            if len(found) > len(total):
                raise CorpusError(
                    f"stream {k} holds code {len(found) - 1}, its codebook has {len(total)}; `voxzoo verify` finds it"
                )
            total += found
        samples = batch.table["num_samples"].to_numpy()
        self.samples.append(samples)
        if self.by:
            values = ["" if value is None else str(value) for value in batch.table[self.by].to_pylist()]
            self.groups.update(values)
            for value, count in zip(values, samples.tolist(), strict=True):
                self.group_samples[value] += count

    def summary(self) -> dict[str, Any]:
        facts = self.dataset.facts
        samples = np.concatenate(self.samples)
        seconds = samples / facts.sample_rate
        tokens = int(sum(total.sum() for total in self.codes))
        rates = zip(self.codes, facts.codebook_sizes, strict=False)
        bits = sum(float(total.sum()) * math.log2(size) for total, size in rates)
        whole = float(seconds.sum())
        found: dict[str, Any] = {
            "model": facts.name,
            "clips": len(samples),
            "hours": whole / 3600,
            "tokens": tokens,
            "kbps": bits / whole / 1000 if whole else None,
            "durations": _durations(seconds),
            "streams": [_stream(total) for total in self.codes],
        }
        if self.by:
            hours = {value: count / facts.sample_rate / 3600 for value, count in self.group_samples.items()}
            found["by"] = {
                value: {"clips": count, "hours": hours[value]} for value, count in sorted(self.groups.items(), key=_most)
            }
        return found


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _durations(seconds: np.ndarray) -> dict[str, Any]:
    counts = np.histogram(seconds, [*EDGES, np.inf])[0]
    middle, most = np.quantile(seconds, [0.5, 0.95]).tolist()
    return {
        "shortest": float(seconds.min()), "median": middle, "mean": float(seconds.mean()), "p95": most,
        "longest": float(seconds.max()), "edges": list(EDGES), "counts": counts.tolist(),
    }  # fmt: skip


def _stream(counts: np.ndarray) -> dict[str, Any]:
    """Usage of a codebook, and the bits that a code is worth by its frequency."""
    total = int(counts.sum())
    shares = counts[counts > 0] / total if total else np.ones(1)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    return {"size": len(counts), "codes": total, "used": int((counts > 0).sum()), "entropy": entropy, "perplexity": 2**entropy}
