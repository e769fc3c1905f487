"""Token shards as a torch `IterableDataset`: each clip once, shared out over ranks and workers, resumable.

    stream = voxzoo.open("tokens").torch(shuffle=True, seed=1)
    loader = DataLoader(stream, batch_size=None, num_workers=4)
    stream.set_epoch(2)                   # another order
    state = stream.state_dict()           # without workers; with workers, as torchdata's StatefulDataLoader asks them

A share is a run of rows of equal length, up to one, in an order that follows from seed and epoch: row groups in random order,
rows in random order within them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from ..core.errors import CorpusError
from .batches import Batch, Record
from .reading import Reader, RowGroup

__all__ = ["TokenStream", "shares"]


def shares(groups: list[RowGroup], part: int, parts: int, skip: int, random: np.random.Generator | None) -> list[Any]:
    """[(row group, rows of it)] of one of `parts` equal shares, without its first `skip` rows."""
    order = list(random.permutation(len(groups))) if random else range(len(groups))
    total = sum(group.rows for group in groups)
    first, last = total * part // parts + skip, total * (part + 1) // parts
    found, start = [], 0
    for number in order:
        group = groups[number]
        rows = random.permutation(group.rows) if random else np.arange(group.rows)
        kept = rows[max(0, first - start) : max(0, last - start)]
        if len(kept):
            found.append((group, kept))
        start += group.rows
    return found


@dataclass(eq=False)
class TokenStream(IterableDataset[Any]):
    """Records of a reader, or what `transform` makes of them.

    Args:
        reader: see `voxzoo.open`.
        shuffle, seed: another order in each epoch; the same on all ranks.
        rank, world_size: this process and how many there are; those of torch.distributed where it runs, else of the variables
            RANK and WORLD_SIZE.
        transform: called with each `Record`, in the worker. Without it with workers, `as_dict`: records are views that cannot
            travel between processes.

    Rows that a filter leaves out are shared out too, so that shares may differ by what is filtered.
    """

    reader: Reader
    shuffle: bool = False
    seed: int = 0
    rank: int | None = None
    world_size: int | None = None
    transform: Callable[[Record], Any] | None = None
    epoch: int = 0
    _position: int = field(default=0, repr=False)
    _resumed: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        rank, world = _distributed()
        self._rank = rank if self.rank is None else self.rank
        self._world = world if self.world_size is None else self.world_size
        if not 0 <= self._rank < self._world:
            raise CorpusError(f"rank {self._rank} of {self._world}; expected 0 to {self._world - 1}")

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; a position that was loaded is forgotten."""
        self.epoch, self._position, self._resumed = epoch, 0, False

    def _part(self) -> tuple[int, int]:
        worker = get_worker_info()
        count, number = (worker.num_workers, worker.id) if worker else (1, 0)
        return self._rank * count + number, self._world * count

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._position = 0
        self._resumed = False
        part, parts = self._part()
        random = np.random.default_rng([self.seed, self.epoch]) if self.shuffle else None
        transform = self.transform or (as_dict if get_worker_info() else _same)
        for group, rows in shares(self.reader.groups, part, parts, self._position, random):
            numbered = self.reader._table(group, numbered=True, keep=rows)
            done = dict(zip(numbered["__row"].to_pylist(), range(numbered.num_rows), strict=True))
            batch = Batch(numbered.drop_columns("__row"), self.reader.dataset)
            for row in rows.tolist():
                self._position += 1
                place = done.get(group.start + row)
                if place is not None:
                    yield transform(batch[place])

    def state_dict(self) -> dict[str, Any]:
        """Where this process (or worker) is."""
        part, parts = self._part()
        return {"position": self._position, "epoch": self.epoch, "seed": self.seed, "shuffle": self.shuffle,
                "part": part, "parts": parts, "rows": self.reader.rows}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises `CorpusError` when dataset, order or number of processes are others."""
        now = self.state_dict()
        if differ := [key for key in ("seed", "shuffle", "part", "parts", "rows") if state.get(key) != now[key]]:
            told = ", ".join(f"{key}={state.get(key)} then and {now[key]} now" for key in differ)
            raise CorpusError(f"this state is of another stream: {told}")
        self.epoch, self._position, self._resumed = int(state["epoch"]), int(state["position"]), True


def as_dict(record: Record) -> dict[str, Any]:
    """A record as plain data: its columns, and `codes` as int64 tensors (N_k,)."""
    codes = [torch.from_numpy(stream.astype(np.int64)) for stream in record.codes]
    return {**record.columns, "codes": codes}


def _same(record: Record) -> Record:
    return record


def _distributed() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
