"""The section of `analyze` on speakers: how much of who speaks is left in tokens (and in the features before them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .attempts import missing_as_reason
from .invariance import text_distance
from .metric import MetricError
from .probes import histograms, label_information, probe
from .record import Record
from .word_errors import normalise

__all__ = ["DEFINITIONS", "STREAMS", "speaker_section"]

STREAMS = 8  # streams looked at one by one
DEFINITIONS = {
    "streams": f"the first {STREAMS} of the model, one by one",
    "same_text_distance": "Levenshtein distance (rapidfuzz) between de-duplicated units of one text read by two "
    "speakers, over the units of the first; mean over ordered pairs; 0 for units that do not depend on the speaker. "
    "different_text: the same between different texts of different speakers, which is chance",
    "speaker_probe": "accuracy on held-out clips of logistic regression (scikit-learn, L2, C = 1) on the relative "
    "frequencies of a clip's codes, each scaled to unit variance; at most 5-fold cross-validation, clips of one text always in "
    "one fold; low, high: Wilson's 95 % interval; chance: share of the most frequent speaker",
    "gender_probe": "the same for the column `gender`; the clips of one speaker are always in one fold, so that voices are "
    "new; with few speakers its interval, which takes clips as independent, is too narrow",
    "features_probe": "the same probes on the mean over the first 20 s of the encoder's output, the values that are quantised",
    "information": "I(token; speaker) / H(speaker) over frames, plug-in estimate, which is biased upwards; shuffled: its mean "
    "over 10 shuffles of the speakers between clips, what the bias alone gives",
}


def speaker_section(records: Sequence[Record], model: Any | None = None) -> dict[str, Any]:
    """Same-text distance, speaker and gender probes, and mutual information, of the first eight streams.

    Args:
        records: clips; `columns` hold `speaker`, and perhaps `text` and `gender`.
        model: what made the tokens; with it, and sound in the records, the probes are run on features too.

    Returns:
        A JSON-able dict: "clips", "speakers", "streams" (one dict each), "features", "definitions". What cannot be computed is
        {"missing": reason}.
    """
    known = [r for r in records if r.given("speaker")]
    head = {"clips": len(known), "speakers": len({r.given("speaker") for r in known}), "definitions": DEFINITIONS}
    if not known:
        return {**head, "missing": "no clip has a column `speaker`"}
    if head["speakers"] == 1:
        return {**head, "missing": "all clips are of one speaker; speaker content needs two"}
    count = min(STREAMS, min(len(r.codes) for r in known))
    streams = [{"stream": k, **_stream(known, k)} for k in range(count)]
    return {**head, "streams": streams, "features": missing_as_reason(lambda: _features(known, model))}


def _stream(records: Sequence[Record], k: int) -> dict[str, Any]:
    codes, speakers = [r.codes[k] for r in records], [r.given("speaker") for r in records]
    bags = histograms(codes, records[0].facts.codebook_sizes[k])
    return {
        "same_text_distance": missing_as_reason(lambda: _text_distance(records, k)),
        **_probes(records, bags),
        "information": missing_as_reason(lambda: label_information(codes, speakers)),
    }


def _probes(records: Sequence[Record], features: np.ndarray) -> dict[str, Any]:
    speakers = [r.given("speaker") for r in records]
    texts = [_text(r) or f"clip {i}" for i, r in enumerate(records)]
    return {
        "speaker_probe": missing_as_reason(lambda: probe(features, speakers, texts)),
        "gender_probe": missing_as_reason(lambda: _gender_probe(records, features)),
    }


def _gender_probe(records: Sequence[Record], features: np.ndarray) -> Any:
    known = [i for i, r in enumerate(records) if r.given("gender")]
    if not known:
        raise MetricError("no clip has a column `gender`")
    genders = [records[i].given("gender").lower() for i in known]
    return probe(features[known], genders, [records[i].given("speaker") for i in known])


def _text_distance(records: Sequence[Record], k: int) -> Any:
    known = [r for r in records if r.given("text")]
    if not known:
        raise MetricError("no clip has a column `text`")
    return text_distance([r.codes[k] for r in known], list(map(_text, known)), [r.given("speaker") for r in known])


def _text(record: Record) -> str:
    """Without punctuation and case: what is one text to a reader is one here."""
    return normalise(record.given("text"), record.given("lang") or None)


def _features(records: Sequence[Record], model: Any | None) -> dict[str, Any]:
    heard = [r for r in records if r.audio is not None and len(r.audio)]
    if model is None or not heard:
        raise MetricError("features need the model and the sound; tokens alone were given")
    from .layers import clip_features, output_layer

    layer = output_layer(model)
    means = [frames[layer].mean(0) for frames in clip_features(model, [r.audio for r in heard if r.audio is not None], [layer])]
    return {"layer": layer, **_probes(heard, np.stack(means))}
