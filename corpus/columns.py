"""Columns of a manifest, carried into the shards under one schema that is known before the first row is written.

The rule, over the whole source: all values boolean -> bool; whole numbers of 64 bits -> int64; whole numbers and fractions
-> float64 (while the whole ones are exact in it); text, or nothing but nulls -> string; anything else or a mixture -> string
holding each value as JSON (the field's metadata says `json`). CSV and TSV values are text. A Parquet source keeps the types
of its plain columns. A name that is one of ours gets `source_` in front.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from .clips import printable

__all__ = ["Columns", "Observed"]

JSON_FIELD = {b"voxzoo": b"json"}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= 1 << 53 else "long" if -(1 << 63) <= value < 1 << 63 else "json"
    return {float: "float", str: "text"}.get(type(value), "json")


def _resolve(kinds: set[str]) -> tuple[pa.DataType, bool]:
    """Arrow type, and whether values are written as JSON."""
    if kinds == {"bool"}:
        return pa.bool_(), False
    if kinds and kinds <= {"int", "long"}:
        return pa.int64(), False
    if kinds and kinds <= {"int", "float"}:
        return pa.float64(), False
    return pa.string(), not kinds <= {"text"}


@dataclass
class Observed:
    """Kinds of values seen in each column, in the order in which the columns first appear."""

    kinds: dict[str, set[str]] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Look at one row."""
        for name, value in row.items():
            kinds = self.kinds.get(name)
            if kinds is None:
                kinds = self.kinds[name] = set()
            if value is not None:
                kinds.add("text" if type(value) is str else _kind(value))

    def fields(self) -> list[tuple[str, pa.DataType, bool]]:
        """(name, Arrow type, as JSON) of each column."""
        return [(name, *_resolve(kinds)) for name, kinds in self.kinds.items()]


class Columns:
    """Carried columns of a dataset.

    Args:
        fields: (name in the source, Arrow type, as JSON).
        taken: names of our own columns.
    """

    def __init__(self, fields: Sequence[tuple[str, pa.DataType, bool]], taken: Sequence[str]) -> None:
        names = {*taken}
        self.plan: list[tuple[str, pa.Field]] = []
        for source, kind, as_json in fields:
            name = printable(source)
            while name in names:
                name = f"source_{name}"
            names.add(name)
            self.plan.append((source, pa.field(name, kind, metadata=JSON_FIELD if as_json else None)))

    @property
    def fields(self) -> list[pa.Field]:
        """Arrow fields, in order."""
        return [arrow for _, arrow in self.plan]

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> list[pa.Array]:
        """One array per column; a row without a value has null."""
        return [pa.array([_value(row.get(name), arrow) for row in rows], type=arrow.type) for name, arrow in self.plan]


def _value(value: Any, arrow: pa.Field) -> Any:
    if value is None:
        return None
    if arrow.metadata:
        return printable(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))
    if pa.types.is_floating(arrow.type):
        return float(value)
    return printable(value) if isinstance(value, str) else value
