"""The run's history: one JSON line per report, and the loss curves as a PNG."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from ..core.errors import MissingExtraError
from ..core.files import replacing


def require_matplotlib() -> None:
    """Asked before a run, so that hours of training do not end in an import error."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train")


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """`history.json`: [{"step", "minutes", "set": "train"|"valid", one value per term}, ...]."""
    with replacing(folder / "history.json") as temporary:
        Path(temporary).write_text("[\n" + ",\n".join(json.dumps(row) for row in history) + "\n]\n")


def draw_curves(folder: Path, history: list[dict[str, Any]]) -> None:
    """`curves.png`: one panel per term, training and validation over steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    terms = sorted({key for row in history for key in row} - {"step", "minutes", "set"})
    if not terms:
        return
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, term in zip(panels, terms, strict=False):
        for name, style in (("train", "-"), ("valid", "o-")):
            points = [(row["step"], row[term]) for row in history if row["set"] == name and term in row]
            if points:
                panel.plot(*zip(*points, strict=True), style, label=name, markersize=3, linewidth=1)
        panel.set(title=term, xlabel="step", yscale="log")
        panel.legend()
    for panel in list(figure.axes)[len(terms) :]:
        panel.remove()
    figure.savefig(folder / "curves.png", dpi=110)
