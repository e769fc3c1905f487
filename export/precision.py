"""fp16, bf16 and int8 forms of a bundle's graphs: the large products go down, what decides on codes stays in float32.

Codes are the nearest of many, or digits of rounded numbers, and spectra have squares of tiny and large numbers in one sum:
lower precision there moves codes out of proportion, and digits added up in it are not even whole. So these parts are kept:
everything after a code is chosen, the search itself and the small projection before it, and every transform of sound, whose
constants are called `basis` and `filters`.

On a CPU, where onnxruntime has no kernels for halves, `fp16` and `bf16` are how the weights are stored; they are widened when
the graph is opened. For CUDA the products themselves are taken in halves, and everything between them in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import ExportError, MissingExtraError
from .bundle import GraphFile, Manifest, sha256_of
from .length_law import padded

__all__ = ["kept_nodes", "lowered"]

PRODUCTS = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1}  # operator -> which input is the weight
CHOICES = {"ArgMin", "ArgMax", "Round"}  # where codes come from
EXACT = ("basis", "filters")  # parts of the names of constants of transforms
NARROW = 256  # outputs of a product that may be the projection before a search
LARGEST = 1_900_000_000


def lowered(manifest: Manifest, folder: Path, precision: str, device: str, calibration: Sequence[Audio] = ()) -> Manifest:
    """Rewrite the graphs of an fp32 bundle in place; gives the manifest for them.

    Raises `ExportError` for an unknown precision, one that a device has not, and graphs that are too large for it.
    """
    if precision not in ("fp32", "fp16", "bf16", "int8"):
        raise ExportError(f"precision={precision!r}; expected fp32, fp16, bf16 or int8")
    if precision == "int8" and device != "cpu":
        raise ExportError("int8 graphs are for the CPU: onnxruntime's CUDA has no kernels for them; use fp16 there")
    files = dict(manifest.files)
    if precision != "fp32":
        if any(file.role == "data" for file in files.values()):
            raise ExportError(f"{manifest.model} keeps its weights beside the graph, and exports in fp32 only")
        feeds = list(_feeds(manifest, folder, calibration))
        for name, file in files.items():
            data = [feed for role, feed in feeds if role == file.role]
            files[name] = _rewritten(folder / name, file, precision, device, data)
    return replace(manifest, precision=precision, device=device, files=files)


def _rewritten(
    path: Path, file: GraphFile, precision: str, device: str, feeds: Sequence[Mapping[str, np.ndarray]]
) -> GraphFile:
    onnx = _onnx()
    model = onnx.load(str(path))
    if precision == "int8":
        _quantise(model, path, feeds)
    else:
        halve(onnx, model, precision, inside=device != "cpu")
        onnx.save_model(model, str(path))
    return replace(file, sha256=sha256_of(path), bytes=path.stat().st_size)


def kept_nodes(graph: Any) -> set[str]:
    """Names of the nodes that stay in float32: see the module."""
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    choices = [node for node in graph.node if node.op_type in CHOICES]
    kept = {node.name for node in graph.node if any(mark in name for name in node.input for mark in EXACT)}
    kept |= {node.name for node in _after(choices, readers)}
    for choice in choices:
        kept |= _searching(choice, makers, sizes)
    return kept


def _after(nodes: Iterable[Any], readers: Mapping[str, list[Any]]) -> Iterator[Any]:
    """All nodes that read, at first or second hand, what these give."""
    waiting, seen = list(nodes), set[str]()
    while waiting:
        node = waiting.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        yield node
        waiting += [reader for value in node.output for reader in readers.get(value, [])]


def _searching(choice: Any, makers: Mapping[str, Any], sizes: Mapping[str, list[int]]) -> set[str]:
    """The product before a choice on each path to it, and the one before where that is narrow and no shortcut between."""
    found: set[str] = set()
    waiting, seen = [(choice, 0)], set[tuple[str, int]]()
    while waiting:
        node, products = waiting.pop()
        for value in node.input:
            maker = makers.get(value)
            if maker is None or (maker.name, products) in seen:
                continue
            seen.add((maker.name, products))
            if maker.op_type not in PRODUCTS:
                shortcut = maker.op_type == "Add" and not any(name in sizes for name in maker.input)
                waiting += [] if products and shortcut else [(maker, products)]
            elif products == 0 or _outputs(maker, sizes) <= NARROW:
                found.add(maker.name)
                if products == 0:
                    waiting.append((maker, 1))
    return found


def _outputs(node: Any, sizes: Mapping[str, list[int]]) -> int:
    """Width of what a product gives; of two computed values it is not known."""
    size = sizes.get(node.input[1])
    if size is None:
        return NARROW + 1
    return size[0] if node.op_type == "Conv" else size[1] if node.op_type == "ConvTranspose" else size[-1]


# ---------------------------------------------------------------------- halves
def halve(onnx: Any, model: Any, precision: str, inside: bool) -> None:
    """Store the weights of the products in halves; `inside`: also compute the products in them."""
    graph = model.graph
    kind = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16
    kept = kept_nodes(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    chosen = [node for node in graph.node if node.op_type in PRODUCTS and node.name not in kept and node.input[1] in weights]
    ports = {value.name for value in graph.output}
    stored: dict[str, str] = {}
    for node in chosen:
        names = [name for name in node.input[1:] if name in weights] if inside else [node.input[1]]
        for name in names:
            if name not in stored:
                stored[name] = f"{name}.{precision}"
                graph.initializer.append(_half(onnx, weights[name], stored[name], kind))
    casts: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        if any(node is other for other in chosen):
            nodes += _within(onnx, node, stored, kind, ports, casts) if inside else _widened(onnx, node, stored, casts)
        nodes += [node] if not (inside and any(node is other for other in chosen)) else []
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _widened(onnx: Any, node: Any, stored: Mapping[str, str], casts: dict[str, str]) -> list[Any]:
    """A node that widens the weight, which onnxruntime runs once, when it opens the graph."""
    name = stored[node.input[1]]
    made = []
    if name not in casts:
        casts[name] = f"{name}.float32"
        made = [onnx.helper.make_node("Cast", [name], [casts[name]], f"widen.{name}", to=onnx.TensorProto.FLOAT)]
    node.input[1] = casts[name]
    return made


def _within(onnx: Any, node: Any, stored: Mapping[str, str], kind: int, ports: set[str], casts: dict[str, str]) -> list[Any]:
    """The product in halves, between one node that narrows what goes in and one that widens what comes out."""
    source, output = node.input[0], node.output[0]
    made = []
    if source not in casts:
        casts[source] = f"{source}.half"
        made.append(onnx.helper.make_node("Cast", [source], [casts[source]], f"narrow.{source}", to=kind))
    inputs = [casts[source], *(stored.get(name, name) for name in node.input[1:])]
    for i, name in enumerate(inputs[1:], 1):
        if name and name == node.input[i]:  # a bias that is computed
            inputs[i] = f"{node.name}.{i}.half"
            made.append(onnx.helper.make_node("Cast", [name], [inputs[i]], f"narrow.{node.name}.{i}", to=kind))
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    del twin.input[:]
    twin.input.extend(inputs)
    twin.output[0] = f"{output}.half"
    widen = onnx.helper.make_node("Cast", [twin.output[0]], [output], f"widen.{output}", to=onnx.TensorProto.FLOAT)
    return [*made, twin, widen]


def _half(onnx: Any, tensor: Any, name: str, kind: int) -> Any:
    values = onnx.numpy_helper.to_array(tensor)
    if kind == onnx.TensorProto.FLOAT16:
        return onnx.numpy_helper.from_array(values.astype(np.float16), name)
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to the nearest, of two the even
    return onnx.helper.make_tensor(name, kind, values.shape, rounded.tobytes(), raw=True)


# ---------------------------------------------------------------------- int8
def _quantise(model: Any, path: Path, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Matrix products by ranges found as they run; with feeds, convolutions too, by the ranges that these have."""
    from onnxruntime import quantization as q

    kept = sorted(kept_nodes(model.graph))
    settings = {"per_channel": True, "weight_type": q.QuantType.QInt8, "nodes_to_exclude": kept}
    if not feeds:
        options = {"MatMulConstBOnly": True}
        q.quantize_dynamic(model, str(path), op_types_to_quantize=["MatMul"], extra_options=options, **settings)
        return

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(feeds)

        def get_next(self) -> Any:
            return next(self.rest, None)

    q.quantize_static(
        model, str(path), Reader(), quant_format=q.QuantFormat.QDQ, op_types_to_quantize=["MatMul", "Conv"],
        activation_type=q.QuantType.QUInt8, calibrate_method=q.CalibrationMethod.MinMax,
        extra_options={"MatMulConstBOnly": True}, **settings,
    )  # fmt: skip


def _feeds(manifest: Manifest, folder: Path, clips: Sequence[Audio]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(role, inputs) of whole graphs, made of speech."""
    if not clips:
        return
    from .runtime_session import Graph, device_named

    device = device_named("cpu")
    name = manifest.file("encoder")
    if name is None:
        return
    encoder = Graph(folder / name, device)
    for clip in clips:
        wav = clip.resample(manifest.facts.sample_rate, manifest.resampler).samples
        wav = wav[: int(manifest.window * manifest.facts.sample_rate)]
        row = np.zeros((1, padded(manifest.padding, len(wav))), np.float32)
        row[0, : len(wav)] = wav
        feed: dict[str, np.ndarray] = {"wav": row, "lengths": np.array([len(wav)], np.int64)}
        yield "encoder", feed
        out: dict[str, np.ndarray] = encoder.run(feed)
        yield "decoder", out


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "export") from None
    return onnx
