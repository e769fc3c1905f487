"""The metrics of the benchmark, and which of them a run computes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from ..core.errors import VoxzooError
from .learned_table import LEARNED
from .metric import Family
from .signal_table import SIGNAL

__all__ = ["DEFAULT", "FAMILIES", "GROUPS", "by_name", "select"]

FAMILIES: tuple[Family, ...] = (*SIGNAL, *LEARNED)
GROUPS = ("reconstruction", "mos", "intelligibility", "speaker", "cost", "rate")
DEFAULT = ("reconstruction", "cost", "rate")


def select(names: Sequence[str], checkpoints: Mapping[str, str], besides: Collection[str] = ()) -> list[Family]:
    """Families by the names of groups, families or single metrics ("all" for every one that can run here).

    A family that needs a checkpoint is taken when `checkpoints` has its path, and refused when it is asked for by name without
    one. Names in `besides` are known too, and name no family. Raises `VoxzooError` for names that are not there, and for
    checkpoints of what takes none.
    """
    known = {"all", *GROUPS, *besides, *(f.name for f in FAMILIES), *(m.name for f in FAMILIES for m in f.metrics)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(GROUPS)} and all"
            raise VoxzooError(f"no metric is called {name!r}: {hint}")
    able = sorted(family.name for family in FAMILIES if family.checkpoint)
    for name in checkpoints:
        if name not in able:
            raise VoxzooError(f"{name!r} takes no checkpoint; those that do are {', '.join(able)}")
    return [family for family in FAMILIES if _wanted(family, names, checkpoints)]


def _wanted(family: Family, names: Sequence[str], checkpoints: Mapping[str, str]) -> bool:
    if family.checkpoint:
        if by_name(family, names) and family.name not in checkpoints:
            raise VoxzooError(f"{family.name} needs {family.checkpoint}: give it as --checkpoint {family.name}=PATH")
        return family.name in checkpoints
    return by_name(family, names) or "all" in names or family.group in names


def by_name(family: Family, names: Sequence[str]) -> bool:
    """Whether the family or one of its metrics is among the names."""
    return family.name in names or any(metric.name in names for metric in family.metrics)
