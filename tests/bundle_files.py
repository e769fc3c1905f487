"""A bundle made by hand with onnx: a codec of a few arithmetic nodes, which numpy checks, in every form a bundle can have.

Sound at 8 kHz; four samples make a frame; a frame's level is the mean of its samples and its neighbours' four. Stream 0 is the
level in 32 steps, stream 1 what is left in 32 more. The decoder smooths levels over three frames and repeats each four times.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from voxzoo.core.facts import Facts
from voxzoo.export.bundle import GraphFile, Manifest, sha256_of

RATE, HOP, STEPS = 8000, 4, 32
TAPS = np.full((1, 1, 12), 1 / 12, np.float32)  # over a frame and its neighbours
SMOOTH = np.array([[[0.25, 0.5, 0.25]]], np.float32)  # over a frame and its neighbours
BLOCKS = {"kind": "blocks", "samples": HOP, "frames": [1, 1], "left": 1, "right": 1, "most": 50}
FACTS = Facts(
    name="by-hand", kind="acoustic", sample_rate=RATE, frame_rates=(Fraction(RATE, HOP),) * 2, codebook_sizes=(STEPS,) * 2,
    causal=False, latency=0.0, params=0, code_licence="Apache-2.0", weights_licence="Apache-2.0", source="tests", paper="none",
)  # fmt: skip


def codes_of(wav: np.ndarray) -> list[np.ndarray]:
    """What the encoder's graph computes of whole frames (T,)."""
    wide = np.pad(wav, 4)
    level = np.array([np.sum(wide[i : i + 12] * TAPS[0, 0], dtype=np.float32) for i in range(0, len(wav), HOP)])
    scaled = np.clip((level + 1) * 16, 0, 31.99).astype(np.float32)
    return [np.floor(scaled).astype(np.int64), np.floor((scaled - np.floor(scaled)) * 32).astype(np.int64)]


def level_of(codes: list[np.ndarray]) -> np.ndarray:
    """The decoder's level of each frame; a stream that is not there adds nothing."""
    fine = codes[1] / 32 if len(codes) > 1 else 0
    return (codes[0] + fine) / 16 - 1


def make(
    folder: Path,
    *,
    streaming: bool = False,
    decodes: bool = True,
    batching: str = "length",
    external: str | None = None,
    **changed: Any,
) -> Path:
    """Write the bundle. external: name of the file that the encoder's graph keeps its taps in. changed: of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {"encoder.onnx": ("encoder", encoder(), [], {}), "decoder.onnx": ("decoder", decoder(), [], {})}
    if streaming:
        tail = [{"name": "tail", "type": "float32", "shape": ["batch", 4], "initial": 0}]
        graphs["encoder_stream.onnx"] = ("encoder_stream", encoder_stream(), tail, {"multiple": HOP, "ahead": 4})
        past = [{"name": "past", "type": "float32", "shape": ["batch", 2], "initial": 0}]
        graphs["decoder_stream.onnx"] = ("decoder_stream", decoder_stream(), past, {"multiple": 1, "lead_in": HOP, "flush": 1})
    graphs = {name: graph for name, graph in graphs.items() if decodes or graph[0] != "decoder"}
    files = {}
    for name, (role, model, states, stream) in graphs.items():
        if external and name == "encoder.onnx":
            _move_out(model, external, folder)
        (folder / name).write_bytes(model.SerializeToString())
        files[name] = _file(folder / name, role, model, states, stream)
    if external and (folder / external).resolve().parent == folder.resolve():
        files[external] = GraphFile(sha256_of(folder / external), (folder / external).stat().st_size, "data")
    about = {
        "model": FACTS.name, "facts": FACTS, "fingerprint": "ab" * 32, "config": {}, "resampler": "soxr-hq",
        "precision": "fp32", "device": "cpu", "opset": 18, "tools": {}, "batching": batching, "pad_multiple": HOP,
        "padding": {"multiple": HOP, "span": 1, "more": 0}, "window": 0.05, "stream_ratios": [1, 1],
        "length_law": {"kind": "ceil", "hops": [HOP, HOP]}, "files": files, "long": {"encoder": BLOCKS, "decoder": BLOCKS},
    }  # fmt: skip
    Manifest(**{**about, **changed}).write(folder)
    return folder


def _file(path: Path, role: str, model: onnx.ModelProto, states: list[Any], stream: dict[str, int]) -> GraphFile:
    kinds = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}

    def told(values: Any) -> list[dict[str, Any]]:
        found = []
        for value in values:
            axes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            found.append({"name": value.name, "type": kinds[value.type.tensor_type.elem_type], "shape": axes})
        return [one for one in found if one["name"].removeprefix("next_") not in {state["name"] for state in states}]

    return GraphFile(
        sha256_of(path), path.stat().st_size, role, told(model.graph.input), told(model.graph.output), states, stream
    )


def _move_out(model: onnx.ModelProto, name: str, folder: Path) -> None:
    """The taps go to a file, wherever it lies."""
    taps = next(one for one in model.graph.initializer if one.name == "taps")
    (folder / name).write_bytes(taps.raw_data)
    taps.ClearField("raw_data")
    taps.data_location = TensorProto.EXTERNAL
    taps.external_data.add(key="location", value=name)


# ------------------------------------------------------------------ graphs
def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by_hand", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _float(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _int(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


CONSTANTS = {
    "taps": TAPS, "smooth": SMOOTH, "one": np.array([1], np.float32), "scale": np.array([16], np.float32),
    "fine": np.array([32], np.float32), "low": np.array(0, np.float32), "high": np.array(31.99, np.float32),
    "axis": np.array([1], np.int64), "zero": np.array([0], np.int64), "minus4": np.array([-4], np.int64),
    "minus8": np.array([-8], np.int64), "minus2": np.array([-2], np.int64), "end": np.array([1 << 40], np.int64),
    "four": np.array([1, 1, 4], np.int64), "flat": np.array([0, -1], np.int64), "axis2": np.array([2], np.int64),
}  # fmt: skip


def _quantise(source: str, pads: list[int]) -> list[Any]:
    """Nodes from sound (B, T) to both streams of codes."""
    node = helper.make_node
    return [
        node("Unsqueeze", [source, "axis"], ["wide"]),
        node("Conv", ["wide", "taps"], ["levels"], strides=[HOP], pads=pads),
        node("Squeeze", ["levels", "axis"], ["level"]),
        node("Add", ["level", "one"], ["shifted"]),
        node("Mul", ["shifted", "scale"], ["raw"]),
        node("Clip", ["raw", "low", "high"], ["scaled"]),
        node("Floor", ["scaled"], ["coarse"]),
        node("Sub", ["scaled", "coarse"], ["rest"]),
        node("Mul", ["rest", "fine"], ["scaled_rest"]),
        node("Floor", ["scaled_rest"], ["finer"]),
        node("Cast", ["coarse"], ["codes_0"], to=TensorProto.INT64),
        node("Cast", ["finer"], ["codes_1"], to=TensorProto.INT64),
    ]


def encoder() -> onnx.ModelProto:
    used = ("taps", "one", "scale", "fine", "low", "high", "axis")
    inputs, outputs = [_float("wav", "batch", "samples")], [_int("codes_0", "batch", "n"), _int("codes_1", "batch", "n")]
    return _model(_quantise("wav", [4, 4]), inputs, outputs, {name: CONSTANTS[name] for name in used})


def encoder_stream() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Concat", ["tail", "wav"], ["seen"], axis=1),
        *_quantise("seen", [0, 0]),
        node("Slice", ["wav", "minus8", "minus4", "axis"], ["next_tail"]),
    ]
    used = ("taps", "one", "scale", "fine", "low", "high", "axis", "minus4", "minus8")
    inputs = [_float("wav", "batch", "samples"), _float("tail", "batch", 4)]
    outputs = [_int("codes_0", "batch", "n"), _int("codes_1", "batch", "n"), _float("next_tail", "batch", 4)]
    return _model(nodes, inputs, outputs, {name: CONSTANTS[name] for name in used})


def _levels() -> list[Any]:
    """Nodes from codes to the level of each frame; -1 in stream 1 adds nothing, and in stream 0 there is no level."""
    node = helper.make_node
    return [
        node("Cast", ["codes_0"], ["coarse"], to=TensorProto.FLOAT),
        node("Cast", ["codes_1"], ["finer"], to=TensorProto.FLOAT),
        node("Relu", ["finer"], ["there"]),
        node("Div", ["there", "fine"], ["part"]),
        node("Add", ["coarse", "part"], ["both"]),
        node("Div", ["both", "scale"], ["shifted"]),
        node("Sub", ["shifted", "one"], ["value"]),
        node("GreaterOrEqual", ["coarse", "low"], ["is"]),
        node("Where", ["is", "value", "low"], ["level"]),
    ]


def _spread(source: str, pads: list[int]) -> list[Any]:
    """Nodes from levels (B, N) to sound (B, 4 N)."""
    node = helper.make_node
    return [
        node("Unsqueeze", [source, "axis"], ["wide"]),
        node("Conv", ["wide", "smooth"], ["smoothed"], pads=pads),
        node("Squeeze", ["smoothed", "axis"], ["flat_level"]),
        node("Unsqueeze", ["flat_level", "axis2"], ["column"]),
        node("Tile", ["column", "four"], ["repeated"]),
        node("Reshape", ["repeated", "flat"], ["wav"]),
    ]


def decoder() -> onnx.ModelProto:
    used = ("smooth", "one", "scale", "fine", "low", "axis", "axis2", "four", "flat")
    inputs = [_int("codes_0", "batch", "n"), _int("codes_1", "batch", "n")]
    return _model([*_levels(), *_spread("level", [1, 1])], inputs, [_float("wav", "batch", "samples")],
                  {name: CONSTANTS[name] for name in used})  # fmt: skip


def decoder_stream() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        *_levels(),
        node("Concat", ["past", "level"], ["seen"], axis=1),
        *_spread("seen", [0, 0]),
        node("Slice", ["seen", "minus2", "end", "axis"], ["next_past"]),
    ]
    used = ("smooth", "one", "scale", "fine", "low", "axis", "axis2", "four", "flat", "minus2", "end")
    inputs = [_int("codes_0", "batch", "n"), _int("codes_1", "batch", "n"), _float("past", "batch", 2)]
    outputs = [_float("wav", "batch", "samples"), _float("next_past", "batch", 2)]
    return _model(nodes, inputs, outputs, {name: CONSTANTS[name] for name in used})
