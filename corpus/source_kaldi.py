"""Kaldi: a `wav.scp`, or a data directory with `wav.scp` and perhaps `segments`, `text` and `utt2spk`.

Commands are not run. Those that do no more than decode one file (`flac -c -d -s FILE |`, `sph2pipe -f wav -c 1 FILE |`,
`cat FILE |`) are read as that file; other ones cost their lines. Paths are relative to the folder of `wav.scp`, or, where the
first is not there, to the working directory, as Kaldi has it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Any

from .clips import Clip
from .manifests import Manifest
from .parts import Part
from .remote import exists, join, open_lines

__all__ = ["KaldiFolder", "KaldiTable"]

DECODING = {"-c", "-d", "-s", "-cd", "-dc", "-cds", "-dcs", "--decode", "--stdout", "--silent"}  # of `flac`
COMMAND = "a command (it ends in `|`), which is not run; write sound files and list their paths"


class KaldiTable(Manifest):
    """`wav.scp`: an id, blanks, and a path that may hold blanks itself."""

    kind = "wav.scp"

    def _clips(self) -> Iterator[Clip]:
        for number, id, found in self._recordings():
            yield self._bad(number, found, id) if isinstance(found, str) else self._clip(id, found[0], None, found[1])

    def _recordings(self) -> Iterator[tuple[int, str, tuple[str, int | None] | str]]:
        """(line, id, path and channel or what is wrong) of each line."""
        base: str | None = None
        for number, line in self._lines():
            id, *rest = line.strip().split(maxsplit=1)
            if not rest:
                yield number, id, "an id without a path"
            elif (found := _decoded(rest[0])) is None:
                yield number, id, COMMAND
            else:
                base = self._base(found[0]) if base is None else base
                yield number, id, (join(base, found[0]), found[1])

    def _base(self, first: str) -> str:
        here = exists(join(self.root, first)) or not os.path.exists(first)
        return self.root if here else os.getcwd()

    def _clip(self, id: str, path: str, part: Part | None, channel: int | None, columns: Any = None) -> Clip:
        if channel is not None:
            part = Part(0.0 if part is None else part.start, None if part is None else part.duration, channel)
        return Clip(id, path, path, columns or {}, part=part)


def _decoded(entry: str) -> tuple[str, int | None] | None:
    """Path and channel of an entry of wav.scp; None for a command that may do more than decode."""
    if not entry.endswith("|"):
        return entry, None
    try:
        program, *words = shlex.split(entry[:-1])
    except ValueError:
        return None
    name, path = os.path.basename(program), words[-1] if words else "-"
    options = words[:-1]
    if path.startswith("-") or (name, bool(options)) == ("cat", True):
        return None
    if (name == "flac" and set(options) <= DECODING) or name == "cat":
        return path, None
    return (path, _channel(options)) if name == "sph2pipe" and _channel(options) != -1 else None


def _channel(options: list[str]) -> int | None:
    """Channel, counted from 0, that options of `sph2pipe` name; None for all, -1 for options that are not known."""
    channel, words = None, iter(options)
    for word in words:
        if word == "-c":
            number = next(words, "")
            if number not in ("1", "2"):
                return -1
            channel = int(number) - 1
        elif (word == "-f" and next(words, "") not in ("wav", "rif", "sph")) or word not in ("-f", "-p"):
            return -1
    return channel


class KaldiFolder(KaldiTable):
    """A data directory. `text` and `utt2spk` become the columns `text` and `speaker`; utterances come in the order of
    `segments`, or of `wav.scp` where there are none. A segment that ends at -1 goes to the end of its recording.
    """

    kind = "kaldi"

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.segments = join(folder, "segments")
        self.has_segments = exists(self.segments)
        super().__init__(join(folder, "wav.scp"))

    def _files(self) -> list[str]:
        return [path for name in ("wav.scp", "segments", "text", "utt2spk") if exists(path := join(self.folder, name))]

    def _clips(self) -> Iterator[Clip]:
        tables = {column: _Lookup(join(self.folder, name)) for column, name in (("text", "text"), ("speaker", "utt2spk"))
                  if exists(join(self.folder, name))}  # fmt: skip
        try:
            for clip in self._cut() if self.has_segments else super()._clips():
                clip_columns = {column: table.get(clip.id) for column, table in tables.items()}
                yield Clip(clip.id, clip.path, clip.source, clip_columns, problem=clip.problem, part=clip.part)
        finally:
            for table in tables.values():
                table.close()

    def _cut(self) -> Iterator[Clip]:
        recordings = {id: found for _, id, found in self._recordings()}
        with open_lines(self.segments) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield self._segment(number, line.split(), recordings)

    def _segment(self, number: int, words: list[str], recordings: dict[str, tuple[str, int | None] | str]) -> Clip:
        where = f"{self.segments}:{number}"
        try:
            id, recording, *times = words
            start, end = map(float, times)
            found = recordings[recording]
        except (ValueError, KeyError):
            reason = "expected an utterance, a recording of wav.scp, and where it begins and ends in seconds"
            return Clip(words[0], where, where, problem=f"{where!r}: {' '.join(words)!r}; {reason}")
        if isinstance(found, str):
            return Clip(id, where, where, problem=f"{self.path!r}, {recording}: {found}")
        if start < 0 or (end <= start and end != -1):
            return Clip(id, where, where, problem=f"{where!r}: {start:g} to {end:g} s is not a part of a recording")
        return self._clip(id, found[0], Part(start, None if end == -1 else end - start), found[1])


class _Lookup:
    """A table of `id value` lines: read along while it is asked in its own order, held in memory from where it is not."""

    def __init__(self, path: str) -> None:
        self.file = open_lines(path)
        self.held: dict[str, str] | None = None

    def get(self, id: str) -> str | None:
        if self.held is None:
            line = self.file.readline()
            key, value = _pair(line)
            if key == id:
                return value
            self.held = dict(map(_pair, [line, *self.file]))
        return self.held.get(id)

    def close(self) -> None:
        self.file.close()


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
    return key, value.strip()
