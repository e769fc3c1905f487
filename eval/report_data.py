"""What the page of a report holds: the results in columns, without repeated keys, and the sound of the examples."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.audio import Audio
from ..core.errors import AudioError
from .bootstrap import DEFINITION
from .pictures import LEVELS, Scale, levels, palette, png, scale_of, spectrogram
from .tables import main_metrics
from .token_definitions import DEFINITIONS

__all__ = ["page_data", "to_json"]

DIGITS = 7  # significant, of the values of single clips


def page_data(results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """JSON-able: `results` with `clips` turned into columns and `examples` into tracks with picture and sound.

    `values[metric][entry]` lists the values clip by clip, and `reasons` holds [clip, entry, metric, text] where there is a
    reason instead; entries and metrics go by their number. Sound is read from `folder`; a file that is missing or damaged is
    a track with the reason. Paths are told as seen from beside the source's folder, for pages are passed on.
    """
    results = _without_places(results, folder)
    clips = results.get("clips") or []
    labels = [entry["label"] for entry in results["entries"]]
    names = [metric["name"] for metric in results["metrics"]]
    examples, scale = _examples(results.get("examples") or [], labels, folder, results["about"]["rate"])
    return {
        **{key: results.get(key) for key in ("format", "about", "metrics", "entries", "tests", "calibration", "rejected")},
        "clips": [{key: clip.get(key) for key in ("id", "seconds", "speaker", "text")} for clip in clips],
        "values": [[[_number(clip, label, name) for clip in clips] for label in labels] for name in names],
        "reasons": _reasons(clips, labels, names),
        "main": [metric["name"] for metric in main_metrics(results)],
        "examples": examples,
        "spectrogram": {"low": scale.low, "high": scale.high, "palette": palette().tolist(), "levels": LEVELS},
        "notes": {"statistics": results["about"].get("statistics") or DEFINITION, "tokens": DEFINITIONS},
    }


def _without_places(results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The results without the folders that this machine keeps the source, the run and local models in.

    Of the source's path its name and its folder's stay, as do those of checkpoints and weights; texts that hold such a
    path (reasons of all kinds) are cut alike.
    """
    about = dict(results["about"])
    source, arguments = about.get("source") or {}, about.get("arguments") or {}
    given = [source.get("path"), *(path for key in ("checkpoints", "weights") for path in (arguments.get(key) or {}).values())]
    paths = [*(Path(path) for path in given if isinstance(path, str)), folder.absolute()]
    places = sorted({f"{path.parent.parent}/" for path in paths if path.is_absolute()} - {"/"}, key=len, reverse=True)
    if not places:
        return dict(results)
    pattern = re.compile("|".join(map(re.escape, places)))

    def cut(data: Any) -> Any:
        if isinstance(data, str):
            return pattern.sub("", data)
        if isinstance(data, Mapping):
            return {key: cut(value) for key, value in data.items()}
        return [cut(value) for value in data] if isinstance(data, (list, tuple)) else data

    return {**results, **{key: cut(results[key]) for key in ("about", "entries", "rejected") if results.get(key)},
            "clips": [{**clip, "reasons": cut(clip.get("reasons"))} for clip in results.get("clips") or []]}  # fmt: skip


def _number(clip: Mapping[str, Any], label: str, name: str) -> float | None:
    value = (clip["values"].get(label) or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _reasons(clips: Sequence[Mapping[str, Any]], labels: Sequence[str], names: Sequence[str]) -> list[list[Any]]:
    found = []
    for i, clip in enumerate(clips):
        reasons = clip.get("reasons") or {}
        for j, label in enumerate(labels):
            of_label = reasons.get(label) or {}
            found += [[i, j, k, of_label[name]] for k, name in enumerate(names) if name in of_label]
    return found


def _examples(
    examples: Sequence[Mapping[str, Any]], labels: Sequence[str], folder: Path, rate: int
) -> tuple[list[dict[str, Any]], Scale]:
    """Tracks in the order of the entries, the original first."""
    shown, pictures = [], []
    for example in examples:
        decoded = {label: example["decoded"][label] for label in labels if label in example["decoded"]}
        files = {"original": example["original"], **decoded}
        tracks = [_track(label, folder, path, example["codes"].get(label), rate) for label, path in files.items()]
        shown.append({"id": example["id"], "seconds": example["seconds"], "tracks": tracks})
        pictures += [track["picture"] for track in tracks if track["picture"] is not None]
    scale, colours = scale_of(pictures), palette()
    for track in (track for example in shown for track in example["tracks"]):
        if track["picture"] is not None:
            track["picture"] = _base64(png(levels(track["picture"], scale), colours))
    return shown, scale


def _track(label: str, folder: Path, name: str, codes: Any, rate: int) -> dict[str, Any]:
    """`picture` is still the array: its colours hang on all the pictures, which are all drawn at `rate` Hz."""
    track: dict[str, Any] = {"label": label, "codes": codes, "audio": None, "picture": None, "problem": ""}
    try:
        path = folder / name
        audio, data = Audio.read(path, rate), path.read_bytes()
        return {**track, "audio": _base64(data), "picture": spectrogram(audio)}
    except (AudioError, OSError) as error:
        return {**track, "problem": str(error).replace(f"{folder}/", "")}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def to_json(data: Any) -> str:
    """JSON that may stand in a `<script>` element: no `<` in it, no NaN (they are null)."""
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
