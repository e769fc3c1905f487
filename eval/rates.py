"""Bits per second of an entry over a whole run: five answers to "what is its bitrate?"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .journal import Cell
from .metric import Metric
from .playing import CODER

__all__ = ["RATES", "rates_of"]

_FILES = (
    f"bits of all clips' files divided by their seconds; models: one voxzoo bitstream per clip, {CODER} entropy coder; "
    "anchors: the file that ffmpeg writes (Ogg, .c2, raw GSM)"
)
RATES = (
    Metric("bitrate_nominal", "Nominal", "bit/s", "lower", "models: sum over codebooks of frame rate * log2(size), from the "
           "facts; anchors: the rate asked for, or fixed by the mode", digits=0),
    Metric("bitrate_packed", "Packed", "bit/s", "lower", "sum over codebooks of frame rate * ceil(log2(size))", digits=0),
    Metric("bitrate_entropy", "Entropy", "bit/s", "lower", "sum over codebooks of frame rate * entropy of the codes of this "
           "run (plug-in: too low on little data)", digits=0),
    Metric("bitrate_ngram", "n-gram", "bit/s", "lower", "held-out code length of Witten-Bell n-grams of each codebook, "
           "of the best order from 1 to 3 (a tenth of the clips coded with the others' counts: too high on little data)",
           digits=0),
    Metric("bitrate_payload", "Payload", "bit/s", "lower", f"{_FILES}; without headers and containers", digits=0),
    Metric("bitrate_file", "File", "bit/s", "lower", f"{_FILES}; whole", digits=0),
)  # fmt: skip
ANCHOR = "a classical codec has no codebooks"


def rates_of(about: Mapping[str, Any], tokens: Mapping[str, Any] | str, sent: Iterable[tuple[float, Cell]]) -> Cell:
    """Values and reasons of `RATES` for one entry.

    Args:
        about: what identifies the entry; see `Players.about`.
        tokens: `TokenStatistics.summary()` of its codes, or the reason why there is none.
        sent: (seconds, cell of what was sent) of each clip.
    """
    values: dict[str, float] = {"bitrate_nominal": float(about["bitrate"])}
    reasons: dict[str, str] = {}
    names = ("bitrate_packed", "bitrate_entropy", "bitrate_ngram")
    problem = ANCHOR if about["kind"] == "anchor" else tokens if isinstance(tokens, str) else ""
    if problem or isinstance(tokens, str):
        reasons |= dict.fromkeys(names, problem)
    else:
        rates = tokens["rates"]
        values |= {"bitrate_packed": rates["packed"], "bitrate_entropy": rates["entropy"]}
        if "missing" in rates["ngram"]:
            reasons["bitrate_ngram"] = rates["ngram"]["missing"]
        else:
            values["bitrate_ngram"] = min(rates["ngram"].values())
    files = _files(list(sent))
    values |= files.get("values", {})
    return {"values": values, "reasons": reasons | files.get("reasons", {})}


def _files(sent: list[tuple[float, Cell]]) -> Cell:
    written = [(seconds, cell["values"]) for seconds, cell in sent if "file_bytes" in cell.get("values", {})]
    seconds = sum(s for s, _ in written)
    if not seconds:
        problems = [cell.get("reasons", {}).get("file_bytes") for _, cell in sent]
        why = next((problem for problem in problems if problem), "no clip was written")
        return {"reasons": {"bitrate_payload": why, "bitrate_file": why}}
    totals = {name: sum(values[name] for _, values in written) for name in ("payload_bytes", "file_bytes")}
    return {"values": {f"bitrate_{name.removesuffix('_bytes')}": 8 * total / seconds for name, total in totals.items()}}
