"""Rows with an audio column: what Parquet and Arrow files of the Hugging Face kind have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip
from .remote import folder_of, join, size_of
from .source_tar import stem_of
from .sources import Source

__all__ = ["RowSource"]

IDS = ("id", "__key__", "key", "utt_id")
PATH_COLUMNS = ("audio", "path", "audio_filepath", "file_name", "file")


class RowSource(Source):
    """Files of rows with one audio column: struct of `bytes` and `path`, binary, or paths relative to the file's folder.

    Ids are the column `id` (or `__key__`, `key`, `utt_id`); without one, the file's name and the row's number.
    Raises `CorpusError` when a file cannot be read, has no audio column, or another schema than the first.
    """

    def __init__(self, files: Sequence[str], root: str) -> None:
        self.files, self.root = list(files), root
        self.schema = self.schema_of(self.files[0])
        self.audio = _audio_column(self.schema, self.files[0])
        self.id = next((name for name in IDS if name in self.schema.names), None)
        for file in self.files[1:]:
            if not self.schema_of(file).equals(self.schema):
                raise CorpusError(f"{file!r} has other columns than {self.files[0]!r}; tokenize them one by one")

    @abstractmethod
    def schema_of(self, file: str) -> pa.Schema:
        """Schema of a file, without metadata. Raises `CorpusError`."""

    @abstractmethod
    def read(self, start: int, columns: list[str] | None) -> Iterator[Clip]:
        """Clips from number `start` on, made from these columns; None: from all."""

    def fields(self) -> list[tuple[str, pa.DataType, bool]]:
        """Plain types as they are, all kinds of text as string; others as JSON."""
        carried = [f for f in self.schema if f.name not in (self.audio, self.id)]
        return [(f.name, *_carried(f.type)) for f in carried]

    def contents(self) -> Iterable[tuple[str, int]]:
        """The files and their sizes."""
        return [(file.removeprefix(self.root), size_of(file)) for file in self.files]

    def listing(self) -> Iterator[Clip]:
        """Ids only."""
        return self.read(0, [self.id] if self.id else [])

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on, with their sound."""
        return self.read(start, None)

    def clip(self, file: str, row: int, values: dict[str, Any]) -> Clip:
        """The clip of a row; `values` is used up."""
        where = f"{file}:{row}"
        id = values.pop(self.id, None) if self.id else None
        name = f"{stem_of(file, self.root)}-{row:08d}" if id in (None, "") else str(id)
        sound = values.pop(self.audio, None)
        if isinstance(sound, dict):
            sound = sound.get("bytes") or sound.get("path")
        if isinstance(sound, str):
            return Clip(name, where, join(folder_of(file), sound), values)
        if sound is None:
            return Clip(name, where, b"", values, problem=f"{where} has no sound (null)")
        return Clip(name, where, sound, values)

    def lost(self, file: str, rows: range, error: Exception) -> Iterator[Clip]:
        """Rows that cannot be read, as clips with a problem."""
        for row in rows:
            where = f"{file}:{row}"
            yield Clip(f"{stem_of(file, self.root)}-{row:08d}", where, b"", problem=f"{where} cannot be read: {error}")


def _audio_column(schema: pa.Schema, file: str) -> str:
    def holds(field: pa.Field) -> bool:
        kind = field.type
        if pa.types.is_struct(kind):
            return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    texts = [
        name for name in PATH_COLUMNS if name in schema.names and schema.field(name).type in (pa.string(), pa.large_string())
    ]
    found = [field.name for field in schema if holds(field)]
    if "audio" in found or (not found and texts):
        return "audio" if "audio" in found else texts[0]
    if len(found) != 1:
        raise CorpusError(f"{file!r} has {len(found) or 'no'} audio columns among {schema.names}; expected one called `audio`")
    return found[0]


def _carried(kind: pa.DataType) -> tuple[pa.DataType, bool]:
    """Type under which a column is carried, and whether as JSON."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if inner in (pa.string(), pa.large_string(), pa.string_view()):
        return pa.string(), False
    return (kind, False) if _is_plain(kind) else (pa.string(), True)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    return bool(pa.types.is_integer(kind) or kind in (pa.float32(), pa.float64(), pa.bool_(), pa.string()))
