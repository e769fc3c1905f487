"""What a benchmark measures: the families that `--metrics` names, and what it measures by itself (delay, rates, costs)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import VoxzooError
from .cost import COSTS
from .metric import Family, Metric, installed
from .metrics import GROUPS, by_name, select
from .playing import CODER
from .rates import RATES
from .results import Column

__all__ = ["DELAY", "Choice", "choose", "digest"]

COMPARED = (
    "decoded sound is brought to the rate of comparison with soxr HQ, its delay is taken out, and it is rounded to 16 bits"
)
DELAY = Metric("delay_ms", "Delay", "ms", None, f"what the codec adds, found by `voxzoo.eval.alignment.align`; positive: the "
               f"decoded sound is late. Before anything is compared, {COMPARED}", digits=1)  # fmt: skip
OWN: dict[str, tuple[Metric, ...]] = {"reconstruction": (DELAY,), "rate": RATES, "cost": COSTS}


@dataclass(frozen=True)
class Choice:
    """What is measured.

    Attributes:
        families: of metrics, opened in the workers.
        required: names of those that were asked for by name or checkpoint, so that a missing package is an error.
        checkpoints: family's name -> path.
        columns: all columns of the results, in order.
    """

    families: tuple[Family, ...]
    required: frozenset[str]
    checkpoints: Mapping[str, str]
    columns: tuple[Column, ...]

    def wants(self, group: str) -> bool:
        """Whether any metric of a group is measured."""
        return any(column.group == group for column in self.columns)

    def sent_key(self) -> str:
        """Everything that the cell of what was sent depends on, besides clip and entry."""
        return digest(["sent", DELAY.definition, self.wants("rate") and [CODER, installed("constriction")]])

    def family_key(self, family: Family) -> str:
        """Everything that a family's cell depends on, besides clip and entry: definitions, versions, checkpoint."""
        definitions = [[metric.name, family.definition(metric)] for metric in family.metrics]
        checkpoint = self.checkpoints.get(family.name)
        return digest([family.name, definitions, COMPARED, installed("voxzoo"), checkpoint and _stamps(checkpoint)])


def choose(names: Sequence[str], checkpoints: Mapping[str, str]) -> Choice:
    """What `names` (groups, families, single metrics, "all") and checkpoints ask for.

    Raises `VoxzooError` for names that are not there (with near matches), checkpoints that are no files, and a family that
    needs a checkpoint and has none.
    """
    own = {metric.name for metrics in OWN.values() for metric in metrics}
    families = select(names, checkpoints, own)
    for name, path in checkpoints.items():
        if not os.path.exists(path):
            raise VoxzooError(f"the checkpoint of {name}, {path!r}, does not exist")
    required = {f.name for f in families if by_name(f, names) or f.name in checkpoints}
    columns = [_column(f, m) for f in families for m in _asked(f, names)]
    intrusive = any(family.intrusive for family in families)
    for group, metrics in OWN.items():
        whole = group in names or "all" in names or (group == "reconstruction" and intrusive)
        per = "clip" if group == "reconstruction" else "entry"
        mine = [_own(m, group, per) for m in metrics if whole or m.name in names]
        columns = [*mine, *columns] if per == "clip" else [*columns, *mine]
    if not columns:
        raise VoxzooError(f"nothing to measure; --metrics takes {', '.join(GROUPS)}, all, or names of metrics")
    columns.sort(key=lambda column: GROUPS.index(column.group))
    return Choice(tuple(families), frozenset(required), dict(checkpoints), tuple(columns))


def _asked(family: Family, names: Sequence[str]) -> list[Metric]:
    """Metrics of a family that are columns: those named, where it is taken for single ones of them alone."""
    whole = {"all", family.group, family.name} & {*names} or not by_name(family, names)
    return [metric for metric in family.metrics if whole or metric.name in names]


def _column(family: Family, metric: Metric) -> Column:
    definition = family.definition(metric)
    return Column(metric.name, metric.label, family.group, metric.unit, metric.better, metric.digits, definition, "clip",
                  family.name, metric.weight)  # fmt: skip


def _own(metric: Metric, group: str, per: str) -> Column:
    return Column(metric.name, metric.label, group, metric.unit, metric.better, metric.digits, metric.definition, per)


def _stamps(path: str) -> list[Any]:
    """What tells a checkpoint, a file or a folder, from another of the same path."""
    files = sorted(Path(path).rglob("*")) if os.path.isdir(path) else [Path(path)]
    found = ((str(file), file.stat()) for file in files)
    return [os.path.realpath(path), *([name, status.st_size, status.st_mtime_ns] for name, status in found)]


def digest(data: Any) -> str:
    """A short key of JSON-able data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:16]
