"""Where clips come from: here a folder or glob of sound files; manifests are in `manifests.py`, other kinds in `source_*.py`.

A source can be read again and again and always gives the same clips in the same order. Ids of files are their paths relative
to the folder, without extension, except where two files would share one: those keep their extensions. Files and folders
whose names begin with a dot are not looked at. Links are followed, but not round in a circle.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip
from .listing import PRIVATE, Found, expand, find_folder, find_glob, find_url
from .remote import exists, folder_of, is_url, join, open_binary

__all__ = ["PRIVATE", "SOUND", "FileSource", "Source", "open_source"]

# fmt: off
SOUND = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".wma",
                   ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph"})
# fmt: on
MANIFESTS = (".jsonl", ".json", ".csv", ".tsv", ".scp", ".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz")
TARS = (".tar", ".tar.gz", ".tgz")
SIDECARS = (".json", ".txt")
LOOKED_FOR = (*SOUND, *TARS, *SIDECARS, ".parquet", ".jsonl", ".jsonl.gz", "wav.scp")


class Source(ABC):
    """A list of clips that may be too long for memory.

    Attributes:
        kind: of source, as written to `dataset.json`.
        root: the folder that paths are relative to.
        told_by_contents: whether `contents` tells all that the clips do but for the sizes of their files.
    """

    kind: ClassVar[str]
    root: str
    told_by_contents: ClassVar[bool] = False

    @abstractmethod
    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""

    def listing(self) -> Iterator[Clip]:
        """All clips as `clips` gives them, but where reading the sound itself would cost, without it."""
        return self.clips()

    def contents(self) -> Iterable[tuple[str, int | str]]:
        """(name, bytes or sha256) of files that hold or list the clips; by these a source is known again."""
        return ()

    def fields(self) -> list[tuple[str, pa.DataType, bool]] | None:
        """Types of the carried columns where the source states them; None: look at all values."""
        return None


class FileSource(Source):
    """Sound files under a folder, or the URL of one.

    What lies beside a file under its name, `.json` (an object, as Emilia has it) and `.txt`, is said of it: columns.

    Args:
        root: the folder.
        names: paths relative to it, in order.
        problems: relative path -> why it could not be listed.
        sizes: relative path -> bytes, where known.
        sidecars: relative paths of `.json` and `.txt` files.
    """

    kind = "files"

    def __init__(
        self,
        root: str,
        names: Sequence[str],
        problems: Mapping[str, str] | None = None,
        sizes: Mapping[str, int] | None = None,
        sidecars: Sequence[str] = (),
    ) -> None:
        self.root, self.names, self.problems, self.sizes = root, list(names), problems or {}, sizes or {}
        self.ids = _unique_ids(self.names)
        self.sidecars = frozenset(sidecars)

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        for name, id in itertools.islice(zip(self.names, self.ids, strict=True), start, None):
            path = join(self.root, name)
            columns, problem = self._beside(name) if self.sidecars else ({}, None)
            yield Clip(id, path, path, columns, self.sizes.get(name), self.problems.get(name) or problem)

    def _beside(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Columns from the sidecars of a file, and what is wrong with them."""
        stem, columns = os.path.splitext(name)[0], dict[str, Any]()
        for ending in SIDECARS:
            if f"{stem}{ending}" in self.sidecars:
                path = join(self.root, f"{stem}{ending}")
                try:
                    with open_binary(path) as file:
                        text = file.read().decode("utf-8", "backslashreplace").strip()
                    columns |= {"txt": text} if ending == ".txt" else json.loads(text)
                except (OSError, ValueError, TypeError, RecursionError) as error:
                    return columns, f"{path!r}, beside the sound, is not a JSON object: {error}"
        return columns, None


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
    from .source_tar import PIPE, TarSource

    if spec.startswith(PIPE):
        return TarSource(expand(spec))
    if not is_url(spec) and os.path.isdir(spec):
        return _of_folder(find_folder(spec, LOOKED_FOR))
    if not is_url(spec) and os.path.exists(spec):
        return _of_file(spec)
    if len(names := expand(spec)) > 1:
        root = folder_of(spec[: spec.index("{")])
        return _of_files(spec, Found(root, [name.removeprefix(root).lstrip("/") for name in names]))
    if is_url(spec):
        found = find_url(spec, LOOKED_FOR)
        if found is None:
            return _of_file(spec)
        return _of_files(spec, found) if glob.has_magic(spec) else _of_folder(found)
    if glob.has_magic(spec):
        return _of_files(spec, find_glob(spec))
    raise CorpusError(
        f"source {spec!r} does not exist; expected a folder, a glob, a URL, a manifest (.jsonl .csv .tsv wav.scp), .tar or "
        ".parquet"
    )


def _of_file(spec: str) -> Source:
    from .manifests import open_manifest

    name = spec.lower()
    if name.endswith((*TARS, ".parquet", *SOUND)):
        return _of_files(spec, Found(folder_of(spec), [spec.rpartition("/")[2]]))
    if name.endswith(MANIFESTS):
        return open_manifest(spec)
    raise CorpusError(
        f"source {spec!r} is of no known kind; expected a folder, sound, .jsonl, .csv, .tsv, wav.scp, .tar or .parquet"
    )


def _of_folder(found: Found) -> Source:
    from .source_arrow import ArrowSource, saved_files
    from .source_kaldi import KaldiFolder
    from .source_lhotse import Shar

    if "wav.scp" in found.names:
        return KaldiFolder(found.root)
    if any(name.startswith("cuts.") and "/" not in name for name in found.ending((".jsonl", ".jsonl.gz"))):
        return Shar(found.root, found.names)
    if saved := [] if is_url(found.root) else saved_files(found.root):
        return ArrowSource(saved, found.root)
    if exists(join(found.root, "dataset.json")) and any(re.fullmatch(r"part-\d+\.parquet", name) for name in found.names):
        raise CorpusError(f"source {found.root!r} holds tokens already, not sound")
    return _of_files(found.root, found)


def _of_files(spec: str, found: Found) -> Source:
    """Sound if there is any, else tars, else Parquet."""
    from .source_parquet import ParquetSource
    from .source_tar import TarSource

    if sounds := found.ending(tuple(SOUND)):
        return FileSource(found.root, sorted({*sounds, *found.problems}), found.problems, found.sizes, found.ending(SIDECARS))
    if tars := found.ending(TARS):
        return TarSource([join(found.root, name) for name in tars], found.root)
    if rows := found.ending((".parquet",)):
        return ParquetSource([join(found.root, name) for name in rows], found.root)
    if glob.has_magic(spec):
        raise CorpusError(f"glob {spec!r} matches {len(found.names)} names, none of them sound (such as .wav, .flac, .mp3)")
    raise CorpusError(f"source {spec!r} holds no sound files (such as .wav, .flac, .mp3), .tar or .parquet")
