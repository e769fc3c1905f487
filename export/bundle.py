"""A bundle: a folder of ONNX graphs and `voxzoo.json`, which says all that is needed to play them without torch.

    encoder.onnx        wav float32 (batch, samples), lengths int64 (batch) -> codes_0 ... codes_{K-1} int64 (batch, frames_k)
    decoder.onnx        codes_0 ... codes_{K-1} -> wav float32 (batch, samples)
    encoder_stream.onnx, decoder_stream.onnx   the same piece by piece, with the state as inputs and outputs
    voxzoo.json         `Manifest`
    parity.json         how the graphs were compared with the model, and what came out
    README.md           how to use them from Python, C++ and JavaScript

Beside codes there may be extras, each under its key. Where an input `lengths` is, codes past a clip's own frames are -1, and
-1 is what pads codes that go back in. Files are named by the manifest with their size and sha256, and only those are read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

from ..core.errors import ModelError
from ..core.facts import Facts

__all__ = ["FORMAT", "MANIFEST", "GraphFile", "Manifest", "is_bundle", "sha256_of"]

FORMAT = 1
MANIFEST = "voxzoo.json"
CHUNK = 1 << 20


@dataclass(frozen=True)
class GraphFile:
    """A file of a bundle.

    Attributes:
        sha256, bytes: of its content.
        role: "encoder", "decoder", "encoder_stream", "decoder_stream", "flow", "vocoder", or "data" for weights that a graph
            keeps beside itself.
        inputs, outputs: [{"name", "type", "shape"}], types as in numpy, shapes of numbers and of names for what varies.
        states: of a stream: [{"name", "type", "shape", "initial"}]; the output after `name` is `next_<name>`. An axis "batch"
            is the batch; one of any other name grows, from 0.
        stream: of a stream: "multiple", samples (of sound) or frames (of stream 0) that a push is a multiple of; "first", the
            least first push; "lead_in", samples to drop at the decoder's start; "flush", frames of -1 to push at its end;
            "ahead", zeros that the encoder needs after the end.
    """

    sha256: str
    bytes: int
    role: str
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    stream: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What `voxzoo.json` holds.

    Attributes:
        model: registry name.
        facts: of the model.
        fingerprint: of the torch model: tokens of the two are interchangeable.
        config: the model's configuration.
        resampler: what brings sound to the model's rate.
        precision: "fp32", "fp16", "bf16", "int8" or "mixed".
        device: "cpu" or "cuda": what the graphs are meant for.
        opset: of the graphs.
        tools: package -> version they were made with.
        batching: "pad" or "length", as in `Model`.
        padding: what clips are completed to, see `length_law`; `pad_multiple` is its multiple.
        window: seconds; longer clips go in pieces.
        stream_ratios: frames of each stream for one of the slowest.
        length_law: see `length_law`.
        files: name -> file.
        long: {"encoder": law, "decoder": law}: how longer clips are cut where there is no stream graph; see the runtime.
        partial_streams: whether the decoder takes -1 for streams that are not there.
        undecodable: what decoding would need, where there is no decoder.
    """

    model: str
    facts: Facts
    fingerprint: str
    config: dict[str, Any]
    resampler: str
    precision: str
    device: str
    opset: int
    tools: dict[str, str]
    batching: str
    pad_multiple: int
    padding: dict[str, int]
    window: float
    stream_ratios: list[int]
    length_law: dict[str, Any]
    files: dict[str, GraphFile]
    long: dict[str, dict[str, Any]] = field(default_factory=dict)
    partial_streams: bool = True
    undecodable: str = ""

    def file(self, role: str) -> str | None:
        """The name of the file with this role, or None."""
        return next((name for name, file in self.files.items() if file.role == role), None)

    def write(self, folder: Path) -> None:
        """Write `voxzoo.json`, whole or not at all."""
        data = {"format": FORMAT, **asdict(self), "facts": self.facts.to_dict()}
        part = folder / f"{MANIFEST}.part"
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        os.replace(part, folder / MANIFEST)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `voxzoo.json`. Raises `ModelError` when there is none, or it is of another format or damaged."""
        path = folder / MANIFEST
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"{str(folder)!r} is not a bundle: it holds no {MANIFEST}") from None
        except (OSError, ValueError) as error:
            raise ModelError(f"{str(path)!r} cannot be read: {error}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else None
            raise ModelError(
                f"{str(path)!r} is of format {found!r}; this version of voxzoo plays format {FORMAT}: export it again"
            )
        try:
            known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
            files = {str(name): _file(name, value) for name, value in data["files"].items()}
            return cls(**{**known, "facts": Facts.from_dict(data["facts"]), "files": files})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{str(path)!r} is damaged: {type(error).__name__}: {error}; export it again") from None

    def verify(self, folder: Path) -> None:
        """Raise `ModelError` unless every file is there and is what the manifest says."""
        for name, file in self.files.items():
            path = folder / name
            if not path.is_file():
                raise ModelError(f"the bundle {str(folder)!r} has no {name!r}, which its {MANIFEST} names; export it again")
            size = path.stat().st_size
            if size != file.bytes or sha256_of(path) != file.sha256:
                raise ModelError(
                    f"{str(path)!r} is not the file that {MANIFEST} names ({size} bytes, expected {file.bytes} with sha256 "
                    f"{file.sha256[:16]}): it was changed, or the copy is not whole; export it again"
                )


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle."""
    return (folder / MANIFEST).is_file()


def sha256_of(path: Path) -> str:
    """In hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _file(name: str, data: Mapping[str, Any]) -> GraphFile:
    """Raises `ModelError` for a name that leads out of the folder."""
    if PurePosixPath(name).name != name or "\\" in name or name in ("", ".", ".."):
        raise ModelError(f"{MANIFEST} names the file {name!r}; files of a bundle lie in its own folder, by plain names")
    return GraphFile(**{f.name: data[f.name] for f in fields(GraphFile) if f.name in data})
