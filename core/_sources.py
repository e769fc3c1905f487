"""Opened sound files: libsndfile first, `ffmpeg` for what it cannot read. Used by `audio.py` alone.

Truncation is looked for, since libsndfile quietly returns what is there: in the container (`_whole.py`), and in a FLAC or
MP3 with fewer frames than its header announces.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import subprocess
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np

from ._whole import check_whole
from .errors import AudioError

BLOCK = 1 << 18  # frames read at a time


class Opened(ABC):
    """A sound file being read: `name` for messages, `sample_rate` in Hz, `blocks()` of float32 (n, channels)."""

    def __init__(self, name: str, sample_rate: int) -> None:
        self.name = name
        self.sample_rate = sample_rate

    @abstractmethod
    def blocks(self) -> Iterator[np.ndarray]:
        """The sound, a block at a time."""


def open_source(source: Any) -> Opened:
    """Open a path, bytes, or a binary file object. Raises `AudioError` in one line."""
    name, file = _open_bytes(source)
    try:
        check_whole(name, file)
    except AudioError:
        file.close()
        raise
    return _open_sndfile(name, file) or _open_ffmpeg(name, source, file)


def _open_bytes(source: Any) -> tuple[str, BinaryIO]:
    """A seekable binary file, found to be not empty, and the name to use for it in messages."""
    if isinstance(source, (str, os.PathLike)):
        name = repr(os.fspath(source))
        if os.path.isdir(source):
            raise AudioError(f"{name} is a folder; expected a sound file")
        try:
            file: BinaryIO = open(source, "rb")  # noqa: SIM115  (the caller closes it)
        except (OSError, ValueError) as error:
            raise AudioError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    else:
        name = repr(getattr(source, "name", "audio bytes"))
        file = io.BytesIO(source if isinstance(source, (bytes, bytearray, memoryview)) else source.read())
    if not file.seekable():  # a named pipe
        with file:
            file = io.BytesIO(file.read())
    if not file.read(1):
        file.close()
        raise AudioError(f"{name} is empty (0 bytes)")
    return name, file


class _SndFile(Opened):
    def __init__(self, name: str, file: Any, handle: BinaryIO) -> None:
        super().__init__(name, file.samplerate)
        self.file = file
        weakref.finalize(self, handle.close)  # soundfile leaves a handle it was given open

    def blocks(self) -> Iterator[np.ndarray]:
        import soundfile

        done, file = 0, self.file
        try:
            with file:
                while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                    done += len(block)
                    yield block
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.name} is damaged after {done} samples: {error}") from None
        # Ogg headers carry no count (handled by its end page); an MP3's may be an estimate, so allow a few frames.
        slack = 4 * 1152 if file.format in ("MP3", "MPEG") else 0
        if file.format != "OGG" and done + slack < file.frames < 1 << 60:
            raise AudioError(f"{self.name} is truncated: the header announces {file.frames} samples, {done} are there")


class _Patient:
    """A file for libsndfile, whose callbacks must not raise: a damaged header may send it to before the start."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.read, self.readinto, self.tell = file.read, file.readinto, file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with contextlib.suppress(OSError, ValueError, OverflowError):
            self.file.seek(offset, whence)
        return int(self.file.tell())


def _open_sndfile(name: str, file: BinaryIO) -> Opened | None:
    """None when libsndfile does not know the format."""
    import soundfile

    try:
        return _SndFile(name, soundfile.SoundFile(_Patient(file)), file)
    except (soundfile.LibsndfileError, TypeError):
        return None


class _Ffmpeg(Opened):
    """`ffmpeg` writing Sun AU (the simplest header there is) to a pipe."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], errors: Any, owned: str | None) -> None:
        self.pipe = cast(BinaryIO, process.stdout)
        self.end = weakref.finalize(self, _end_ffmpeg, process, errors, owned)  # also when the sound is never read
        head = self.pipe.read(24)
        if len(head) < 24 or head[:4] != b".snd":
            _, reason = self.end() or (0, "")
            raise AudioError(f"{name} is not sound that libsndfile or ffmpeg can read{reason}")
        offset, _, _, rate, self.channels = struct.unpack(">5I", head[4:])
        self.pipe.read(offset - 24)
        super().__init__(name, rate)

    def blocks(self) -> Iterator[np.ndarray]:
        width = 4 * self.channels
        code, reason = 0, ""
        try:
            while data := self.pipe.read(BLOCK * width):
                whole = len(data) // width * width
                yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, self.channels)
        finally:
            code, reason = self.end() or (0, "")
        if code:
            raise AudioError(f"{self.name} is damaged{reason}")


def _end_ffmpeg(process: subprocess.Popen[bytes], errors: Any, owned: str | None) -> tuple[int, str]:
    """Let the process end and clean up; its exit status, and the last line it complained with."""
    if process.stdout:
        process.stdout.close()
    code = process.wait()
    with errors:
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    if owned:
        os.unlink(owned)
    return code, f": {lines[-1]}" if lines else ""


def _open_ffmpeg(name: str, source: Any, file: BinaryIO) -> Opened:
    program = shutil.which("ffmpeg")
    if program is None:
        file.close()
        raise AudioError(f"{name} is not sound that libsndfile can read; ffmpeg, which reads more, is not on the PATH")
    owned = None
    if isinstance(source, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(source))
    else:  # MP4 needs to seek, so bytes go through a file
        file.seek(0)
        with tempfile.NamedTemporaryFile(prefix="voxzoo-", delete=False) as f:
            shutil.copyfileobj(file, f)
        path = owned = f.name
    file.close()
    command = [program, "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", "-vn", "-f", "au", "-c:a", "pcm_f32be", "-"]
    errors = tempfile.TemporaryFile()  # noqa: SIM115  (_end_ffmpeg closes it)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    return _Ffmpeg(name, process, errors, owned)
