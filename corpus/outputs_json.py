"""Packed sequences as JSON lines, and as WebDataset tars of JSON and numpy arrays."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import CorpusError, TokensError
from .outputs import Output, part_name
from .packed_schema import PackedSchema

__all__ = ["JsonLines", "WebDataset"]

ROWS = 1000  # of a table when reading


def _check_columns(schema: PackedSchema, form: str) -> None:
    """Raise `CorpusError` for columns of which JSON would not give the values back."""
    for field in schema.schema:
        kind = field.type
        while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        plain = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)
        if not plain:
            raise CorpusError(
                f"the column {field.name!r} is {field.type}, which {form} cannot hold; write parquet, hf or megatron"
            )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        yield from batch.to_pylist()


def _tables(rows: Iterator[Mapping[str, Any]], schema: PackedSchema, path: Path) -> Iterator[pa.Table]:
    waiting: list[Mapping[str, Any]] = []
    try:
        for row in rows:
            waiting.append(row)
            if len(waiting) == ROWS:
                yield pa.Table.from_pylist(waiting, schema=schema.schema)
                waiting = []
        if waiting:
            yield pa.Table.from_pylist(waiting, schema=schema.schema)
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError, pa.ArrowException) as error:
        raise TokensError(f"{str(path)!r} is damaged: {type(error).__name__}: {error}") from None


class JsonLines(Output):
    """One object a line: all columns, sequences as lists."""

    name = "jsonl"

    def __init__(self, folder: Path, schema: PackedSchema) -> None:
        _check_columns(schema, self.name)
        super().__init__(folder, schema)

    def _begin(self, parts: int) -> None:
        self._file = open(self.folder / part_name(self.part, "jsonl"), "w", encoding="utf-8")  # noqa: SIM115 - closed in `_end`

    def _write(self, table: pa.Table) -> None:
        for row in _rows(table):
            self._file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _end(self) -> None:
        self._file.close()

    def _close(self) -> None:
        """Nothing is left to do."""

    @classmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        path = folder / part_name(part, "jsonl")

        def samples() -> Iterator[dict[str, Any]]:
            with open(path, encoding="utf-8") as file:
                yield from map(json.loads, file)

        return _tables(samples(), schema, path)


class WebDataset(Output):
    """One tar per part; a sample is KEY.json (all other columns) and KEY.<sequence>.npy (int32) or .txt.

    KEY is a number, since ids may hold dots and slashes; the id is in the JSON.
    """

    name = "webdataset"

    def __init__(self, folder: Path, schema: PackedSchema) -> None:
        _check_columns(schema, self.name)
        super().__init__(folder, schema)
        self._number = 0

    def _begin(self, parts: int) -> None:
        path = self.folder / part_name(self.part, "tar")
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed in `_end`

    def _write(self, table: pa.Table) -> None:
        forms = self.schema.forms
        others = table.drop_columns(list(forms))
        for row, packed in zip(_rows(others), self.schema.packed(table), strict=True):
            key = f"{self._number:09d}"
            self._add(f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
            for name, value in packed.items():
                if forms[name].is_text:
                    self._add(f"{key}.{name}.txt", value.encode())
                else:
                    buffer = io.BytesIO()
                    np.save(buffer, value, allow_pickle=False)
                    self._add(f"{key}.{name}.npy", buffer.getvalue())
            self._number += 1

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def _end(self) -> None:
        self._tar.close()

    def _close(self) -> None:
        """Nothing is left to do."""

    @classmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        path = folder / part_name(part, "tar")

        def samples() -> Iterator[dict[str, Any]]:
            with tarfile.open(path, "r:") as tar:
                members = iter(tar)
                for member in members:
                    row = json.loads(_member(tar, member))
                    for name, form in schema.forms.items():
                        data = _member(tar, next(members, None))
                        row[name] = data.decode() if form.is_text else np.load(io.BytesIO(data), allow_pickle=False).tolist()
                    yield row

        return _tables(samples(), schema, path)


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> bytes:
    file = tar.extractfile(member) if member else None
    if file is None or member is None:
        raise EOFError("a sample is not complete")
    data = file.read()
    if len(data) != member.size:
        raise EOFError(f"{member.name} is cut off")
    return data
