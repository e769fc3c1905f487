"""Reading token shards back: by number, by id, from front to back, with filters, chosen columns and joined tables.

dataset = voxzoo.open("tokens")
dataset["speech/one"].codes                       # by id, or dataset[7]
for record in dataset.where([("duration", ">", 2)]).join("text.tsv"): ...
for batch in dataset.select("codes").batches(): batch.flat(0)
loader = DataLoader(dataset.torch(shuffle=True), batch_size=None, num_workers=4)
"""

from __future__ import annotations

import copy
import functools
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.errors import CorpusError, TokensError
from .batches import Batch, Record
from .joins import Join
from .shards import Dataset, open_dataset

if TYPE_CHECKING:
    from .torch_dataset import TokenStream

__all__ = ["Reader", "RowGroup", "open"]

KEPT = 8  # row groups kept in memory for access by number


@dataclass(frozen=True)
class RowGroup:
    """Rows `start` to `start` + `rows` of the dataset: group `index` of a shard."""

    shard: Path
    index: int
    start: int
    rows: int


class Reader:
    """A dataset of token shards, perhaps filtered and joined.

    Attributes:
        dataset: facts, fingerprint, resampler, `about` and `complete` of what was opened.

    `len`, `reader[i]`, `reader[a:b]`, `reader["id"]`, `"id" in reader`; iterating gives `Record`s in the order of the source.
    `select`, `where` and `join` give new readers.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._columns: list[str] | None = None
        self._filter: pc.Expression | None = None
        self._joins: tuple[Join, ...] = ()
        self._recent: OrderedDict[int, Batch] = OrderedDict()

    def __repr__(self) -> str:
        return f"<{len(self)} clips of {self.dataset.facts.name} in {str(self.dataset.path)!r}>"

    # ------------------------------------------------------------------ views
    def _view(self) -> Reader:
        new = copy.copy(self)
        for name in ("_matching", "_by_id", "_needed"):
            new.__dict__.pop(name, None)
        new._recent = OrderedDict()
        return new

    def select(self, *columns: str) -> Reader:
        """Only these columns, and the id. Raises `CorpusError` for one that is not there."""
        if missing := [name for name in columns if name not in self.column_names]:
            raise CorpusError(f"no column {missing[0]!r}; there are {', '.join(self.column_names)}")
        new = self._view()
        new._columns = ["id", *(name for name in columns if name != "id")]
        return new

    def where(self, condition: Any) -> Reader:
        """Only rows for which `condition` holds: `[("duration", ">", 2.0), ...]`, all of them, or an expression of pyarrow.

        Joined columns may be in it. Raises `CorpusError` when it is none.
        """
        try:
            found = condition if isinstance(condition, pc.Expression) else pq.filters_to_expression(condition)
        except (ValueError, TypeError) as error:
            raise CorpusError(f"{condition!r} is no filter: {error}; expected [(column, operator, value), ...]") from None
        new = self._view()
        new._filter = found if self._filter is None else self._filter & found
        return new

    def join(self, source: Any, on: str = "id", columns: list[str] | None = None, inner: bool = False) -> Reader:
        """With columns of another table for the same ids; see `joins.Join`. A filter may use what was joined before it."""
        new = self._view()
        new._joins = (*self._joins, Join(source, on, columns, inner))
        if new._columns is not None:
            new._columns = [*new._columns, *(name for name in new._joins[-1].names if name not in new._columns)]
        return new

    # ------------------------------------------------------------------ what there is
    @functools.cached_property
    def groups(self) -> list[RowGroup]:
        """All row groups, in order; footers only are read."""
        found, start = [], 0
        for shard in self.dataset.shards:
            with self._open(shard) as parquet:
                for index in range(parquet.metadata.num_row_groups):
                    rows = parquet.metadata.row_group(index).num_rows
                    found.append(RowGroup(shard, index, start, rows))
                    start += rows
        return found

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        if not self.dataset.shards:
            return pa.schema([("id", pa.string())])
        with self._open(self.dataset.shards[0]) as parquet:
            return parquet.schema_arrow

    @property
    def column_names(self) -> list[str]:
        """Columns of the shards and joined ones."""
        joined = [name for join in self._joins for name in join.names]
        return [*self._schema.names, *(name for name in joined if name not in self._schema.names)]

    @property
    def rows(self) -> int:
        """Rows before any filter."""
        return sum(group.rows for group in self.groups)

    @functools.cached_property
    def _matching(self) -> np.ndarray | None:
        """Numbers of the rows that the filter and inner joins leave; None: all."""
        if self._filter is None and not any(join.inner for join in self._joins):
            return None
        view = self._view()
        view._columns = ["id"]
        found = [view._numbers(group) for group in self.groups]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _numbers(self, group: RowGroup) -> np.ndarray:
        return self._table(group, numbered=True)["__row"].to_numpy()

    def __len__(self) -> int:
        return self.rows if self._matching is None else len(self._matching)

    # ------------------------------------------------------------------ reading
    def _open(self, shard: Path) -> Any:
        try:
            return pq.ParquetFile(shard, page_checksum_verification=True, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise TokensError(f"{str(shard)!r} is damaged: {error}; `voxzoo verify` tells what else is") from None

    def _table(self, group: RowGroup, numbered: bool = False, keep: Sequence[int] | None = None) -> pa.Table:
        """Rows of a group: chosen columns, joined, filtered; `keep`: of these rows only, before the filter."""
        wanted = self._columns
        stored = [n for n in self._schema.names if wanted is None or n in wanted or n == "id" or n in self._needed]
        try:
            with self._open(group.shard) as parquet:
                table = parquet.read_row_group(group.index, columns=stored)
        except (OSError, pa.ArrowException) as error:
            raise TokensError(f"{str(group.shard)!r} is damaged: {error}; `voxzoo verify` tells what else is") from None
        if numbered:
            table = table.append_column("__row", pa.array(np.arange(group.start, group.start + group.rows)))
        if keep is not None:
            table = table.take(pa.array(keep))
        for join in self._joins:
            table = join.apply(table)
        if self._filter is not None:
            try:
                table = table.filter(self._filter)
            except pa.ArrowException as error:
                raise CorpusError(f"the filter does not suit the columns: {str(error).splitlines()[0]}") from None
        if wanted is None:
            return table
        return table.select([*(n for n in wanted if n in table.column_names), *(["__row"] if numbered else [])])

    @functools.cached_property
    def _needed(self) -> set[str]:
        """Columns that the filter speaks of."""
        text = str(self._filter) if self._filter is not None else ""
        return {name for name in self._schema.names if name in text and name != "codes"}

    def batches(self, groups: Sequence[RowGroup] | None = None) -> Iterator[Batch]:
        """The rows, a row group at a time; the next is read while one is used.

        Args:
            groups: of these row groups only, in this order.
        """
        waiting = iter(self.groups if groups is None else groups)
        with ThreadPoolExecutor(1) as thread:
            ahead = [thread.submit(self._table, group) for group in [next(waiting, None)] if group]
            while ahead:
                table = ahead.pop().result()
                ahead += [thread.submit(self._table, group) for group in [next(waiting, None)] if group]
                if table.num_rows:
                    yield Batch(table, self.dataset)

    def __iter__(self) -> Iterator[Record]:
        for batch in self.batches():
            yield from batch

    def _batch(self, number: int) -> Batch:
        """Row group `number`, from memory where it was used lately."""
        batch = self._recent.pop(number, None) or Batch(self._table(self.groups[number]), self.dataset)
        self._recent[number] = batch
        if len(self._recent) > KEPT:
            self._recent.popitem(last=False)
        return batch

    def __getitem__(self, key: Any) -> Any:
        """A record by number or id, or a list of them by a slice. Raises `IndexError` or `KeyError`."""
        if isinstance(key, slice):
            return [self[i] for i in range(len(self))[key]]
        if isinstance(key, str):
            if key not in self._by_id:
                raise KeyError(f"no clip {key!r} in {str(self.dataset.path)!r}")
            key = self._by_id[key]
        number = range(len(self))[key]
        row = number if self._matching is None else int(self._matching[number])
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        start = self.groups[group].start
        skipped = row - start if self._matching is None else number - int(np.searchsorted(self._matching, start))
        return self._batch(group)[skipped]

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.array([group.start for group in self.groups], np.int64)

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    @functools.cached_property
    def _by_id(self) -> dict[str, int]:
        """Number of each id. Raises `CorpusError` when an id is there twice."""
        view = self._view()
        view._columns = ["id"]
        found: dict[str, int] = {}
        for number, id in enumerate(id for batch in view.batches() for id in batch.ids):
            if found.setdefault(id, number) != number:
                raise CorpusError(f"the id {id!r} is there twice in {str(self.dataset.path)!r}; `voxzoo verify` tells of more")
        return found

    # ------------------------------------------------------------------ training
    def torch(self, **options: Any) -> TokenStream:
        """A torch `IterableDataset` of the records; see `torch_dataset.TokenStream` for the options."""
        from .torch_dataset import TokenStream

        return TokenStream(self, **options)


def open(path: str | os.PathLike[str], columns: Sequence[str] | None = None, where: Any = None) -> Reader:
    """Open a folder that `voxzoo tokenize` wrote, finished or not.

    Args:
        path: the folder.
        columns: only these, and the id; see `Reader.select`.
        where: only these rows; see `Reader.where`.

    Raises:
        CorpusError: it is no such folder.
    """
    if (Path(path) / "layout.json").is_file():
        raise CorpusError(f"{str(path)!r} holds packed sequences, not token shards; `voxzoo unpack` makes shards of them again")
    reader = Reader(open_dataset(path))
    reader = reader if columns is None else reader.select(*columns)
    return reader if where is None else reader.where(where)
