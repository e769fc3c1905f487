"""The section on speakers, on labelled speech and a model with random weights, and what it says when columns are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.core.loading import random_model
from voxzoo.eval.record import Record
from voxzoo.eval.speaker_content import DEFINITIONS, speaker_section

pytest.importorskip("sklearn")
pytest.importorskip("rapidfuzz")


def records(espeak: ModuleType) -> tuple[list[Record], voxzoo.core.model.Model]:
    item = voxzoo.entry("vox-rvq-16k")
    model = random_model(item, {**item.config, **item.tiny})
    out = []
    for i, u in enumerate(espeak.corpus(3, 5)):
        audio = Audio(u.samples, espeak.RATE)
        codes = [c[0] for c in model.encode(audio).numpy().codes]
        columns = {"speaker": u.speaker, "gender": u.gender, "text": u.text, "phones": [list(p) for p in u.phones]}
        out.append(Record(f"clip-{i}", audio, codes, model.facts, columns))
    return out, model


def without(given: list[Record], *columns: str) -> list[Record]:
    return [replace(r, columns={k: v for k, v in r.columns.items() if k not in columns}) for r in given]


def test_section(espeak: ModuleType) -> None:
    given, model = records(espeak)
    out = speaker_section(given, model)
    json.dumps(out, allow_nan=False)
    assert (out["clips"], out["speakers"], out["definitions"]) == (15, 3, DEFINITIONS)
    assert len(out["streams"]) == min(8, model.facts.streams)
    first = out["streams"][0]
    assert first["stream"] == 0
    assert 0 < first["same_text_distance"]["same_text"] < 1.5
    assert first["same_text_distance"]["texts"] == 5
    assert first["speaker_probe"]["chance"] == pytest.approx(1 / 3)
    assert 0 < first["information"]["shuffled"] < 1
    assert first["gender_probe"]["missing"].startswith("fewer than two labels")  # one woman only
    assert out["features"]["layer"] == "encoder"
    assert out["features"]["speaker_probe"]["clips"] == 15


def test_what_is_missing(espeak: ModuleType) -> None:
    given, _ = records(espeak)
    assert speaker_section(without(given, "speaker"))["missing"] == "no clip has a column `speaker`"
    assert "one speaker" in speaker_section(given[::3])["missing"]
    assert "no clip" in speaker_section([])["missing"]
    out = speaker_section(without(given, "text", "gender"))
    assert out["streams"][0]["same_text_distance"] == {"missing": "no clip has a column `text`"}
    assert out["streams"][0]["gender_probe"] == {"missing": "no clip has a column `gender`"}
    assert "tokens alone" in out["features"]["missing"]
    lone = [replace(r, columns={**r.columns, "text": r.id}) for r in given]
    assert speaker_section(lone)["streams"][0]["same_text_distance"] == {"missing": "no text is read by two speakers"}
    silent = [replace(r, codes=[c[:0] for c in r.codes]) for r in given]
    assert speaker_section(silent)["streams"][0]["information"] == {"missing": "no frames to count"}
    none = [replace(r, columns={**r.columns, "speaker": np.nan}) for r in given]
    assert speaker_section(none)["missing"] == "no clip has a column `speaker`"


def test_a_sentence_is_one_text_however_it_is_written(espeak: ModuleType) -> None:
    given, _ = records(espeak)
    marked = [replace(r, columns={**r.columns, "text": r.columns["text"].upper() + "!" * i}) for i, r in enumerate(given)]
    assert speaker_section(marked)["streams"] == speaker_section(given)["streams"]
