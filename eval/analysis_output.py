"""The files of an analysis: analysis.json for machines, analysis.md to read, and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import VoxzooError
from ..core.files import replacing
from .analysis_plots import plots
from .analysis_tables import markdown

__all__ = ["write_analysis"]


def write_analysis(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write all files into `folder`, which must be there; each is written whole or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed (the JSON is written).
        VoxzooError: the folder cannot be written to.
    """
    paths = [folder / "analysis.json"]
    try:
        _write(paths[0], (json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
        names = []
        for name, title, png in plots(results):
            paths.append(folder / f"{name}.png")
            _write(paths[-1], png)
            names.append((f"{name}.png", title))
        paths.append(folder / "analysis.md")
        _write(paths[-1], markdown(results, names).encode())
    except OSError as error:
        raise VoxzooError(f"cannot write {str(paths[-1])!r}: {error.strerror or error}") from None
    return paths


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        Path(temporary).write_bytes(data)
