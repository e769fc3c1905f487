"""The files of an analysis: analysis.json for machines, analysis.md to read, and plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import VoxzooError
from ..core.files import replacing
from .analysis_plots import plots
from .analysis_tables import Rows, blocks

__all__ = ["markdown", "write_analysis"]


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


def markdown(results: Mapping[str, Any], images: Sequence[tuple[str, str]] = ()) -> str:
    """All of an analysis: about, a part for each group, plots (file name, title), definitions."""
    about = results["about"]
    source = ", ".join(f"{key}: {value}" for key, value in about["source"].items())
    made = f"Model fingerprint {about['fingerprint']}. Voxzoo {about['voxzoo']}, numpy {about['numpy']}."
    parts = [
        f"# Analysis of {about['model']}",
        f"Source: {source}. {made} Sample: {about['sample']}. All figures: analysis.json.",
    ]
    for name, section in results["groups"].items():
        parts.append(f"## {name.capitalize()}")
        if "missing" in section:
            parts.append(f"Missing: {section['missing']}.")
            continue
        parts += [block if isinstance(block, str) else _table(block) for block in blocks(name, section)]
        parts += [f"![{title}]({file})" for file, title in images if file.startswith(f"{name}_")]
        parts.append("Definitions:")
        parts.append("\n".join(f"- `{key}`: {text}." for key, text in results["definitions"][name].items()))
    problems = about["problems"]
    if problems:
        parts += ["## Left out", "\n".join(f"- {id}: {reason}" for id, reason in problems.items())]
    return "\n\n".join(parts) + "\n"


def _table(rows: Rows) -> str:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
