"""Clips packed in files: WebDataset tars, and Parquet with an audio column (as Hugging Face writes it, binary, or paths)."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError
from .clips import Clip, Span
from .sources import SOUND, Source

__all__ = ["ParquetSource", "TarSource"]

IDS = ("id", "__key__", "key", "utt_id")
PATH_COLUMNS = ("audio", "path", "audio_filepath", "file_name", "file")
BATCH = 16  # rows read at a time: sound may be large


class TarSource(Source):
    """WebDataset: neighbouring members that share a name up to its first dot are one sample.

    It holds sound, and perhaps `.json` or `.txt` about it. The id is the sample's key, after the tar's own name where there
    are several tars; a sample with several sounds gives one clip for each, the extension added to the id.
    """

    kind = "webdataset"

    def __init__(self, files: Sequence[str], root: str | None = None) -> None:
        self.files = list(files)
        self.root = os.path.dirname(self.files[0]) if root is None else root

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on; members of plain tars are read later, where they are needed."""
        number = 0
        for file in self.files:
            prefix = f"{_stem(file, self.root)}/" if len(self.files) > 1 else ""
            for clip in self._tar(file, prefix):
                if number >= start:
                    yield clip
                number += 1

    def _tar(self, file: str, prefix: str) -> Iterator[Clip]:
        key: str | None = None
        members: dict[str, bytes | Span] = {}
        try:
            for name, data in _members(file):
                folder, base = os.path.split(name)
                stem, _, extension = base.partition(".")
                found = os.path.join(folder, stem)
                if found != key and key is not None:
                    yield from _sample(file, prefix, key, members)
                    members = {}
                key = found
                members[extension] = data
        except (tarfile.TarError, EOFError, OSError) as error:
            yield Clip(f"{prefix}(damaged)", file, file, problem=f"{file!r} is damaged after {key!r}: {error}")
        if key is not None:
            yield from _sample(file, prefix, key, members)


def _members(file: str) -> Iterator[tuple[str, bytes | Span]]:
    """(name, data) of the plain files of a tar; where they lie, if it is not compressed and they are sound."""
    plain = file.lower().endswith(".tar")
    with tarfile.open(file, "r:" if plain else "r|*") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all of them
            name = member.name
            if not member.isfile() or os.path.basename(name).startswith("."):
                continue
            if plain and os.path.splitext(name)[1].lower() in SOUND:
                yield name, Span(file, member.offset_data, member.size)
            else:
                content = tar.extractfile(member)
                yield name, content.read() if content else b""


def _sample(file: str, prefix: str, key: str, members: dict[str, bytes | Span]) -> Iterator[Clip]:
    columns: dict[str, Any] = {}
    problem = None
    if isinstance(text := members.get("txt"), bytes):
        columns["txt"] = text.decode("utf-8", "backslashreplace").strip()
    if isinstance(sidecar := members.get("json"), bytes):
        try:
            columns |= json.loads(sidecar)
        except (ValueError, TypeError) as error:
            problem = f"{file}:{key}.json is not a JSON object: {error}"
    sounds = [extension for extension in members if f".{extension.rpartition('.')[2].lower()}" in SOUND]
    id = str(columns.pop("id", None) or f"{prefix}{key}")
    for extension in sounds:
        name = id if len(sounds) == 1 else f"{id}.{extension}"
        yield Clip(name, f"{file}:{key}.{extension}", members[extension], columns, problem=problem)
    if not sounds:
        has = ", ".join(sorted(members))
        yield Clip(id, f"{file}:{key}", b"", columns, problem=f"{file}:{key} holds no sound (it has {has})")


def _stem(file: str, root: str) -> str:
    name = os.path.relpath(file, root or ".").replace(os.sep, "/")
    for ending in (".tar.gz", ".tgz", ".tar", ".parquet"):
        name = name.removesuffix(ending)
    return name


class ParquetSource(Source):
    """Parquet files with one audio column: struct of `bytes` and `path`, binary, or paths relative to the file's folder.

    Ids are the column `id` (or `__key__`, `key`, `utt_id`); without one, the file's name and the row's number.
    Raises `CorpusError` when a file cannot be read, has no audio column, or another schema than the first.
    """

    kind = "parquet"

    def __init__(self, files: Sequence[str], root: str) -> None:
        self.files, self.root = list(files), root
        schemas = [_schema(file) for file in self.files]
        self.audio = _audio_column(schemas[0], self.files[0])
        self.id = next((name for name in IDS if name in schemas[0].names), None)
        self.schema = schemas[0]
        for file, schema in zip(self.files, schemas, strict=True):
            if not schema.equals(self.schema):
                raise CorpusError(f"{file!r} has other columns than {self.files[0]!r}; tokenize them one by one")

    def fields(self) -> list[tuple[str, pa.DataType, bool]]:
        """Plain types as they are, all kinds of text as string; others as JSON."""
        carried = [f for f in self.schema if f.name not in (self.audio, self.id)]
        return [(f.name, *_carried(f.type)) for f in carried]

    def listing(self) -> Iterator[Clip]:
        """Ids only."""
        return self._read(0, [self.id] if self.id else [])

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on, with their sound; row groups before it are not read."""
        return self._read(start, None)

    def _read(self, start: int, columns: list[str] | None) -> Iterator[Clip]:
        first = 0
        for file in self.files:
            with pq.ParquetFile(file) as parquet:
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
            yield from (self._clip(file, number, {}) for number in range(first, end))
            return
        try:
            for batch in parquet.iter_batches(BATCH, row_groups=[group], columns=columns):
                left = batch.slice(min(len(batch), max(0, first - row)))
                for number, values in enumerate(left.to_pylist(), row + len(batch) - len(left)):
                    yield self._clip(file, number, values)
                row += len(batch)
        except (OSError, pa.ArrowException) as error:
            for number in range(max(first, row), end):
                where, name = f"{file}:{number}", f"{_stem(file, self.root)}-{number:08d}"
                yield Clip(name, where, b"", problem=f"{where} cannot be read: {error}")

    def _clip(self, file: str, row: int, values: dict[str, Any]) -> Clip:
        where = f"{file}:{row}"
        id = values.pop(self.id, None) if self.id else None
        name = f"{_stem(file, self.root)}-{row:08d}" if id in (None, "") else str(id)
        sound = values.pop(self.audio, None)
        if isinstance(sound, dict):
            sound = sound.get("bytes") or sound.get("path")
        if isinstance(sound, str):
            return Clip(name, where, os.path.join(os.path.dirname(file), sound), values)
        if sound is None:
            return Clip(name, where, b"", values, problem=f"{where} has no sound (null)")
        return Clip(name, where, sound, values)


def _schema(file: str) -> pa.Schema:
    try:
        return pq.read_schema(file).remove_metadata()
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{file!r} is not a whole Parquet file: {error}") from None


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
