"""Statistics of the tokens of a folder of shards: one pass, bounded memory, worker processes that share out the row groups.

The result does not depend on the number of workers or on which of them read what. A row group that cannot be read costs its
own clips, which are counted and named; the rest goes on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..core.errors import CorpusError, TokensError
from ..corpus.shards import Dataset
from .row_groups import Damage, Group, count_group, row_groups, stream_count
from .scan_processes import scan_in_processes
from .token_statistics import TokenStatistics

__all__ = ["Plan", "scan_shards"]

INLINE = 1 << 25  # codes, below which starting processes costs more than it saves


def scan_shards(
    dataset: Dataset, workers: int | None = None, limit: int | None = None, advance: Callable[[Group], None] | None = None
) -> tuple[TokenStatistics, list[Damage]]:
    """Count the tokens of a dataset.

    Args:
        dataset: see `corpus.shards.open_dataset`.
        workers: processes; None: as many as there are cores (one for small datasets).
        limit: only the first so many clips.
        advance: called after each row group, by one thread at a time.

    Returns:
        The statistics, and what could not be read, by shard.

    Raises:
        CorpusError: no clips at all, or a worker process that died.
        TokensError: nothing of it can be read.
    """
    groups, unopened = row_groups(dataset, limit)
    if not groups:
        why = f"{unopened[0].shard}: {unopened[0].reason}" if unopened else "tokenize something into it first"
        raise CorpusError(f"{str(dataset.path)!r} holds no clips of tokens; {why}")
    plan = Plan(groups, advance)
    streams, facts = stream_count(dataset), dataset.facts
    statistics = TokenStatistics(facts.codebook_sizes[:streams], facts.frame_rates[:streams])
    count = _cores() if workers is None else max(1, workers)
    if count == 1 or (workers is None and sum(group.codes for group in groups) < INLINE):
        for group in plan.groups():
            plan.done(group, count_group(statistics, group))
    else:
        statistics = scan_in_processes(statistics, plan, min(count, len(groups)))
    damaged = sorted([*unopened, *plan.damaged()], key=lambda damage: damage.shard)
    if not statistics.clips:
        raise TokensError(f"nothing of {str(dataset.path)!r} can be read: {damaged[0].shard}: {damaged[0].reason}")
    return statistics, damaged


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Plan:
    """Row groups to be given out, and what came of them; several threads may use it."""

    def __init__(self, groups: Sequence[Group], advance: Callable[[Group], None] | None = None) -> None:
        self._left = iter(groups)
        self._advance = advance
        self._bad: list[tuple[Group, str]] = []
        self._lock = threading.Lock()

    def groups(self) -> Iterator[Group]:
        """Row groups that nobody has taken yet."""
        while True:
            with self._lock:
                group = next(self._left, None)
            if group is None:
                return
            yield group

    def done(self, group: Group, problem: str) -> None:
        """A row group was counted ("") or could not be, for the reason given."""
        with self._lock:
            if problem:
                self._bad.append((group, problem))
            if self._advance:
                self._advance(group)

    def damaged(self) -> list[Damage]:
        """By shard: how many clips are lost, and the reason of the first loss."""
        lost: dict[str, Damage] = {}
        for group, problem in sorted(self._bad, key=lambda bad: bad[0].number):
            name = Path(group.shard).name
            before = lost.get(name, Damage(name, 0, problem))
            lost[name] = Damage(name, (before.clips or 0) + group.rows, before.reason)
        return list(lost.values())
