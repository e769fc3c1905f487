"""Codes as bits: fixed width for powers of two, mixed radix elsewhere, and the varints of file headers.

Codes of size V are taken in groups of g, each group read as a number in base V, its first code the most significant digit,
and written in ceil(g * log2 V) bits, most significant bit first. g is the number up to 8 that wastes the fewest bits (the
smallest of equals; groups fit 57 bits): 1 for 1024, where a code takes 10 bits, 4 for 6561, where four take 51 instead of 52.
The codes left over make a shorter group. Groups follow each other without gaps. Streams come one after another; neighbours of
equal size are taken as one, so that a group may hold the end of one and the begin of the next.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, groupby

import numpy as np

from .errors import TokensError

__all__ = ["WIDEST", "Cursor", "pack", "packed_bytes", "split", "unpack", "varint"]

GROUP = 8
GROUP_BITS = 57  # so that wherever a group begins, it lies within eight bytes
WIDEST = 1 << GROUP_BITS  # of a codebook


def varint(value: int) -> bytes:
    """7 bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Cursor:
    """Reads bytes front to back. Every method raises `TokensError` when they end early."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self.data) - self.at:
            raise TokensError("it ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def varint(self) -> int:
        """A number below 2^63."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise TokensError("it holds a number of more than 63 bits")


@functools.lru_cache(4096)
def _bits(size: int, count: int) -> int:
    """Bits that number all the series of `count` codes below `size`."""
    return (size**count - 1).bit_length()


@functools.lru_cache(4096)
def _group(size: int) -> int:
    fitting = [g for g in range(1, GROUP + 1) if _bits(size, g) <= GROUP_BITS]
    return min(fitting, key=lambda g: (_bits(size, g) / g, g))


def _run_bits(size: int, count: int) -> int:
    whole, left = divmod(count, _group(size))
    return whole * _bits(size, _group(size)) + _bits(size, left)


def _runs(sizes: Sequence[int]) -> list[tuple[int, list[int]]]:
    """(size, indices) of neighbouring streams of equal size: their codes are joined."""
    return [(size, list(found)) for size, found in groupby(range(len(sizes)), lambda k: sizes[k])]


def packed_bytes(counts: Sequence[int], sizes: Sequence[int]) -> int:
    """Bytes of `pack`, for `counts[k]` codes of each stream."""
    return -(-sum(_run_bits(size, sum(counts[k] for k in found)) for size, found in _runs(sizes)) // 8)


def pack(codes: Sequence[np.ndarray], sizes: Sequence[int]) -> bytes:
    """Codes of K streams, int64 (N_k,), of sizes up to 2^57, stream after stream; the last byte is filled with zero bits."""
    bits = [part for size, found in _runs(sizes) for part in _write(np.concatenate([codes[k] for k in found]), size)]
    return np.packbits(np.concatenate(bits)).tobytes() if bits else b""


def unpack(data: bytes, counts: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray]:
    """The inverse of `pack`. Raises `TokensError` when bytes are missing or a code is out of range."""
    if len(data) < packed_bytes(counts, sizes):
        raise TokensError("it holds fewer codes than it says")
    octets = np.frombuffer(data + bytes(7), np.uint8)
    windows = np.ndarray(len(data), ">u8", octets, strides=(1,))  # the eight bytes from each byte on
    out, at = [], 0
    for size, found in _runs(sizes):
        count = sum(counts[k] for k in found)
        joined = _read(windows, at, count, size)
        out += split(joined, [counts[k] for k in found])
        at += _run_bits(size, count)
    return out


def split(values: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Views of so many values each, one after another."""
    ends = list(accumulate(counts))
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _write(codes: np.ndarray, size: int) -> list[np.ndarray]:
    group = _group(size)
    whole = len(codes) // group * group
    parts = [(codes[:whole].reshape(-1, group), _bits(size, group))]
    if whole < len(codes):
        parts.append((codes[None, whole:], _bits(size, len(codes) - whole)))
    return [_to_bits(_number(digits, size), width) for digits, width in parts]


def _read(windows: np.ndarray, at: int, count: int, size: int) -> np.ndarray:
    group = _group(size)
    whole, left = divmod(count, group)
    codes = [_digits(_from_bits(windows, at, whole, _bits(size, group)), group, size).reshape(-1)]
    if left:
        at += whole * _bits(size, group)
        codes.append(_digits(_from_bits(windows, at, 1, _bits(size, left)), left, size).reshape(-1))
    return np.concatenate(codes)


def _number(digits: np.ndarray, size: int) -> np.ndarray:
    values = digits[:, 0].copy()
    for i in range(1, digits.shape[1]):
        values *= size
        values += digits[:, i]
    return values


def _digits(values: np.ndarray, count: int, size: int) -> np.ndarray:
    digits = np.empty((len(values), count), np.int64) if count > 1 else values[:, None]
    for i in reversed(range(1, count)):
        values, digits[:, i] = np.divmod(values, size)
    digits[:, 0] = values
    if len(values) and int(values.max()) >= size:
        raise TokensError(f"it holds code {int(values.max())}; codes are 0 to {size - 1}")
    return digits


def _to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """The low `width` bits of each, as uint8 0 or 1, the highest first."""
    octets = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(octets, axis=1)[:, 64 - width :].reshape(-1)


def _from_bits(windows: np.ndarray, at: int, count: int, width: int) -> np.ndarray:
    """`count` numbers of `width` bits, from bit `at` on."""
    if not width:
        return np.zeros(count, np.int64)
    begin = at + width * np.arange(count)
    found = windows[begin >> 3].astype(np.uint64) >> (64 - width - (begin & 7)).astype(np.uint64)
    return found.astype(np.int64) & ((1 << width) - 1)
