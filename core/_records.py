"""Finding the chunks of a bitstream in bytes that come from a file or a pipe, past damage too."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ._bitstream_header import Header
from ._chunks import SMALLEST, Chunk, Record, most_bytes, read_chunk, read_record
from ._header_bytes import MAGIC, VERSION, read_header
from ._packing import Cursor
from .errors import TokensError

__all__ = ["Damage", "Source", "open_header", "walk"]

PIECE = 1 << 16  # bytes read at once, at most
BODY = 1 << 26  # of a header: more than tables of 65,536 counts for 1,000 streams
MISSING = 64  # chunks that may be missing without a trace; more would find chunks where there are none
BUDGET = 1 << 28  # bytes checked in search of chunks in a whole file; a hostile one could ask for their square
PER_BYTE = 1 << 10  # and so many more for each byte that was read


@dataclass(frozen=True)
class Damage:
    """Neighbouring chunks of one clip that are lost.

    Attributes:
        clip: number of the clip, from 0.
        first, last: numbers of the chunks, from 0; `last` is None where all that followed is lost, however much it was, and
            all later clips.
        start, end: s, in the clip; `end` is None where `last` is. The clip itself may end before that.
        reason: what is wrong.
    """

    clip: int
    first: int
    last: int | None
    start: float
    end: float | None
    reason: str

    def __str__(self) -> str:
        of = f" of clip {self.clip}" if self.clip else ""
        if self.end is None:
            return f"all from chunk {self.first}{of} on ({self.start:.2f} s) is lost: {self.reason}"
        many = "s" if self.last != self.first else ""
        numbers = f"{self.first} to {self.last}" if many else str(self.first)
        return f"chunk{many} {numbers}{of} ({self.start:.2f} to {self.end:.2f} s) cannot be read: {self.reason}"


class Source:
    """Bytes of a file as they are needed, never more: a pipe may still be written to."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.data, self.ended = file, bytearray(), False
        self.dropped, self.searched = 0, 0  # bytes let go of; bytes checked in search of chunks

    def want(self, count: int) -> bool:
        """Whether the next `count` bytes could be had."""
        while len(self.data) < count and not self.ended:
            piece = self.file.read(min(PIECE, count - len(self.data)))
            self.ended = not piece
            self.data += piece or b""
        return len(self.data) >= count

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises `TokensError` when there are fewer."""
        if not self.want(count):
            raise TokensError("not a whole bitstream: it ends in its header")
        taken = bytes(self.data[:count])
        self.drop(count)
        return taken

    def drop(self, count: int) -> None:
        """Let go of the next `count` bytes."""
        del self.data[:count]
        self.dropped += count


def open_header(source: Source) -> Header:
    """Read and check the header. Raises `TokensError`."""
    start = source.take(len(MAGIC) + 1)
    if start[:-1] != MAGIC:
        raise TokensError("not a bitstream: it does not begin with \\x89VXB")
    if start[-1] != VERSION:
        raise TokensError(f"a bitstream of version {start[-1]}; this voxzoo reads version {VERSION}: get a newer one")
    length = b""
    while not length or length[-1] >= 0x80:
        length += source.take(1)
        if len(length) > 4:
            raise TokensError("the header of the bitstream is damaged: its length is absurd")
    size = Cursor(length).varint()
    if size > BODY:
        raise TokensError("the header of the bitstream is damaged: its length is absurd")
    body = source.take(size)
    if int.from_bytes(source.take(4), "little") != zlib.crc32(start + length + body):
        raise TokensError("the header of the bitstream is damaged: its checksum differs; nothing can be read without it")
    try:
        return read_header(body)
    except TokensError as error:
        raise TokensError(f"this bitstream cannot be read: {error}") from None


def walk(source: Source, header: Header) -> Iterator[tuple[int, int, Chunk] | Damage]:
    """(clip, number in the clip, chunk) one after another, and what is lost where it is missed."""
    number, most = 0, most_bytes(header)
    while header.count is None or number < header.count:
        found = _record(source, 0, most)
        if isinstance(found, Record) and found.number == number:
            source.drop(found.size)
            item = _chunk(header, number, found)
            yield item
            if header.chunks is None and not isinstance(item, Damage) and item[2].total is not None:
                return
            number += 1
            continue
        reason = "its checksum differs" if isinstance(found, Record) else found
        behind = _search(source, header, number, most)
        yield from _lost(header, number, behind, reason)
        if behind is None:
            return
        number = behind


def _chunk(header: Header, number: int, record: Record) -> tuple[int, int, Chunk] | Damage:
    clip, place = header.place(number)
    try:
        chunk = read_chunk(header, place, record.payload)
        if header.chunks is not None and (chunk.total is not None) != (place == header.chunks[clip] - 1):
            raise TokensError("its clip does not end where the header says")
    except TokensError as error:
        return _damage(header, clip, place, place, str(error))
    return clip, place, chunk


def _record(source: Source, at: int, most: int) -> Record | str:
    source.want(at + SMALLEST)
    while isinstance(found := read_record(source.data, at, most, source.ended), int):
        source.want(at + found)
    return found


def _search(source: Source, header: Header, number: int, most: int) -> int | None:
    """Number of the next whole chunk after the damaged one, to which `source` is brought; None where there is none."""
    if header.count is not None and number + 1 >= header.count:
        return None
    at = -1
    while source.searched < BUDGET + PER_BYTE * source.dropped and source.want((at := at + 1) + SMALLEST):
        found = _record(source, at, most)
        source.searched += SMALLEST if isinstance(found, str) else found.size
        if (
            isinstance(found, Record)
            and number < found.number <= number + MISSING + at // SMALLEST
            and (header.count is None or found.number < header.count)
        ):
            source.drop(at)
            return found.number
    return None


def _lost(header: Header, first: int, behind: int | None, reason: str) -> Iterator[Damage]:
    """Damage of the chunks from `first` to `behind`, clip by clip; or of all that follows."""
    clip, place = header.place(first)
    if header.chunks is None or behind is None:
        yield _damage(header, clip, place, None if behind is None else behind - 1, reason)
        return
    stop, end = header.place(behind)
    while (clip, place) < (stop, end):
        yield _damage(header, clip, place, end - 1 if clip == stop else header.chunks[clip] - 1, reason)
        clip, place = clip + 1, 0


def _damage(header: Header, clip: int, first: int, last: int | None, reason: str) -> Damage:
    end = None if last is None else float((last + 1) * header.seconds)
    return Damage(clip, first, last, float(first * header.seconds), end, reason)
