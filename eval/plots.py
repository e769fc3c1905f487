"""Figures of a benchmark for papers: rate-distortion curves, scores with intervals, and how codes are used.

Sized for one column (3.4 inches), 300 dots per inch, in colours that the colour-blind can tell apart, with marks of different
shape besides.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import MissingExtraError
from ..core.files import replacing
from .tables import main_metrics, mean_of

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["STYLE", "rate_distortion", "scores", "token_curves", "write_plots"]

COLUMN = 3.4  # inches
DPI = 300
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
MARKS = "osD^vP"
ANCHOR = "#555555"
LONGEST = 26  # characters of a name; model folders have long ones
PANELS = 6  # models with curves of their codes
STYLE = {
    "font.size": 7.5, "axes.labelsize": 7.5, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 6.5, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#E4E7EB",
    "grid.linewidth": 0.5, "axes.axisbelow": True, "axes.linewidth": 0.6, "text.parse_math": False,
}  # fmt: skip
TOKEN_PLOTS = {
    "lorenz": ("lorenz", "share of the codes, rarest first", "share of occurrences", False),
    "rank_frequency": ("rank_frequency", "rank", "occurrences", True),
    "usage_growth": ("growth", "tokens seen", "different codes", False),
}


def write_plots(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `scores.png`, `rate_distortion_<metric>.png` of the main metrics, and the three figures of `TOKEN_PLOTS`.

    What the results hold nothing for is left out. Returns what was written. Raises `MissingExtraError` without matplotlib, and
    `OSError`.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("matplotlib", "eval") from None
    folder.mkdir(parents=True, exist_ok=True)
    metrics, written = main_metrics(results), []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names may be in any script; the font is matplotlib's
        figures = {"scores": scores(results, metrics)} if metrics else {}
        for metric in metrics:
            if any(entry.get("bitrate") for entry in _codecs(results)):
                figures[f"rate_distortion_{metric['name']}"] = rate_distortion(results, metric)
        if _with_tokens(results):
            figures |= {name: token_curves(results, name) for name in TOKEN_PLOTS}
        for name, figure in figures.items():
            written.append(folder / f"{name}.png")
            with replacing(written[-1]) as temporary:
                figure.savefig(temporary, dpi=DPI)
    return written


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _codecs(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in results["entries"] if entry["kind"] != "original"]


def _series(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Entries by the name of their model, models before anchors."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(_codecs(results), key=lambda entry: entry["kind"] != "model"):
        found.setdefault(entry.get("model") or entry["label"].partition(":")[0], []).append(entry)
    return found


def rate_distortion(results: Mapping[str, Any], metric: Mapping[str, Any]) -> Figure:
    """Means of a metric with their 95 % intervals over nominal kbit/s, logarithmic; entries of one model are joined."""
    figure = _figure(COLUMN, 2.6)
    axes = figure.subplots()
    models = 0
    for number, (name, entries) in enumerate(_series(results).items()):
        there = [e for e in entries if e.get("bitrate") and mean_of(e, metric) is not None]
        points = sorted((e["bitrate"] / 1000, *_interval(e, metric)) for e in there)
        if not points:
            continue
        anchor = entries[0]["kind"] == "anchor"
        colour = ANCHOR if anchor else PALETTE[models % len(PALETTE)]
        models += not anchor
        x, y, low, high = zip(*points, strict=True)
        style: dict[str, Any] = {"color": colour, "marker": MARKS[number % len(MARKS)], "linestyle": ":" if anchor else "-"}
        axes.errorbar(
            x, y, yerr=(low, high), label=_short(name), markersize=3.5, linewidth=1.1, elinewidth=0.7, capsize=1.5, **style
        )
    axes.set(xscale="log", xlabel="kbit/s", ylabel=_label(metric))
    _plain_ticks(axes.xaxis, 1, 2, 5)
    if axes.has_data():
        axes.legend(frameon=False)
    return figure


def _plain_ticks(axis: Axis, *factors: int) -> None:
    """Logarithmic ticks at these factors of each power of ten, written out: names may hold `$`, so no mathematics is set."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=factors))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def scores(results: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """One panel for each metric, a bar with its 95 % interval for each entry."""
    entries = [e for e in results["entries"] if any(mean_of(e, metric) is not None for metric in metrics)]
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = _figure(1.2 + 1.9 * columns, rows * (0.7 + 0.17 * len(entries)))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    models = [own for own in _series(results).values() if own[0]["kind"] == "model"]
    colours = {entry["label"]: PALETTE[i % len(PALETTE)] for i, own in enumerate(models) for entry in own}
    for panel, metric in zip(panels.flat, metrics, strict=False):
        for place, entry in enumerate(entries):
            if mean_of(entry, metric) is not None:
                mean, low, high = _interval(entry, metric)
                panel.barh(place, mean, color=colours.get(entry["label"], "#9AA0A8"), height=0.68)
                panel.errorbar(mean, place, xerr=([low], [high]), color="#222222", elinewidth=0.8, capsize=1.5, linewidth=0)
        panel.set(title=_label(metric), yticks=range(len(entries)), yticklabels=[_short(e["label"]) for e in entries])
        panel.grid(False, axis="y")
    panels[0, 0].invert_yaxis()
    for panel in list(panels.flat)[len(metrics) :]:
        panel.remove()
    return figure


def token_curves(results: Mapping[str, Any], name: str) -> Figure:
    """A panel for each model (its entry with the most codebooks, six models at most), a line for each codebook.

    `name` is "lorenz", "rank_frequency" or "usage_growth".
    """
    from matplotlib import colormaps

    key, across, up, logarithmic = TOKEN_PLOTS[name]
    entries = _with_tokens(results)[:PANELS]
    columns = min(3, len(entries))
    rows = -(-len(entries) // columns)
    figure = _figure(max(COLUMN, 2.3 * columns), 2.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, entry in zip(panels.flat, entries, strict=False):
        streams = entry["tokens"]["streams"]
        for k, stream in enumerate(streams):
            if stream.get(key):
                panel.plot(*zip(*stream[key], strict=True), color=colormaps["viridis"](0.9 * k / max(len(streams) - 1, 1)),
                           linewidth=1, label=_stream_label(name, k, stream))  # fmt: skip
        if name == "lorenz":
            panel.plot([0, 1], [0, 1], color="#888888", linewidth=0.7, linestyle="--")
        panel.set(title=_short(entry["label"]), xlabel=across, ylabel=up)
        if logarithmic:
            panel.set(xscale="log", yscale="log")
            _plain_ticks(panel.xaxis, 1)
            _plain_ticks(panel.yaxis, 1, 3)
        if len(streams) <= 8:
            panel.legend(frameon=False, handlelength=1.2, labelspacing=0.2, title="codebook", title_fontsize=6.5)
    for panel in list(panels.flat)[len(entries) :]:
        panel.remove()
    return figure


def _stream_label(name: str, k: int, stream: Mapping[str, Any]) -> str:
    return f"{k + 1}: Gini {stream['gini']:.2f}" if name == "lorenz" else str(k + 1)


def _with_tokens(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each model the entry with the most codebooks that has statistics of its tokens."""
    entries = (e for e in _codecs(results) if e.get("tokens") and e["tokens"].get("streams"))
    widest: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: len(entry["tokens"]["streams"])):
        widest[entry.get("model") or entry["label"]] = entry
    return list(widest.values())


def _interval(entry: Mapping[str, Any], metric: Mapping[str, Any]) -> tuple[float, float, float]:
    """The mean and how far the interval goes below and above it; 0 where there is none."""
    summary = entry["summary"][metric["name"]]
    mean = summary["mean"]
    if summary.get("low") is None:
        return mean, 0.0, 0.0
    return mean, max(mean - summary["low"], 0.0), max(summary["high"] - mean, 0.0)


def _short(name: str) -> str:
    """At most `LONGEST` characters, the end being what tells entries of one model apart."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}\u2026{name[-LONGEST // 2 :]}"


def _label(metric: Mapping[str, Any]) -> str:
    unit = metric["unit"].partition(",")[0]
    plain = unit and not any(c.isdigit() for c in unit)  # not a range: those are for the definitions
    return f"{metric['label']} ({unit})" if plain else str(metric["label"])
