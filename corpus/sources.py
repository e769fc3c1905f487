"""Where clips come from: a folder, a glob, one file; manifests are in `manifests.py`, tars and Parquet in `containers.py`.

A source can be read again and again and always gives the same clips in the same order. Ids of files are their paths relative
to the folder, without extension, except where two files would share one: those keep their extensions. Files and folders
whose names begin with a dot are not looked at. Links are followed, but not round in a circle.
"""

from __future__ import annotations

import glob
import itertools
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip

__all__ = ["SOUND", "FileSource", "Source", "open_source"]

# fmt: off
SOUND = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".wma",
                   ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph"})
# fmt: on
MANIFESTS = (".jsonl", ".json", ".csv", ".tsv", ".scp")
PRIVATE = ".voxzoo"  # marks a folder of token shards
TARS = (".tar", ".tar.gz", ".tgz")


class Source(ABC):
    """A list of clips that may be too long for memory.

    Attributes:
        kind: of source, as written to `dataset.json`.
        root: the folder that paths are relative to.
    """

    kind: ClassVar[str]
    root: str

    @abstractmethod
    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""

    def listing(self) -> Iterator[Clip]:
        """All clips as `clips` gives them, but where reading the sound itself would cost, without it."""
        return self.clips()

    def fields(self) -> list[tuple[str, pa.DataType, bool]] | None:
        """Types of the carried columns where the source states them; None: look at all values."""
        return None


class FileSource(Source):
    """Sound files under a folder.

    Args:
        root: the folder.
        names: paths relative to it, in order.
        problems: relative path -> why it could not be listed.
    """

    kind = "files"

    def __init__(self, root: str, names: Sequence[str], problems: dict[str, str] | None = None) -> None:
        self.root, self.names, self.problems = root, list(names), problems or {}
        self.ids = _unique_ids(self.names)

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        for name, id in itertools.islice(zip(self.names, self.ids, strict=True), start, None):
            path = os.path.join(self.root, name)
            yield Clip(id, path, path, problem=self.problems.get(name))


def _unique_ids(names: Sequence[str]) -> list[str]:
    """Names without their extensions; in full where that would not be unique."""
    full = [name.replace(os.sep, "/") for name in names]
    ids = [os.path.splitext(name)[0] for name in full]
    while True:
        shared = {id for id, n in Counter(ids).items() if n > 1}
        better = [name if id in shared else id for name, id in zip(full, ids, strict=True)]
        if better == ids:
            return ids
        ids = better


def open_source(spec: str) -> Source:
    """The source that `spec` names: see `voxzoo tokenize --help` for the forms.

    Raises `CorpusError` when there is nothing there, it holds no sound, or it is of a kind that is not read.
    """
    if os.path.isdir(spec):
        return _open_folder(spec)
    if os.path.exists(spec):
        return _open_file(spec)
    if glob.has_magic(spec):
        return _open_glob(spec)
    raise CorpusError(
        f"source {spec!r} does not exist; expected a folder, a glob, a manifest (.jsonl .csv .tsv wav.scp), .tar or .parquet"
    )


def _open_file(spec: str) -> Source:
    from .containers import ParquetSource, TarSource
    from .manifests import open_manifest

    name = spec.lower()
    if name.endswith(TARS):
        return TarSource([spec])
    if name.endswith(".parquet"):
        return ParquetSource([spec], os.path.dirname(spec))
    if name.endswith(MANIFESTS) or os.path.basename(name) == "wav.scp":
        return open_manifest(spec)
    if os.path.splitext(name)[1] in SOUND:
        return FileSource(os.path.dirname(spec), [os.path.basename(spec)])
    if name.endswith((".jsonl.gz", ".json.gz")):
        raise CorpusError(
            f"{spec!r} is a compressed manifest (lhotse cuts?); write a plain .jsonl with a `path` and an `id` in each line"
        )
    raise CorpusError(
        f"source {spec!r} is of no known kind; expected a folder, sound, .jsonl, .csv, .tsv, wav.scp, .tar or .parquet"
    )


def _open_folder(root: str) -> Source:
    from .containers import ParquetSource, TarSource

    names, problems = walk(root, tuple(SOUND))
    if "" in problems:
        raise CorpusError(f"source {problems['']}")
    if names:
        return FileSource(root, names, problems)
    if (Path(root) / "dataset.json").is_file() and list(Path(root).glob("part-*.parquet")):
        raise CorpusError(f"source {root!r} holds tokens already, not sound")
    for endings, cls in ((TARS, TarSource), ((".parquet",), ParquetSource)):
        found, _ = walk(root, endings)
        if found:
            return cls([os.path.join(root, name) for name in found], root)
    raise CorpusError(f"source {root!r} holds no sound files (such as .wav, .flac, .mp3), .tar or .parquet")


def _open_glob(pattern: str) -> Source:
    from .containers import ParquetSource, TarSource

    found = sorted(glob.glob(pattern, recursive=True))
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    root = os.path.join("", *plain)
    for endings, cls in ((TARS, TarSource), ((".parquet",), ParquetSource)):
        if found and all(name.lower().endswith(endings) for name in found):
            return cls(found, root)
    names = [os.path.relpath(name, root or ".") for name in found if os.path.splitext(name)[1].lower() in SOUND]
    if not names:
        raise CorpusError(f"glob {pattern!r} matches {len(found)} names, none of them sound (such as .wav, .flac, .mp3)")
    return FileSource(root, names)


def walk(root: str, endings: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Relative paths below `root` with one of these endings, sorted; and folders that cannot be listed, with the reason.

    A folder whose own name has such an ending is among the paths (it will be rejected as sound) and is looked into.
    """
    names: list[str] = []
    problems: dict[str, str] = {}

    def visit(folder: str, above: frozenset[tuple[int, int]]) -> None:
        try:
            status = os.stat(os.path.join(root, folder))
            if (status.st_dev, status.st_ino) in above:
                return  # a link back to a folder we are in
            entries = list(os.scandir(os.path.join(root, folder)))
        except OSError as error:
            names.append(folder)
            problems[folder] = f"{os.path.join(root, folder)!r} cannot be listed: {error.strerror or error}"
            return
        if folder and any(entry.name == PRIVATE for entry in entries):
            return  # an output folder within the source
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = os.path.join(folder, entry.name)
            if entry.name.lower().endswith(endings):
                names.append(path)
            if entry.is_dir():
                visit(path, above | {(status.st_dev, status.st_ino)})

    visit("", frozenset())
    return sorted(set(names)), problems
