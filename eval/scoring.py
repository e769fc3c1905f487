"""Families of metrics at work: every metric of a family gets a number or the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError
from .journal import Cell
from .metric import Family, Measure, Original, Pair
from .playing import reason

__all__ = ["Scorer", "cell_of"]


class Scorer:
    """Families, opened.

    Args:
        families: see `metrics.py`.
        checkpoints: family's name -> path.
        required: names of families that were asked for by name: where a package of theirs is missing, that is an error;
            where one of another family is, its metrics are missing with that reason.

    Raises `MissingExtraError`, and `MetricError` for a checkpoint that is not usable.
    """

    def __init__(self, families: Sequence[Family], checkpoints: Mapping[str, str], required: frozenset[str]) -> None:
        self.families = {family.name: family for family in families}
        self.measures: dict[str, Measure | str] = {}
        for family in families:
            try:
                self.measures[family.name] = family.open(checkpoints.get(family.name))
            except MissingExtraError as error:
                if family.name in required:
                    raise
                self.measures[family.name] = str(error)

    def score(self, original: Original, decoded: np.ndarray | None, problem: str, names: Sequence[str]) -> dict[str, Cell]:
        """Family's name -> cell, for the families named; with a `problem` there is no sound, and all are missing for it."""
        pair = Pair(original, np.zeros(0, np.float32) if decoded is None else decoded)
        return {name: self._cell(self.families[name], pair, problem) for name in names}

    def _cell(self, family: Family, pair: Pair, problem: str) -> Cell:
        measure = self.measures[family.name]
        problem = problem or (measure if isinstance(measure, str) else "")
        names = [metric.name for metric in family.metrics]
        if problem or isinstance(measure, str):
            return {"reasons": dict.fromkeys(names, problem)}
        try:
            with np.errstate(all="ignore"):
                return cell_of(measure(pair), names)
        except Exception as error:  # a metric may fail in any way on some sound; it costs that value alone
            return {"reasons": dict.fromkeys(names, reason(error))}


def cell_of(given: Mapping[str, Any], names: Sequence[str]) -> Cell:
    """Sort what a family gave into numbers, reasons and vectors; what it did not give is missing."""
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    vectors: dict[str, list[float]] = {}
    for name, value in {**dict.fromkeys(names, "the metric gave no value"), **given}.items():
        if isinstance(value, str):
            reasons[name] = value
        elif isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value):
            vectors[name] = [float(v) for v in value]
        elif math.isfinite(value):
            values[name] = float(value)
        else:
            reasons[name] = f"the metric gave {float(value)}, which is no number"
    cell: Cell = {"values": values, "reasons": reasons, "vectors": vectors}
    return {key: held for key, held in cell.items() if held}
