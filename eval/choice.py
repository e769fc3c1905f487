"""What a benchmark measures: the families that `--metrics` names, and what it measures by itself (delay, rates, costs)."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import VoxzooError
from .cost import COSTS
from .metric import Family, Metric
from .metrics import FAMILIES, GROUPS, select
from .playing import CODER
from .rates import RATES
from .results import Column

__all__ = ["DELAY", "Choice", "choose", "digest"]

DELAY = Metric("delay_ms", "Delay", "ms", None, "what the codec adds and was taken out before anything was compared; found by "
               "`voxzoo.eval.alignment.align`; positive: the decoded sound is late", digits=1)  # fmt: skip
OWN: dict[str, tuple[Metric, ...]] = {"reconstruction": (DELAY,), "rate": RATES, "cost": COSTS}


@dataclass(frozen=True)
class Choice:
    """What is measured.

    Attributes:
        families: of metrics, opened in the workers.
        required: names of those that were asked for by name, so that a missing package is an error.
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
        return digest(
            ["sent", 1, DELAY.definition, self.wants("rate") and [CODER, importlib.util.find_spec("constriction") is None]]
        )

    def family_key(self, family: Family) -> str:
        """Everything that a family's cell depends on, besides clip and entry: definitions, versions, checkpoint."""
        definitions = [[metric.name, family.definition(metric)] for metric in family.metrics]
        return digest([family.name, definitions, _file(self.checkpoints.get(family.name))])


def choose(names: Sequence[str], checkpoints: Mapping[str, str]) -> Choice:
    """What `names` (groups, families, single metrics, "all") and checkpoints ask for.

    Raises `VoxzooError` for names that are not there (with near matches), checkpoints that are no files, and a family that
    needs a checkpoint and has none.
    """
    own = {metric.name: metric for metrics in OWN.values() for metric in metrics}
    _check(names, own, checkpoints)
    families = select([name for name in names if name not in own], checkpoints)
    required = {f.name for f in families if f.name in names or any(m.name in names for m in f.metrics)}
    columns = [_column(f, m) for f in families for m in f.metrics]
    intrusive = any(family.intrusive for family in families)
    for group, metrics in OWN.items():
        whole = group in names or "all" in names or (group == "reconstruction" and intrusive)
        per = "clip" if group == "reconstruction" else "entry"
        mine = [_own(m, group, per) for m in metrics if whole or m.name in names]
        columns = [*mine, *columns] if per == "clip" else [*columns, *mine]
    if not columns:
        raise VoxzooError(f"nothing to measure; --metrics takes {', '.join(GROUPS)}, all, or names of metrics")
    order = {group: i for i, group in enumerate(GROUPS)}
    columns.sort(key=lambda column: order.get(column.group, len(order)))
    return Choice(tuple(families), frozenset(required), dict(checkpoints), tuple(columns))


def _check(names: Sequence[str], own: Mapping[str, Metric], checkpoints: Mapping[str, str]) -> None:
    known = {"all", *GROUPS, *own, *(f.name for f in FAMILIES), *(m.name for f in FAMILIES for m in f.metrics)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(GROUPS)} and all"
            raise VoxzooError(f"no metric is called {name!r}: {hint}")
    for name, path in checkpoints.items():
        if not os.path.exists(path):
            raise VoxzooError(f"the checkpoint of {name}, {path!r}, does not exist")


def _column(family: Family, metric: Metric) -> Column:
    definition = family.definition(metric)
    return Column(metric.name, metric.label, family.group, metric.unit, metric.better, metric.digits, definition, "clip",
                  family.name, metric.weight)  # fmt: skip


def _own(metric: Metric, group: str, per: str) -> Column:
    return Column(metric.name, metric.label, group, metric.unit, metric.better, metric.digits, metric.definition, per)


def _file(path: str | None) -> Any:
    """What tells a checkpoint from another of the same path."""
    if path is None:
        return None
    status = os.stat(path)
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]


def digest(data: Any) -> str:
    """A short key of JSON-able data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:16]
