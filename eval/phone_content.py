"""The section of `analyze` on phones: PNMI, purities and ABX of tokens (and of the features before them), beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import numpy as np

from .abx import abx
from .attempts import commonest, missing_as_reason, reasons
from .metric import MetricError
from .phonetic import Phone, frame_labels, one_silence, phone_content, triphones
from .record import Record
from .speaker_content import STREAMS

__all__ = ["DEFINITIONS", "phone_section"]

SHUFFLES = 5
DEFINITIONS = {
    "streams": f"the first {STREAMS} of the model, one by one",
    "pnmi": "I(phone; token) / H(phone) over frames; a frame takes the phone at its centre; silence counts as one phone, "
    "frames without a phone are left out (as fairseq's measure_teacher_quality.py)",
    "phone_purity": "sum over tokens of the share of frames of the token's most frequent phone",
    "cluster_purity": "sum over phones of the share of frames of the phone's most frequent token",
    "shuffled": f"the same with the phones shuffled over frames, mean of {SHUFFLES}: what so many codes give without any "
    "content",
    "abx_within": "ABX error of triphones within a speaker, as ZeroSpeech: frames whose centres lie in the triphone, distance "
    "0-1 between tokens, averaged along the best path of dynamic time warping; at most 10 items of a phone, "
    "context and speaker; mean over contexts, then speakers, then ordered pairs of phones; chance 0.5. shuffled: "
    "with the phones of the items shuffled",
    "abx_across": "the same with x of another speaker than a and b, at most 5 speakers of x; chance 0.5",
    "abx_features": "the same on the encoder's output, the values that are quantised; angular distance between frames",
    "phones": "times from the column `phones` (lists, or a TextGrid, CTM or .phn file, its path from the manifest), else by "
    "forced alignment of English "
    "clips with their `text` (pocketsphinx, CMU phones, steps of 10 ms); clips that have neither are counted with "
    "the reason",
}


def phone_section(records: Sequence[Record], model: Any | None = None) -> dict[str, Any]:
    """PNMI, purities and ABX of the first eight streams, with their chance lines.

    Args:
        records: clips; `columns` hold `phones`, or `text` of English sound (`lang` "en" or none), and perhaps `speaker`.
        model: what made the tokens; with it ABX of the encoder's output is given too.

    Returns:
        A JSON-able dict: "clips", "source", "left_out" (clips by reason), "streams" (one dict each), "features", "definitions".
        What cannot be computed is {"missing": reason}.
    """
    found = [record.phones for record in records]
    kept = [record for record, given in zip(records, found, strict=True) if not isinstance(given, str)]
    phones = [given[0] for given in found if not isinstance(given, str)]
    sources, left_out = {given[1] for given in found if not isinstance(given, str)}, reasons(found)
    head: dict[str, Any] = {"clips": len(kept), "source": sorted(sources), "left_out": left_out, "definitions": DEFINITIONS}
    if not kept:
        return {**head, "missing": f"no clip has phones: {commonest(left_out)}"}
    count = min(STREAMS, min(len(r.codes) for r in kept))
    streams = [{"stream": k, **_stream(kept, phones, k)} for k in range(count)]
    return {**head, "streams": streams, "features": missing_as_reason(lambda: _features(kept, phones, model))}


def _stream(records: Sequence[Record], phones: Sequence[list[Phone]], k: int) -> dict[str, Any]:
    rates = [float(r.facts.frame_rates[k]) for r in records]
    labels = [frame_labels(p, len(r.codes[k]), rate) for r, p, rate in zip(records, phones, rates, strict=True)]
    tokens, named = np.concatenate([r.codes[k] for r in records]), one_silence(np.concatenate(labels))
    inside = np.concatenate(labels) != ""
    codes = [r.codes[k] for r in records]
    return {
        "content": missing_as_reason(lambda: _content(tokens[inside], named[inside])),
        **_abx(records, phones, codes, rates, "equal"),
    }


def _content(tokens: np.ndarray, phones: np.ndarray) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    real = phone_content(tokens, phones)
    by_chance = [phone_content(tokens, rng.permutation(phones)) for _ in range(SHUFFLES)]
    names = ("pnmi", "phone_purity", "cluster_purity")
    return {**asdict(real), "shuffled": {name: float(np.mean([getattr(c, name) for c in by_chance])) for name in names}}


def _abx(
    records: Sequence[Record],
    phones: Sequence[list[Phone]],
    features: Sequence[np.ndarray],
    rates: Sequence[float],
    distance: Literal["equal", "angular"],
) -> dict[str, Any]:
    """ABX within and across speakers, with the error of shuffled phones."""
    items, names, speakers, contexts = [], [], [], []
    for record, parts, frames, rate in zip(records, phones, features, rates, strict=True):
        for span in triphones(parts, len(frames), rate):
            items.append(frames[span.first : span.last])
            names.append(span.label)
            contexts.append(span.context)
            speakers.append(record.given("speaker"))
    nameless = sum(not speaker for speaker in speakers)
    shuffled = [str(name) for name in np.random.default_rng(0).permutation(names)]
    out: dict[str, Any] = {}
    for mode in ("within", "across"):
        measure = partial(_errors, items, names, shuffled, speakers, contexts, mode, distance)
        if nameless:
            out[f"abx_{mode}"] = {"missing": f"{nameless} of {len(items)} phones are of clips without a column `speaker`"}
        else:
            out[f"abx_{mode}"] = missing_as_reason(measure)
    return out


def _errors(
    items: list[np.ndarray],
    names: list[str],
    shuffled: list[str],
    speakers: list[str],
    contexts: list[tuple[str, str]],
    mode: Literal["within", "across"],
    distance: Literal["equal", "angular"],
) -> dict[str, Any]:
    real = asdict(abx(items, names, speakers, contexts, mode=mode, distance=distance))
    by_chance = missing_as_reason(lambda: abx(items, shuffled, speakers, contexts, mode=mode, distance=distance).error)
    return {**real, "shuffled": by_chance}


def _features(records: Sequence[Record], phones: Sequence[list[Phone]], model: Any | None) -> dict[str, Any]:
    if model is None or any(r.audio is None for r in records):
        raise MetricError("features need the model and the sound; tokens alone were given")
    from .layers import clip_features, output_layer

    layer = output_layer(model)
    sounds = [r.audio for r in records if r.audio is not None]
    features = [frames[layer] for frames in clip_features(model, sounds, [layer])]
    rate = float(model.facts.frame_rates[0])
    return {"layer": layer, **_abx(records, phones, features, [rate] * len(features), "angular")}
