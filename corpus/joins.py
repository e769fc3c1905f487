"""Tables joined to token shards by id: transcripts, speakers, scores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from ..core.errors import CorpusError

__all__ = ["Join", "load_table"]


def load_table(source: Any) -> pa.Table:
    """A table: a Parquet, .jsonl, .csv or .tsv file, an Arrow table, or a mapping from id to text.

    Raises `CorpusError` when it cannot be read.
    """
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, Mapping):
        return pa.table({"id": pa.array(list(source), pa.string()), "text": pa.array(list(source.values()), pa.string())})
    path = os.fspath(source)
    try:
        match Path(path).suffix.lower():
            case ".parquet":
                return pq.read_table(path)
            case ".jsonl" | ".json":
                return pyarrow.json.read_json(path)
            case ".csv":
                return pyarrow.csv.read_csv(path)
            case ".tsv":
                return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False))
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path!r} cannot be read as a table: {error}") from None
    raise CorpusError(f"{path!r} is no table to join; expected .parquet, .jsonl, .csv or .tsv")


class Join:
    """Columns of a table for rows of the same id.

    Args:
        source: see `load_table`.
        on: the table's column of ids.
        columns: which of its columns; all but `on` by default.
        inner: leave out rows that the table does not have; else they get nulls.

    Raises `CorpusError` for columns that are not there and ids that come twice.
    """

    def __init__(self, source: Any, on: str = "id", columns: list[str] | None = None, inner: bool = False) -> None:
        table = load_table(source)
        wanted = [name for name in table.column_names if name != on] if columns is None else columns
        if missing := [name for name in [on, *wanted] if name not in table.column_names]:
            raise CorpusError(f"the table to join has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
        self.table, self.inner = table.select(wanted), inner
        self.keys = table[on].cast(pa.string())
        counts = self.keys.value_counts() if isinstance(self.keys, pa.Array) else pc.value_counts(self.keys)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(twice):
            raise CorpusError(f"the table to join has the id {twice[0]['values'].as_py()!r} {twice[0]['counts'].as_py()} times")

    @property
    def names(self) -> list[str]:
        """Columns that it adds."""
        return list(self.table.column_names)

    def apply(self, rows: pa.Table) -> pa.Table:
        """`rows` with the table's columns; a column that `rows` has already is replaced."""
        places = pc.index_in(rows["id"], value_set=self.keys)
        if self.inner:
            known = pc.is_valid(places)
            rows, places = rows.filter(known), places.filter(known)
        found = self.table.take(places)
        for name in self.names:
            rows = rows.drop_columns(name) if name in rows.column_names else rows
            rows = rows.append_column(name, found[name])
        return rows
