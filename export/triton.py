"""A bundle as a model repository of the Triton Inference Server: the same graphs, with a `config.pbtxt` for each.

    OUT/<model>_encoder/config.pbtxt, OUT/<model>_encoder/1/model.onnx
    OUT/<model>_decoder/..., and of a streaming bundle OUT/<model>_encoder_stream/..., OUT/<model>_decoder_stream/...

Whole clips are batched dynamically. Triton batches requests of one shape: where the bundle's batching is "pad", clients fill up
`wav` with zeros to a common length and tell the true one in `lengths`. A stream is a sequence (`sequence_start`, then
`sequence_end`) whose state Triton keeps. What a client has to know beside shapes (sample rate, hop,
fingerprint, how a stream begins and ends) is in each config's `parameters`.

`config.pbtxt` is protobuf text of `inference.ModelConfig` (model_config.proto of triton-inference-server/common).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError, ModelError
from .bundle import GraphFile, Manifest
from .runtime_parts import ALL, check_files

__all__ = ["write_repository"]

TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "float64": "TYPE_FP64", "int64": "TYPE_INT64", "int32": "TYPE_INT32",
         "bool": "TYPE_BOOL"}  # fmt: skip
SEQUENCES = 256  # streams at a time
IDLE = 60  # seconds without a push after which a stream is dropped
BATCH = "batch"  # the name of the first axis
SPAN = "span"  # an input that is of all clips at once, which Triton has not: whole clips are of the whole spectrogram

Value = str | int | bool | list[Any] | Mapping[str, Any]


class Word(str):
    """A name of an enumeration, which goes without quotes."""

    __slots__ = ()


def write_repository(
    bundle: Path, out: Path, *, batch: int = 16, delay: float = 0.005, device: str | None = None, instances: int = 1
) -> list[Path]:
    """Write the repository; gives the folders of its models.

    Args:
        bundle: a folder that `voxzoo export` wrote.
        out: the repository; made if need be, other models in it are left alone.
        batch: requests, or streams, that are computed at once.
        delay: seconds that a request waits for others.
        device: "cpu" or "cuda"; the bundle's by default.
        instances: of each graph.

    Raises `ModelError` for a bundle that is not whole, a model that is in the repository already, and a stream whose states do
    not begin with the batch, which Triton cannot keep.
    """
    manifest = Manifest.read(bundle)
    check_files(bundle, manifest)
    device = device or manifest.device
    if device not in ("cpu", "cuda"):
        raise ModelError(f"device={device!r}; Triton has 'cpu' and 'cuda'")
    if batch < 1 or instances < 1 or delay < 0:
        raise ModelError(f"batch={batch}, instances={instances}, delay={delay}; expected 1, 1 and 0 or more")
    graphs = {name: file for name, file in manifest.files.items() if file.role != "data"}
    folders = {name: out / f"{_plain(manifest.model)}_{file.role}" for name, file in graphs.items()}
    for folder in folders.values():
        if folder.exists():
            raise ModelError(f"{str(folder)!r} is there already; remove it, or name another repository")
    configs = {name: _config(folders[name].name, manifest, file, batch, delay, device, instances)
               for name, file in graphs.items()}  # fmt: skip
    data = [name for name, file in manifest.files.items() if file.role == "data"]
    for name, folder in folders.items():
        (folder / "1").mkdir(parents=True)
        _copy(bundle / name, folder / "1" / "model.onnx", graphs[name])
        for other in data:
            shutil.copyfile(bundle / other, folder / "1" / other)
        _write_states(folder, graphs[name].states)
        (folder / "config.pbtxt").write_text(configs[name], encoding="utf-8")
    return list(folders.values())


def _copy(graph: Path, to: Path, file: GraphFile) -> None:
    """The graph, with a constant in place of `span`."""
    if SPAN not in {one["name"] for one in file.inputs}:
        shutil.copyfile(graph, to)
        return
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "export") from None
    model = onnx.load(str(graph), load_external_data=False)
    kept = [one for one in model.graph.input if one.name != SPAN]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(ALL, np.int64), SPAN))
    onnx.save(model, str(to))


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _config(name: str, manifest: Manifest, file: GraphFile, batch: int, delay: float, device: str, instances: int) -> str:
    states = {state["name"] for state in file.states}
    inputs = [one for one in file.inputs if one["name"] not in (*states, SPAN)]
    outputs = [one for one in file.outputs if one["name"].removeprefix("next_") not in states]
    grows = any(isinstance(size, str) for state in file.states for size in state["shape"][1:])
    config: dict[str, Value] = {
        "name": name,
        "backend": "onnxruntime",
        "max_batch_size": 1 if grows else batch,  # states of different lengths share no batch
        "input": [_tensor(one) for one in inputs],
        "output": [_tensor(one) for one in outputs],
        **_scheduling(file, 1 if grows else batch, round(1e6 * delay)),
        "instance_group": [{"count": instances, "kind": Word("KIND_GPU" if device == "cuda" else "KIND_CPU")}],
        **(_cuda() if device == "cuda" else {}),
        "parameters": [{"key": key, "value": {"string_value": value}} for key, value in _told(manifest, file).items()],
    }
    return _text(config)


def _tensor(one: Mapping[str, Any]) -> dict[str, Value]:
    """An input or output without its batch axis. One with no other axis goes to Triton as one number in each row."""
    dims = _dims(one)
    rest: dict[str, Value] = {"dims": dims} if dims else {"dims": [1], "reshape": {"shape": []}}
    return {"name": one["name"], "data_type": _type(one), **rest}


def _dims(one: Mapping[str, Any]) -> list[int]:
    first, *rest = one["shape"] or [None]
    if first != BATCH:
        raise ModelError(
            f"{one['name']!r} has the shape {one['shape']}, which does not begin with the batch; Triton needs that"
        )
    return [size if isinstance(size, int) else -1 for size in rest]


def _type(one: Mapping[str, Any]) -> Word:
    if one["type"] not in TYPES:
        raise ModelError(f"{one['name']!r} is {one['type']}, which has no name in Triton")
    return Word(TYPES[one["type"]])


def _scheduling(file: GraphFile, batch: int, delay: int) -> dict[str, Value]:
    """Dynamic batches of whole clips; of streams, sequences of which any that have something share a batch."""
    wait = {"preferred_batch_size": [batch], "max_queue_delay_microseconds": delay}
    if not file.role.endswith("_stream"):
        return {"dynamic_batching": wait}
    states = [_state(state) for state in file.states]
    sequences: dict[str, Value] = {
        "max_sequence_idle_microseconds": IDLE * 1_000_000,
        "oldest": {"max_candidate_sequences": SEQUENCES, **wait},
        "state": states,
    }
    return {"sequence_batching": sequences}


def _state(state: Mapping[str, Any]) -> dict[str, Value]:
    dims = _dims(state)
    if not dims:
        raise ModelError(f"the state {state['name']!r} has no axis but the batch; Triton keeps no single numbers")
    source = {"zero_data": True} if not state.get("initial", 0) else {"data_file": state["name"]}
    start = {"data_type": _type(state), "dims": _first(state), **source, "name": state["name"]}
    return {"input_name": state["name"], "output_name": f"next_{state['name']}", "data_type": _type(state), "dims": dims,
            "initial_state": [start]}  # fmt: skip


def _first(state: Mapping[str, Any]) -> list[int]:
    """Its shape at the start, without the batch: nothing yet along an axis that grows."""
    return [max(0, size) for size in _dims(state)]


def _write_states(folder: Path, states: Iterable[Mapping[str, Any]]) -> None:
    """What states begin with, where it is not zero."""
    for state in states:
        if state.get("initial", 0):
            (folder / "initial_state").mkdir(exist_ok=True)
            values = np.full(_first(state), state["initial"], state["type"])
            (folder / "initial_state" / state["name"]).write_bytes(values.tobytes())


def _cuda() -> dict[str, Value]:
    """As the runtime has it: ten bits of mantissa move tokens, and a search for every new length costs more than it brings."""
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    accelerator = {"name": "cuda", "parameters": [{"key": key, "value": value} for key, value in options.items()]}
    return {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}}


def _told(manifest: Manifest, file: GraphFile) -> dict[str, str]:
    """What a client has to know."""
    facts = manifest.facts
    return {
        "model": manifest.model,
        "fingerprint": manifest.fingerprint,
        "precision": manifest.precision,
        "sample_rate": str(facts.sample_rate),
        "decoded_sample_rate": str(facts.output_rate),
        "codebook_sizes": json.dumps(list(facts.codebook_sizes)),
        "batching": manifest.batching,
        "padding": json.dumps(manifest.padding),
        "length_law": json.dumps(manifest.length_law),
        **({"stream": json.dumps(file.stream)} if file.stream else {}),
    }


# ------------------------------------------------------------------ protobuf text
def _text(message: Mapping[str, Value], indent: str = "") -> str:
    """A message, a field in each line; a list is a field that repeats."""
    return "".join(line for key, value in message.items() for line in _field(key, value, indent))


def _field(key: str, value: Value, indent: str) -> Iterable[str]:
    if isinstance(value, Mapping):
        yield f"{indent}{key} {{\n{_text(value, indent + '  ')}{indent}}}\n"
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for one in value:
            yield from _field(key, one, indent)
    elif isinstance(value, list):
        yield f"{indent}{key}: [{', '.join(map(str, value))}]\n"
    else:
        yield f"{indent}{key}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return json.dumps(value)
    return str(value)
