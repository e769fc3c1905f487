"""The results of a benchmark as Markdown, for papers and READMEs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import VoxzooError
from .bootstrap import DEFINITION

__all__ = ["MAIN", "main_metrics", "mean_of", "number", "scores_markdown", "table_markdown"]

MAIN = ("pesq_wb", "stoi", "visqol", "dnsmos_ovrl", "utmos", "wer", "speaker_similarity", "estoi", "mcd", "dwer")  # by weight
DASH = "\u2013"
MINUS = "\u2212"
TITLES = {"mos": "Learned MOS"}
ARROWS = {"higher": " ↑", "lower": " ↓"}
SAFE = str.maketrans({c: f"\\{c}" for c in "\\|`*_[]#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "})


def main_metrics(results: Mapping[str, Any], at_most: int = 6) -> list[dict[str, Any]]:
    """The metrics to show first: those of `MAIN` that have a mean for a codec, or else the first with a better side."""
    there = {metric["name"]: metric for metric in results["metrics"] if _has_values(results, metric)}
    chosen = [there[name] for name in MAIN if name in there]
    if not chosen:
        chosen = [metric for metric in there.values() if metric["better"] and metric["group"] not in ("cost", "rate")]
    return chosen[:at_most]


def _has_values(results: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    codecs = (entry for entry in results["entries"] if entry["kind"] != "original")
    return any((entry["summary"].get(metric["name"]) or {}).get("mean") is not None for entry in codecs)


def table_markdown(results: Mapping[str, Any]) -> str:
    """The whole file: the main metrics, a table for each group, what is missing and why, and every definition."""
    about = results["about"]
    measured = (
        f"{about['clips']} clips, {about['seconds']:.1f} s, compared at {about['rate']} Hz; voxzoo {_safe(about['voxzoo'])}."
    )
    reading = "Means over clips; in brackets 95 % intervals; a dash stands for no value."
    lines = ["# Codec benchmark", "", f"{measured} {reading}"]
    main = main_metrics(results)
    if main:
        lines += ["", "## Main metrics", "", scores_markdown(results, [metric["name"] for metric in main])]
    for group in dict.fromkeys(metric["group"] for metric in results["metrics"]):
        names = [metric["name"] for metric in results["metrics"] if metric["group"] == group]
        title = TITLES.get(group) or _safe(group).capitalize()
        lines += ["", f"## {title}", "", scores_markdown(results, names, intervals=True)]
    lines += ["", "## Missing values", "", _missing(results), "", "## Definitions", ""]
    lines += [f"- **{_safe(metric['label'])}**{_unit(metric)}: {_safe(metric['definition'])}" for metric in results["metrics"]]
    return "\n".join([*lines, f"- **Intervals and tests**: {_safe(DEFINITION)}", ""])


def scores_markdown(results: Mapping[str, Any], names: Sequence[str], intervals: bool = False) -> str:
    """One table: a row for each entry with a value, bit rate first, then the metrics `names`.

    The best codec of a column is bold, to the digits shown; "(n missing)" counts clips without a value. Raises `VoxzooError`
    for names that are not in the results.
    """
    known = {metric["name"]: metric for metric in results["metrics"]}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise VoxzooError(f"the results have no metric {unknown[0]!r}; they have {', '.join(known)}")
    metrics = [known[name] for name in names]
    best = {metric["name"]: _best(results, metric) for metric in metrics}
    head = ["entry", "kbit/s", *(_head(metric) for metric in metrics)]
    rows = []
    for entry in results["entries"]:
        if entry["kind"] != "original" or any(mean_of(entry, metric) is not None for metric in metrics):
            cells = [_cell(entry, metric, best[metric["name"]], intervals) for metric in metrics]
            rows.append([_safe(entry["label"]), _bitrate(entry), *cells])
    return "\n".join(_row(cells) for cells in [head, ["---", *["---:"] * (len(head) - 1)], *rows])


def _head(metric: Mapping[str, Any]) -> str:
    """Label, unit where it is a plain one ("dB", not "MOS, 1 to 5"), and an arrow to the better side."""
    unit = "" if re.search(r"[,\d]", metric["unit"]) or not metric["unit"] else f" ({_safe(metric['unit'])})"
    return _safe(metric["label"]) + unit + ARROWS.get(metric["better"], "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(entry: Mapping[str, Any], metric: Mapping[str, Any], best: str | None, intervals: bool) -> str:
    summary = entry["summary"].get(metric["name"]) or {}
    digits = metric["digits"]
    text = number(summary.get("mean"), digits)
    parts = [f"**{text}**" if text == best and entry["kind"] != "original" else text]
    if intervals and summary.get("low") is not None:
        parts.append(f"[{number(summary['low'], digits)}, {number(summary['high'], digits)}]")
    missing = sum((summary.get("missing") or {}).values())
    return " ".join([*parts, f"({missing} missing)"] if missing else parts)


def _best(results: Mapping[str, Any], metric: Mapping[str, Any]) -> str | None:
    means = [
        mean for entry in results["entries"] if entry["kind"] != "original" and (mean := mean_of(entry, metric)) is not None
    ]
    if not metric["better"] or len(means) < 2:
        return None
    return number(max(means) if metric["better"] == "higher" else min(means), metric["digits"])


def mean_of(entry: Mapping[str, Any], metric: Mapping[str, Any]) -> float | None:
    """The mean of a metric, None where there is none."""
    mean: float | None = (entry["summary"].get(metric["name"]) or {}).get("mean")
    return mean


def _bitrate(entry: Mapping[str, Any]) -> str:
    return f"{entry['bitrate'] / 1000:.3g}" if entry.get("bitrate") else DASH


def number(value: float | None, digits: int) -> str:
    """A number with so many digits after the point, a dash for None; never a negative zero."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def _missing(results: Mapping[str, Any]) -> str:
    rows = [
        f"- {_safe(entry['label'])}, {_safe(metric['label'])}: {count} clips: {_safe(reason)}"
        for entry in results["entries"]
        for metric in results["metrics"]
        for reason, count in ((entry["summary"].get(metric["name"]) or {}).get("missing") or {}).items()
    ]
    return "\n".join(rows) or "None."


def _unit(metric: Mapping[str, Any]) -> str:
    side = {"higher": "higher is better", "lower": "lower is better"}.get(metric["better"], "neither way is better")
    return f" ({', '.join(part for part in (_safe(metric['unit']), side) if part)})"


def _safe(text: Any) -> str:
    """Text that Markdown shows as it is."""
    return str(text).translate(SAFE)
