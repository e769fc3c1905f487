"""The metrics of the benchmark, and which of them a run computes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from ..core.errors import VoxzooError
from .learned_table import LEARNED
from .metric import Family
from .signal_table import SIGNAL

__all__ = ["FAMILIES", "GROUPS", "select"]

FAMILIES: tuple[Family, ...] = (*SIGNAL, *LEARNED)
GROUPS = ("reconstruction", "mos", "intelligibility", "speaker", "cost", "rate")
DEFAULT = ("reconstruction", "cost", "rate")


def select(names: Sequence[str], checkpoints: Mapping[str, str]) -> list[Family]:
    """Families by the names of groups, families or single metrics ("all" for every one that can run here).

    A family that needs a checkpoint is taken when `checkpoints` has its path, and refused when it is asked for by name without
    one. Raises `VoxzooError` for names that are not there.
    """
    known = {"all", *GROUPS, *(f.name for f in FAMILIES), *(m.name for f in FAMILIES for m in f.metrics)}
    for name in [*names, *checkpoints]:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"there are {', '.join(GROUPS)} and all"
            raise VoxzooError(f"no metric is called {name!r}: {hint}")
    return [family for family in FAMILIES if _wanted(family, names, checkpoints)]


def _wanted(family: Family, names: Sequence[str], checkpoints: Mapping[str, str]) -> bool:
    named = family.name in names or any(metric.name in names for metric in family.metrics)
    if named and family.checkpoint and family.name not in checkpoints:
        raise VoxzooError(f"{family.name} needs {family.checkpoint}: give it as --checkpoint {family.name}=PATH")
    if family.checkpoint:
        return family.name in checkpoints
    return named or "all" in names or (family.group in names and not family.slow)
