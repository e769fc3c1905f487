"""Files wherever they lie: on this machine, or at a URL that fsspec opens (`s3://`, `gs://`, `hf://`, `https://`, ...).

fsspec finds credentials by itself, as its packages document it (`s3fs`, `gcsfs`, ...); nothing is asked or stored here.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import re
from typing import IO, Any

from ..core.errors import CorpusError

__all__ = ["exists", "folder_of", "is_url", "join", "open_binary", "open_lines", "read_range", "size_of", "url_file"]

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")
GZIP = (".gz", ".gzip")


def is_url(path: str) -> bool:
    """Whether `path` has a scheme. A name on this machine could only by an odd `://` in it."""
    return "://" in path and URL.match(path) is not None


def url_file(url: str) -> tuple[Any, str]:
    """File system and path within it. Raises `CorpusError` for a scheme whose package is not installed."""
    fs, root = _system(url[: url.index("://") + 3] if "::" not in url else url)
    return fs, (fs._strip_protocol(url) if root is None else root)


@functools.lru_cache(32)
def _system(scheme: str) -> tuple[Any, str | None]:
    import fsspec

    try:
        if "::" in scheme:  # chained: the whole URL is needed to set it up
            fs, path = fsspec.core.url_to_fs(scheme)
            return fs, path
        return fsspec.filesystem(scheme.removesuffix("://")), None
    except (ImportError, ValueError) as error:
        raise CorpusError(f"{scheme!r} cannot be opened: {error}") from None


def open_binary(path: str) -> IO[bytes]:
    """A seekable binary file. Raises `OSError`, and `CorpusError` for a URL of an unknown scheme."""
    if not is_url(path):
        return open(path, "rb")
    fs, inner = url_file(path)
    return _told(path, lambda: fs.open(inner, "rb"))


def read_range(path: str, start: int, size: int) -> bytes:
    """Up to `size` bytes from `start` on, in one request. Raises as `open_binary`."""
    if not is_url(path):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size)
    fs, inner = url_file(path)
    data: bytes = _told(path, lambda: fs.cat_file(inner, start, start + size))
    return data


def _told(path: str, do: Any) -> Any:
    """What storage says, as `OSError`: each file system has exceptions of its own."""
    try:
        return do()
    except OSError:
        raise
    except Exception as error:
        raise OSError(0, f"{type(error).__name__}: {error}", path) from None


def open_lines(path: str) -> IO[str]:
    """A text file, plain or gzipped (by its name). Bytes that are not UTF-8 stay as they are in file names."""
    raw: Any = open_binary(path)
    if path.lower().endswith(GZIP):
        inner, raw = raw, gzip.GzipFile(fileobj=raw)
        raw.myfileobj = inner  # so that it is closed too
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def exists(path: str) -> bool:
    """Whether there is a file or folder; False where that cannot be told."""
    if not is_url(path):
        return os.path.exists(path)
    fs, inner = url_file(path)
    return bool(_told(path, lambda: fs.exists(inner)))


def size_of(path: str) -> int:
    """Bytes of a file on this machine; 0 for one that is not there, and for URLs, which would cost a request each."""
    try:
        return 0 if is_url(path) else os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def folder_of(path: str) -> str:
    """The folder a file lies in, without a slash at the end."""
    return path.rpartition("/")[0] if is_url(path) else os.path.dirname(path)


def join(folder: str, name: str) -> str:
    """`name` seen from `folder`; a name that is absolute or a URL stays as it is."""
    if not folder or name.startswith("/") or is_url(name):
        return name
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"
