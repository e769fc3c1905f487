"""The private record of a run of `bench`: what was measured, line by line, so that a run killed at any moment goes on.

    DIR/.voxzoo/run.json        what the record is of: source, rate, versions of the record
    DIR/.voxzoo/record.jsonl    one line per clip and run, appended; a torn last line is dropped
    DIR/.voxzoo/lock

A *cell* is what one family of metrics gave for one clip and one entry. Cells are found again by the clip's number and by keys
that hold everything their values depend on, so another entry or metric adds cells, and another version of a library
misses them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import CorpusError
from ..core.files import replacing
from ..corpus.sources import PRIVATE

__all__ = ["FORMAT", "Cell", "Journal", "whole_file"]

FORMAT = "voxzoo.bench-record/1"
RESULTS = ("results.json", "scores.parquet", "rejected.jsonl")
Cell = dict[str, Any]


class Journal:
    """The record in an output folder, locked until `close` (or the end of the process).

    Attributes:
        cells: (clip's number, entry's key, family's key) -> cell.
        seconds: clip's number -> seconds of sound.
        costs: key of an entry and of how its cost was measured -> values and reasons.

    Raises `CorpusError` when another run is writing into the folder, or when it holds files that are not ours.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.private = self.path / PRIVATE
        self.cells: dict[tuple[int, str, str], Cell] = {}
        self.seconds: dict[int, float] = {}
        self.costs: dict[str, Cell] = {}
        self._lock = self._file = -1
        with self.writing():
            self._check_ours()
            self.private.mkdir(parents=True, exist_ok=True)
            self._acquire()

    @property
    def _about(self) -> Path:
        return self.private / "run.json"

    @property
    def _lines(self) -> Path:
        return self.private / "record.jsonl"

    def close(self) -> None:
        """Let another run in."""
        for handle in (self._file, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._lock = -1

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Errors of the disk as one line."""
        try:
            yield
        except OSError as error:
            where = f" {error.filename!r}" if error.filename else ""
            raise CorpusError(
                f"cannot write into {str(self.path)!r}:{where} {error.strerror or error}; what was measured is safe: when that "
                "is mended, run the same command again"
            ) from None

    def _check_ours(self) -> None:
        if self.path.is_dir() and any(self.path.iterdir()) and not self.private.is_dir():
            raise CorpusError(
                f"output folder {str(self.path)!r} holds files that are not of a benchmark; name a new or empty folder"
            )
        if self.private.is_dir() and (self.path / "dataset.json").exists():
            raise CorpusError(f"output folder {str(self.path)!r} holds token shards; name a new or empty folder")

    def _acquire(self) -> None:
        self._lock = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise CorpusError(f"another run is writing into {str(self.path)!r}; wait for it, or name another folder") from None

    def begin(self, about: Mapping[str, Any], resume: bool = True, overwrite: bool = False) -> None:
        """Claim the folder for a run, or find that its record is of the same clips, and read it.

        Raises `CorpusError` when it is of another source or rate, or with `resume=False` when there is any record.
        """
        with self.writing():
            if overwrite:
                for old in (self._about, self._lines, *(self.path / name for name in RESULTS)):
                    old.unlink(missing_ok=True)
            old_about = _read(self._about)
            if old_about is None:
                whole_file(self._about, json.dumps(dict(about), indent=2) + "\n")
            else:
                _compare(str(self.path), old_about, about, resume)
            self._file = os.open(self._lines, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._file, _whole_lines(self._lines))
        for line in self.lines():
            self._take(line)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines, oldest first."""
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
        self.seconds[line["clip"]] = line["seconds"]
        for entry, cells in line["cells"].items():
            for family, cell in cells.items():
                kept = {key: value for key, value in cell.items() if key != "codes"}  # those stay on disk
                self.cells[line["clip"], entry, family] = kept

    def add_clip(self, number: int, seconds: float, cells: Mapping[str, Mapping[str, Cell]]) -> None:
        """What was measured on a clip: entry's key -> family's key -> cell."""
        self._append({"clip": number, "seconds": seconds, "cells": cells})

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

    def sync(self) -> None:
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
    hint = "name another folder, or start afresh with --overwrite"
    if not resume:
        raise CorpusError(f"{folder!r} holds a benchmark already: {hint}, or leave out --no-resume")
    was, now = old.get("source") or {}, new["source"]
    if was.get("sha256") != now["sha256"]:
        raise CorpusError(
            f"{folder!r} holds a benchmark on {was.get('path')!r} ({was.get('clips')} clips); {now['path']!r} ({now['clips']} "
            f"clips) is another source, or has changed: {hint}"
        )
    if old.get("rate") != new["rate"]:
        raise CorpusError(f"{folder!r} holds a benchmark at {old.get('rate')} Hz, this one is at {new['rate']} Hz: {hint}")


def whole_file(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all. Raises `OSError`."""
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8", errors="backslashreplace")
