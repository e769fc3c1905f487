"""What the verbs share: options of a model, checks of paths, tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..core.errors import VoxzooError

if TYPE_CHECKING:
    from ..core.model import Model

STANDARD = "-"  # stdin or stdout


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """`--weights --device --engine --dtype --threads`, as `voxzoo.load` takes them."""
    parser.add_argument("--weights", metavar="DIR", help="folder with the checkpoint (or 'random': untrained, for trials)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument("--engine", default="auto", metavar="ENGINE", help="auto, torch or onnx (default: auto)")
    parser.add_argument("--dtype", default="float32", metavar="DTYPE", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument("--threads", type=int, metavar="N", help="of a bundle's graphs on a CPU (default: all cores)")


def add_resampler_option(parser: argparse.ArgumentParser) -> None:
    """`--resampler`, as `voxzoo.load` takes it."""
    note = "for sound of other rates: soxr-hq, or torchaudio-sinc as some references have it (default: soxr-hq)"
    parser.add_argument("--resampler", default="soxr-hq", metavar="NAME", help=note)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


def load_model(name: str, args: argparse.Namespace) -> Model:
    """`voxzoo.load` with the options of `add_engine_options`, and of `add_resampler_option` where the verb has it."""
    from ..core.loading import load

    names = ("weights", "device", "engine", "dtype", "resampler", "threads")
    return load(name, **{key: value for key, value in vars(args).items() if key in names})


def source(path: str) -> str | BinaryIO:
    """A path as it is, or stdin for "-"."""
    return sys.stdin.buffer if path == STANDARD else path


def check_output(path: str, inputs: Sequence[str] = ()) -> None:
    """Find out before any work whether a file can be written at `path`. Raises `VoxzooError`."""
    if path == STANDARD:
        return
    if os.path.isdir(path):
        raise VoxzooError(f"cannot write {path!r}: it is a folder; name a file")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise VoxzooError(f"cannot write {path!r}: the folder {folder!r} does not exist")
    if os.path.exists(path) and any(os.path.exists(i) and os.path.samefile(i, path) for i in inputs if i != STANDARD):
        raise VoxzooError(f"cannot write {path!r}: it is the input")


def make_folder(path: str) -> Path:
    """The folder at `path`, made if need be. Raises `VoxzooError`."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VoxzooError(f"cannot make the folder {path!r}: {error.strerror}") from None
    return folder


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows (the first is the head) in aligned columns; the columns numbered in `right` are set to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
