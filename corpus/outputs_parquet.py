"""Packed sequences as Parquet, and as Arrow files that Hugging Face `datasets` opens with `load_from_disk`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import TokensError
from .outputs import Output, part_name
from .packed_schema import PackedSchema

__all__ = ["HuggingFace", "Parquet"]


class Parquet(Output):
    """One file per part: zstd, dictionaries, a row group per row group of the shard."""

    name = "parquet"

    def _begin(self, parts: int) -> None:
        path = self.folder / part_name(self.part, "parquet")
        self._writer: Any = pq.ParquetWriter(path, self.schema.schema, compression="zstd", write_page_checksum=True)

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def _end(self) -> None:
        self._writer.close()

    def _close(self) -> None:
        """Nothing is left to do."""

    @classmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        path = folder / part_name(part, "parquet")
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.metadata.num_row_groups):
                    yield file.read_row_group(group)
        except (OSError, pa.ArrowException) as error:
            raise TokensError(f"{str(path)!r} is damaged: {error}") from None


class HuggingFace(Output):
    """What `datasets.Dataset.save_to_disk` writes; no part of that package is needed for it."""

    name = "hf"

    def _begin(self, parts: int) -> None:
        self._parts = parts
        self._file = open(self.folder / _arrow_name(self.part, parts), "wb")  # noqa: SIM115 - closed in `_end`
        self._writer: Any = pa.ipc.new_stream(self._file, self.schema.schema)

        self._rows = 0

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table)
        self._rows += table.num_rows

    def _end(self) -> None:
        if not self._rows:  # datasets cannot open a file without any batch
            self._writer.write_batch(pa.RecordBatch.from_pylist([], schema=self.schema.schema))
        self._writer.close()
        self._file.close()

    def _close(self) -> None:
        count = self.part + 1
        if not count:  # datasets wants at least one file
            self.begin(1)
            self.end()
            count = 1
        files = [{"filename": _arrow_name(part, count)} for part in range(count)]
        mark = hashlib.sha256("".join(_digest(self.folder / file["filename"]) for file in files).encode()).hexdigest()[:16]
        state: dict[str, Any] = {"_data_files": files, "_fingerprint": mark, "_format_columns": None, "_format_kwargs": {},
                 "_format_type": None, "_output_all_columns": False, "_split": None}  # fmt: skip
        (self.folder / "state.json").write_text(json.dumps(state, indent=2))
        (self.folder / "dataset_info.json").write_text("{}")

    @classmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        path = folder / _arrow_name(part, len(rows))
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowException) as error:
            raise TokensError(f"{str(path)!r} is damaged: {error}") from None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _arrow_name(part: int, parts: int) -> str:
    return f"data-{part:05d}-of-{parts:05d}.arrow"
