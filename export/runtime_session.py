"""ONNX graphs as the runtime runs them: the provider a device means, and a session that takes and gives numpy arrays.

A device is asked for by name, and is what runs the graph or an error: onnxruntime itself would go on with the CPU without a
word to the program. On a GPU inputs and outputs are bound, so that what stays there (the state of a stream) is never copied.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError, ModelError

__all__ = ["Device", "Graph", "device_named"]

SUFFIX = "ExecutionProvider"
HIDDEN = {"azure"}  # it is compiled in, and runs nothing here
CUDA_OPTIONS = {
    "use_tf32": "0",  # ten bits of mantissa move tokens
    "cudnn_conv_algo_search": "HEURISTIC",  # the default tries every algorithm again for every new length
    "arena_extend_strategy": "kSameAsRequested",
}


class Device:
    """Where graphs run.

    Attributes:
        name: as it was asked for.
        kind: "cpu", "cuda", ...: the provider's name without its suffix, in small letters.
        provider: as onnxruntime calls it.
        number: of the device, where there are several.
    """

    def __init__(self, name: str, provider: str, number: int) -> None:
        self.name, self.provider, self.number = name, provider, number
        self.kind = provider.removesuffix(SUFFIX).lower()

    @property
    def providers(self) -> list[Any]:
        """For a session; the CPU comes last, for the arithmetic of shapes."""
        place = {"device_id": str(self.number)}
        cuda = (f"CUDA{SUFFIX}", {**place, **CUDA_OPTIONS})
        before = {"cpu": [], "cuda": [cuda], "tensorrt": [(self.provider, place), cuda]}
        return [*before.get(self.kind, [(self.provider, {})]), f"CPU{SUFFIX}"]

    @property
    def memory(self) -> str:
        """Where arrays lie, as onnxruntime calls it: "cuda", or "cpu" where providers fetch and bring them by themselves."""
        return "cuda" if self.kind in ("cuda", "tensorrt") else "cpu"


def onnxruntime() -> Any:
    """The module. Raises `MissingExtraError`."""
    try:
        import onnxruntime as module
    except ImportError:
        raise MissingExtraError("onnxruntime", "export") from None
    return module


def device_named(name: str) -> Device:
    """ "cpu", "cuda", "cuda:1", or the name of another provider that this onnxruntime has.

    Raises `ModelError`, which names the providers that are there, for one that is not.
    """
    found = {p.removesuffix(SUFFIX).lower(): p for p in onnxruntime().get_available_providers()}
    kind, colon, number = str(name).lower().partition(":")
    if kind not in found or kind in HIDDEN or (colon and not number.isdigit()) or (colon and kind == "cpu"):
        have = ", ".join(sorted(set(found) - HIDDEN))
        more = "; pip install onnxruntime-gpu (in place of onnxruntime) has cuda" if kind == "cuda" else ""
        raise ModelError(f"device={name!r}: the installed onnxruntime has {have}{more}")
    return Device(name, found[kind], int(number or 0))


class Graph:
    """A graph, opened. Raises `ModelError` when it cannot be, or when it does not run on the device.

    Attributes:
        inputs, outputs: name -> (type, shape) as onnxruntime tells them.
    """

    def __init__(self, path: Path, device: Device, threads: int | None = None) -> None:
        self.device, self.path = device, path
        module = onnxruntime()
        if device.kind == "cuda" and hasattr(module, "preload_dlls"):
            module.preload_dlls()  # CUDA and cuDNN out of pip's packages, where the system has none
        try:
            self.session = module.InferenceSession(os.fspath(path), _options(module, threads), providers=device.providers)
        except Exception as error:  # onnxruntime's own classes have no common base
            raise ModelError(f"{path.name!r} does not open on {device.name}: {error}") from None
        if device.provider not in self.session.get_providers():
            have = ", ".join(self.session.get_providers())
            raise ModelError(
                f"device={device.name!r}: onnxruntime could not start {device.provider} and would run on {have}; are the "
                "libraries of CUDA and cuDNN that it was built for installed?"
            )
        self.inputs = {i.name: (i.type, list(i.shape)) for i in self.session.get_inputs()}
        self.outputs = {o.name: (o.type, list(o.shape)) for o in self.session.get_outputs()}

    def run(self, feeds: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
        """Outputs by name, as numpy; on a GPU those in `keep` stay there, to be fed again. Raises `ModelError`."""
        try:
            if self.device.memory != "cpu":
                return self._bound(feeds, keep)
            return dict(zip(self.outputs, self.session.run(list(self.outputs), dict(feeds)), strict=True))
        except Exception as error:
            shapes = ", ".join(f"{name} {tuple(_shape(value))}" for name, value in feeds.items())
            raise ModelError(f"{self.path.name!r} fails on {shapes}: {error}") from None

    def _bound(self, feeds: Mapping[str, Any], keep: Collection[str]) -> dict[str, Any]:
        binding = self.session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            where = (self.device.memory, self.device.number) if name in keep else ("cpu", 0)
            binding.bind_output(name, *where)
        self.session.run_with_iobinding(binding)
        values = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        return {name: value if name in keep else value.numpy() for name, value in values.items()}


def _options(module: Any, threads: int | None) -> Any:
    options = module.SessionOptions()
    options.log_severity_level = 3  # errors come as exceptions, and warnings are about what the exporter left
    options.enable_mem_pattern = False  # plans of memory for every length there has been
    wanted = os.environ.get("OMP_NUM_THREADS", "") if threads is None else str(threads)
    if wanted.isdigit():
        options.intra_op_num_threads = int(wanted)
    options.inter_op_num_threads = 1
    return options


def _shape(value: Any) -> Sequence[int]:
    shape: Any = value.shape
    return shape() if callable(shape) else shape
