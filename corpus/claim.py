"""An output folder as one run holds it: no second writer, no files of another kind, each file whole or not there.

`DIR/.voxzoo/lock` is held by the run that writes; `DIR/.voxzoo/*.tmp` are files that it is writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ..core.errors import CorpusError
from .sources import PRIVATE

__all__ = ["Claim"]

MARKS = {"token shards": "dataset.json", "a benchmark": f"{PRIVATE}/run.json"}  # what a folder of each kind holds


class Claim:
    """An output folder, locked until `close` (or the end of the process).

    Attributes:
        kind: what the folder is of, one of `MARKS`.
        safe: what a failing disk does not take away, for the message.
        path, private: the folder, and the one within it that is ours alone.

    Raises `CorpusError` when another run is writing into the folder, or when it holds files of another kind.
    """

    kind: ClassVar[str]
    safe: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.private = self.path / PRIVATE
        self._lock = -1
        with self.writing():
            self._check()
            self.private.mkdir(parents=True, exist_ok=True)
            self._acquire()
            for left in self.private.glob("*.tmp"):
                left.unlink()

    def close(self) -> None:
        """Let another run in."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _known(self) -> bool:
        """Whether the folder is of our kind though nothing private is there."""
        return False

    def _check(self) -> None:
        for kind, mark in MARKS.items():
            if kind != self.kind and self.private.is_dir() and (self.path / mark).exists():
                raise CorpusError(f"output folder {str(self.path)!r} holds {kind}; name a new or empty folder")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.private.is_dir() or self._known()):
            raise CorpusError(
                f"output folder {str(self.path)!r} holds files that are not {self.kind}; name a new or empty folder"
            )

    def _acquire(self) -> None:
        self._lock = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise CorpusError(f"another run is writing into {str(self.path)!r}; wait for it, or name another folder") from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Errors of the disk as one line."""
        try:
            yield
        except OSError as error:
            where = f" {error.filename!r}" if error.filename else ""
            raise CorpusError(
                f"cannot write into {str(self.path)!r}:{where} {error.strerror or error}; {self.safe} safe: when that is "
                "mended, run the same command again"
            ) from None

    def write(self, path: Path, text: str) -> None:
        """Write `text` to `path` in the folder as UTF-8 (lone surrogates as `\\udcXX`), to last through a power cut."""
        temporary = self.private / f"{path.name}.tmp"
        with self.writing():
            try:
                with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
                self.sync()
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def sync(self) -> None:
        """Make renames last through a power cut."""
        for folder in (self.path, self.private):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
