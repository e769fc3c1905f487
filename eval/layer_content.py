"""The section of `analyze` on layers: how alike the layers of the encoder are to each other, to the sound and to its phones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import ModelError
from ..core.model import Model
from .attempts import commonest, reasons
from .layers import chosen_frames, frame_count, head, layer_features, log_mel
from .metric import MetricError
from .phonetic import frame_labels, one_silence
from .record import Record
from .representations import EPSILON, similarities

__all__ = ["DEFINITIONS", "layer_section"]

MAX_FRAMES, SEED = 10_000, 0
MEASURES = ("cka", "cca", "svcca", "pwcca")
DEFINITIONS = {
    "frames": f"frames of the first stream, a random choice of at most {MAX_FRAMES} of the first 20 s of each clip; "
    "faster layers are averaged over a frame, slower ones repeated",
    "cka": "linear centred kernel alignment of centred features, in [0, 1]",
    "cca": f"mean canonical correlation, directions below {EPSILON:g} of the largest variance left out",
    "svcca": "mean canonical correlation of the principal directions that hold 99 % of the variance",
    "pwcca": "projection-weighted canonical correlation, weights from the features of smaller rank",
    "log_mel": "against natural log of mel energies + 1e-6 (80 Slaney bands, 25 ms Hann windows every 10 ms)",
    "phones": "against one-hot phones at the centre of a frame (frames without one left out): the layer with the highest "
    "values is the one to quantise for phones",
    "shuffled": "the same with the frames of the reference shuffled: what chance gives with so few frames",
}


def layer_section(model: Model, clips: Sequence[Audio | Record]) -> dict[str, Any]:
    """CKA and canonical correlations between layers, with log-mel features, and with phones where the clips have them.

    Args:
        model: whose encoder's layers are compared.
        clips: sounds, or records of clips whose columns give phones (see `phone_content`).

    Returns:
        A JSON-able dict: "layers", "widths", "frames", "between" (one matrix for each measure), "log_mel" and "phones" (one
        value for each layer and measure, and the same "shuffled"), "definitions". What cannot be computed is
        {"missing": reason}.
    """
    heard = [(clip, clip.audio if isinstance(clip, Record) else clip) for clip in clips]
    sounds = [(clip, audio) for clip, audio in heard if audio is not None and len(audio)]
    if not sounds:
        return {"missing": "no clip has sound", "definitions": DEFINITIONS}
    audios = [audio for _, audio in sounds]
    try:
        features = layer_features(model, audios, max_frames=MAX_FRAMES, seed=SEED)
    except ModelError as error:
        return {"missing": str(error), "definitions": DEFINITIONS}
    still = [name for name, frames in features.items() if np.ptp(frames, axis=0).max() == 0]
    layers = {name: frames for name, frames in features.items() if name not in still}
    if not layers or min(map(len, layers.values())) < 2:
        return {"missing": "no layer of the encoder was found that changes with the sound", "definitions": DEFINITIONS}
    counts = [frame_count(model, audio) for audio in audios]
    kept = chosen_frames(counts, MAX_FRAMES, SEED)
    mel = np.concatenate([log_mel(head(a), n)[k] for a, n, k in zip(audios, counts, kept, strict=True)])
    between = similarities(list(layers.values()))
    return {
        "layers": list(layers),
        "widths": [frames.shape[1] for frames in layers.values()],
        "frames": len(mel),
        "left_out": dict.fromkeys(still, "the same in every frame"),
        "between": {m: [[getattr(cell, m) for cell in row] for row in between] for m in MEASURES},
        "log_mel": _against(list(layers.values()), mel),
        "phones": _phones(list(layers.values()), [clip for clip, _ in sounds], counts, kept, float(model.facts.frame_rates[0])),
        "definitions": DEFINITIONS,
    }


def _against(layers: Sequence[np.ndarray], reference: np.ndarray) -> dict[str, Any]:
    """Each measure for each layer, and with shuffled frames."""
    try:
        shuffled = np.random.default_rng(SEED).permutation(reference)
        rows = similarities(layers, [reference, shuffled])
    except MetricError as error:
        return {"missing": str(error)}
    values: dict[str, Any] = {m: [getattr(row[0], m) for row in rows] for m in MEASURES}
    return {**values, "shuffled": {m: [getattr(row[1], m) for row in rows] for m in MEASURES}}


def _phones(
    layers: Sequence[np.ndarray],
    clips: Sequence[Audio | Record],
    counts: Sequence[int],
    kept: Sequence[np.ndarray],
    rate: float,
) -> dict[str, Any]:
    """Against one-hot phones, on the frames that have one."""
    labels, lacking = [], list[str]()
    for clip, count, chosen in zip(clips, counts, kept, strict=True):
        found = clip.phones if isinstance(clip, Record) else "clips without columns; phones need `phones`, or `text` of English"
        if isinstance(found, str):
            lacking.append(found)
        labels.append(np.full(len(chosen), "") if isinstance(found, str) else frame_labels(found[0], count, rate)[chosen])
    named = np.concatenate(labels)
    inside = named != ""
    if not inside.any():
        return {"missing": f"no clip has phones: {commonest(reasons(lacking))}"}
    merged = one_silence(named)[inside]
    names, which = np.unique(merged, return_inverse=True)
    against = _against([frames[inside] for frames in layers], np.eye(len(names))[which])
    return {"frames": int(inside.sum()), "labels": len(names), **against}
