"""On a CUDA GPU: every model gives the tokens and the sound it gives on a CPU. Skipped where there is none."""

from __future__ import annotations

import conformance
import numpy as np
import pytest
import torch

import voxzoo
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
NEAR_TIES = 0.02  # share of codes that other rounding may move: tiny random networks have many near-ties


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 products in float32, as on a CPU; TF32 is a choice that users make."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def tiny(name: str, device: str) -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny}, device=device)


@pytest.mark.parametrize("name", voxzoo.models())
def test_tokens_and_sound_are_those_of_the_cpu(name: str) -> None:
    here, there = tiny(name, "cpu"), tiny(name, "cuda")
    assert here.fingerprint == there.fingerprint
    clips = [conformance.sound(here, n * conformance.hop(here) + 3, n) for n in (2, 7)]
    wanted, found = here.encode(clips), there.encode(clips)
    for a, b in zip(wanted.codes, found.codes, strict=True):
        assert b.is_cuda
        assert a.shape == b.shape
        first_differs = (a != b.cpu()).float().mean()
        assert first_differs <= (NEAR_TIES if a is wanted.codes[0] else 0.2)  # a residual stream inherits what went before
    if here.decodes:
        for a, b in zip(here.decode(wanted), there.decode(wanted), strict=True):
            assert np.abs(a.samples - b.samples).max() <= 1e-3


@pytest.mark.parametrize("name", voxzoo.models())
def test_streams_run_there(name: str) -> None:
    model = tiny(name, "cuda")
    clip = conformance.sound(model, 5 * conformance.hop(model) + 3)
    parts = conformance.streamed(model, clip, 2 * conformance.hop(model))
    assert tuple(sum(p.codes[k].shape[1] for p in parts) for k in range(model.facts.streams)) == model.frames(len(clip))
    if model.decodes:
        assert len(conformance.sounds_of(model, parts)) == model.facts.decoded_length(len(clip))
