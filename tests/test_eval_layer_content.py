"""The section on layers: matrices that are what they say, references beside chance, and what is missing."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.eval.layer_content import DEFINITIONS, MEASURES, layer_section
from voxzoo.eval.layers import layer_features
from voxzoo.eval.record import Record
from voxzoo.eval.representations import linear_cka


def tiny() -> Model:
    item = voxzoo.entry("vox-rvq-16k")
    return random_model(item, {**item.config, **item.tiny})


def frames(model: Model, samples: int) -> int:
    """Of the first stream, for samples at 16 kHz."""
    return model.frames(-(-samples * model.facts.sample_rate // 16000))[0]


def test_section(espeak: ModuleType) -> None:
    model = tiny()
    clips = espeak.corpus(2, 4)
    given = [Record(str(i), Audio(u.samples, 16000), [], model.facts, {"phones": u.phones}) for i, u in enumerate(clips)]
    out = layer_section(model, given)
    json.dumps(out, allow_nan=False)
    count = len(out["layers"])
    assert count > 2
    assert out["definitions"] == DEFINITIONS
    assert out["frames"] == sum(frames(model, len(u.samples)) for u in clips)
    for measure in MEASURES:
        matrix = np.array(out["between"][measure])
        assert matrix.shape == (count, count)
        assert np.allclose(np.diag(matrix), 1.0)
        assert np.array_equal(matrix, matrix.T)
        for reference in ("log_mel", "phones"):
            assert len(out[reference][measure]) == count
            assert np.mean(out[reference][measure]) > 1.5 * np.mean(out[reference]["shuffled"][measure])
    features = layer_features(model, [r.audio for r in given])
    first, last = out["layers"][0], out["layers"][-1]
    assert out["between"]["cka"][0][-1] == pytest.approx(linear_cka(features[first], features[last]))
    assert out["widths"] == [x.shape[1] for x in features.values()]


def test_sound_alone_and_nothing() -> None:
    model = tiny()
    noise = Audio((0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32), 16000)
    out = layer_section(model, [noise, Audio(np.zeros(0, np.float32), 16000)])
    assert out["frames"] == frames(model, 16000)
    assert "clips without columns" in out["phones"]["missing"]
    assert layer_section(model, [])["missing"] == "no clip has sound"
    silent = layer_section(model, [Audio(np.zeros(16000, np.float32), 16000)])
    json.dumps(silent, allow_nan=False)
    assert "missing" in silent or "missing" in silent["log_mel"]
