"""The section on phones: exact phones, phones by alignment, none at all, and tokens that are the phones themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.core.loading import random_model
from voxzoo.eval.phone_content import DEFINITIONS, phone_section
from voxzoo.eval.phonetic import Phone, frame_labels
from voxzoo.eval.record import ALIGNED, Record

FACTS = replace(voxzoo.entry("vox-rvq-16k").facts, frame_rates=(Fraction(50), Fraction(25)), codebook_sizes=(100, 100))


def told(espeak: ModuleType, model: voxzoo.core.model.Model | None = None) -> list[Record]:
    """Two streams, at 50 and 25 Hz: the number of the phone itself, and noise; or a model's."""
    rng = np.random.default_rng(0)
    clips = espeak.corpus(3, 8)
    names = sorted({p[2] for u in clips for p in u.phones})
    out = []
    for i, u in enumerate(clips):
        frames = len(u.samples) // 320
        labels = frame_labels([Phone(*p) for p in u.phones], frames, 50.0)
        codes = [np.array([names.index(x) for x in labels]), rng.integers(0, 100, frames // 2)]
        if model is not None:
            codes = [c[0] for c in model.encode(Audio(u.samples, 16000)).numpy().codes]
        columns = {"speaker": u.speaker, "text": u.text, "phones": [list(p) for p in u.phones]}
        out.append(Record(f"clip-{i}", Audio(u.samples, 16000), codes, model.facts if model else FACTS, columns))
    return out


def test_phones_themselves_and_noise(espeak: ModuleType) -> None:
    out = phone_section(told(espeak))
    json.dumps(out, allow_nan=False)
    assert (out["clips"], out["source"], out["left_out"], out["definitions"]) == (24, ["the column `phones`"], {}, DEFINITIONS)
    phones, noise = out["streams"]
    for name in ("pnmi", "phone_purity", "cluster_purity"):
        assert phones["content"][name] == pytest.approx(1.0)
        assert phones["content"]["shuffled"][name] < 0.2
        assert noise["content"][name] == pytest.approx(noise["content"]["shuffled"][name], rel=0.1)
    assert phones["abx_across"]["error"] < 0.01
    assert abs(noise["abx_across"]["error"] - 0.5) < 0.12
    assert abs(phones["abx_across"]["shuffled"] - 0.5) < 0.12
    assert "tokens alone" in out["features"]["missing"]


def test_features_of_a_model(espeak: ModuleType) -> None:
    item = voxzoo.entry("vox-rvq-16k")
    model = random_model(item, {**item.config, **item.tiny})
    out = phone_section(told(espeak, model), model)
    assert len(out["streams"]) == min(8, model.facts.streams)
    assert out["features"]["layer"] == "encoder"
    assert out["features"]["abx_across"]["error"] < out["streams"][0]["abx_across"]["error"]  # spectra tell, even untrained


def test_alignment_of_english(espeak: ModuleType) -> None:
    pytest.importorskip("pocketsphinx")
    given = [replace(r, columns={"text": r.columns["text"], "lang": "en-GB"}) for r in told(espeak)[:12:3]]
    out = phone_section(given)
    assert out["source"] == [ALIGNED]
    assert 1 <= out["clips"] == 4 - sum(out["left_out"].values())
    assert out["streams"][0]["content"]["pnmi"] > 0.4  # espeak's phones and CMU's, by two ways of cutting
    assert "without a column `speaker`" in out["streams"][0]["abx_within"]["missing"]


def test_what_is_missing(espeak: ModuleType) -> None:
    given = told(espeak)[:4]

    def reason(**columns: object) -> str:
        return phone_section([replace(r, columns=columns) for r in given])["missing"]

    assert "neither a column `phones` nor `text`" in reason()
    assert "the aligner is for English" in reason(text="Guten Tag", lang="de")
    assert "the aligner is for English" in reason(text="进一步取消部分行政许可项目")
    assert "expected [[start, end, phone], ...]" in reason(phones=[[1]])
    assert "no sound to align" in phone_section([replace(r, audio=None, columns={"text": "a word"}) for r in given])["missing"]
    assert "no clip" in phone_section([])["missing"]
    one = [replace(r, columns={**r.columns, "speaker": "a"}) for r in given]
    assert "one speaker" in phone_section(one)["streams"][0]["abx_across"]["missing"]
    mixed = phone_section([*given, replace(given[0], columns={})])
    assert mixed["left_out"] == {"neither a column `phones` nor `text`": 1}
    silence = [replace(r, columns={"phones": [[0, 10, "sil"]]}) for r in given]
    out = phone_section(silence)["streams"][0]
    assert "one phone only" in out["content"]["missing"]
    assert "no items" in out["abx_within"]["missing"]
    broken = replace(given[0], columns={"phones": "[1]"}).phones
    assert isinstance(broken, str)
    assert "clip-0" in broken
