"""From what was measured to `results.json` and `scores.parquet`: means with intervals, paired tests, tables by clip."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import replacing
from .bootstrap import holm, interval, paired

__all__ = ["FORMAT", "Column", "Scores", "paired_tests", "summary_of", "write_scores"]

FORMAT = "voxzoo.bench/1"


@dataclass(frozen=True)
class Column:
    """A metric as a column: what of it the results hold. `per` is "clip", or "entry" where there is one value for a run."""

    name: str
    label: str
    group: str
    unit: str
    better: str | None
    digits: int
    definition: str
    per: str = "clip"
    family: str = ""
    weight: str | None = None


@dataclass(eq=False)
class Scores:
    """Values and reasons of one clip, or of one entry for a whole run: label -> metric -> number or reason."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, label: str, values: Mapping[str, float], reasons: Mapping[str, str]) -> None:
        """More of one entry."""
        self.values.setdefault(label, {}).update(values)
        self.reasons.setdefault(label, {}).update(reasons)


def summary_of(column: Column, label: str, clips: Sequence[Scores], whole: Scores, resamples: int, seed: int) -> dict[str, Any]:
    """Mean, interval, count, and how often the metric is missing for which reason."""
    if column.per == "entry":
        value = whole.values.get(label, {}).get(column.name)
        reason = whole.reasons.get(label, {}).get(column.name)
        missing = {reason: 1} if reason else {}
        return {"mean": value, "low": None, "high": None, "count": int(value is not None), "missing": missing}
    values, weights = _weighted(column, label, clips)
    found = interval(values, weights, resamples, seed)
    reasons = Counter(clip.reasons[label][column.name] for clip in clips if column.name in clip.reasons.get(label, {}))
    return {**asdict(found), "missing": dict(reasons.most_common())}


def _weighted(column: Column, label: str, clips: Sequence[Scores]) -> tuple[list[float], list[float] | None]:
    held = [values for clip in clips if column.name in (values := clip.values.get(label, {}))]
    weights = [values.get(column.weight, 0.0) for values in held] if column.weight else None
    return [values[column.name] for values in held], weights


def paired_tests(
    columns: Sequence[Column], labels: Sequence[str], clips: Sequence[Scores], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Every two entries against each other in every metric that is measured per clip; see `bootstrap.DEFINITION`."""
    tests: list[dict[str, Any]] = []
    for column in columns:
        if column.per == "clip":
            tests += _tests_of(column, labels, clips, resamples, seed)
    return tests


def _tests_of(
    column: Column, labels: Sequence[str], clips: Sequence[Scores], resamples: int, seed: int
) -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = []
    for a, b in itertools.combinations(labels, 2):
        both = [clip for clip in clips if all(column.name in clip.values.get(label, {}) for label in (a, b))]
        if both:
            (x, wx), (y, wy) = _weighted(column, a, both), _weighted(column, b, both)
            found = paired(x, y, wx, wy, resamples, seed)
            test = {"metric": column.name, "a": a, "b": b, "difference": found.difference, "low": found.low, "high": found.high,
                    "p": found.p, "p_alone": found.p, "count": found.count}  # fmt: skip
            tests.append({**test, "reason": found.reason} if found.reason else test)
    tested = [test for test in tests if test["p"] is not None]
    for test, corrected in zip(tested, holm([test["p"] for test in tested]), strict=True):
        test["p"] = corrected
    return tests


def write_scores(results: Mapping[str, Any], path: Path) -> None:
    """One row per clip and entry: clip, entry, seconds, a column per metric, and `missing` as JSON. Raises `OSError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [metric["name"] for metric in results["metrics"] if metric["per"] == "clip"]
    rows = [(clip, label) for clip in results["clips"] for label in clip["values"]]
    columns: dict[str, Any] = {
        "clip": pa.array([clip["id"] for clip, _ in rows], pa.string()),
        "entry": pa.array([label for _, label in rows], pa.string()),
        "seconds": pa.array([clip["seconds"] for clip, _ in rows], pa.float64()),
    }
    for name in names:
        columns[name] = pa.array([clip["values"][label].get(name) for clip, label in rows], pa.float64())
    missing = [json.dumps(clip["reasons"].get(label, {}), ensure_ascii=False) for clip, label in rows]
    columns["missing"] = pa.array(missing, pa.string())
    metadata = {"voxzoo": json.dumps({"format": FORMAT, "metrics": results["metrics"]}, ensure_ascii=False)}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary)
