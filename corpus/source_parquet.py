"""Parquet with an audio column, as Hugging Face writes it, on this machine or at a URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError
from .clips import Clip
from .remote import is_url, url_file
from .source_rows import RowSource

__all__ = ["ParquetSource"]

BATCH = 16  # rows read at a time: sound may be large


def _opened(file: str) -> Any:
    if not is_url(file):
        return pq.ParquetFile(file)
    system, path = url_file(file)
    return pq.ParquetFile(path, filesystem=system)


class ParquetSource(RowSource):
    """Parquet files. Row groups before the first clip that is asked for are not read."""

    kind = "parquet"

    def schema_of(self, file: str) -> pa.Schema:
        """Schema without metadata."""
        try:
            with _opened(file) as parquet:
                return parquet.schema_arrow.remove_metadata()
        except (OSError, pa.ArrowException) as error:
            raise CorpusError(f"{file!r} is not a whole Parquet file: {error}") from None

    def read(self, start: int, columns: list[str] | None) -> Iterator[Clip]:
        """Clips from number `start` on, made from these columns; None: from all."""
        first = 0
        for file in self.files:
            with _opened(file) as parquet:
                row = 0
                for group in range(parquet.num_row_groups):
                    size = parquet.metadata.row_group(group).num_rows
                    if first + row + size > start:
                        yield from self._group(file, parquet, group, row, max(0, start - first - row), columns)
                    row += size
                first += row

    def _group(self, file: str, parquet: Any, group: int, row: int, skip: int, columns: list[str] | None) -> Iterator[Clip]:
        """Clips of a row group that begins at `row`, but for the first `skip`; damage costs the rows after it."""
        first, end = row + skip, row + parquet.metadata.row_group(group).num_rows
        if columns == []:
            yield from (self.clip(file, number, {}) for number in range(first, end))
            return
        try:
            for batch in parquet.iter_batches(BATCH, row_groups=[group], columns=columns):
                left = batch.slice(min(len(batch), max(0, first - row)))
                for number, values in enumerate(left.to_pylist(), row + len(batch) - len(left)):
                    yield self.clip(file, number, values)
                row += len(batch)
        except (OSError, pa.ArrowException) as error:
            yield from self.lost(file, range(max(first, row), end), error)
