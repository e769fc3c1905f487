"""lhotse: manifests of cuts (`.jsonl`, `.jsonl.gz`) and Shar folders, read as they are written, without lhotse.

A MonoCut is one clip; a MultiCut one for each of its channels, `-0`, `-1`, ... added to the id. Of the supervisions, `text`,
`speaker`, `language` and `gender` become columns (of several: joined by blanks), as do custom fields. Sound is resampled by
ours alone, so a recording's `Resample` is passed over; cuts that were changed otherwise (speed, volume, mixed,
padded) are rejected: save their sound first (`cut.save_audio`), or tokenize before changing it.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any

from ..core.errors import CorpusError
from .clips import Clip, Span
from .manifests import Manifest
from .parts import Part
from .remote import exists, is_url, join, open_lines
from .source_tar import members
from .sources import Source

__all__ = ["Cuts", "Shar", "holds_cuts"]

KINDS = ("MonoCut", "MultiCut", "MixedCut", "PaddingCut", "DataCut")
SAID = ("text", "speaker", "language", "gender")  # of supervisions, carried as columns


def holds_cuts(path: str) -> bool:
    """Whether the first line of a `.jsonl` is a cut of lhotse."""
    try:
        with open_lines(path) as file:
            row = json.loads(next((line for line in file if line.strip()), "0"))
    except (OSError, EOFError, ValueError, RecursionError):
        return False
    return isinstance(row, dict) and (row.get("type") in KINDS or ("recording" in row and "start" in row) or "tracks" in row)


class Cuts(Manifest):
    """A manifest of cuts. Paths are relative to its folder, or, where the first is not there, to the working directory."""

    kind = "lhotse"
    base: str | None = None  # of relative paths, once one was seen

    def _clips(self) -> Iterator[Clip]:
        for number, line in self._lines():
            try:
                cut = json.loads(line)
                yield from list(_clips_of(cut, functools.partial(self._find, cut)))
            except _UnusableError as error:
                yield self._bad(number, str(error), cut.get("id"))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
                yield self._bad(number, f"not a cut of lhotse: {type(error).__name__}: {error}")

    def _find(self, cut: dict[str, Any], channel: int) -> str:
        source = _source(cut, channel)
        if self.base is None:
            here = is_url(source) or exists(join(self.root, source)) or not os.path.exists(source)
            self.base = self.root if here else os.getcwd()
        return join(self.base, source)


class _UnusableError(Exception):
    """A cut without sound of its own."""


def _clips_of(cut: dict[str, Any], find: Any) -> Iterator[Clip]:
    """The clips of a cut; `find(channel)` tells where the sound of a channel is."""
    if cut.get("type") not in (None, "MonoCut", "MultiCut"):
        raise _UnusableError(f"a {cut['type']}; save its sound first (cut.save_audio), or list the cuts it is made of")
    if "recording" not in cut:
        raise _UnusableError("it has no recording, and so no sound")
    transforms = [t.get("name") if isinstance(t, dict) else str(t) for t in cut["recording"].get("transforms") or []]
    if changed := [name for name in transforms if name != "Resample"]:
        raise _UnusableError(
            f"its recording is changed by {', '.join(map(str, changed))}; save its sound first (cut.save_audio)"
        )
    channels = cut.get("channel", 0)
    several = isinstance(channels, list)
    present = cut["recording"].get("channel_ids") or sorted(c for s in cut["recording"]["sources"] for c in s["channels"])
    for channel in channels if several else [channels]:
        name = f"{cut['id']}-{channel}" if several else str(cut["id"])
        index = None if len(present) == 1 else _index(cut, channel)
        whole = cut["start"] == 0 and cut["duration"] == cut["recording"].get("duration")
        part = None if whole and index is None else Part(float(cut["start"]), float(cut["duration"]), index)
        found = find(channel)
        path = found if isinstance(found, str) else f"{found.file}:{cut['id']}"
        yield Clip(name, path, found, _columns(cut), part=part)


def _of_channel(cut: dict[str, Any], channel: int) -> dict[str, Any]:
    """The source of a recording that holds a channel."""
    for source in cut["recording"]["sources"]:
        if channel in source["channels"]:
            return dict(source)
    raise _UnusableError(f"no source of its recording has channel {channel}")


def _index(cut: dict[str, Any], channel: int) -> int:
    return int(_of_channel(cut, channel)["channels"].index(channel))


def _source(cut: dict[str, Any], channel: int) -> str:
    """Path or URL of a channel's sound."""
    source = _of_channel(cut, channel)
    if source["type"] not in ("file", "url"):
        raise _UnusableError(f"the sound is of type {source['type']!r}; expected a file or a url")
    return str(source["source"])


def _columns(cut: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = dict(cut.get("custom") or {})
    supervisions = cut.get("supervisions") or []
    for key in SAID:
        values = [str(s[key]) for s in supervisions if s.get(key) is not None]
        if values:
            columns[key] = " ".join(values if key == "text" else dict.fromkeys(values))
    for supervision in supervisions if len(supervisions) == 1 else []:
        columns |= supervision.get("custom") or {}
    return columns


class Shar(Source):
    """A Shar folder (or its URL): `cuts.NNNNNN.jsonl[.gz]` and `recording.NNNNNN.tar` of the same number.

    Raises `CorpusError` when the recordings of a shard of cuts are not there.
    """

    kind = "shar"

    def __init__(self, root: str, names: list[str]) -> None:
        self.root = root
        cuts = sorted(name for name in names if name.startswith("cuts.") and name.removesuffix(".gz").endswith(".jsonl"))
        self.shards = [(join(root, name), join(root, f"recording.{name.split('.')[1]}.tar")) for name in cuts]
        have = set(names)
        for name, (path, tar) in zip(cuts, self.shards, strict=True):
            if f"recording.{name.split('.')[1]}.tar" not in have:
                raise CorpusError(f"{path!r} has no sound beside it: {tar!r} is not there")

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        return itertools.islice(self._clips(), start, None)

    def _clips(self) -> Iterator[Clip]:
        for cuts, tar in self.shards:
            held = _Held(tar)
            with open_lines(cuts) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield from self._read(f"{cuts}:{number}", line, held)

    def _read(self, where: str, line: str, held: _Held) -> list[Clip]:
        id = where
        try:
            cut = json.loads(line)
            id = str(cut["id"])
            return list(_clips_of(cut, lambda _: held.find(id)))
        except _UnusableError as error:
            reason = str(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"not a cut of lhotse: {type(error).__name__}: {error}"
        return [Clip(id, where, where, problem=f"{where!r}: {reason}")]


class _Held:
    """Where the tar of a shard holds the sound of each cut; as far as it can be read."""

    def __init__(self, tar: str) -> None:
        self.tar, self.problem = tar, ""
        self.spans: dict[str, Span] = {}
        try:
            for name, data in members(tar):
                if isinstance(data, Span):
                    self.spans[name.rpartition(".")[0]] = data
        except (tarfile.TarError, EOFError, OSError) as error:
            self.problem = f"{tar!r} is damaged: {error}"

    def find(self, id: str) -> Span:
        """Raises `_UnusableError`."""
        if id not in self.spans:
            raise _UnusableError(self.problem or f"{self.tar!r} holds no sound of {id!r}")
        return self.spans[id]
