"""Manifests: `.jsonl`, `.csv`, `.tsv` and Kaldi `wav.scp`. Paths are relative to the manifest's folder.

A line that cannot be used becomes a clip with a problem, so that it ends in `rejected.jsonl` and the rest goes on.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from ..core.errors import CorpusError
from .clips import Clip
from .sources import Source

__all__ = ["Manifest", "open_manifest"]

PATHS = ("path", "audio_filepath", "file_name")  # the usual names of the column that holds the path
FIELD_LIMIT = 1 << 27  # characters of one CSV cell; Python's own limit is 128 KiB


def open_manifest(path: str) -> Manifest:
    """A manifest file by its extension. Raises `CorpusError` when it is empty, has no path column, or is of lhotse."""
    name = path.lower()
    if name.endswith((".jsonl", ".json")):
        return JsonLines(path)
    if name.endswith((".csv", ".tsv")):
        return Table(path)
    return Kaldi(path)


class Manifest(Source):
    """Reads its file anew for every pass; nothing is kept in memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = os.path.dirname(path)
        try:
            if next(self._clips(), None) is None:
                raise CorpusError(f"manifest {path!r} lists no clips")
        except OSError as error:
            raise CorpusError(f"manifest {path!r} cannot be read: {error.strerror or error}") from None

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        return itertools.islice(self._clips(), start, None)

    @abstractmethod
    def _clips(self) -> Iterator[Clip]:
        """All clips, read from the file."""

    def _lines(self) -> Iterator[tuple[int, str]]:
        """(number, text) of lines that are not blank. Bytes that are not UTF-8 stay as they are in file names."""
        with open(self.path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")

    def _bad(self, number: int, reason: str, id: Any = None) -> Clip:
        where = f"{self.path}:{number}"
        return Clip(str(id) if id else f"line-{number:08d}", where, where, problem=f"{where!r}: {reason}")

    def _row(self, number: int, row: dict[Any, Any]) -> Clip:
        key = next((k for k in PATHS if row.get(k)), None)
        if key is None or not isinstance(row[key], str):
            return self._bad(number, f"no text under {' or '.join(PATHS[:2])}", row.get("id"))
        if row.get("offset") not in (None, "", 0, 0.0, "0", "0.0"):
            return self._bad(
                number, f"offset={row['offset']!r}: parts of files are not read; cut the files first", row.get("id")
            )
        id = row.get("id")
        name = row[key] if id in (None, "") else id
        path = os.path.join(self.root, row[key])
        columns = {str(k): v for k, v in row.items() if k not in (key, "id")}
        return Clip(os.path.splitext(row[key])[0] if name is row[key] else str(name), path, path, columns)


class JsonLines(Manifest):
    """One object a line."""

    kind = "jsonl"

    def _clips(self) -> Iterator[Clip]:
        for count, (number, line) in enumerate(self._lines()):
            if not count and line.strip() == "[":
                raise CorpusError(f"manifest {self.path!r} is a JSON array; expected one object a line (JSON Lines)")
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield self._bad(number, f"not JSON: {error}")
                continue
            if not isinstance(row, dict):
                yield self._bad(number, f"a {type(row).__name__}; expected an object with a `path`")
                continue
            if not count and ("recording" in row or "sources" in row or str(row.get("type", "")).endswith("Cut")):
                raise CorpusError(
                    f"manifest {self.path!r} holds lhotse cuts, which this version does not read; write a .jsonl with a `path` "
                    "and an `id` in each line (cut.save_audio(...) for parts of recordings)"
                )
            yield self._row(number, row)


class Table(Manifest):
    """CSV (quoted as usual) or TSV (no quoting), the first line naming the columns. Values are text."""

    kind = "table"

    def _clips(self) -> Iterator[Clip]:
        tabs = self.path.lower().endswith(".tsv")
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))
        with open(self.path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = (line.replace("\0", "") for line in file)
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
            head = next(rows, [])
            if not set(PATHS) & set(head):
                raise CorpusError(f"manifest {self.path!r} has columns {head}; expected one called {' or '.join(PATHS[:2])}")
            while (row := self._next(rows)) is not None:
                if isinstance(row, str):
                    yield self._bad(rows.line_num, row)
                elif len(row) != len(head):
                    yield self._bad(rows.line_num, f"{len(row)} cells; the head has {len(head)}")
                else:
                    yield self._row(rows.line_num, dict(zip(head, row, strict=True)))

    @staticmethod
    def _next(rows: Any) -> list[str] | str | None:
        """The next row that is not blank, what is wrong with it, or None at the end."""
        try:
            return next((row for row in rows if row), None)
        except csv.Error as error:
            return f"not a row of a table: {error}"


class Kaldi(Manifest):
    """`wav.scp`: an id, blanks, and a path that may hold blanks itself."""

    kind = "wav.scp"

    def _clips(self) -> Iterator[Clip]:
        for number, line in self._lines():
            id, *rest = line.strip().split(maxsplit=1)
            if not rest:
                yield self._bad(number, "an id without a path", id)
            elif rest[0].endswith("|"):
                yield self._bad(
                    number, "a command (it ends in `|`), which is not run; write sound files and list their paths", id
                )
            else:
                path = os.path.join(self.root, rest[0])
                yield Clip(id, path, path)
