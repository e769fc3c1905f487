"""From a torch module to an ONNX graph: traced with lengths left open, cleaned, checked, and written.

A part names its inputs and outputs and says which axes vary. Axes that are called alike are of one length in all inputs; where
an input's axis is a whole number of times that length, it is `Times(number, name)`. Nothing of the example's sizes may stay in
the graph: torch refuses what would bake them in, and parity is tested at many other lengths.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ExportError, MissingExtraError
from .bundle import GraphFile, sha256_of

__all__ = ["OPSET", "Part", "Port", "Times", "write_graph"]

OPSET = 20  # the newest that onnxruntime 1.17 reads; with it GELU is one node
LARGEST = 1_900_000_000  # bytes of weights that go into the graph's own file; protobuf ends at 2 GiB


@dataclass(frozen=True)
class Times:
    """An axis of `number` times the length called `name`, which is `least` or more, and `more`."""

    number: int
    name: str
    least: int = 1
    more: int = 0


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: in the graph.
        shape: of the value: numbers, names of what varies, and `Times`.
        example: of an input, which it is traced with; of varying axes of at least 2.
        initial: of an input that is a state: what it is before the first push.
    """

    name: str
    shape: Sequence[int | str | Times]
    example: Tensor | None = None
    initial: float | None = None

    @property
    def stated(self) -> list[int | str]:
        """The shape as a manifest has it; `Times` is the plural of what it counts."""
        return ["samples" if isinstance(axis, Times) else axis for axis in self.shape]


@dataclass(frozen=True)
class Part:
    """A graph to be: `module(*inputs)` gives the outputs, as a tuple or as one tensor.

    Attributes:
        role: see `GraphFile`.
        stream: see `GraphFile`.
    """

    role: str
    module: nn.Module
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    stream: Mapping[str, int] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        return f"{self.role}.onnx"


def write_graph(part: Part, folder: Path) -> dict[str, GraphFile]:
    """Trace a part and write `ROLE.onnx` into `folder`, beside it `ROLE.onnx.data` where the weights are many.

    Returns the files written. Raises `ExportError` where the module cannot be traced or the graph is not sound.
    """
    onnx = _onnx()
    program = _program(part)
    model = _cleaned(onnx, program.model_proto, part)
    path = folder / part.file
    data = f"{part.file}.data"
    large = sum(len(t.raw_data) for t in model.graph.initializer) > LARGEST
    if large:
        onnx.save_model(model, path, save_as_external_data=True, location=data, size_threshold=1024)
    else:
        onnx.save_model(model, path)
    try:
        onnx.checker.check_model(str(path), full_check=True)  # with shape inference
    except Exception as error:  # of several classes, all of onnx's own
        raise ExportError(f"the {part.role} makes a graph that is not sound: {error}") from error
    files = {part.file: graph_file(path, part.role, part)}
    if large:
        files[data] = graph_file(folder / data, "data")
    return files


def graph_file(path: Path, role: str, part: Part | None = None) -> GraphFile:
    """What a manifest says of a file."""
    if part is None:
        return GraphFile(sha256_of(path), path.stat().st_size, role)
    plain = [port for port in part.inputs if port.initial is None]
    states = [{**_stated(port), "initial": port.initial} for port in part.inputs if port.initial is not None]
    return GraphFile(
        sha256_of(path),
        path.stat().st_size,
        role,
        [_stated(port) for port in plain],
        [_stated(port) for port in part.outputs if not port.name.startswith("next_")],
        states,
        dict(part.stream),
    )


def _stated(port: Port) -> dict[str, Any]:
    kind = "float32" if port.example is None else str(port.example.dtype).removeprefix("torch.")
    return {"name": port.name, "type": kind, "shape": port.stated}


def _program(part: Part) -> Any:
    """The traced module."""
    axes: dict[str, Any] = {}

    def axis(value: int | str | Times) -> Any:
        if isinstance(value, int):
            return None
        if isinstance(value, Times):
            length = axes.setdefault(value.name, torch.export.Dim(value.name, min=value.least))
            whole = value.number * length if value.number > 1 else length
            return whole + value.more if value.more else whole
        return axes.setdefault(value, torch.export.Dim(value, min=1))

    shapes = tuple({i: axis(v) for i, v in enumerate(port.shape) if not isinstance(v, int)} for port in part.inputs)
    module = _Called(part.module).eval()
    examples = []
    for port in part.inputs:
        if port.example is None:
            raise ValueError(f"the input {port.name} has no example")
        examples.append(port.example)
    with _quiet(), torch.no_grad():
        try:
            # not by the ONNX exporter itself, which would take a length that was baked in for meant
            traced = torch.export.export(module, tuple(examples), dynamic_shapes=(shapes,), strict=False)
            program = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=[port.name for port in part.inputs],
                output_names=[port.name for port in part.outputs],
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # the tracer, the decompositions and the translator each have their own
            reason = str(error.__cause__ or error).strip().splitlines()
            raise ExportError(f"the {part.role} cannot be traced: {reason[0] if reason else type(error).__name__}") from error
    if program is None:
        raise ExportError(f"the {part.role} cannot be traced")
    return program


class _Called(nn.Module):
    """A module whose inputs have places and no names."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *values: Tensor) -> Any:
        """What it gives."""
        return self.module(*values)


def _cleaned(onnx: Any, model: Any, part: Part) -> Any:
    """Without what only tells of the tracing, and with the names of the axes that the manifest has.

    Shapes of values inside go too: those that the tracer leaves behind are not all true, and mislead quantisation.
    """
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for function in model.functions:
        del function.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    for ports, values in ((part.inputs, model.graph.input), (part.outputs, model.graph.output)):
        if [port.name for port in ports] != [value.name for value in values]:
            raise ExportError(f"the {part.role} came out with the values {[v.name for v in values]}")
        for port, value in zip(ports, values, strict=True):
            del value.metadata_props[:]
            dims = value.type.tensor_type.shape.dim
            for dim, name in zip(dims, port.stated, strict=True):
                dim.Clear()
                if isinstance(name, str):
                    dim.dim_param = name
                else:
                    dim.dim_value = name
    model.producer_name, model.producer_version = "voxzoo", ""
    model.graph.name = part.role
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's advice, which is for who wrote the module."""
    names = ["torch.onnx", "onnxscript", "torch.onnx._internal", "torch.export"]
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in names:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _onnx() -> Any:
    """The package. Raises `MissingExtraError`."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(str(error.name or "onnx"), "export") from None
    return onnx
