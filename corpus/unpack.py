"""`voxzoo unpack`: packed sequences back to the token shards that they came from, row for row."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError, TokensError
from .layout import Packed, SequenceLayout, Utterance
from .layouts import layout_from
from .new_folder import new_folder
from .pack import FORMAT, FORMS
from .packed_schema import PackedSchema
from .shards import shard_name

__all__ = ["PackedFolder", "Unpacking", "open_packed", "unpack"]


@dataclass
class Unpacking:
    """What was unpacked."""

    output: str
    clips: int = 0
    codes: int = 0


class PackedFolder:
    """A folder that `voxzoo pack` wrote.

    Attributes:
        path, about, layout, schema: the folder, all of `layout.json`, and what it says.
        parts: rows of each part.

    Iterating gives the sequences clip by clip, `utterances()` what was packed.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        try:
            self.layout: SequenceLayout = layout_from(about["layout"])
            shard = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["shard_schema"])))
            self.schema = PackedSchema(shard, self.layout.sequences)
            self.parts = [int(rows) for rows in about["parts"]]
            self.form = FORMS[about["form"]]
            self.dataset: dict[str, Any] = dict(about["dataset"])
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise CorpusError(f"'{path}/layout.json' is damaged: {type(error).__name__}: {error}") from None

    def __len__(self) -> int:
        return sum(self.parts)

    def __iter__(self) -> Iterator[Packed]:
        for part in range(len(self.parts)):
            for table in self.tables(part):
                yield from self.schema.packed(table)

    def tables(self, part: int) -> Iterator[pa.Table]:
        """Rows of a part. Raises `TokensError` when they are damaged or not as many as there were."""
        found = 0
        for table in self.form.read(self.path, self.schema, part, self.parts):
            found += table.num_rows
            yield table
        if found != self.parts[part]:
            raise TokensError(f"part {part} of {str(self.path)!r} has {found} rows; {self.parts[part]} were packed")

    def utterances(self) -> Iterator[Utterance]:
        """What was packed, clip by clip."""
        return map(self.layout.unpack, self)


def open_packed(path: str | os.PathLike[str]) -> PackedFolder:
    """Open a folder that `voxzoo pack` wrote. Raises `CorpusError` when it is none."""
    folder = Path(path)
    try:
        about = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{str(path)!r} is not a folder of packed sequences: layout.json: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CorpusError(f"{str(path)!r} is not a folder of packed sequences of format {FORMAT}")
    return PackedFolder(folder, about)


def unpack(source: str, output: str, advance: Callable[[int, float], None] | None = None) -> Unpacking:
    """Make shards of packed sequences again.

    Args:
        source: a folder that `pack` wrote.
        output: folder for the shards.
        advance: called with the number of clips that were unpacked, and the seconds of sound that they hold.

    Raises:
        CorpusError: `source` is none, or `output` exists.
        TokensError: sequences that are damaged or that the layout does not make.
    """
    packed = open_packed(source)
    result = Unpacking(output)
    with new_folder(output) as folder:
        for part in range(len(packed.parts)):
            _write(packed, part, folder / shard_name(part), result, advance)
        text = json.dumps(packed.dataset, indent=2, ensure_ascii=False) + "\n"
        (folder / "dataset.json").write_text(text, encoding="utf-8")
        if (packed.path / "rejected.jsonl").is_file():
            shutil.copyfile(packed.path / "rejected.jsonl", folder / "rejected.jsonl")
    return result


def _write(
    packed: PackedFolder, part: int, path: Path, result: Unpacking, advance: Callable[[int, float], None] | None
) -> None:
    schema = packed.schema.shard
    settings = {"compression": "zstd", "use_dictionary": True, "write_page_checksum": True}
    with pq.ParquetWriter(path, schema, **settings) as writer:
        for table in filter(len, packed.tables(part)):
            codes = [_codes(packed, one, table, i) for i, one in enumerate(packed.schema.packed(table))]
            columns = packed.schema.carried(table)
            arrays = [_nested(codes, schema) if name == "codes" else columns[name] for name in schema.names]
            writer.write_table(pa.table(arrays, schema=schema))
            result.clips += table.num_rows
            result.codes += sum(len(stream) for clip in codes for stream in clip)
            if advance:
                samples = columns["num_samples"].to_numpy().sum()
                advance(table.num_rows, int(samples) / packed.dataset["facts"]["sample_rate"])


def _codes(packed: PackedFolder, one: Packed, table: pa.Table, i: int) -> tuple[np.ndarray, ...]:
    try:
        return packed.layout.unpack(one).codes
    except TokensError as error:
        raise TokensError(f"clip {table[packed.schema.names['id']][i].as_py()!r}: {error}") from None


def _nested(clips: list[tuple[np.ndarray, ...]], schema: pa.Schema) -> pa.Array:
    """list<list<code>> of the type that the shards have."""
    kind = schema.field("codes").type.value_type.value_type
    streams = [stream for clip in clips for stream in clip]
    flat = np.concatenate([np.zeros(0, np.int64), *streams]).astype(kind.to_pandas_dtype())
    ends = np.cumsum([0, *map(len, streams)], dtype=np.int64).astype(np.int32)
    outer = np.cumsum([0, *map(len, clips)], dtype=np.int64).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(outer), pa.ListArray.from_arrays(pa.array(ends), pa.array(flat)))
