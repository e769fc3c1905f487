"""The figures of a corpus's tokens, made of what `TokenStatistics` counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.errors import TokensError
from .clip_sample import SampledClip
from .entropy import conditional_entropy, conditional_entropy_of_pairs, entropy
from .ngrams import ngram_bits
from .pairs import Pairs, PairTable, across_streams, within_stream
from .token_definitions import ENOUGH, ORDERS
from .token_statistics import TokenStatistics
from .usage import (
    dead_codes,
    gini,
    growth,
    lorenz,
    share_of_most_used,
    share_of_rarest,
    usage,
    zipf_slope,
)

__all__ = ["summarise"]

LORENZ_POINTS = 101
RANKS = 200
PRECISION = 12  # decimals of entropies, so that equal counts give equal text


def summarise(statistics: TokenStatistics) -> dict[str, Any]:
    """JSON-able figures; what cannot be computed is None, or `{"missing": reason}` for the n-grams.

    Keys: `clips`, `seconds`, `tokens`, `rates` (bits per second of all streams), `sample`, `streams` (a dict each). Their
    definitions are in `token_definitions.py`. Raises `TokensError` when a stream has no tokens.
    """
    totals = [int(counts.sum()) for counts in statistics.counts]
    if not all(totals):
        raise TokensError(f"{totals} tokens in the streams of {statistics.clips} clips; expected at least one in each")
    streams = [_stream(statistics, k) for k in range(statistics.streams)]
    held = int(statistics.sample.tokens.sum())
    train, test = statistics.sample.split()
    return {
        "clips": statistics.clips,
        "seconds": totals[0] / float(statistics.rates[0]),
        "tokens": sum(totals),
        "rates": _rates(statistics, streams),
        "sample": {"clips": len({c.number for c in train + test}), "held_out": len({c.number for c in test}), "tokens": held,
                   "share": held / sum(totals)},
        "streams": streams,
    }  # fmt: skip


def _stream(statistics: TokenStatistics, k: int) -> dict[str, Any]:
    counts, rate = statistics.counts[k], statistics.rates[k]
    used = counts[counts > 0]
    bits = entropy(counts)
    return {
        "size": statistics.sizes[k],
        "rate": float(rate),
        "tokens": int(counts.sum()),
        "entropy": round(bits, PRECISION),
        "entropy_biased": int(counts.sum()) < ENOUGH * len(used),
        **_conditional(statistics, k),
        **_cross(statistics, k),
        "ngram": _ngrams(statistics, k),
        "perplexity": round(2.0**bits, PRECISION),
        "usage": usage(counts),
        "used": len(used),
        "dead": dead_codes(counts),
        "gini": gini(counts),
        "gini_used": gini(used),
        "rarest20": share_of_rarest(counts),
        "rarest20_used": share_of_rarest(used),
        "top20": share_of_most_used(counts),
        "zipf": zipf_slope(counts),
        **_runs(statistics.runs[k], rate, int(counts.sum())),
        "lorenz": _curve(counts),
        "lorenz_used": _curve(used),
        "rank_frequency": _ranks(used),
        "growth": growth(counts),
    }


def _conditional(statistics: TokenStatistics, k: int) -> dict[str, Any]:
    table, size = statistics.within[k], statistics.sizes[k]
    pairs = None if table else _sampled_neighbours(statistics.sample.ordered(), k)
    return _named("conditional", table, pairs, size)


def _cross(statistics: TokenStatistics, k: int) -> dict[str, Any]:
    if not k:
        return {"cross_codebook_entropy": None}
    table, pairs = statistics.across[k], None
    if not table:
        pairs = _sampled_across(statistics.sample.ordered(), k, statistics.rates[k - 1] / statistics.rates[k])
    return _named("cross_codebook", table, pairs, statistics.sizes[k])


def _named(name: str, table: PairTable | None, pairs: Pairs | None, size: int) -> dict[str, Any]:
    """A conditional entropy, how many pairs it is of, whether they are all, and whether they are too few."""
    bits: float | None = None
    if table:
        count, source = table.pairs, "all clips"
        if count:
            bits = conditional_entropy(table.counts)
        used = int(table.counts.any(1).sum()) * int(table.counts.any(0).sum())
    else:
        context, code = pairs or (np.zeros(0, np.int64), np.zeros(0, np.int64))
        count, source = len(code), "sample"
        if count:
            bits = conditional_entropy_of_pairs(context, code, size)
        used = len(np.unique(context)) * len(np.unique(code))
    return {
        f"{name}_entropy": None if bits is None else round(bits, PRECISION),
        f"{name}_pairs": count,
        f"{name}_from": source,
        f"{name}_biased": count < ENOUGH * used,
    }


def _flat(clips: Sequence[SampledClip], k: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [clip.codes[k] for clip in clips]
    codes = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return codes, np.array([len(part) for part in parts], np.int64)


def _sampled_neighbours(clips: Sequence[SampledClip], k: int) -> Pairs:
    codes, lengths = _flat(clips, k)
    (context, code), meets = within_stream(codes, lengths)
    inside = np.ones(len(code), bool)
    inside[meets] = False
    return context[inside], code[inside]


def _sampled_across(clips: Sequence[SampledClip], k: int, ratio: Fraction) -> Pairs:
    return across_streams(*_flat(clips, k - 1), *_flat(clips, k), ratio)


def _ngrams(statistics: TokenStatistics, k: int) -> dict[str, Any]:
    """Bits per token by order, or the reason why there are none."""
    train, test = statistics.sample.split()
    if not test:
        return {"missing": "held-out n-grams need at least two clips"}
    try:
        bits = ngram_bits([c.codes[k] for c in train], [c.codes[k] for c in test], statistics.sizes[k], ORDERS)
    except TokensError as error:
        return {"missing": str(error)}
    return {str(order): round(value, PRECISION) for order, value in bits.items()}


def _rates(statistics: TokenStatistics, streams: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rates = [float(rate) for rate in statistics.rates]

    def total(values: Sequence[float | None]) -> float | None:
        known = [rate * value for rate, value in zip(rates, values, strict=True) if value is not None]
        return sum(known) if len(known) == len(rates) else None

    missing = [stream["ngram"] for stream in streams if "missing" in stream["ngram"]]
    ngram = missing[0] if missing else {str(n): total([s["ngram"][str(n)] for s in streams]) for n in ORDERS}
    cross = [streams[0]["entropy"], *(stream["cross_codebook_entropy"] for stream in streams[1:])]
    biased = {
        name: any(s.get(f"{name}_biased", False) for s in streams) for name in ("entropy", "conditional", "cross_codebook")
    }
    return {
        "nominal": total([math.log2(size) for size in statistics.sizes]),
        "packed": total([float((size - 1).bit_length()) for size in statistics.sizes]),
        "entropy": total([stream["entropy"] for stream in streams]),
        "entropy_biased": biased["entropy"],
        "conditional": total([stream["conditional_entropy"] for stream in streams]),
        "conditional_biased": biased["conditional"],
        "cross_codebook": total(cross),
        "cross_codebook_biased": biased["cross_codebook"],
        "ngram": ngram,
    }


def _runs(histogram: np.ndarray, rate: Fraction, tokens: int) -> dict[str, Any]:
    mean = tokens / int(histogram.sum())
    lengths = [[int(n), int(histogram[n])] for n in np.flatnonzero(histogram)]
    return {"mean_run": mean, "dedup_rate": float(rate) / mean, "run_lengths": lengths}


def _curve(counts: np.ndarray) -> list[list[float]]:
    grid = np.linspace(0.0, 1.0, LORENZ_POINTS)
    return [[round(float(q), 4), round(float(share), 8)] for q, share in zip(grid, lorenz(counts, grid), strict=True)]


def _ranks(used: np.ndarray) -> list[list[int]]:
    ordered = np.sort(used)[::-1]
    ranks = np.unique(np.geomspace(1, len(ordered), RANKS).round().astype(np.int64))
    return [[int(rank), int(ordered[rank - 1])] for rank in ranks]
