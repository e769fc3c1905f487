"""Weights that lie at plain addresses and not on the hub: fetched once into the user's cache, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from .errors import WeightsError
from .files import replacing

__all__ = ["cache_folder", "fetched_folder"]

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


def cache_folder() -> Path:
    """`$VOXZOO_CACHE`, or `voxzoo` in the user's cache."""
    if place := os.environ.get("VOXZOO_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxzoo"


def fetched_folder(name: str, urls: Mapping[str, str], digests: Mapping[str, str | None]) -> Path:
    """A folder in the cache that holds these files, fetched unless they are there; files that models share are kept once.

    Raises `WeightsError` when one cannot be fetched, or is not of its sha256.
    """
    root = cache_folder()
    folder = root / "models" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, url in urls.items():
            path = _fetched(root / "files", url, digests.get(file))
            link = folder / file
            if not link.exists():
                with contextlib.suppress(FileNotFoundError):
                    link.unlink()  # a link to a file that is gone
                _link(path, link)
    except OSError as error:
        raise WeightsError(
            f"cannot fetch the weights of {name} ({type(error).__name__}: {error}); on a machine without a network see "
            f"`voxzoo weights {name}`, or pass a folder: --weights DIR"
        ) from None
    return folder


def _fetched(root: Path, url: str, digest: str | None) -> Path:
    """The file of an address, under a name that its content or else its address gives."""
    folder = root / (digest or hashlib.sha256(url.encode()).hexdigest())[:16]
    path = folder / Path(urlsplit(url).path).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            found = _download(url, temporary)
            if digest is not None and found != digest:
                raise WeightsError(f"{url} has sha256 {found}, expected {digest}: it is damaged, or has been changed")
    return path


def _download(url: str, path: str) -> str:
    """Its sha256 (hex). Raises `OSError`, of which urllib's errors are kinds."""
    from tqdm import tqdm

    digest = hashlib.sha256()
    with urlopen(Request(url, headers={"User-Agent": "voxzoo"}), timeout=TIMEOUT) as response, open(path, "wb") as out:
        total = int(response.headers.get("Content-Length") or 0)
        quiet = not sys.stderr.isatty()
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=Path(url).name, disable=quiet) as bar:
            while block := response.read(BLOCK):
                out.write(block)
                digest.update(block)
                bar.update(len(block))
    size = os.path.getsize(path)
    if total and size != total:
        raise OSError(f"{url} broke off after {size} of {total} bytes")
    return digest.hexdigest()


def _link(path: Path, link: Path) -> None:
    try:
        os.symlink(path.resolve(), link)
    except OSError:  # where links need rights
        os.link(path, link)
