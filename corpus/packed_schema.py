"""Rows of packed sequences: the columns of the shards, with sequences in the place of the codes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import TokensError
from .batches import one_chunk
from .layout import Form, Packed

__all__ = ["PackedSchema", "sequence_rows"]


def sequence_type(form: Form) -> pa.DataType:
    """int32, in lists of rows where a sequence has several columns; or text."""
    if form.is_text:
        return pa.string()
    return pa.list_(pa.int32() if form.width == 1 else pa.list_(pa.int32(), form.width))


class PackedSchema:
    """What becomes of a shard's columns.

    Args:
        shard: schema of the shards.
        forms: the sequences of the layout.

    Attributes:
        names: column of the shards -> its name here; a name that a sequence has gets `source_` in front.
        schema: id, the sequences, the other columns.
    """

    def __init__(self, shard: pa.Schema, forms: Mapping[str, Form]) -> None:
        self.shard, self.forms = shard, forms
        self.names: dict[str, str] = {}
        for name in shard.names:
            new = name
            while new in forms or new in self.names.values():
                new = f"source_{new}"
            if name != "codes":
                self.names[name] = new
        kept = [shard.field(name).with_name(new) for name, new in self.names.items()]
        own = [pa.field(name, sequence_type(form), nullable=False) for name, form in forms.items()]
        place = next(i for i, field in enumerate(kept) if field.name == self.names["id"]) + 1
        self.schema = pa.schema([*kept[:place], *own, *kept[place:]])

    def table(self, rows: pa.Table, packed: Sequence[Packed]) -> pa.Table:
        """Rows of shards with what their codes became."""
        arrays = {new: rows[name] for name, new in self.names.items()}
        for name, form in self.forms.items():
            arrays[name] = _column([one[name] for one in packed], form)
        return pa.table([arrays[name] for name in self.schema.names], schema=self.schema)

    def carried(self, table: pa.Table) -> pa.Table:
        """The inverse for all columns but the codes."""
        return pa.table({name: table[new] for name, new in self.names.items()})

    def packed(self, table: pa.Table) -> list[Packed]:
        """The inverse for the sequences."""
        columns = {name: sequence_rows(table[name], form) for name, form in self.forms.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _column(values: Sequence[Any], form: Form) -> pa.Array:
    if form.is_text:
        return pa.array(values, pa.string())
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int64).astype(np.int32)
    flat = np.concatenate([value.reshape(-1) for value in values]).astype(np.int32) if values else np.zeros(0, np.int32)
    inner = pa.array(flat)
    if form.width > 1:
        inner = pa.FixedSizeListArray.from_arrays(inner, form.width)
    return pa.ListArray.from_arrays(pa.array(offsets), inner)


def sequence_rows(column: pa.ChunkedArray, form: Form) -> list[Any]:
    """A column of sequences as int32 arrays (S,) or (S, W), or as text. Raises `TokensError` for nulls."""
    if column.null_count:
        raise TokensError("a sequence is missing")
    if form.is_text:
        return column.to_pylist()
    rows = one_chunk(column)
    inner = rows.values if form.width == 1 else rows.values.flatten()
    if inner.null_count:
        raise TokensError("an id is missing")
    flat = inner.to_numpy(zero_copy_only=True)
    places = (rows.offsets.to_numpy() * form.width).tolist()
    parts = [flat[a:b] for a, b in itertools.pairwise(places)]
    return parts if form.width == 1 else [part.reshape(-1, form.width) for part in parts]
