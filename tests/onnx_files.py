"""Tiny ONNX files with known answers, written field by field: the format is Protocol Buffers, and needs no package here."""

from pathlib import Path

FLOAT = 1  # TensorProto.DataType


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(kind: str, inputs: list[str], output: str, **integers: int) -> bytes:
    attributes = b"".join(field(5, field(1, k) + field(3, v) + field(20, 2)) for k, v in integers.items())
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind) + attributes)


def value(number: int, name: str, *dims: int | str) -> bytes:
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(number, field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape))))


def write(path: Path, nodes: list[bytes], inputs: list[bytes], *outputs: bytes) -> str:
    graph = b"".join(nodes) + field(2, "tiny") + b"".join(inputs) + b"".join(outputs)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
    return str(path)


def moments(path: Path, count: int) -> str:
    """waveform (1, T) -> (1, count): the first so many of mean, mean square, mean magnitude, largest, smallest sample."""
    nodes = [
        node("ReduceMean", ["wav"], "mean"),
        node("Mul", ["wav", "wav"], "squares"),
        node("ReduceMean", ["squares"], "square"),
        node("Abs", ["wav"], "magnitudes"),
        node("ReduceMean", ["magnitudes"], "magnitude"),
        node("ReduceMax", ["wav"], "largest"),
        node("ReduceMin", ["wav"], "smallest"),
        node("Concat", ["mean", "square", "magnitude", "largest", "smallest"][:count], "out", axis=1),
    ]
    return write(path, nodes, [value(11, "wav", 1, "T")], value(12, "out", 1, count))


def logarithm(path: Path) -> str:
    """waveform (1, T) -> (1, 1): the logarithm of the mean sample, which is no number for a negative mean."""
    nodes = [node("ReduceMean", ["wav"], "mean"), node("Log", ["mean"], "out")]
    return write(path, nodes, [value(11, "wav", 1, "T")], value(12, "out", 1, 1))


def two_inputs(path: Path) -> str:
    """Takes two waveforms, as no predictor without a reference does."""
    return write(path, [node("Add", ["a", "b"], "out")], [value(11, n, 1, "T") for n in "ab"], value(12, "out", 1, "T"))


def custom_operator(path: Path) -> str:
    """Names an operator that only a library of its own could bring."""
    return write(path, [node("RunAnything", ["wav"], "out")], [value(11, "wav", 1, "T")], value(12, "out", 1, 1))


def extremes(path: Path) -> str:
    """waveform (1, T) -> two outputs (1, 1): the largest and the smallest sample."""
    nodes = [node("ReduceMax", ["wav"], "largest"), node("ReduceMin", ["wav"], "smallest")]
    return write(path, nodes, [value(11, "wav", 1, "T")], value(12, "largest", 1, 1), value(12, "smallest", 1, 1))
