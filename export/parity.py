"""How a bundle compares with the model it was made of: the same codes, the same sound, at many lengths, on real speech.

`parity.json` holds what `compare` gives. Codes are compared one by one; of sound, the two decoders are given the model's own
codes, so that the one's error is not the other's. Letters: K streams.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import ExportError, ModelError, VoxzooError
from ..core.model import Model
from ..core.tokens import Tokens
from .bundle import Manifest
from .runtime import BundleModel, open_bundle
from .runtime_session import device_named

__all__ = ["LEAST", "PARITY", "Quality", "check", "compare", "write"]

PARITY = "parity.json"
# Share of all codes that have to be equal, by precision, where nothing else is asked for.
LEAST = {"fp32": 0.9999, "fp16": 0.99, "bf16": 0.9, "int8": 0.8}
LOUDEST_ERROR = 1e-4  # of fp32's sound
Quality = Mapping[str, Callable[[np.ndarray, np.ndarray, int], float]]  # name -> (original, decoded, Hz) -> figure


def compare(model: Model, folder: Path, clips: Sequence[Audio], quality: Quality | None = None) -> dict[str, Any]:
    """The report.

    Args:
        model: that the bundle was made of, in float32 on the CPU.
        folder: the bundle.
        clips: speech, at any rate; a batch of them of unequal lengths, and cuts down to one sample, are compared too.
        quality: measures of decoded sound, taken of both; a clip that one cannot measure is left out of it.
    """
    bundle = open_bundle(folder, device=place(folder), threads=1)
    rate = model.facts.sample_rate
    wavs = [clip.resample(rate, model.resampler).samples for clip in clips]
    sets = [[wav] for wav in wavs] + [[wavs[0][:n]] for n in lengths(model, len(wavs[0]))] + [batch(model, wavs[0])]
    equal, count = np.zeros(model.facts.streams, int), np.zeros(model.facts.streams, int)
    worst, noise, power = 0.0, 0.0, 0.0
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in quality or {}}
    for number, clip_set in enumerate(sets):
        theirs, ours = model.encode(clip_set, rate), bundle.encode(clip_set, rate)
        for i in range(len(clip_set)):
            counted(theirs[i], ours[i], equal, count)
        if not bundle.decodes:
            continue
        original, decoded = sounds(model, theirs), sounds(bundle, theirs)
        for wav, a, b in zip(clip_set, original, decoded, strict=True):
            worst = max(worst, float(np.abs(a - b).max(initial=0.0)))
            noise, power = noise + float(np.square(a - b).sum()), power + float(np.square(a).sum())
            for name, pairs in measured.items() if number < len(wavs) else ():
                pairs += figures((quality or {})[name], wav, a, sounds(bundle, ours)[0], model)
    streams = [float(e / n) for e, n in zip(equal, count, strict=True)]
    report: dict[str, Any] = {
        "model": model.facts.name,
        "precision": bundle.precision,
        "ran_on": bundle.device,
        "seconds": round(sum(len(wav) for group in sets for wav in group) / rate, 3),
        "clips": sum(map(len, sets)),
        "share": float(equal.sum() / count.sum()),
        "first": streams[0],
        "later": float(equal[1:].sum() / count[1:].sum()) if len(streams) > 1 else None,
        "streams": streams,
        "codes": [int(n) for n in count],
    }
    if bundle.decodes:
        snr = 10 * math.log10(power / noise) if noise and power else None
        report["sound"] = {"largest_error": worst, "snr_db": None if snr is None else round(snr, 2)}
        report["quality"] = {
            name: {"model": mean([a for a, _ in pairs]), "bundle": mean([b for _, b in pairs]), "clips": len(pairs)}
            for name, pairs in measured.items()
        }
    return report


def place(folder: Path) -> str:
    """Where a bundle is compared: on what it is meant for, if that is here.

    On a CPU, products that are meant for CUDA in halves are computed in float32, so that little is told of them.
    """
    try:
        return device_named(Manifest.read(folder).device).name
    except ModelError:
        return "cpu"


def check(report: dict[str, Any], least: float | None = None) -> None:
    """Note in the report what was asked for, and raise `ExportError` where it is not met."""
    precision = report["precision"]
    least = LEAST[precision] if least is None else least
    report["least"] = least
    if report["share"] < least:
        streams = ", ".join(f"{share:.2%}" for share in report["streams"])
        raise ExportError(
            f"the {precision} graphs of {report['model']} keep {report['share']:.3%} of the codes, less than the {least:.3%} "
            f"asked for (by stream: {streams}); choose another precision, or a lower --min-agreement"
        )
    error = report.get("sound", {}).get("largest_error", 0.0)
    if precision == "fp32" and error > LOUDEST_ERROR:
        raise ExportError(f"the decoder of {report['model']} is off by {error:.2g}, more than {LOUDEST_ERROR:g}")


def write(report: Mapping[str, Any], folder: Path) -> None:
    """`parity.json`."""
    (folder / PARITY).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def lengths(model: Model, most: int) -> list[int]:
    """Samples at which a graph that took an example's length for its own would show it."""
    hop = round(model.facts.sample_rate / min(model.facts.frame_rates))
    wanted = [1, 2, hop - 1, hop, hop + 1, 2 * hop, 7 * hop + hop // 3, 16 * hop + 1, 31 * hop - 1]
    return sorted({n for n in wanted if 0 < n <= most})


def batch(model: Model, wav: np.ndarray) -> list[np.ndarray]:
    """Clips of one batch: unequal ones where the model pads them, else two of one length."""
    hop = round(model.facts.sample_rate / min(model.facts.frame_rates))
    if model.batching == "pad":
        return [wav[: 9 * hop + 5], wav[hop : 10 * hop], wav[: 8 * hop + 1]]
    return [wav[: 9 * hop + 5], wav[hop : 10 * hop + 5]]


def counted(theirs: Tokens, ours: Tokens, equal: np.ndarray, count: np.ndarray) -> None:
    """Add one clip's codes, of which the one with more has those too many wrong."""
    for k, (a, b) in enumerate(zip(theirs.numpy().codes, ours.numpy().codes, strict=True)):
        common = min(a.shape[1], b.shape[1])
        equal[k] += int((np.asarray(a)[0, :common] == np.asarray(b)[0, :common]).sum())
        count[k] += max(a.shape[1], b.shape[1])


def sounds(model: Model | BundleModel, tokens: Tokens) -> list[np.ndarray]:
    """Decoded clips."""
    audios = model.decode(tokens)
    return [audio.samples for audio in (audios if isinstance(audios, list) else [audios])]


def figures(
    measure: Callable[[np.ndarray, np.ndarray, int], float], wav: np.ndarray, a: np.ndarray, b: np.ndarray, model: Model
) -> list[tuple[float, float]]:
    """Of a clip as the model and as the bundle decode it; none where it cannot be measured."""
    rate = model.facts.output_rate
    wanted = Audio(wav, model.facts.sample_rate).resample(rate).samples[: len(a)]
    try:
        return [(measure(wanted, a[: len(wanted)], rate), measure(wanted, b[: len(wanted)], rate))]
    except (VoxzooError, ValueError, RuntimeError, ImportError):
        return []


def mean(values: Sequence[float]) -> float | None:
    """Rounded; None of nothing."""
    return round(float(np.mean(values)), 4) if values else None
