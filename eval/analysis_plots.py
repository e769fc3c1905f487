"""Plots of an analysis as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import MissingExtraError
from .analysis_tables import FIGURES, REFERENCES, at

__all__ = ["plots"]

Line = tuple[str, list[float | None], list[float | None]]  # label, values, what chance gives
SIZE = (6.4, 4.4)  # inches
DPI = 120


def plots(results: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """(name, title, PNG) of each plot that the groups have figures for. Raises `MissingExtraError` without matplotlib."""
    groups = results["groups"]
    if "streams" in groups.get("tokens", {}):
        for name, title, draw in (
            ("tokens_lorenz", "Lorenz curve, dead codes included", _lorenz),
            ("tokens_rank_frequency", "Rank and frequency", _ranks),
            ("tokens_growth", "Codes in use", _growth),
            ("tokens_runs", "Run lengths", _runs),
        ):
            yield name, title, _png(title, draw, groups["tokens"]["streams"])
    if "missing" not in groups.get("robustness", {"missing": ""}):
        title = "Unit edit distance, stream 0"
        yield "robustness_distance", title, _png(title, _distances, groups["robustness"])
    for name, figures in FIGURES.items():
        lines = _of_streams(groups.get(name, {}).get("streams", []), figures)
        if lines:
            yield (
                f"{name}_streams",
                "By stream, and by chance",
                _png("By stream, and by chance (dotted)", _lines, ("stream", lines)),
            )
    layers = groups.get("layers", {})
    for target, name in REFERENCES.items():
        lines = _of_layers(layers.get(target, {}))
        if lines:
            title = f"Layers and {name}, and by chance (dotted)"
            yield f"layers_{target}", title, _png(title, _lines, ("layer", lines))


def _png(title: str, draw: Any, data: Any) -> bytes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(error.name or "matplotlib", "eval") from None
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, data)
    axes.set_title(title)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def _colour(k: int, streams: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * k / max(1, streams - 1))


def _curves(axes: Any, streams: list[dict[str, Any]], key: str) -> None:
    for k, stream in enumerate(streams):
        x, y = zip(*stream[key], strict=True)
        axes.plot(x, y, color=_colour(k, len(streams)), label=f"stream {k}", linewidth=1.4, marker="." if len(x) == 1 else None)
    if 1 < len(streams) <= 12:
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)


def _lorenz(axes: Any, streams: list[dict[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="even use")
    _curves(axes, streams, "lorenz")
    axes.axvline(0.2, color="grey", linewidth=0.6)
    axes.set(xlabel="share of codes, rarest first", ylabel="share of occurrences", xlim=(0, 1), ylim=(0, 1))


def _ranks(axes: Any, streams: list[dict[str, Any]]) -> None:
    _curves(axes, streams, "rank_frequency")
    axes.set(xlabel="rank", ylabel="occurrences", xscale="log", yscale="log")


def _growth(axes: Any, streams: list[dict[str, Any]]) -> None:
    _curves(axes, streams, "growth")
    axes.set(xlabel="tokens drawn", ylabel="different codes, expected", xscale="log", yscale="log")


def _runs(axes: Any, streams: list[dict[str, Any]]) -> None:
    for k, stream in enumerate(streams):
        x, runs = zip(*stream["run_lengths"], strict=True)
        axes.plot(
            x, [n / sum(runs) for n in runs], color=_colour(k, len(streams)), label=f"stream {k}", marker=".", linewidth=1
        )
    if 1 < len(streams) <= 12:
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    axes.set(xlabel="length of a run, tokens", ylabel="share of runs", yscale="log", xscale="log")


def _distances(axes: Any, section: Mapping[str, Any]) -> None:
    named = {**section.get("unit_edit_distance", {}), "(by chance)": section.get("chance", {}).get("unit_edit_distance", {})}
    values = {}
    for name, distance in named.items():
        first = (distance.get("deduplicated", {}).get("streams") or [{}])[0]
        if first.get("weighted") is not None:
            values[name] = first["weighted"]
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names], color=["grey" if name == "(by chance)" else "#31688e" for name in names])
    axes.tick_params(axis="y", labelsize=6 if len(names) > 14 else 8)
    axes.grid(alpha=0.3, axis="x")
    axes.set(xlabel="percent of units, length-weighted, de-duplicated")


def _of_streams(streams: list[dict[str, Any]], figures: tuple[tuple[str, str, str], ...]) -> list[Line]:
    lines = [(label, [at(s, path) for s in streams], [at(s, chance) for s in streams]) for label, path, chance in figures]
    return [line for line in lines if any(value is not None for value in line[1])]


def _of_layers(target: Mapping[str, Any]) -> list[Line]:
    chance = target.get("shuffled", {})
    return [(key, values, chance.get(key, [])) for key, values in target.items() if isinstance(values, list) and values
            and all(isinstance(value, (int, float, type(None))) for value in values)]  # fmt: skip


def _lines(axes: Any, data: tuple[str, list[Line]]) -> None:
    name, lines = data
    for i, (label, values, chance) in enumerate(lines):
        for points, style in ((values, {"marker": "o", "label": label}), (chance, {"linestyle": ":"})):
            known = [(x, y) for x, y in enumerate(points) if y is not None]
            axes.plot([x for x, _ in known], [y for _, y in known], color=f"C{i}", linewidth=1.2, **style)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    axes.set(xlabel=name, ylim=(0, None))
