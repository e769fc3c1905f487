"""Speaker similarity: whether the voice that comes out is the one that went in, and how such a number is to be read.

A cosine means little by itself: two strangers can have 0.6. `calibrate` gives the scale of an encoder on the benchmark's own
originals, the mean cosine between two clips of one speaker and of two speakers; `relative` places a cosine on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import VoxzooError
from .listening import decoded_at, original_at
from .metric import Measure, MetricError, Pair
from .onnx_session import installed_file, session
from .speaker_embedding import RATE, embed_ge2e, embed_onnx, open_vad

__all__ = ["calibrate", "cosine", "open_ge2e", "open_onnx", "relative"]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two vectors (D,), -1 to 1. Raises `MetricError` where one has no length."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if a.shape != b.shape or a.ndim != 1:
        raise VoxzooError(f"vectors have shapes {a.shape} and {b.shape}; expected (D,) both")
    if not lengths or not np.isfinite(lengths):
        raise MetricError("an embedding has no direction")
    return float(np.clip(np.dot(a.astype(np.float64), b.astype(np.float64)) / lengths, -1.0, 1.0))


def calibrate(embeddings: np.ndarray, speakers: Sequence[str | None]) -> dict[str, Any]:
    """What the cosine of two different clips is, of one speaker and of two.

    Encoders hear the recording too: where each speaker has a microphone or a language of their own, the two means lie farther
    apart than voices alone would put them.

    Args:
        embeddings: float (n, D), one per clip; of any length.
        speakers: n names; clips of None are left out.

    Returns:
        `{"same", "different"}`: mean cosines over all pairs of clips; `"same_sd", "different_sd"`: their standard deviations
        (over pairs); `"pairs"`: [pairs of one speaker, pairs of two]; `"clips"`, `"speakers"`: how many. Where there are no
        such pairs the values are None and `"missing"`: {"same" or "different": why}.

    Raises `VoxzooError` when the shapes do not belong together, `MetricError` for an embedding that has no direction.
    """
    vectors = np.asarray(embeddings, np.float64)
    if vectors.ndim != 2 or len(vectors) != len(speakers):
        raise VoxzooError(f"embeddings have shape {vectors.shape} for {len(speakers)} speakers; expected (n, D) and n names")
    known = [i for i, speaker in enumerate(speakers) if speaker is not None]
    vectors, names = vectors[known], [str(speakers[i]) for i in known]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise MetricError("an embedding has no direction")
    upper = np.triu_indices(len(names), 1)
    cosines = ((vectors / lengths) @ (vectors / lengths).T)[upper]
    _, index = np.unique(names, return_inverse=True)
    alike = index[upper[0]] == index[upper[1]]
    result: dict[str, Any] = {"clips": len(names), "speakers": len(set(names))}
    reasons = {"same": "no speaker has two clips", "different": "there are not two speakers"}
    for name, chosen in (("same", cosines[alike]), ("different", cosines[~alike])):
        if not len(names):
            reasons[name] = "no clip has a speaker"
        result[name] = float(chosen.mean()) if len(chosen) else None
        result[f"{name}_sd"] = float(chosen.std()) if len(chosen) else None
    result["pairs"] = [int(alike.sum()), int((~alike).sum())]
    missing = {name: reason for name, reason in reasons.items() if result[name] is None}
    return result | ({"missing": missing} if missing else {})


def relative(similarity: float, calibration: Mapping[str, Any]) -> float:
    """A cosine on the scale of `calibrate`: 0 where another speaker's clip would be, 1 where another clip of the same would be.

    Above 1 is usual: the decoded clip has the words of the original, another clip has not. Raises `MetricError` where the scale
    has an end missing or no extent.
    """
    same, different = calibration.get("same"), calibration.get("different")
    if same is None or different is None:
        raise MetricError("; ".join(calibration.get("missing", {}).values()) or "the calibration is missing")
    if same <= different:
        raise MetricError("the encoder does not tell these speakers apart")
    return float((similarity - different) / (same - different))


def open_ge2e(checkpoint: str | None) -> Measure:
    """The GE2E family of the benchmark."""
    installed_file("resemblyzer")
    open_vad()
    return _compare(embed_ge2e, "speaker")


def open_onnx(checkpoint: str | None) -> Measure:
    """The family of an encoder in an ONNX file."""
    path = checkpoint or ""
    session(path)
    return _compare(lambda samples: embed_onnx(path, samples), "speaker_onnx")


def _compare(embed: Callable[[np.ndarray], np.ndarray], name: str) -> Measure:
    def measure(pair: Pair) -> dict[str, float | str | list[float]]:
        original = pair.original.keep(("embedding", embed), lambda: embed(original_at(pair.original, RATE)))
        similarity = cosine(original, embed(decoded_at(pair, RATE)))
        return {f"{name}_similarity": similarity, f"{name}_embedding": original.tolist()}

    return measure
