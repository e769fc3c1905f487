"""Manifests: `.jsonl` (NeMo's and Emilia's among them), `.csv` and `.tsv` (fairseq's too), here or at a URL, gzipped or not.

Paths are relative to the manifest's folder. A row with `offset` (and perhaps `duration`), in seconds, is a part of its file;
one with a `duration` alone is the whole file. A line that cannot be used becomes a clip with a problem, so that it ends in
`rejected.jsonl` and the rest goes on. lhotse's cuts are in `source_lhotse.py`, Kaldi's tables in `source_kaldi.py`.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import os
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from ..core.errors import CorpusError
from .clips import Clip
from .parts import Part
from .remote import folder_of, join, open_binary, open_lines
from .sources import Source

__all__ = ["Manifest", "open_manifest"]

PATHS = ("path", "audio_filepath", "file_name", "wav", "audio")  # the usual names of the column that holds the path
DECODE = json.JSONDecoder().raw_decode
FIELD_LIMIT = 1 << 27  # characters of one CSV cell; Python's own limit is 128 KiB


def open_manifest(path: str) -> Manifest:
    """A manifest file by its extension. Raises `CorpusError` when it is empty, or has no column of paths."""
    from .source_kaldi import KaldiTable
    from .source_lhotse import Cuts, holds_cuts

    name = path.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".json")):
        return Cuts(path) if holds_cuts(path) else JsonLines(path)
    if name.endswith((".csv", ".tsv")):
        return Table(path)
    return KaldiTable(path)


class Manifest(Source):
    """Reads its file anew for every pass; nothing is kept in memory."""

    told_by_contents = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.root = folder_of(path)
        try:
            if next(self._clips(), None) is None:
                raise CorpusError(f"manifest {path!r} lists no clips")
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(f"manifest {path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        return itertools.islice(self._clips(), start, None)

    def contents(self) -> list[tuple[str, str]]:
        """The files that make the manifest, and their sha256."""
        return [(file.removeprefix(self.root), _sha256(file)) for file in self._files()]

    def _files(self) -> list[str]:
        return [self.path]

    @abstractmethod
    def _clips(self) -> Iterator[Clip]:
        """All clips, read from the file."""

    def _lines(self) -> Iterator[tuple[int, str]]:
        """(number, text) of lines that are not blank."""
        with open_lines(self.path) as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text

    def _bad(self, number: int, reason: str, id: Any = None) -> Clip:
        where = f"{self.path}:{number}"
        return Clip(str(id) if id else f"line-{number:08d}", where, where, problem=f"{where!r}: {reason}")

    def _row(self, number: int, row: dict[str, Any]) -> Clip:
        """The clip of a row, which is used up."""
        for key in PATHS:
            if row.get(key):
                break
        if not isinstance(row.get(key), str):
            return self._bad(number, f"no text under {' or '.join(PATHS[:2])}", row.get("id"))
        id, part = row.get("id"), None
        if row.get("offset") not in (None, ""):
            try:
                part = _part(row)
            except (TypeError, ValueError) as error:
                return self._bad(number, f"offset={row['offset']!r}, duration={row.get('duration')!r}: {error}", id)
        file = row.pop(key)
        row.pop("id", None)
        path = join(self.root, file)
        name = str(id) if id not in (None, "") else os.path.splitext(file)[0] + _span(part)
        return Clip(name, path, path, row, part=part)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _part(row: dict[str, Any]) -> Part | None:
    """The part that `offset` and `duration` name; None for all of the file. Raises `ValueError`."""
    start = float(row["offset"])
    duration = None if row.get("duration") in (None, "") else float(row["duration"])
    if not (0 <= start < math.inf and (duration is None or 0 < duration < math.inf)):
        raise ValueError("expected an offset from 0 on and a positive duration, in seconds")
    return None if duration is None and not start else Part(start, duration)


def _span(part: Part | None) -> str:
    """What tells parts of one file apart in their ids: begin and end in ms."""
    if part is None:
        return ""
    end = "" if part.duration is None else f"-{1000 * (part.start + part.duration):08.0f}"
    return f"-{1000 * part.start:08.0f}{end}"


class JsonLines(Manifest):
    """One object a line."""

    kind = "jsonl"

    def _clips(self) -> Iterator[Clip]:
        for count, (number, line) in enumerate(self._lines()):
            if not count and line == "[":
                raise CorpusError(f"manifest {self.path!r} is a JSON array; expected one object a line (JSON Lines)")
            try:
                row, end = DECODE(line)
                if end < len(line):
                    raise ValueError(f"more than one value, the second from column {end + 1} on")
            except (ValueError, RecursionError) as error:
                yield self._bad(number, f"not JSON: {error}")
                continue
            if not isinstance(row, dict):
                yield self._bad(number, f"a {type(row).__name__}; expected an object with a `path`")
                continue
            yield self._row(number, row)


class Table(Manifest):
    """CSV (quoted as usual) or TSV (no quoting), the first line naming the columns. Values are text.

    fairseq's form of TSV is known by its first line, a folder alone: rows are a path below it and a number of samples.
    """

    kind = "table"

    def _clips(self) -> Iterator[Clip]:
        tabs = self.path.lower().removesuffix(".gz").endswith(".tsv")
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))
        with open_lines(self.path) as file:
            lines = (line.replace("\0", "") for line in file)
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
            head = next(rows, [])
            if tabs and len(head) == 1 and head[0] not in PATHS:
                yield from self._fairseq(head[0], rows)
                return
            if not set(PATHS) & set(head):
                raise CorpusError(f"manifest {self.path!r} has columns {head}; expected one called {' or '.join(PATHS[:2])}")
            for row in self._rows(rows):
                if isinstance(row, str):
                    yield self._bad(rows.line_num, row)
                elif len(row) != len(head):
                    yield self._bad(rows.line_num, f"{len(row)} cells; the head has {len(head)}")
                else:
                    yield self._row(rows.line_num, dict(zip(head, row, strict=True)))

    def _fairseq(self, root: str, rows: Any) -> Iterator[Clip]:
        folder = join(self.root, root)
        for row in self._rows(rows):
            if isinstance(row, str) or len(row) != 2 or not row[1].isdigit():
                raise CorpusError(
                    f"manifest {self.path!r} has the column {root!r} alone; expected one called {' or '.join(PATHS[:2])}, or "
                    "fairseq's form: a folder, then lines of a path and a number of samples"
                )
            path = join(folder, row[0])
            yield Clip(os.path.splitext(row[0])[0], path, path, {"num_frames": int(row[1])})

    @staticmethod
    def _rows(rows: Any) -> Iterator[list[str] | str]:
        """Rows that are not blank, or what is wrong with one."""
        while True:
            try:
                row = next((row for row in rows if row), None)
            except csv.Error as error:
                yield f"not a row of a table: {error}"
                continue
            if row is None:
                return
            yield row
