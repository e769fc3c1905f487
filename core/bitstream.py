"""Bitstreams (`.vxb`): a compact file form of `Tokens`.

    write_bitstream(tokens, "speech.vxb", coder="adaptive")
    tokens = read_bitstream("speech.vxb")

A file is a header and chunks of about two seconds, each with its own check and nothing carried over from the one before: it is
written and read as it streams, and damage costs the chunks it hits and no others. What is read equals what was written, but
for columns that are padding in every clip, and extras in the padding of batches, which become 0.

Numbers are varints (7 bits a byte, lowest first, top bit: more follow) unless their size is given; text is a length in bytes
and UTF-8; checks are CRC-32 (zlib's), little-endian.

Header
    4 bytes     89 56 58 42 ("\\x89VXB")
    1 byte      version: 1
    number      bytes of the body
    body:
        1 byte      flags: 1 a list was encoded, 2 all facts follow, 4 a resampler is named (else "soxr-hq"), 8 extras,
                    16 the fingerprint is text
        1 byte      coder: 0 packed, 1 static, 2 adaptive
        text        name of the model
        32 bytes    its fingerprint (or text)
        [text]      resampler
        number      clips; if not 1, number of chunks of each
        number      frames of the slowest stream in a chunk
        number      K, streams held
        number      sample rate, Hz
        number      runs of streams of one rate and size, of all streams of the model, held (the first K) or not; for each four
                    numbers: streams, rate (numerator, denominator), size
        [number     extras; for each text: its name]
        [number     bytes of the other facts: JSON, deflated]
        static: for each stream held, number: bytes of its table of counts, deflated levels (see `_static.py`); 0: none
    4 bytes     check of all before

Chunk n of a clip holds the frames that begin in its time, streams one after another; a clip of no frames has one chunk.
    number      4 * bytes of the payload + 2 if packed (always with coder 0, or with a codebook of more than 2^16 codes)
                + 1 if frames are counted (else there are as many as begin in its time, and the clip goes on)
    payload:
        [number     2 * (samples of the clip + 1 where it ends here, else 0) + 1 if frames are counted for each stream
         numbers    frames of each run of streams of equal rate, or of each stream]
        for each extra, number: 2 * bytes + 1 if deflated; then float32 values, little-endian
        codes of all streams: packed as in `_packing.py`, else as in `_static.py` or `_adaptive.py`
        zeros, so that there are at most 64 codes to a byte
    4 bytes     check of all before in this chunk, XOR its number in the file times 0x9E3779B1 modulo 2^32: behind damage or
                where chunks are missing, the next one tells which it is
"Deflated" is raw DEFLATE, without zlib's header. A second is `sample rate` samples; chunk n of a clip covers the time from n to
n + 1 times p / r s, with p the frames of the slowest stream in a chunk and r its rate: frames ceil(n * p / r * rate) on.

Packed files are read and written with numpy alone; the other coders need `constriction` (the extra `bitstream`). They count in
integers only (`_range_coder.py`), so a file means the same on every machine. "static" looks at all codes first and writes their
histogram: worth it from some minutes on. "adaptive" saves what repeats within a chunk, runs of one code above all.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from ._bitstream_header import CODERS, Coder
from ._bitstream_reader import BitstreamReader, DamagedBitstreamError, Part, Salvage, joined
from ._bitstream_writer import SECONDS, BitstreamWriter, records
from ._header_bytes import MAGIC
from ._records import Damage
from .errors import TokensError
from .files import replacing
from .tokens import Tokens

__all__ = [
    "CODERS",
    "MAGIC",
    "BitstreamReader",
    "BitstreamWriter",
    "Coder",
    "Damage",
    "DamagedBitstreamError",
    "Part",
    "Salvage",
    "bitstream_bytes",
    "bitstream_saving",
    "read_bitstream",
    "salvage_bitstream",
    "write_bitstream",
]

Place = str | os.PathLike[str] | BinaryIO


def write_bitstream(
    tokens: Tokens,
    path: Place,
    coder: Coder = "packed",
    *,
    chunk_seconds: float = SECONDS,
    self_contained: bool | None = None,
) -> None:
    """Write tokens to a file (whole or not at all) or a binary file object.

    Args:
        tokens: one clip or several; numpy or torch codes.
        path: by custom `.vxb`.
        coder: "packed" (log2 of the codebook sizes, rounded up), "static" or "adaptive".
        chunk_seconds: time covered by a chunk, to the nearest whole frame: what damage costs, and a stream's delay.
        self_contained: write all facts of the model, some 200 bytes, so that a reader need not have it in its registry. By
            default only where this registry does not hold these very facts; False refuses then.

    Raises:
        TokensError: a file that cannot be written, an unknown coder, facts that cannot be written.
        MissingExtraError: "static" or "adaptive" without `constriction`.
    """
    parts = records(tokens, coder, chunk_seconds, self_contained)
    if not isinstance(path, (str, os.PathLike)):
        for part in parts:
            path.write(part)
        return
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.writelines(parts)
    except OSError as error:
        raise TokensError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def read_bitstream(path: Place) -> Tokens:
    """Read what `write_bitstream` or a `BitstreamWriter` wrote, as numpy.

    Raises:
        DamagedBitstreamError: chunks are damaged or missing: it names them, and holds the others (`error.salvage`).
        TokensError: the file cannot be read, its header is damaged, or it is no bitstream.
    """
    salvage = salvage_bitstream(path)
    if salvage.damage:
        more = f" (and {len(salvage.damage) - 1} more)" if len(salvage.damage) > 1 else ""
        raise DamagedBitstreamError(f"{_name(path)}{salvage.damage[0]}{more}; the rest is whole", salvage)
    try:
        if not salvage.ended:
            raise TokensError("bytes follow its end: two files were joined, or it is damaged; salvage_bitstream ignores them")
        return joined(salvage)
    except TokensError as error:
        raise TokensError(f"{_name(path)}{error}") from None


def salvage_bitstream(path: Place) -> Salvage:
    """All whole chunks of a file, however damaged the others are, and the list of these.

    Raises `TokensError` where even the header cannot be read.
    """
    try:
        if isinstance(path, (str, os.PathLike)):
            with open(path, "rb") as file:
                return Salvage.read(file)
        return Salvage.read(path)
    except OSError as error:
        raise TokensError(f"{_name(path)}it cannot be read: {error.strerror or error}") from None
    except TokensError as error:
        raise TokensError(f"{_name(path)}{error}") from None


def bitstream_bytes(tokens: Tokens, coder: Coder = "packed", **options: Any) -> tuple[int, int]:
    """(bytes of the whole file, bytes of its header, tables of counts among them); `options` as for `write_bitstream`."""
    header, *chunks = map(len, records(tokens, coder, **options))
    return header + sum(chunks), header


def bitstream_saving(tokens: Tokens, coder: Coder, **options: Any) -> float:
    """Share of the bytes of the packed file, header and all, that another coder saves: 0.2 is 20 %; below 0, it costs."""
    return 1 - bitstream_bytes(tokens, coder, **options)[0] / bitstream_bytes(tokens, "packed", **options)[0]


def _name(path: Place) -> str:
    """How a message begins: with the name, where there is one."""
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else getattr(path, "name", None)
    return "" if name is None else f"{str(name)!r}: "
