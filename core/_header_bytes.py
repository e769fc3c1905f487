"""The bytes of a bitstream's header (laid out in `bitstream.py`)."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import groupby
from typing import Any

from ._bitstream_header import CODERS, LARGEST, Header
from ._packing import WIDEST, Cursor, varint
from ._static import pack_table, unpack_table
from .errors import TokensError, UnknownModelError, VoxzooError
from .facts import Facts
from .registry import entry

__all__ = ["MAGIC", "VERSION", "header_bytes", "read_header"]

MAGIC = b"\x89VXB"
VERSION = 1
RESAMPLER = "soxr-hq"  # the one that need not be named
BATCHED, WHOLE, RESAMPLED, EXTRAS, TEXT = 1, 2, 4, 8, 16
SHAPE = ("sample_rate", "frame_rates", "codebook_sizes")  # facts that are always written
STREAMS = 1 << 12  # more than any model has


def header_bytes(header: Header) -> bytes:
    """The header as it begins a file, with its check."""
    body = _body(header)
    data = MAGIC + bytes([VERSION]) + varint(len(body)) + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def _body(header: Header) -> bytes:
    text = len(header.fingerprint) != 64 or header.fingerprint.strip("0123456789abcdef") != ""
    flags = BATCHED * header.batched | WHOLE * header.self_contained | RESAMPLED * (header.resampler != RESAMPLER)
    flags |= EXTRAS * bool(header.extras) | TEXT * text
    clips = [1] if header.chunks is None or len(header.chunks) == 1 else [len(header.chunks), *header.chunks]
    parts = [bytes([flags, CODERS.index(header.coder)]), _text(header.facts.name)]
    parts.append(_text(header.fingerprint) if text else bytes.fromhex(header.fingerprint))
    parts += [_text(header.resampler)] if flags & RESAMPLED else []
    parts += [varint(n) for n in (*clips, header.period, header.streams)] + [_shape(header.facts)]
    parts += [varint(len(header.extras)), *map(_text, header.extras)] if header.extras else []
    parts += [_with_length(_deflated(header.facts))] if header.self_contained else []
    parts += [_with_length(b"" if t is None else pack_table(t)) for t in header.tables]
    return b"".join(parts)


def read_header(body: bytes) -> Header:
    """The inverse of `header_bytes`, for a body whose check was right. Raises `TokensError`."""
    cursor = Cursor(body)
    flags, number = cursor.take(2)
    if number >= len(CODERS):
        raise TokensError(f"its coder is number {number}; this version knows {', '.join(CODERS)}")
    name = _take_text(cursor)
    fingerprint = _take_text(cursor) if flags & TEXT else cursor.take(32).hex()
    resampler = _take_text(cursor) if flags & RESAMPLED else RESAMPLER
    chunks = _take_chunks(cursor)
    period, streams = cursor.varint(), cursor.varint()
    shape = _take_shape(cursor)
    if not period or not 1 <= streams <= len(shape["codebook_sizes"]):
        raise TokensError(f"it tells of {streams} streams in chunks of {period} frames")
    extras = tuple(_take_text(cursor) for _ in range(cursor.varint())) if flags & EXTRAS else ()
    facts = _inflated(cursor.take(cursor.varint()), shape) if flags & WHOLE else _registered(name, shape)
    tables = [cursor.take(cursor.varint()) for _ in range(streams)] if CODERS[number] == "static" else []
    sizes = shape["codebook_sizes"]
    if any(table and sizes[k] > LARGEST for k, table in enumerate(tables)):
        raise TokensError(f"it has a table of counts for more than {LARGEST} codes")
    levels = tuple(unpack_table(table, sizes[k]) if table else None for k, table in enumerate(tables))
    return Header(facts, fingerprint, resampler, bool(flags & BATCHED), CODERS[number], streams, period, extras, chunks,
                  levels, bool(flags & WHOLE))  # fmt: skip


def _with_length(data: bytes) -> bytes:
    return varint(len(data)) + data


def _text(text: str) -> bytes:
    try:
        return _with_length(text.encode())
    except UnicodeEncodeError:
        raise TokensError(f"{text!r} cannot be written as UTF-8") from None


def _take_text(cursor: Cursor) -> str:
    try:
        return cursor.take(cursor.varint()).decode()
    except UnicodeDecodeError as error:
        raise TokensError(f"a text in its header is not UTF-8: {error}") from None


def _take_chunks(cursor: Cursor) -> tuple[int, ...] | None:
    clips = cursor.varint()
    if clips == 1:
        return None
    if clips > len(cursor.data):
        raise TokensError(f"its header says {clips} clips, which it cannot hold")
    chunks = tuple(cursor.varint() for _ in range(clips))
    if 0 in chunks or sum(chunks) >= 1 << 32:
        raise TokensError("its clips have no chunks, or more than 2^32")
    return chunks


def _shape(facts: Facts) -> bytes:
    """Sample rate, and runs of streams of one rate and size."""
    pairs = groupby(zip(facts.frame_rates, facts.codebook_sizes, strict=True))
    runs = [(len(list(found)), rate.numerator, rate.denominator, size) for (rate, size), found in pairs]
    return b"".join(varint(n) for n in (facts.sample_rate, len(runs), *(n for run in runs for n in run)))


def _take_shape(cursor: Cursor) -> dict[str, Any]:
    rate, runs = cursor.varint(), cursor.varint()
    rates: list[Fraction] = []
    sizes: list[int] = []
    for _ in range(runs):
        count, numerator, denominator, size = (cursor.varint() for _ in range(4))
        if not (count and numerator and denominator and 0 < size <= WIDEST) or len(sizes) + count > STREAMS:
            raise TokensError("its header tells of streams without a rate or a size, or of too many or too large ones")
        rates += [Fraction(numerator, denominator)] * count
        sizes += [size] * count
    if not rate or not sizes:
        raise TokensError("its header tells of no streams or no sample rate")
    return {"sample_rate": rate, "frame_rates": tuple(rates), "codebook_sizes": tuple(sizes)}


def _deflated(facts: Facts) -> bytes:
    """The facts that are not in the shape, as JSON."""
    told = {key: value for key, value in asdict(facts).items() if key not in SHAPE}
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(json.dumps(told, separators=(",", ":")).encode()) + deflate.flush()


def _inflated(data: bytes, shape: dict[str, Any]) -> Facts:
    try:
        told = json.loads(zlib.decompressobj(-15).decompress(data, 1 << 16))
        return Facts.from_dict({**told, **shape})
    except (zlib.error, ValueError, TypeError, RecursionError, VoxzooError) as error:
        raise TokensError(f"the facts in its header are damaged: {error}") from None


def _registered(name: str, shape: dict[str, Any]) -> Facts:
    """Facts of the registry; those of the shape are what the file says, and must agree."""
    try:
        facts = entry(name).facts
    except UnknownModelError:
        raise TokensError(
            f"it holds codes of {name!r}, whose facts are neither in it nor in this registry: install what registers the "
            f"model, or write the file with self_contained=True"
        ) from None
    if any(getattr(facts, key) != value for key, value in shape.items()):
        raise TokensError(
            f"its codes have not the shape of this registry's {name!r}: another version wrote it; read it with that one"
        )
    return replace(facts, **shape)
