"""What travels between the parts of `corpus/`: a clip of a source, and what became of it."""

from __future__ import annotations

import functools
import io
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import AudioError, CorpusError
from .parts import Part, cut
from .remote import is_url, open_binary, read_range, size_of

__all__ = ["Clip", "Row", "Span", "printable"]

PAUSES = (0.2, 2.0)  # seconds before packed or remote sound that could not be read is asked for again


def printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file name that are not UTF-8 (lone surrogates in Python) become `\\udcXX`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Named(io.BytesIO):
    """Bytes with a name for error messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `offset` to `offset + size` of a file, or of what lies at a URL: a member of a tar."""

    file: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes. Raises `AudioError` when the file is gone or shorter."""
        data = _patiently(self.file, lambda: read_range(self.file, self.offset, self.size))
        if len(data) < self.size:
            raise AudioError(
                f"{self.file!r} is truncated: {self.size} bytes were announced at {self.offset}, {len(data)} are there"
            )
        return data


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of a source.

    Attributes:
        id: unique in a sound source; the second clip of an id is rejected.
        path: where it is, for people (messages, `rejected.jsonl`).
        source: what to read: a path, a URL, bytes, or a span of a file.
        columns: what the manifest says of it, carried into the shards.
        size: bytes of the encoded sound, where known without looking.
        problem: why it cannot be read, where the listing already shows it.
        part: the part of the file that is meant; None: all of it.
        models: where several models tokenize in one pass, the numbers of those that are to take this clip; None: all.
    """

    id: str
    path: str
    source: str | bytes | Span
    columns: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    problem: str | None = None
    part: Part | None = None
    models: tuple[int, ...] | None = None

    def open(self) -> Any:
        """What `core.audio` reads: a path or a named binary file. Raises `AudioError` for what is not a file."""
        opened = self._open()
        if self.part is None:
            return opened
        return _Named(cut(opened, self.path, self.part), self.path)

    def _open(self) -> Any:
        if isinstance(self.source, bytes):
            return _Named(self.source, self.path)
        if isinstance(self.source, Span):
            return _Named(self.source.read(), self.path)
        if is_url(self.source):
            return _Named(_fetch(self.source) if self.part is None else _fetch_kept(self.source), self.path)
        try:
            mode = os.stat(self.source).st_mode
        except (OSError, ValueError) as error:
            raise AudioError(f"{self.source!r} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe without a writer would wait for ever
            raise AudioError(f"{self.source!r} is a pipe, socket or device; expected a sound file")
        return self.source

    def weight(self) -> int:
        """Bytes of encoded sound, about; 0 for a file that is not there, or of which that is not known without asking."""
        if self.size is not None:
            return self.size
        if self.part is not None and (weight := self.part.weight()) is not None:
            return weight
        if isinstance(self.source, str):
            return size_of(self.source)
        return len(self.source) if isinstance(self.source, bytes) else self.source.size


def _fetch(url: str) -> bytes:
    def fetch() -> bytes:
        with open_binary(url) as file:
            return file.read()

    return _patiently(url, fetch)


def _patiently(name: str, read: Callable[[], bytes]) -> bytes:
    """What `read` gives, asked again after a pause where storage fails. Raises `AudioError` when it fails for good."""
    for pause in (*PAUSES, None):
        try:
            return read()
        except CorpusError as error:
            raise AudioError(str(error)) from None
        except OSError as error:
            if pause is None or isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
                raise AudioError(f"{name!r} cannot be read: {error.strerror or error}") from None
            time.sleep(pause)
    raise AssertionError


_fetch_kept = functools.lru_cache(2)(_fetch)  # neighbouring parts are mostly of one recording


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens of one clip, as small as they go through a pipe.

    Attributes:
        num_samples: true samples at the model's rate.
        codes: one uint16 or uint32 array (N_k,) per stream.
        extras: float32 (N_0,) each.
    """

    num_samples: int
    codes: tuple[np.ndarray, ...]
    extras: Mapping[str, np.ndarray]
