"""ONNX graphs as metrics use them: one thread each, since a benchmark runs one worker per core."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError
from .metric import MetricError

__all__ = ["installed_file", "run_waveform", "session"]


@cache
def session(path: str) -> Any:
    """The `onnxruntime.InferenceSession` of a file, opened once per process, on one thread of the CPU.

    A graph is data, not a program: custom operators are not registered, so a file cannot bring code of its own.
    Raises `MetricError` when the file is missing or no such graph, `MissingExtraError` without onnxruntime.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "eval") from None
    if not Path(path).is_file():
        raise MetricError(f"there is no file {path!r}: give the path of an ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common base
        raise MetricError(f"{path!r} is not an ONNX model that runs here: {error}") from None


def installed_file(package: str, *parts: str) -> Path:
    """A file inside an installed package, found without importing it. Raises `MissingExtraError`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package, "eval")
    return Path(spec.submodule_search_locations[0], *parts)


def run_waveform(path: str, samples: np.ndarray) -> np.ndarray:
    """What a graph that takes a waveform float32 (1, T) gives: all its outputs, flat, one after another, float (n,).

    Raises `MetricError` when the graph takes something else, fails, or gives numbers that are not finite.
    """
    graph = session(path)
    inputs = graph.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise MetricError(f"{path!r} takes {found}; expected one input, a waveform float32 (1, T)")
    try:
        outputs = graph.run(None, {inputs[0].name: np.ascontiguousarray(samples[None], dtype=np.float32)})
        flat = np.concatenate([np.asarray(output, dtype=np.float64).reshape(-1) for output in outputs])
    except Exception as error:
        raise MetricError(f"{path!r} fails on a waveform (1, T): {error}") from None
    if not np.isfinite(flat).all():
        raise MetricError("the network gives a number that is not finite")
    return flat
