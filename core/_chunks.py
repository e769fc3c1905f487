"""Chunks of a bitstream: about two seconds of one clip's codes as bytes with a check, each decodable alone.

The bytes are laid out in `bitstream.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from . import _adaptive, _static
from ._bitstream_header import Header
from ._packing import Cursor, pack, packed_bytes, unpack, varint
from ._range_coder import TOTAL
from .errors import TokensError

__all__ = ["SMALLEST", "Chunk", "Payload", "Record", "cut", "most_bytes", "read_chunk", "read_record", "write_chunk"]

EXPLICIT, STORED = 1, 2
CHECK = 4  # bytes
MIXER = 0x9E3779B1  # odd: a number times it, modulo 2^32, can be told back, and a flipped bit makes another chunk's of no check
UNMIXER = pow(MIXER, -1, 1 << 32)
SMALLEST = 1 + CHECK
RATIO = 64  # codes that a byte of payload may stand for at most: what a reader allocates follows from what it read


@dataclass(frozen=True)
class Chunk:
    """Codes of one chunk.

    Attributes:
        codes: K arrays int64 (n_k,).
        extras: float32 (n_0,) each.
        total: samples of the whole clip, where it ends here.
    """

    codes: Sequence[np.ndarray]
    extras: Mapping[str, np.ndarray]
    total: int | None = None


@dataclass(frozen=True)
class Payload:
    """A chunk's bytes without their frame, and the two flags of their head."""

    data: bytes
    explicit: bool
    stored: bool


@dataclass(frozen=True)
class Record:
    """A payload as found in a file: the number its check gives, and the bytes it takes there."""

    number: int
    payload: Payload
    size: int


def most_bytes(header: Header) -> int:
    """Bytes that no chunk's payload exceeds: packed, extras as they are, the frames of each stream told."""
    counts = header.most
    extras = len(header.extras) * (9 + 4 * counts[0])
    return max(packed_bytes(counts, header.sizes) + extras, -(-sum(counts) // RATIO)) + 9 * (header.streams + 2)


# ---------------------------------------------------------------- cutting and framing


def cut(header: Header, codes: Sequence[np.ndarray], extras: Mapping[str, np.ndarray], total: int) -> Iterator[Chunk]:
    """One clip, cut."""
    last = header.chunks_of([len(c) for c in codes]) - 1
    for i in range(last + 1):
        begin, end = header.frames(i), header.frames(i + 1)
        kept = {key: value[begin[0] : end[0]] for key, value in extras.items()}
        parts = [c[a:b] for c, a, b in zip(codes, begin, end, strict=True)]
        yield Chunk(parts, kept, total if i == last else None)


def write_chunk(header: Header, number: int, chunk: Chunk) -> bytes:
    """The record of the file's chunk `number`."""
    _, place = header.place(number)
    payload = _payload(header, place, chunk)
    data = varint(len(payload.data) << 2 | STORED * payload.stored | EXPLICIT * payload.explicit) + payload.data
    return data + (zlib.crc32(data) ^ number * MIXER % (1 << 32)).to_bytes(CHECK, "little")


def read_record(data: bytes | bytearray, at: int, most: int, whole: bool) -> Record | int | str:
    """The record that begins at byte `at` of `data`; or how many bytes from there are wanted; or what is wrong.

    `most` is `most_bytes` of the chunk that is expected; `whole` says that `data` is all there is.
    """
    cursor = Cursor(bytes(data[at : at + 9]))
    try:
        head = cursor.varint()
    except TokensError:
        if len(cursor.data) == 9:
            return "its length is damaged"
        return "the file ends in it" if whole else max(SMALLEST, len(cursor.data) + 1)
    if head >> 2 > most:
        return "its length is damaged"
    begin = at + cursor.at
    end = begin + (head >> 2)
    if end + CHECK > len(data):
        return "the file ends in it" if whole else end + CHECK - at
    mixed = int.from_bytes(data[end : end + CHECK], "little") ^ zlib.crc32(memoryview(data)[at:end])
    payload = Payload(bytes(data[begin:end]), bool(head & EXPLICIT), bool(head & STORED))
    return Record(mixed * UNMIXER % (1 << 32), payload, end + CHECK - at)


# ---------------------------------------------------------------- writing


def _payload(header: Header, place: int, chunk: Chunk) -> Payload:
    counts = [len(c) for c in chunk.codes]
    explicit = chunk.total is not None or counts != header.nominal(place)
    front = (_counts(header, counts, chunk.total) if explicit else b"") + b"".join(map(_floats, chunk.extras.values()))
    coded = _coded(header, chunk.codes)
    stored = coded is None or len(coded) >= packed_bytes(counts, header.sizes)
    best = pack(chunk.codes, header.sizes) if stored or coded is None else coded
    data = (front + best).ljust(-(-sum(counts) // RATIO), b"\0")
    return Payload(data, explicit, stored)


def _counts(header: Header, counts: Sequence[int], total: int | None) -> bytes:
    """Samples of the clip + 1 or 0, and the number of frames of each run of equal rates, or where they differ, each stream."""
    runs = [list(found) for _, found in groupby(range(header.streams), lambda k: header.rates[k])]
    each = any(counts[k] != counts[run[0]] for run in runs for k in run)
    told = counts if each else [counts[run[0]] for run in runs]
    return b"".join(varint(n) for n in ((0 if total is None else total + 1) << 1 | each, *told))


def _floats(values: np.ndarray) -> bytes:
    raw = values.astype("<f4").tobytes()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    small = deflate.compress(raw) + deflate.flush()
    return varint(len(raw) << 1) + raw if len(small) >= len(raw) else varint(len(small) << 1 | 1) + small


def _coded(header: Header, codes: Sequence[np.ndarray]) -> bytes | None:
    """By the file's coder; None where codes are always packed."""
    if header.packed or max(map(len, codes)) >= TOTAL:
        return None
    if header.coder == "static":
        return _static.encode(codes, header.sizes, header.counts)
    return _adaptive.encode(codes, header.sizes)


# ---------------------------------------------------------------- reading


def read_chunk(header: Header, place: int, payload: Payload) -> Chunk:
    """The inverse of what made the payload of a clip's chunk `place`. Raises `TokensError`."""
    cursor, total = Cursor(payload.data), None
    counts = nominal = header.nominal(place)
    if payload.explicit:
        total, counts = _read_counts(header, cursor)
        if any(n > most for n, most in zip(counts, nominal, strict=True)):
            raise TokensError(f"it says {counts} frames; a chunk has at most {nominal}")
    if sum(counts) > RATIO * len(payload.data):
        raise TokensError(f"it says {sum(counts)} codes in {len(payload.data)} bytes")
    extras = {name: _read_floats(cursor, counts[0]) for name in header.extras}
    if payload.stored:
        return Chunk(unpack(cursor.rest(), counts, header.sizes), extras, total)
    return Chunk(_decoded(header, cursor.rest(), counts), extras, total)


def _read_counts(header: Header, cursor: Cursor) -> tuple[int | None, list[int]]:
    samples = cursor.varint()
    total = (samples >> 1) - 1 if samples >> 1 else None
    if samples & 1:
        return total, [cursor.varint() for _ in range(header.streams)]
    runs = [len(list(found)) for _, found in groupby(header.rates)]
    return total, [n for run in runs for n in [cursor.varint()] * run]


def _read_floats(cursor: Cursor, count: int) -> np.ndarray:
    size = cursor.varint()
    data = cursor.take(size >> 1)
    try:
        raw = zlib.decompressobj(-15).decompress(data, 4 * count + 1) if size & 1 else data
    except zlib.error as error:
        raise TokensError(f"its extras are damaged: {error}") from None
    if len(raw) != 4 * count:
        raise TokensError(f"its extras are not {count} numbers")
    return np.frombuffer(raw, "<f4").astype(np.float32)


def _decoded(header: Header, data: bytes, counts: Sequence[int]) -> list[np.ndarray]:
    if header.packed or max(counts) >= TOTAL:
        raise TokensError("it is entropy coded, which this file cannot be")
    if header.coder == "static":
        return _static.decode(data, counts, header.sizes, header.counts)
    return _adaptive.decode(data, counts, header.sizes)
