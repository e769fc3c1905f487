"""What a folder, a glob or a URL holds: names below it, in order. Only what a source may be made of is looked for."""

from __future__ import annotations

import glob
import itertools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import CorpusError
from .remote import url_file

__all__ = ["Found", "expand", "find_folder", "find_glob", "find_url"]

PRIVATE = ".voxzoo"  # marks a folder of token shards
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Found:
    """Names below a folder.

    Attributes:
        root: the folder, or its URL.
        names: relative to it, sorted.
        sizes: bytes, where listing told them.
        problems: name -> why it could not be listed.
    """

    root: str
    names: list[str]
    sizes: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def ending(self, endings: tuple[str, ...]) -> list[str]:
        """Names with one of these endings."""
        return [name for name in self.names if name.lower().endswith(endings)]


def expand(spec: str) -> list[str]:
    """`x-{000..099}.tar` -> the 100 names, as WebDataset users write them; several braces: every combination."""
    parts = BRACES.split(spec)
    ranges = zip(parts[1::3], parts[2::3], strict=True)
    choices = [[f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)] for first, last in ranges]
    return ["".join(itertools.chain(*zip(parts[::3], [*chosen, ""], strict=True))) for chosen in itertools.product(*choices)]


def find_folder(root: str, endings: tuple[str, ...]) -> Found:
    """Everything below a folder of this machine that ends so. Raises `CorpusError` when it cannot be listed."""
    names, problems = walk(root, endings)
    if "" in problems:
        raise CorpusError(f"source {problems['']}")
    return Found(root, names, problems=problems)


def find_glob(pattern: str) -> Found:
    """Names that match, below the part of the pattern that is plain."""
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    root = os.path.join("", *plain)
    names = sorted(glob.glob(pattern, recursive=True))
    return Found(root, [os.path.relpath(name, root or ".") for name in names])


def find_url(url: str, endings: tuple[str, ...]) -> Found | None:
    """Everything below the URL of a folder, or that a URL with `*` matches; None where it is that of one file.

    Raises `CorpusError` when the storage does not answer, or knows nothing of the kind.
    """
    system, path = url_file(url)
    try:
        if glob.has_magic(path):
            root = path[: re.search(r"[*?[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
            listed = system.glob(path, detail=True)
        elif system.isfile(path):
            return None
        else:
            root, listed = path.rstrip("/"), system.find(path, detail=True)
    except Exception as error:  # each storage has exceptions of its own
        raise CorpusError(f"source {url!r} cannot be listed: {type(error).__name__}: {error}") from None
    sizes = {name.removeprefix(root).lstrip("/"): about.get("size") or 0 for name, about in listed.items()}
    names = sorted(n for n in sizes if n.lower().endswith(endings) and not any(p.startswith(".") for p in n.split("/")))
    return Found(_url_of(url, path, root), names, {name: sizes[name] for name in names})


def _url_of(url: str, path: str, root: str) -> str:
    """The URL of a folder within the file system of `url`."""
    if "::" in url:  # scheme://inner::outer
        inner, _, outer = url.partition("::")
        return inner.replace(path, root) + "::" + outer if path in inner else url.replace(path, root)
    return url[: url.index("://") + 3] + root.lstrip("/") if "://" + path.lstrip("/") in url else url.replace(path, root)


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
