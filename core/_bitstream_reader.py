"""Reading bitstreams: chunk by chunk from a file or a pipe, or all that is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from ._bitstream_header import Header
from ._chunks import Chunk
from ._records import Damage, Source, open_header, walk
from .errors import TokensError
from .tokens import PADDING, Tokens

__all__ = ["BitstreamReader", "DamagedBitstreamError", "Part", "Salvage", "joined"]

RESERVE = 1 << 10  # codes, padding included, for each byte read: a batch of very unequal clips may ask for more
FREE = 1 << 20  # and so many in any case


@dataclass(frozen=True)
class Part:
    """Whole chunks of one clip that follow each other.

    Attributes:
        clip: number of the clip, from 0.
        chunk: number of the first chunk in the clip.
        offset: samples of the clip before it.
        tokens: one clip, numpy; its length is the samples that the chunks cover.
        total: samples of the whole clip, if it ends here; else None.
    """

    clip: int
    chunk: int
    offset: int
    tokens: Tokens
    total: int | None


class DamagedBitstreamError(TokensError):
    """Chunks of a bitstream are damaged; `salvage` holds the rest."""

    def __init__(self, message: str, salvage: Salvage | None = None) -> None:
        super().__init__(message)
        self.salvage = salvage


class BitstreamReader:
    """The chunks of a bitstream one after another, read as they are needed: it works on a pipe that is still written to.

        for part in BitstreamReader(file):
            audio = decoder.push(part.tokens)  # a StreamDecoder

    Args:
        file: binary file object.
        damaged: "raise" a `DamagedBitstreamError` at the first damaged chunk, or "skip" it: then `damage` tells what is
            missing, and `Part.offset` where the next one belongs.

    Attributes:
        header: facts, fingerprint, resampler, coder, streams; `header.chunks` is None for a single clip.
        damage: what was found damaged so far.
    """

    def __init__(self, file: BinaryIO, damaged: Literal["raise", "skip"] = "raise") -> None:
        if damaged not in ("raise", "skip"):
            raise TokensError(f"damaged={damaged!r}; expected 'raise' or 'skip'")
        self.source, self.damaged = Source(file), damaged
        self.header = open_header(self.source)
        self.damage: list[Damage] = []

    def __iter__(self) -> Iterator[Part]:
        for found in walk(self.source, self.header):
            if not isinstance(found, Damage):
                yield _part(self.header, found[0], found[1], [found[2]])
                continue
            self.damage.append(found)
            if self.damaged == "raise":
                raise DamagedBitstreamError(f"{found}; damaged='skip' goes on behind it")


@dataclass(frozen=True)
class Salvage:
    """All of a bitstream that can be read.

    Attributes:
        header: facts, fingerprint, resampler, coder, streams.
        parts: in the order of the file; what lies between two parts of a clip is lost.
        damage: what is lost.
        size: bytes read.
        ended: whether the file ends where the header and the last chunk say.
    """

    header: Header
    parts: Sequence[Part]
    damage: Sequence[Damage]
    size: int
    ended: bool

    @property
    def clips(self) -> int:
        """Number of clips, lost ones included."""
        return 1 if self.header.chunks is None else len(self.header.chunks)

    @classmethod
    def read(cls, file: BinaryIO) -> Salvage:
        """Read a binary file object to its end. Raises `TokensError` where the header is damaged."""
        source = Source(file)
        header = open_header(source)
        parts: list[Part] = []
        damage: list[Damage] = []
        run: list[tuple[int, int, Chunk]] = []
        for found in walk(source, header):
            if run and (isinstance(found, Damage) or found[0] != run[0][0]):
                parts.append(_part(header, run[0][0], run[0][1], [chunk for _, _, chunk in run]))
                run = []
            if isinstance(found, Damage):
                damage.append(found)
            else:
                run.append(found)
        parts += [_part(header, run[0][0], run[0][1], [chunk for _, _, chunk in run])] if run else []
        return cls(header, parts, damage, source.dropped, not source.want(1))

    def filled(self, code: int) -> Tokens:
        """Tokens in which every lost frame has this code in each stream, and extras 0: nobody can tell them from real ones.

        A clip whose end is lost ends with its last whole chunk. Raises `TokensError` where padding would take absurdly much
        memory, and for a code that is none.
        """
        found: list[list[Part]] = [[] for _ in range(self.clips)]
        for part in self.parts:
            found[part.clip].append(part)
        return _batch(self.header, [_filled(self.header, clip, parts, code) for clip, parts in enumerate(found)], self.size)


def joined(salvage: Salvage) -> Tokens:
    """All clips of a bitstream without damage. Raises `TokensError` where padding would take absurdly much memory."""
    return _batch(salvage.header, salvage.parts, salvage.size)


def _part(header: Header, clip: int, first: int, chunks: Sequence[Chunk]) -> Part:
    offset, total = header.samples(first), chunks[-1].total
    end = header.samples(first + len(chunks)) if total is None else max(offset, total)
    codes = [np.concatenate([c.codes[k] for c in chunks])[None] for k in range(header.streams)]
    extras = {key: np.concatenate([c.extras[key] for c in chunks])[None] for key in header.extras}
    tokens = Tokens(codes, np.array([end - offset]), header.facts, header.fingerprint, header.resampler, extras)
    return Part(clip, first, offset, tokens, total)


def _filled(header: Header, clip: int, parts: Sequence[Part], code: int) -> Part:
    ends = (
        [n + c.shape[1] for n, c in zip(header.frames(parts[-1].chunk), parts[-1].tokens.codes, strict=True)] if parts else []
    )
    codes = [np.full((1, n), code, np.int64) for n in ends or [0] * header.streams]
    extras = {key: np.zeros(codes[0].shape, np.float32) for key in header.extras}
    for part in parts:
        for begin, out, found in zip(header.frames(part.chunk), codes, part.tokens.codes, strict=True):
            out[:, begin : begin + found.shape[1]] = found
        begin = header.frames(part.chunk)[0]
        for key, values in part.tokens.extras.items():
            extras[key][:, begin : begin + values.shape[1]] = values
    length = parts[-1].offset + int(parts[-1].tokens.lengths[0]) if parts else 0
    tokens = Tokens(codes, np.array([length]), header.facts, header.fingerprint, header.resampler, extras)
    return Part(clip, 0, 0, tokens, parts[-1].total if parts else None)


def _batch(header: Header, clips: Sequence[Part], size: int) -> Tokens:
    """Of a file of `size` bytes."""
    widest = sum(max((c.tokens.codes[k].shape[1] for c in clips), default=0) for k in range(header.streams))
    if len(clips) * widest > FREE + RESERVE * size:
        raise TokensError(
            f"{len(clips)} clips of very unequal length would take {len(clips) * widest} codes with their padding; read them "
            "one by one with BitstreamReader"
        )
    lengths = [int(c.tokens.lengths[0]) if c.total is None else c.total for c in clips]
    codes = [_padded([c.tokens.codes[k] for c in clips], np.int64, PADDING) for k in range(header.streams)]
    extras = {key: _padded([c.tokens.extras[key] for c in clips], np.float32, 0) for key in header.extras}
    return Tokens(
        codes, np.array(lengths, np.int64), header.facts, header.fingerprint, header.resampler, extras, header.batched
    )


def _padded(rows: Sequence[np.ndarray], kind: type, value: int) -> np.ndarray:
    out = np.full((len(rows), max((row.shape[1] for row in rows), default=0)), value, kind)
    for i, row in enumerate(rows):
        out[i, : row.shape[1]] = row[0]
    return out
