"""Is a sound file all there? libsndfile quietly returns what is left of a truncated one, so its container is checked first.

WAV, RF64, W64, AIFF, AU and WebM announce their size; Ogg pages carry a checksum and an end mark. FLAC and MP3 are found out
by counting what was decoded, in `_sources.py`.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

from .errors import AudioError

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)  # sizes that writers to a pipe put for "until the end"
_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def check_whole(name: str, file: BinaryIO) -> None:
    """Raise `AudioError` when a file of one of these kinds is shorter than it says, or an Ogg page of it is damaged.

    Other kinds pass; `file` is left at its start.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(80).ljust(80, b"\0")
    if head[:4] == b"OggS":
        _check_ogg(name, file)
    start, length = _announced(file, head)
    if start + length > size:
        raise AudioError(f"{name} is truncated: the header announces {length} bytes, {max(0, size - start)} are there")
    file.seek(0)


def _announced(file: BinaryIO, head: bytes) -> tuple[int, int]:
    """Where the part whose size the header tells starts, and that size; zeros when it does not tell."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _riff_data(file)
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return 8, int.from_bytes(head[20:28], "little")
    if head[:4] == b"riff":  # W64, whose chunk names are GUIDs that begin like RIFF's, in small letters
        return 0, int.from_bytes(head[16:24], "little")
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return 8, int.from_bytes(head[4:8], "big")
    if head[:4] == b".snd":
        start, length = struct.unpack(">2I", head[4:12])
        return start, (0 if length in UNKNOWN else length)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_segment(head)
    return 0, 0


def _matroska_segment(head: bytes) -> tuple[int, int]:
    """The one big element of a WebM file, which follows the short EBML header."""
    start, length = _vint(head, 4)
    segment = start + length
    return _vint(head, segment + 4) if head[segment : segment + 4] == b"\x18\x53\x80\x67" else (0, 0)


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """Where EBML's variable-length number at `at` ends, and its value; 0 for "unknown"."""
    width = 9 - data[at].bit_length() if at < len(data) else 9
    value = int.from_bytes(data[at : at + width], "big") - (1 << 7 * width)
    return at + width, (0 if value == (1 << 7 * width) - 1 else value)


def _riff_data(file: BinaryIO) -> tuple[int, int]:
    """The RIFF `data` chunk."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        tag, length = head[:4], struct.unpack("<I", head[4:])[0]
        if tag == b"data":
            return file.tell(), (0 if length in UNKNOWN else length)
        file.seek(length + (length & 1), os.SEEK_CUR)
    return 0, 0


def _check_ogg(name: str, file: BinaryIO) -> None:
    """Walk the pages: each whole and of the right checksum, the last one marked as the end of its stream."""
    file.seek(0)
    pages, ended = 0, False
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        lacing = file.read(head[26])
        body = file.read(sum(lacing))
        if len(lacing) < head[26] or len(body) < sum(lacing):
            raise AudioError(f"{name} is truncated: its Ogg page {pages} breaks off")
        if _ogg_crc(head[:22] + bytes(4) + head[26:] + lacing + body) != int.from_bytes(head[22:26], "little"):
            raise AudioError(f"{name} is damaged: its Ogg page {pages} has a wrong checksum")
        pages, ended = pages + 1, bool(head[5] & 4)
    if not ended:
        raise AudioError(f"{name} is truncated or damaged: its {pages} whole Ogg pages have no end of stream")


def _ogg_crc(data: bytes) -> int:
    """Ogg's CRC (RFC 3533: polynomial 04C11DB7, most significant bit first) by zlib's, which runs the other way round."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
