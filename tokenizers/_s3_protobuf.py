"""Graphs of ONNX files, read without onnx and without running anything: nodes, their attributes, and tensors.

An ONNX file is a Protocol Buffers message (ModelProto of onnx.proto). The file is mapped into memory and a tensor is copied
out only when it is asked for, so that to look at the graph of a file of 1 GB takes milliseconds.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import WeightsError

__all__ = ["Graph", "Node", "TensorView", "read_graph"]

Field = tuple[int, int | memoryview]  # number, and a varint or the bytes of anything else
TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    16: np.dtype("<u2"),
}
BFLOAT16 = 16
FLOATING = (1, 10, 11, BFLOAT16)
EXTERNAL = 1  # TensorProto.DataLocation


class _DamagedError(Exception):
    """The bytes are no message of Protocol Buffers."""


@dataclass(frozen=True)
class TensorView:
    """A tensor where it lies in the file.

    Attributes:
        name: as in the graph; of a Constant node, the name of its output.
        shape: its dimensions.
        kind: TensorProto.DataType.
        fields: the parts of its message.
        folder: of the file; data outside the file must lie in it.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    fields: tuple[Field, ...]
    folder: Path

    @property
    def floating(self) -> bool:
        """Whether it holds numbers rather than indices."""
        return self.kind in FLOATING

    @property
    def size(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)

    def numpy(self) -> np.ndarray:
        """A copy, float32 where it is floating. Raises `WeightsError` when the data are not whole or lie elsewhere."""
        dtype = TYPES.get(self.kind)
        if dtype is None:
            raise WeightsError(f"tensor {self.name!r} is of type {self.kind} of ONNX; expected floats or integers")
        data = self._bytes()
        if data is None:
            values = self._listed().astype(dtype)
        else:
            if len(data) != self.size * dtype.itemsize:
                wanted = f"{self.size * dtype.itemsize} for shape {self.shape}"
                raise WeightsError(
                    f"tensor {self.name!r} has {len(data)} bytes of data, expected {wanted}: the file is damaged"
                )
            values = np.frombuffer(data, dtype)
        if self.kind == BFLOAT16:
            values = (values.astype("<u4") << 16).view("<f4")
        if values.size != self.size:
            raise WeightsError(f"tensor {self.name!r} has {values.size} numbers, expected {self.size}: the file is damaged")
        return values.astype(np.float32 if self.floating else np.int64).reshape(self.shape)

    def _bytes(self) -> memoryview | bytes | None:
        raw = [value for number, value in self.fields if number == 9 and isinstance(value, memoryview)]
        if any(number == 14 and value == EXTERNAL for number, value in self.fields):
            return self._external()
        return raw[-1] if raw else None

    def _external(self) -> bytes:
        """Data in another file, which must lie in the same folder or below it."""
        pairs = [_fields(value) for number, value in self.fields if number == 13 and isinstance(value, memoryview)]
        about = {_text(dict(pair).get(1, b"")): _text(dict(pair).get(2, b"")) for pair in map(list, pairs)}
        place, home = self.folder / about.get("location", ""), self.folder.resolve()
        if not place.resolve().is_relative_to(home) or place.resolve() == home:
            raise WeightsError(
                f"tensor {self.name!r} has its data in {about.get('location', '')!r}, outside the folder of the model: refused"
            )
        try:
            offset, length = int(about.get("offset") or 0), int(about.get("length") or -1)
            with open(place, "rb") as file:
                file.seek(offset)
                return file.read(length)
        except (OSError, ValueError) as error:
            raise WeightsError(f"tensor {self.name!r} has its data in {str(place)!r}, which cannot be read: {error}") from None

    def _listed(self) -> np.ndarray:
        """Data written number by number rather than as bytes."""
        packed = {4: "<f4", 10: "<f8"}
        parts: list[np.ndarray] = []
        for number, value in self.fields:
            if number in packed and isinstance(value, memoryview):
                parts.append(np.frombuffer(value, packed[number]))
            elif number in (5, 7, 11):
                parts.append(np.array(_integers(value), np.int64))
        values = np.concatenate(parts) if parts else np.zeros(0)
        return values.astype("<u2").view("<f2") if self.kind == 10 else values


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name, kind: such as "/conv1/Conv" and "Conv".
        inputs, outputs: names of tensors.
        integers, floats: its attributes of these types.
        tensors: its attributes that are tensors.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, float]
    tensors: Mapping[str, TensorView]


@dataclass(frozen=True)
class Graph:
    """Nodes in their order, and the tensors the file brings (initialisers, and outputs of Constant nodes) by name."""

    nodes: tuple[Node, ...]
    tensors: Mapping[str, TensorView] = field(repr=False)


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file. Raises `WeightsError` when it cannot be read or is damaged."""
    try:
        with open(path, "rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise WeightsError(f"{str(path)!r} cannot be read as an ONNX file: {error}") from None
    try:
        graphs = [value for number, value in _fields(data) if number == 7 and isinstance(value, memoryview)]
        if len(graphs) != 1:
            raise _DamagedError("it holds no graph")
        nodes: list[Node] = []
        tensors: dict[str, TensorView] = {}
        for number, value in _fields(graphs[0]):
            if number == 1:
                nodes.append(node := _node(_message(value), path.parent))
                if node.kind == "Constant" and "value" in node.tensors and node.outputs:
                    tensors[node.outputs[0]] = node.tensors["value"]
            elif number == 5:
                tensor = _tensor(_message(value), path.parent)
                tensors[tensor.name] = tensor
        for node in nodes:
            if node.kind == "Identity" and node.inputs[0] in tensors:  # how exporters write that two tensors are equal
                tensors[node.outputs[0]] = tensors[node.inputs[0]]
        return Graph(tuple(nodes), tensors)
    except (_DamagedError, struct.error, UnicodeDecodeError) as error:
        raise WeightsError(f"{str(path)!r} is damaged or not an ONNX file: {error}") from None


def _node(data: memoryview, folder: Path) -> Node:
    names: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    integers: dict[str, tuple[int, ...]] = {}
    floats: dict[str, float] = {}
    tensors: dict[str, TensorView] = {}
    for number, value in _fields(data):
        if number in names:
            names[number].append(_text(value))
        elif number == 5:
            parts = list(_fields(_message(value)))
            key = next((_text(part) for i, part in parts if i == 1), "")
            for i, part in parts:
                if i == 2:
                    floats[key] = struct.unpack("<f", _message(part))[0]
                elif i in (3, 8):
                    integers[key] = (*integers.get(key, ()), *_integers(part))
                elif i == 5:
                    tensors[key] = _tensor(_message(part), folder, (names[2] or [key])[0])
    name, kind = ("".join(names[i][-1:]) for i in (3, 4))
    return Node(name, kind, tuple(names[1]), tuple(names[2]), integers, floats, tensors)


def _tensor(data: memoryview, folder: Path, name: str = "") -> TensorView:
    fields = tuple(_fields(data))
    shape = tuple(n for number, value in fields if number == 1 for n in _integers(value))
    kinds = [value for number, value in fields if number == 2 and isinstance(value, int)]
    names = [_text(value) for number, value in fields if number == 8]
    if min(shape, default=1) < 0 or not kinds:
        raise _DamagedError(f"a tensor of shape {shape} and no type")
    return TensorView(name or "".join(names[-1:]), shape, kinds[-1], fields, folder)


def _fields(data: memoryview) -> Iterator[Field]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _DamagedError(f"a field of wire type {wire}")
        if at + size > len(data):
            raise _DamagedError("it ends inside a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned number, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _DamagedError("it ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _DamagedError("a number of more than ten bytes")


def _integers(value: int | memoryview) -> list[int]:
    """One signed number, or a packed list of them."""
    found: list[int] = []
    if isinstance(value, int):
        found.append(value)
    else:
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(number)
    return [n - (1 << 64) if n >> 63 else n for n in found]


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _DamagedError("a number where a message was expected")
    return value


def _text(value: int | memoryview | bytes) -> str:
    return str(value) if isinstance(value, int) else bytes(value).decode()
