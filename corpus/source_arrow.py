"""Folders that Hugging Face `datasets` saves (`save_to_disk`): Arrow streams, read in place without that package."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip
from .source_rows import RowSource

__all__ = ["ArrowSource", "saved_files"]


def saved_files(folder: str) -> list[str]:
    """Arrow files of a saved dataset, in order; of a saved dict of splits, those of all splits. Empty for other folders.

    Raises `CorpusError` when the folder's own list of files is damaged.
    """
    root = Path(folder)
    try:
        if (root / "dataset_dict.json").is_file():
            splits = json.loads((root / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            return [file for split in splits for file in saved_files(str(root / split))]
        if (root / "state.json").is_file():
            state = json.loads((root / "state.json").read_text(encoding="utf-8"))
            return [str(root / data["filename"]) for data in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{folder!r} is a damaged Hugging Face dataset: {type(error).__name__}: {error}") from None
    return []


class ArrowSource(RowSource):
    """Arrow files of a saved dataset, mapped into memory: nothing is copied but the sound that is tokenized."""

    kind = "datasets"

    def schema_of(self, file: str) -> pa.Schema:
        """Schema without metadata."""
        try:
            with pa.memory_map(file) as mapped, pa.ipc.open_stream(mapped) as stream:
                return stream.schema.remove_metadata()
        except (OSError, pa.ArrowException) as error:
            raise CorpusError(f"{file!r} is not a whole Arrow file: {error}") from None

    def read(self, start: int, columns: list[str] | None) -> Iterator[Clip]:
        """Clips from number `start` on, made from these columns; None: from all. Damage costs what follows it in the file."""
        names, before = self.schema.names if columns is None else columns, 0
        for file in self.files:
            row = 0
            try:
                with pa.memory_map(file) as mapped, pa.ipc.open_stream(mapped) as stream:
                    for batch in stream:
                        for i in range(max(0, start - before - row), len(batch)):
                            yield self.clip(file, row + i, {name: batch[name][i].as_py() for name in names})
                        row += len(batch)
            except (OSError, pa.ArrowException) as error:
                name = os.path.basename(file)
                if before + row >= start:
                    yield Clip(f"{name}(damaged)", file, file, problem=f"{file!r} is damaged after row {row}: {error}")
                row += 1
            before += row
