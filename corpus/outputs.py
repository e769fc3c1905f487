"""Forms in which packed sequences are written, each of which can be read back: one file per form, all behind `Output`.

parquet      OUT/part-00000.parquet ...                     outputs_parquet.py
hf           OUT/data-00000-of-00002.arrow ..., for datasets.load_from_disk
jsonl        OUT/part-00000.jsonl ...                       outputs_json.py
webdataset   OUT/part-00000.tar ...: KEY.json, KEY.ids.npy
megatron     OUT/ids.bin and ids.idx, one pair per sequence; OUT/rows/ holds the other columns      outputs_megatron.py
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from .packed_schema import PackedSchema

__all__ = ["Output", "part_name"]


def part_name(part: int, ending: str) -> str:
    """File name of a part."""
    return f"part-{part:05d}.{ending}"


class Output(ABC):
    """Sequences written to `folder`, part by part; a part is what came of a shard.

    Attributes:
        name: of the form.

    Raises `CorpusError` where the form cannot hold what the schema says.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, schema: PackedSchema) -> None:
        self.folder, self.schema = folder, schema
        self.part = -1

    # ------------------------------------------------------------------ use
    def begin(self, parts: int) -> None:
        """The next part, of `parts` in all."""
        self.part += 1
        self._begin(parts)

    def write(self, table: pa.Table) -> None:
        """Rows of `schema.schema`."""
        self._write(table)

    def end(self) -> None:
        """The part is complete."""
        self._end()

    def close(self) -> None:
        """All parts are there."""
        self._close()

    @classmethod
    def read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]:
        """Rows of a part, in order; `rows`: how many each part has. Raises `TokensError` when it is damaged."""
        return cls._read(folder, schema, part, rows)

    # ------------------------------------------------------------------ what a form implements
    @abstractmethod
    def _begin(self, parts: int) -> None: ...

    @abstractmethod
    def _write(self, table: pa.Table) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @classmethod
    @abstractmethod
    def _read(cls, folder: Path, schema: PackedSchema, part: int, rows: Sequence[int]) -> Iterator[pa.Table]: ...
