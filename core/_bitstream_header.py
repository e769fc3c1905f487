"""The header of a bitstream: what it says, and its bytes (laid out in `bitstream.py`)."""

from __future__ import annotations

import functools
import json
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Any, Literal

import numpy as np

from ._packing import WIDEST, Cursor, varint
from ._range_coder import Counts
from ._static import counts_of, pack_table, unpack_table
from .errors import TokensError, UnknownModelError, VoxzooError
from .facts import Facts
from .registry import entry

__all__ = ["CODERS", "LARGEST", "MAGIC", "VERSION", "Coder", "Header", "read_header"]

Coder = Literal["packed", "static", "adaptive"]
MAGIC = b"\x89VXB"
VERSION = 1
CODERS: tuple[Coder, ...] = ("packed", "static", "adaptive")
RESAMPLER = "soxr-hq"  # the one that need not be named
BATCHED, WHOLE, RESAMPLED, EXTRAS, TEXT = 1, 2, 4, 8, 16
SHAPE = ("sample_rate", "frame_rates", "codebook_sizes")  # facts that are always written
STREAMS = 1 << 12  # more than any model has
LARGEST = 1 << 16  # with larger codebooks, all is packed


@dataclass(frozen=True)
class Header:
    """What the chunks of a file have in common.

    Attributes:
        facts, fingerprint, resampler, batched: as in `Tokens`.
        coder: a name of `CODERS`.
        streams: K, the streams held.
        period: frames of the slowest stream in a chunk.
        extras: names of the extras.
        chunks: number of chunks of each clip; None where one clip is written as it comes.
        tables: of the static coder, levels (V,) of each stream, or None where all codes are alike.
        self_contained: whether all facts are written, or only their name and shape.
    """

    facts: Facts
    fingerprint: str
    resampler: str
    batched: bool
    coder: Coder
    streams: int
    period: int
    extras: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None
    tables: tuple[np.ndarray | None, ...] = ()
    self_contained: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codebook sizes of the streams held."""
        return self.facts.codebook_sizes[: self.streams]

    @property
    def rates(self) -> tuple[Fraction, ...]:
        """Frame rates of the streams held."""
        return self.facts.frame_rates[: self.streams]

    @functools.cached_property
    def counts(self) -> list[Counts | None]:
        """Of the static coder, those of each stream, or None for one without a table."""
        return [None if table is None else counts_of(table) for table in self.tables]

    @property
    def packed(self) -> bool:
        """Whether all chunks are packed."""
        return self.coder == "packed" or max(self.sizes) > LARGEST

    @functools.cached_property
    def seconds(self) -> Fraction:
        """Time covered by a chunk."""
        return self.period / min(self.rates)

    @functools.cached_property
    def _per_chunk(self) -> list[tuple[int, int]]:
        return [(self.seconds * rate).as_integer_ratio() for rate in self.rates]

    def frames(self, chunk: int) -> list[int]:
        """Frames of each stream before chunk `chunk` of a clip: those that begin before it does."""
        return [-(-chunk * over // under) for over, under in self._per_chunk]

    def nominal(self, chunk: int) -> list[int]:
        """Frames of each stream in chunk `chunk`, unless the clip ends in it."""
        return [b - a for a, b in zip(self.frames(chunk), self.frames(chunk + 1), strict=True)]

    @property
    def most(self) -> list[int]:
        """Frames of each stream that no chunk exceeds."""
        return [-(-over // under) for over, under in self._per_chunk]

    def chunks_of(self, frames: Sequence[int]) -> int:
        """Number of chunks of a clip with so many frames."""
        pairs = zip(frames, self._per_chunk, strict=True)
        return max((n - 1) * under // over + 1 if n else 1 for n, (over, under) in pairs)

    def samples(self, chunk: int) -> int:
        """Samples before chunk `chunk`."""
        return int(chunk * self.seconds * self.facts.sample_rate)

    def place(self, number: int) -> tuple[int, int]:
        """(clip, chunk of that clip) of the file's chunk `number`, if there is one."""
        if self.chunks is None:
            return 0, number
        clip = bisect_right(self._ends, number)
        return clip, number - (self._ends[clip - 1] if clip else 0)

    @property
    def count(self) -> int | None:
        """Chunks of the whole file, where that is known beforehand."""
        return None if self.chunks is None else (self._ends or [0])[-1]

    @functools.cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.chunks or ()))

    # ------------------------------------------------------------------ bytes
    def to_bytes(self) -> bytes:
        """The header as it begins the file, with its check."""
        body = self._body()
        data = MAGIC + bytes([VERSION]) + varint(len(body)) + body
        return data + zlib.crc32(data).to_bytes(4, "little")

    def _body(self) -> bytes:
        text = len(self.fingerprint) != 64 or self.fingerprint.strip("0123456789abcdef") != ""
        flags = BATCHED * self.batched | WHOLE * self.self_contained | RESAMPLED * (self.resampler != RESAMPLER)
        flags |= EXTRAS * bool(self.extras) | TEXT * text
        clips = [1] if self.chunks is None or len(self.chunks) == 1 else [len(self.chunks), *self.chunks]
        parts = [bytes([flags, CODERS.index(self.coder)]), _text(self.facts.name)]
        parts.append(_text(self.fingerprint) if text else bytes.fromhex(self.fingerprint))
        parts += [_text(self.resampler)] if flags & RESAMPLED else []
        parts += [varint(n) for n in (*clips, self.period, self.streams)] + [_shape(self.facts)]
        parts += [varint(len(self.extras)), *map(_text, self.extras)] if self.extras else []
        parts += [_with_length(_deflated(self.facts))] if self.self_contained else []
        parts += [_with_length(b"" if t is None else pack_table(t)) for t in self.tables]
        return b"".join(parts)


def read_header(body: bytes) -> Header:
    """The inverse of `Header.to_bytes`, for a body whose check was right. Raises `TokensError`."""
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
