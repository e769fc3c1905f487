"""Which files beside itself an ONNX graph reads its weights from, told without the onnx package and before anything opens it.

A graph may name any path as the place of its weights. The names are read from the protobuf wire format
(https://protobuf.dev/programming-guides/encoding), of which only the few fields that lead to them are followed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import ModelError

__all__ = ["external_files"]

# Message -> field number -> message inside, as in onnx.proto; `entry` holds a key and a value.
FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
DEEPEST = 64  # graphs inside nodes inside graphs


def external_files(path: Path) -> set[str]:
    """The names of the files that hold weights of the graph in `path`, as it gives them.

    Raises `ModelError` for a file that is not of the wire format.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return set(_names(data, 0, len(data), "model", 0))
    except (IndexError, ValueError, OSError) as error:  # ValueError: an empty file cannot be mapped
        raise ModelError(f"{str(path)!r} is no ONNX graph: {error}") from None


def _names(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError("its graphs lie too deep inside each other")
    if message == "entry":
        entry = {number: data[a:b] for number, a, b in _fields(data, start, end)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode("utf-8", "replace")
        return
    inside = FIELDS[message]
    for number, a, b in _fields(data, start, end):
        if number in inside:
            yield from _names(data, a, b, inside[number], depth + 1)


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, end) of all fields that have a length; numbers are skipped."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a part of it is longer than the whole")
            yield tag >> 3, at, at + size
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"there is no wire type {kind}")
    if at != end:
        raise ValueError("it ends inside a field")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number in it has no end")
