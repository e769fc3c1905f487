"""The private record of a run of `bench`: what was measured, line by line, so that a run killed at any moment goes on.

    DIR/.voxzoo/run.json        what the record is of: source, rate, version of the record
    DIR/.voxzoo/record.jsonl    one line per clip and run, appended; a torn last line is dropped

A *cell* is what one family of metrics gave for one clip and one entry. Cells are found again by the clip's number and by keys
that hold everything their values depend on, so another entry or metric adds cells, and another version of a library
misses them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import CorpusError
from ..corpus.claim import Claim

__all__ = ["FORMAT", "Cell", "Journal"]

FORMAT = "voxzoo.bench-record/1"
RESULTS = ("results.json", "scores.parquet", "rejected.jsonl")
REPORT = ("report.html", "table.md")
HINT = "name another folder, or start afresh with --overwrite"
Cell = dict[str, Any]


class Journal(Claim):
    """The record in an output folder, locked until `close` (or the end of the process).

    Attributes:
        cells: (clip's number, entry's key, family's key) -> cell, without what is large.
        vectors: (clip's number, family's key) -> name -> vector of the original, which every entry's cell holds.
        seconds: clip's number -> seconds of sound.
        stamps: clip's number -> what its sound is told by from other sound of the same path; cells of another are dropped.
        costs: key of an entry and of how its cost was measured -> values and reasons.

    Raises `CorpusError` when another run is writing into the folder, or when it holds files that are not ours.
    """

    kind = "a benchmark"
    safe = "what was measured is"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.cells: dict[tuple[int, str, str], Cell] = {}
        self.vectors: dict[tuple[int, str], dict[str, list[float]]] = {}
        self.seconds: dict[int, float] = {}
        self.stamps: dict[int, list[int]] = {}
        self.costs: dict[str, Cell] = {}
        self._file = -1
        super().__init__(path)
        self._about, self._lines = self.private / "run.json", self.private / "record.jsonl"

    def close(self) -> None:
        """Let another run in."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        super().close()

    def begin(self, about: Mapping[str, Any], resume: bool = True, overwrite: bool = False) -> None:
        """Claim the folder for a run, or find that its record is of the same clips, and read it.

        Raises `CorpusError` when it is of another source or rate, or cannot be told, or with `resume=False` when there is any.
        """
        with self.writing():
            if overwrite:
                self._empty()
            old = _read(self._about)
            if old is not None:
                _compare(str(self.path), old, about, resume)
            elif self._lines.exists():
                raise CorpusError(f"{str(self.path)!r} holds a benchmark, but no run.json of this version: {HINT}")
            else:
                self.write(self._about, json.dumps(dict(about), indent=2) + "\n")
            self._file = os.open(self._lines, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._file, _whole_lines(self._lines))
        for line in self._all_lines():
            self._take(line)

    def _empty(self) -> None:
        self.remove_report()
        for name in RESULTS:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "audio", ignore_errors=True)
        for old in (self._lines, self._about):  # last, so that the folder is known as ours until it is empty
            old.unlink(missing_ok=True)

    def codes(self, numbers: Collection[int], entries: Collection[str], sent: str) -> Iterator[tuple[int, str, list[str]]]:
        """(clip's number, entry's key, codes as they were given) of these clips and entries, each once, from the disk.

        Args:
            numbers, entries: of clips, and keys.
            sent: key of the cells that hold codes.
        """
        seen = set()
        for line in self._all_lines():
            number = line.get("clip", -1)
            if number in numbers and line["stamp"] == self.stamps[number]:
                for entry, cells in line["cells"].items():
                    codes = cells.get(sent, {}).get("codes")
                    if codes and entry in entries and (number, entry) not in seen:
                        seen.add((number, entry))
                        yield number, entry, codes

    def remove_report(self) -> None:
        """Take away what an earlier run reported."""
        for name in REPORT:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "plots", ignore_errors=True)

    def _all_lines(self) -> Iterator[dict[str, Any]]:
        with open(self._lines, encoding="utf-8") as file:
            for text in file:
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict):
                        yield line

    def _take(self, line: Mapping[str, Any]) -> None:
        if "cost" in line:
            self.costs[line["cost"]] = line["cell"]
            return
        number = line["clip"]
        if self.stamps.get(number, line["stamp"]) != line["stamp"]:
            self.cells = {key: cell for key, cell in self.cells.items() if key[0] != number}
            self.vectors = {key: held for key, held in self.vectors.items() if key[0] != number}
        self.stamps[number], self.seconds[number] = line["stamp"], line["seconds"]
        for entry, cells in line["cells"].items():
            for family, cell in cells.items():
                self.cells[number, entry, family] = {name: cell[name] for name in ("values", "reasons") if name in cell}
                if "vectors" in cell:
                    self.vectors.setdefault((number, family), cell["vectors"])

    def add_clip(self, number: int, stamp: list[int], seconds: float, cells: Mapping[str, Mapping[str, Cell]]) -> None:
        """What was measured on a clip: entry's key -> family's key -> cell."""
        self._append({"clip": number, "stamp": stamp, "seconds": seconds, "cells": cells})

    def add_cost(self, key: str, cell: Cell) -> None:
        """What an entry costs."""
        self._append({"cost": key, "cell": cell})

    def _append(self, line: dict[str, Any]) -> None:
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace")
        with self.writing():
            start = os.lseek(self._file, 0, os.SEEK_END)
            try:
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError:
                os.ftruncate(self._file, start)
                raise
        self._take(line)

    def flush(self) -> None:
        """Make the record last through a power cut."""
        with self.writing():
            os.fsync(self._file)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("format") == FORMAT else None


def _whole_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    size = end = 0
    with open(path, "rb") as file:
        for line in file:
            size += len(line)
            end = size if line.endswith(b"\n") else end
    return end


def _compare(folder: str, old: Mapping[str, Any], new: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        raise CorpusError(f"{folder!r} holds a benchmark already: {HINT}, or leave out --no-resume")
    was, now = old.get("source") or {}, new["source"]
    if was.get("sha256") != now["sha256"]:
        raise CorpusError(
            f"{folder!r} holds a benchmark on {was.get('path')!r} ({was.get('clips')} clips); {now['path']!r} ({now['clips']} "
            f"clips) is another source, or has changed: {HINT}"
        )
    if old.get("rate") != new["rate"]:
        raise CorpusError(f"{folder!r} holds a benchmark at {old.get('rate')} Hz, this one is at {new['rate']} Hz: {HINT}")
