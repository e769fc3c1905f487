"""The graphs of a bundle by what they do, each checked against `voxzoo.json` and opened when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ModelError, TokensError
from ..core.tokens import PADDING
from . import length_law
from .bundle import MANIFEST, GraphFile, Manifest
from .runtime_coded import Coded, DecoderCore, EncoderCore
from .runtime_external import external_files
from .runtime_session import Graph, device_named
from .runtime_state import StateDecoder, StateEncoder
from .runtime_windows import decoder_core, encoder_core

__all__ = ["Parts", "check_files"]

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(int32)": "int32",
         "tensor(bool)": "bool", "tensor(double)": "float64"}  # fmt: skip
WHOLE = {"kind": "whole"}
ALL = (0, 1 << 62)


class Parts:
    """The files of a bundle, found to be those that it names. Raises `ModelError`; see `runtime.open_bundle`.

    Attributes:
        manifest: what `voxzoo.json` says.
        device: where the graphs run.
    """

    def __init__(self, folder: Path, device: str, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise ModelError(f"threads={threads}; expected at least 1")
        self.folder, self.threads = folder, threads
        self.manifest = Manifest.read(folder)
        self.device = device_named(device)
        check_files(folder, self.manifest)
        self._graphs: dict[str, Graph] = {}

    def has(self, role: str) -> bool:
        """Whether there is a graph of this role."""
        return self.manifest.file(role) is not None

    def graph(self, role: str) -> Graph:
        """The graph of a role, opened. Raises `ModelError` where the bundle has none, or another than it says."""
        if role not in self._graphs:
            name = self.manifest.file(role)
            if name is None:
                raise ModelError(f"the bundle {str(self.folder)!r} has no {role}")
            graph = Graph(self.folder / name, self.device, self.threads)
            _check_fit(name, self.manifest.files[name], graph)
            self._graphs[role] = graph
        return self._graphs[role]

    def file(self, role: str) -> GraphFile:
        """What the manifest says of a role's graph."""
        return self.manifest.files[str(self.manifest.file(role))]

    def frames(self, samples: int) -> tuple[int, ...]:
        """Length law: frames of each stream for `samples` samples."""
        return length_law.frames(self.manifest.length_law, samples)

    def padded(self, samples: int) -> int:
        """Samples to which a clip of so many is completed with zeros."""
        return length_law.padded(self.manifest.padding, samples)

    # ------------------------------------------------------------------ whole clips
    def encode(self, wav: np.ndarray, lengths: np.ndarray, streams: int, span: tuple[int, int] = ALL) -> Coded:
        """wav float32 (B, T), completed with zeros, lengths int64 (B,) -> the first `streams` streams.

        span: of the spectrogram, for graphs that can keep a part of it.
        """
        graph = self.graph("encoder")
        given = {"wav": wav, "lengths": lengths, "span": np.array(span, np.int64)}
        out = graph.run({name: given[name] for name in graph.inputs})
        return Coded.of(out, streams)

    def decode(self, given: Coded, lengths: np.ndarray) -> np.ndarray:
        """Codes of a batch, those of shorter clips padded with -1, lengths int64 (B,) in samples -> wav float32 (B, T)."""
        graph = self.graph("decoder")
        feeds: dict[str, Any] = {**self.completed(given).named, "lengths": lengths}
        return np.asarray(graph.run({name: feeds[name] for name in graph.inputs})["wav"], dtype=np.float32)

    def completed(self, given: Coded) -> Coded:
        """All streams of the model, -1 in those that are not there."""
        manifest = self.manifest
        missing = manifest.facts.streams - len(given.codes)
        if missing and not manifest.partial_streams:
            raise TokensError(
                f"the tokens hold {len(given.codes)} streams; this bundle of {manifest.model} decodes all "
                f"{manifest.facts.streams} together: encode without streams=, or decode with the torch model"
            )
        rows, frames, ratios = len(given.codes[0]), given.codes[0].shape[1], manifest.stream_ratios
        rest = [frames * ratio // ratios[0] for ratio in ratios[len(given.codes) :]]
        return Coded([*given.codes, *(np.full((rows, n), PADDING, np.int64) for n in rest)], given.extras)

    # ------------------------------------------------------------------ clips in pieces
    def open_encoder(self, streams: int, whole: Callable[..., Coded]) -> EncoderCore:
        """A fresh core. whole: wav (1, T) -> codes, of one clip."""
        if self.has("encoder_stream"):
            return StateEncoder(self, streams)
        return encoder_core(self.manifest.long.get("encoder", WHOLE), whole, streams)

    def open_decoder(self) -> DecoderCore:
        """A fresh core."""
        if self.has("decoder_stream"):
            return StateDecoder(self)
        return decoder_core(self.manifest.long.get("decoder", WHOLE), self._decode_one)

    def _decode_one(self, given: Coded) -> np.ndarray:
        facts = self.manifest.facts
        samples = round(given.codes[0].shape[1] * facts.output_rate / facts.frame_rates[0])
        return self.decode(given, np.array([samples], np.int64))


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise `ModelError` unless a bundle's files are what it says, and its graphs keep their weights in these alone."""
    manifest.verify(folder)
    for name, file in manifest.files.items():
        for other in external_files(folder / name) if file.role != "data" else ():
            known = manifest.files.get(other)
            if known is None or known.role != "data":
                raise ModelError(
                    f"{str(folder / name)!r} keeps weights in {other!r}, which is no file of this bundle: it is refused"
                )


def _check_fit(name: str, file: GraphFile, graph: Graph) -> None:
    """Raise `ModelError` unless the graph takes and gives what the manifest says."""
    after = [{**state, "name": f"next_{state['name']}"} for state in file.states]
    for what, said, found in (
        ("input", [*file.inputs, *file.states], graph.inputs),
        ("output", [*file.outputs, *after], graph.outputs),
    ):
        wanted = {one["name"]: (one["type"], one["shape"]) for one in said}
        if set(wanted) != set(found):
            raise ModelError(
                f"{name!r} has the {what}s {', '.join(sorted(found))}; {MANIFEST} says {', '.join(sorted(wanted))}: the graph "
                "is not the one that it was written for"
            )
        for key, (kind, shape) in wanted.items():
            type_, axes = TYPES.get(found[key][0], found[key][0]), found[key][1]
            fixed = [(a, b) for a, b in zip(axes, shape, strict=False) if isinstance(a, int) and isinstance(b, int)]
            if type_ != kind or len(axes) != len(shape) or any(a != b for a, b in fixed):
                raise ModelError(f"{name!r} has the {what} {key!r} as {type_} {axes}; {MANIFEST} says {kind} {shape}")
