"""WebDataset: tars of samples, on this machine, at URLs, compressed, or from a command (`pipe:aws s3 cp s3://b/x.tar -`)."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import signal
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Self

from .clips import Clip, Span
from .remote import folder_of, is_url, open_binary, size_of
from .sources import SOUND, Source

__all__ = ["PIPE", "TarSource", "members"]

PIPE = "pipe:"  # as the webdataset package has it: the rest is a shell command that writes a tar


class TarSource(Source):
    """Neighbouring members that share a name up to its first dot are one sample.

    It holds sound, and perhaps `.json` or `.txt` about it. The id is the sample's key, after the tar's own name where there
    are several tars; a sample with several sounds gives one clip for each, the extension added to the id.

    A tar is read up to where it is damaged; what is wrong then is a rejected clip `(damaged)`. Members of plain tars are only
    looked up here and read where they are needed; compressed tars and commands are read anew for every pass.

    Args:
        files: paths, URLs, or `pipe:` and a command.
        root: the folder that ids are relative to; None: that of the first.
    """

    kind = "webdataset"

    def __init__(self, files: Sequence[str], root: str | None = None) -> None:
        self.files = list(files)
        self.root = folder_of(self.files[0]) if root is None else root

    def clips(self, start: int = 0) -> Iterator[Clip]:
        """Clips from number `start` on."""
        number = 0
        for index, file in enumerate(self.files):
            prefix = f"{self._stem(file, index)}/" if len(self.files) > 1 else ""
            for clip in self._tar(file, prefix):
                if number >= start:
                    yield clip
                number += 1

    def contents(self) -> Iterable[tuple[str, int]]:
        """The tars and their sizes."""
        return [(file.removeprefix(self.root), size_of(file)) for file in self.files]

    def _stem(self, file: str, index: int) -> str:
        return f"{index:06d}" if file.startswith(PIPE) else stem_of(file, self.root)

    def _tar(self, file: str, prefix: str) -> Iterator[Clip]:
        key: str | None = None
        problem = ""
        sample: dict[str, bytes | Span] = {}
        try:
            for name, data in members(file):
                folder, base = os.path.split(name)
                stem, _, extension = base.partition(".")
                found = os.path.join(folder, stem)
                if found != key and key is not None:
                    yield from _clips_of(file, prefix, key, sample)
                    sample = {}
                key = found
                sample[extension] = data
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            problem = f"{file!r} is damaged after {key!r}: {error}"
        if key is not None:
            yield from _clips_of(file, prefix, key, sample)
        if problem:
            yield Clip(f"{prefix}(damaged)", file, file, problem=problem)


def stem_of(file: str, root: str) -> str:
    """Name of a packed file below `root`, without its extension."""
    name = file.removeprefix(root).lstrip("/") if is_url(file) else os.path.relpath(file, root or ".").replace(os.sep, "/")
    for ending in (".tar.gz", ".tgz", ".tar", ".parquet", ".arrow"):
        name = name.removesuffix(ending)
    return name


def members(file: str) -> Iterator[tuple[str, bytes | Span]]:
    """(name, data) of the plain files of a tar; where they lie, if it can be gone back to and they are sound.

    Raises `tarfile.TarError`, `EOFError` or `OSError` when it is damaged.
    """
    plain = file.lower().endswith(".tar") and not file.startswith(PIPE)
    with _opened(file) as raw, tarfile.open(fileobj=raw, mode="r:" if plain else "r|*", tarinfo=_Header) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all of them
            name = member.name
            if not member.isfile() or os.path.basename(name).startswith("."):
                continue
            if plain and os.path.splitext(name)[1].lower() in SOUND:
                yield name, Span(file, member.offset_data, member.size)
            else:
                content = tar.extractfile(member)
                yield name, content.read() if content else b""


class _Header(tarfile.TarInfo):
    """Headers of members; `tarfile` alone takes a damaged one, or none at all, for the end of the tar."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.InvalidHeaderError as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"the next header is damaged: {error}") from None
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends there, without the mark of an end") from None


@contextlib.contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if not file.startswith(PIPE):
        with open_binary(file) as opened:
            yield opened
        return
    command = file.removeprefix(PIPE)
    with subprocess.Popen(
        command, shell=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        output = process.stdout or io.BytesIO()
        try:
            yield output
            while output.read(1 << 20):  # what follows the end of the tar: the command would wait for ever to write it
                pass
            if process.wait():
                raise EOFError(f"the command ended with status {process.returncode}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _clips_of(file: str, prefix: str, key: str, sample: dict[str, bytes | Span]) -> Iterator[Clip]:
    columns: dict[str, Any] = {}
    problem = None
    if isinstance(text := sample.get("txt"), bytes):
        columns["txt"] = text.decode("utf-8", "backslashreplace").strip()
    if isinstance(sidecar := sample.get("json"), bytes):
        try:
            columns |= json.loads(sidecar)
        except (ValueError, TypeError, RecursionError) as error:
            problem = f"{file}:{key}.json is not a JSON object: {error}"
    sounds = [extension for extension in sample if f".{extension.rpartition('.')[2].lower()}" in SOUND]
    id = str(columns.pop("id", None) or f"{prefix}{key}")
    for extension in sounds:
        name = id if len(sounds) == 1 else f"{id}.{extension}"
        yield Clip(name, f"{file}:{key}.{extension}", sample[extension], columns, problem=problem)
    if not sounds:
        has = ", ".join(sorted(sample))
        yield Clip(id, f"{file}:{key}", b"", columns, problem=f"{file}:{key} holds no sound (it has {has})")
