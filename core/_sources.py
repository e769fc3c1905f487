"""Opened sound files: libsndfile first, `ffmpeg` for what it cannot read. Used by `audio.py` alone.

Truncation is looked for in the container, since libsndfile quietly returns what is there: a RIFF data chunk longer than
the file, an Ogg stream without its end-of-stream page, a FLAC or MP3 with fewer frames than its header announces.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .errors import AudioError

BLOCK = 1 << 18  # frames read at a time


class Opened:
    """A sound file being read: `name` for messages, `sample_rate` in Hz, `blocks()` of float32 (n, channels)."""

    def __init__(self, name: str, sample_rate: int) -> None:
        self.name = name
        self.sample_rate = sample_rate

    def blocks(self) -> Iterator[np.ndarray]:
        raise NotImplementedError


def open_source(source: Any) -> Opened:
    """Open a path, bytes, or a binary file object. Raises `AudioError` in one line."""
    name, file = _open_bytes(source)
    return _open_sndfile(name, file) or _open_ffmpeg(name, source, file)


def _open_bytes(source: Any) -> tuple[str, BinaryIO]:
    """A seekable binary file, found to be not empty, and the name to use for it in messages."""
    if isinstance(source, (str, os.PathLike)):
        name = repr(os.fspath(source))
        if os.path.isdir(source):
            raise AudioError(f"{name} is a folder; expected a sound file")
        try:
            file: BinaryIO = open(source, "rb")
        except (OSError, ValueError) as error:
            raise AudioError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    else:
        name = repr(getattr(source, "name", "audio bytes"))
        file = io.BytesIO(source if isinstance(source, (bytes, bytearray, memoryview)) else source.read())
    if not file.read(1):
        raise AudioError(f"{name} is empty (0 bytes)")
    file.seek(0)
    return name, file


class _SndFile(Opened):
    def __init__(self, name: str, file: Any) -> None:
        super().__init__(name, file.samplerate)
        self.file = file

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


def _open_sndfile(name: str, file: BinaryIO) -> Opened | None:
    """None when libsndfile does not know the format."""
    import soundfile

    try:
        opened = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError):
        return None
    try:
        position = file.tell()
        _check_whole(name, file, opened.format)
        file.seek(position)
    except BaseException:
        opened.close()
        raise
    return _SndFile(name, opened)


def _check_whole(name: str, file: BinaryIO, format: str) -> None:
    size = file.seek(0, os.SEEK_END)
    if format in ("WAV", "WAVEX"):
        start, length = _riff_data(file, size)
        if start + length > size:
            raise AudioError(f"{name} is truncated: the header announces {length} bytes of sound, {size - start} are there")
    if format == "OGG":
        file.seek(max(0, size - (1 << 17)))  # an Ogg page is at most 65,307 bytes
        tail = file.read()
        page = tail.rfind(b"OggS")
        if page < 0 or page + 5 >= len(tail) or not tail[page + 5] & 4:
            raise AudioError(f"{name} is truncated: the last Ogg page is not an end of stream")


def _riff_data(file: BinaryIO, size: int) -> tuple[int, int]:
    """Where the RIFF `data` chunk starts and how many bytes it announces (0 when it does not say, as pipes do)."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        tag, length = head[:4], struct.unpack("<I", head[4:])[0]
        if tag == b"data":
            return file.tell(), (0 if length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000) else length)
        file.seek(length + (length & 1), os.SEEK_CUR)
    return size, 0


class _Ffmpeg(Opened):
    """`ffmpeg` writing Sun AU (the simplest header there is) to a pipe."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], errors: Any, owned: str | None) -> None:
        self.process, self.errors, self.owned = process, errors, owned
        head = self._pipe().read(24)
        if len(head) < 24 or head[:4] != b".snd":
            self._finish()
            raise AudioError(f"{name} is not sound that libsndfile or ffmpeg can read{self._reason()}")
        offset, _, _, rate, self.channels = struct.unpack(">5I", head[4:])
        self._pipe().read(offset - 24)
        super().__init__(name, rate)

    def _pipe(self) -> Any:
        return self.process.stdout

    def _finish(self) -> int:
        self._pipe().close()
        code = self.process.wait()
        if self.owned:
            os.unlink(self.owned)
        return code

    def _reason(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def blocks(self) -> Iterator[np.ndarray]:
        width = 4 * self.channels
        try:
            while data := self._pipe().read(BLOCK * width):
                whole = len(data) // width * width
                yield np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, self.channels)
        finally:
            code = self._finish()
        if code:
            raise AudioError(f"{self.name} is damaged{self._reason()}")


def _open_ffmpeg(name: str, source: Any, file: BinaryIO) -> Opened:
    program = shutil.which("ffmpeg")
    if program is None:
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
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    return _Ffmpeg(name, process, errors, owned)
