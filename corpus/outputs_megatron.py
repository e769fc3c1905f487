"""Packed sequences as Megatron-LM's indexed datasets: flat `.bin` files that training maps into memory.

`NAME.bin` holds the ids of all sequences, one after the other. `NAME.idx`, little-endian:

    "MMIDIDX\\0\\0"              9 bytes
    version                    uint64, 1
    type of ids                uint8: 8 is uint16, 4 is int32
    sequences n                uint64
    documents + 1              uint64
    length of each sequence    int32[n], in ids
    start of each sequence     int64[n], in bytes of the .bin
    documents                  int64[n + 1], number of their first sequence: each sequence is a document

Sequences of several columns are written row by row; `layout.json` says how many columns there are.
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError, TokensError
from .layout import Form
from .outputs import Output, part_name
from .packed_schema import PackedSchema

__all__ = ["Megatron", "read_index", "write_index"]

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
CODES: dict[int, np.dtype[Any]] = {8: np.dtype("<u2"), 4: np.dtype("<i4")}


def id_type(form: Form) -> np.dtype[Any]:
    """uint16 where all ids fit, else int32."""
    return CODES[8] if form.low >= 0 and form.high <= 1 << 16 else CODES[4]


def write_index(path: Path, sizes: np.ndarray, dtype: np.dtype[Any]) -> None:
    """The .idx of sequences of so many ids."""
    code = next(code for code, known in CODES.items() if known == dtype)
    starts = np.cumsum([0, *sizes[:-1]], dtype=np.int64)[: len(sizes)] * dtype.itemsize
    with open(path, "wb") as file:
        file.write(HEADER.pack(MAGIC, 1, code, len(sizes), len(sizes) + 1))
        file.write(sizes.astype("<i4").tobytes())
        file.write(starts.astype("<i8").tobytes())
        file.write(np.arange(len(sizes) + 1, dtype="<i8").tobytes())


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a .bin (mapped into memory) and the places (n + 1,) where its sequences begin.

    Raises `TokensError` when index or ids are damaged or do not belong together.
    """
    try:
        data = path.with_suffix(".idx").read_bytes()
        magic, version, code, count, documents = HEADER.unpack_from(data)
        if magic != MAGIC or version != 1 or code not in CODES:
            raise ValueError("it does not begin as an index of version 1 with ids of 16 or 32 bits")
        if len(data) != HEADER.size + 12 * count + 8 * documents:
            raise ValueError(f"it has {len(data)} bytes, {HEADER.size + 12 * count + 8 * documents} were expected")
    except (OSError, ValueError, struct.error) as error:
        raise TokensError(f"{str(path.with_suffix('.idx'))!r} is damaged: {error}") from None
    sizes = np.frombuffer(data, "<i4", count, HEADER.size)
    starts = np.frombuffer(data, "<i8", count, HEADER.size + 4 * count)
    places = np.cumsum([0, *sizes], dtype=np.int64)
    dtype: np.dtype[Any] = CODES[code]
    if (sizes < 0).any() or not np.array_equal(starts, places[:-1] * dtype.itemsize):
        raise TokensError(f"{str(path.with_suffix('.idx'))!r} is damaged: its sequences do not follow each other")
    size = path.stat().st_size if path.is_file() else -1
    if size != places[-1] * dtype.itemsize:
        wanted = int(places[-1]) * dtype.itemsize
        raise TokensError(
            f"{str(path)!r} has {size} bytes, its index speaks of {wanted}; it was cut off or is of another index"
        )
    return (np.memmap(path, dtype, "r") if size else np.zeros(0, dtype)), places


class Megatron(Output):
    """`.bin` and `.idx` for each sequence; the other columns as Parquet in `rows/`."""

    name = "megatron"

    def __init__(self, folder: Path, schema: PackedSchema) -> None:
        if texts := [name for name, form in schema.forms.items() if form.is_text]:
            raise CorpusError(
                f"the layout makes text ({texts[0]!r}), and Megatron's files hold ids; write jsonl, parquet or hf"
            )
        super().__init__(folder, schema)
        (folder / "rows").mkdir()
        self._others = pa.schema([field for field in schema.schema if field.name not in schema.forms])
        self._bins = {name: open(folder / f"{name}.bin", "wb") for name in schema.forms}  # noqa: SIM115 - closed in `_close`
        self._sizes = {name: array("q") for name in schema.forms}

    def _begin(self, parts: int) -> None:
        path = self.folder / "rows" / part_name(self.part, "parquet")
        self._writer: Any = pq.ParquetWriter(path, self._others, compression="zstd", write_page_checksum=True)

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table.select(self._others.names))
        for packed in self.schema.packed(table):
            for name, value in packed.items():
                self._bins[name].write(value.astype(id_type(self.schema.forms[name])).tobytes())
                self._sizes[name].append(value.size)

    def _end(self) -> None:
        self._writer.close()

    def _close(self) -> None:
        for name, file in self._bins.items():
            file.close()
            sizes = np.frombuffer(self._sizes[name], np.int64)
            write_index(self.folder / f"{name}.idx", sizes, id_type(self.schema.forms[name]))

    @classmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        stored = {name: _known_index(folder / f"{name}.bin") for name in schema.forms}
        path = folder / "rows" / part_name(part, "parquet")
        original = {new: name for name, new in schema.names.items()}
        start = sum(rows[:part])
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.metadata.num_row_groups):
                    others = file.read_row_group(group)
                    packed = [_sequences(schema, stored, start + i) for i in range(others.num_rows)]
                    start += others.num_rows
                    yield schema.table(others.rename_columns([original[name] for name in others.column_names]), packed)
        except (OSError, pa.ArrowException, IndexError) as error:
            raise TokensError(f"{str(path)!r} is damaged or of other sequences: {error}") from None


def _known_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`read_index`, once for all parts as long as the files stay as they are."""
    files = [file for file in (path, path.with_suffix(".idx")) if file.is_file()]
    return _read_once(path, tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@functools.lru_cache(maxsize=4)
def _read_once(path: Path, stamps: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    return read_index(path)


def _sequences(schema: PackedSchema, stored: Any, number: int) -> dict[str, np.ndarray]:
    found = {}
    for name, form in schema.forms.items():
        ids, places = stored[name]
        flat = ids[places[number] : places[number + 1]]
        found[name] = flat if form.width == 1 else flat.reshape(-1, form.width)
    return found
