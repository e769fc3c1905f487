"""`export_model`: a model to a bundle. Which family's form a model takes is told here; a form makes a `Plan`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch

from ..core.audio import Audio
from ..core.errors import ExportError
from ..core.model import Model
from .bundle import GraphFile, Manifest
from .length_law import ratios
from .plan import Plan
from .precision import lowered
from .readme import write_readme
from .trace import OPSET, write_graph

__all__ = ["Options", "check_folder", "export_model", "plan_of"]

# Module of a family -> the one beside this that makes its plan.
FORMS = {
    "baichuan": "form_baichuan",
    "bigcodec": "form_bigcodec",
    "dcspin": "form_vox_s3",
    "encodec": "form_encodec",
    "glm4voice": "form_glm4voice",
    "mimi": "form_mimi",
    "rvq": "form_rvq",
    "s3": "form_s3",
    "snac": "form_snac",
    "soundstream": "form_soundstream",
    "speechtokenizer": "form_speechtokenizer",
    "ticodec": "form_ticodec",
    "units": "form_units",
    "vox_s3": "form_vox_s3",
    "xcodec": "form_xcodec",
}
# Module of a family -> which part of it makes no graph, and why.
WITHOUT = {
    "focalcodec": "its encoder's attention runs in pieces as long as memory lets them be, which no graph can choose",
    "neucodec": "its semantic encoder runs in pieces as long as memory lets them be, and its decoder ends in an inverse STFT",
    "step_audio": "its linguistic tokens come of FunASR's encoder, in chunks that hand on a memory from one to the next",
    "wavtokenizer": "its decoder ends in an inverse STFT, and attends to the clip in pieces as long as memory lets them be",
    "xcodec2": "its semantic encoder runs in pieces as long as memory lets them be, and its decoder ends in an inverse STFT",
}
TOOLS = ("torch", "onnx", "onnxruntime", "onnxscript")


def plan_of(model: Model, streaming: bool = False) -> Plan:
    """The graphs of a model, with those for streams where asked for, or where long clips cannot do without.

    Raises `ExportError` where there are none, or a part of it makes none.
    """
    for cls in type(model).__mro__:
        form = FORMS.get(cls.__module__.rpartition(".")[2])
        if form is not None and cls.__module__.startswith(Model.__module__.partition(".")[0]):
            plan: Plan = import_module(f".{form}", __package__).plan(model, streaming)
            if streaming and not any(part.role.endswith("_stream") for part in plan.parts):
                raise ExportError(
                    f"{model.facts.name} has no graphs that keep a state: it looks ahead. Its bundle streams without, by "
                    "windows with context; leave out --streaming"
                )
            return plan
    family = type(model).__module__.rpartition(".")[2]
    reason = WITHOUT.get(family, f"no form of the networks of {family!r} is known here")
    raise ExportError(f"{model.facts.name} cannot be exported: {reason}")


@dataclass(frozen=True)
class Options:
    """How a model is exported.

    Attributes:
        precision: "fp32", "fp16", "bf16" or "int8": see `precision.py`.
        device: "cpu" or "cuda", what the graphs are meant for.
        streaming: whether to add graphs that go piece by piece, where a model has them only then.
        calibration: speech for "int8", with which convolutions are quantised too.
    """

    precision: str = "fp32"
    device: str = "cpu"
    streaming: bool = False
    calibration: Sequence[Audio] = ()


def export_model(
    model: Model, folder: Path, options: Options | None = None, check: Callable[[Path], None] | None = None
) -> Manifest:
    """Write the bundle of a model into a folder, which is to be new or empty.

    It is written beside it under another name and then moved, so that it is there whole or not at all.

    Args:
        model: on the CPU, in float32.
        folder: where to.
        options: by default an fp32 bundle of whole clips.
        check: called with the folder before it is moved; what it raises is raised, and nothing is kept.

    Raises `ExportError` for a model or a part that makes no graph, and for a folder that is in use.
    """
    check_folder(folder)
    options = options or Options()
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise ExportError(f"{model.facts.name} is to be exported from the CPU in float32; load it so")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        manifest = write_plan(plan_of(model, options.streaming), made, options)
        write_readme(manifest, made, folder.name)
        if check is not None:
            check(made)
        if folder.exists():
            folder.rmdir()
        os.rename(made, folder)
    return manifest


def write_plan(plan: Plan, folder: Path, options: Options) -> Manifest:
    """All graphs of a plan and the manifest."""
    files: dict[str, GraphFile] = {}
    for part in plan.parts:
        files |= write_graph(part, folder)
    manifest = manifest_of(plan, files)
    manifest.write(folder)
    if options.precision != "fp32" or options.device != "cpu":
        manifest = lowered(manifest, folder, options.precision, options.device, options.calibration)
        manifest.write(folder)
    return manifest


def manifest_of(plan: Plan, files: dict[str, GraphFile]) -> Manifest:
    """What `voxzoo.json` says of a plan's graphs."""
    model = plan.model
    return Manifest(
        model=model.facts.name,
        facts=model.facts,
        fingerprint=model.fingerprint,
        config=model.config,
        resampler=model.resampler,
        precision="fp32",
        device="cpu",
        opset=OPSET,
        tools={name: version(name) for name in TOOLS},
        batching=model.batching,
        pad_multiple=plan.padding["multiple"],
        padding=plan.padding,
        window=model.window,
        stream_ratios=ratios(plan.law),
        length_law=plan.law,
        files=files,
        long=plan.long,
        partial_streams=plan.partial,
        undecodable=model.undecodable,
    )


def check_folder(folder: Path) -> None:
    """Raise `ExportError` where a bundle cannot be put."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{str(folder)!r} is in use; name a folder that is new or empty")
