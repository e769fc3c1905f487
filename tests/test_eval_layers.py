"""Features of layers: what the modules themselves give, at one rate, for every family of the registry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import voxzoo
from voxzoo import Audio
from voxzoo.core.errors import AudioError, ModelError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.eval.layers import at_rate, chosen_frames, clip_features, layer_features, layer_names, log_mel, output_layer


def tiny(name: str) -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


def noise(seconds: float, rate: int = 16000, seed: int = 0) -> Audio:
    return Audio((0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32), rate)


def test_features_are_what_the_modules_give() -> None:
    model = tiny("vox-rvq-16k")
    clip = noise(1.0, model.facts.sample_rate)
    got = layer_features(model, [clip])
    assert list(got) == [*(f"encoder.blocks.{i}" for i in range(len(model.network.encoder.blocks))), "encoder"]
    with torch.no_grad():
        want = model.network.encoder(torch.from_numpy(clip.samples)[None])
    want = want[0] if isinstance(want, tuple) else want
    assert got["encoder"].shape == (model.frames(len(clip))[0], want.shape[2])
    assert np.allclose(got["encoder"], want[0].numpy(), atol=1e-5)
    assert output_layer(model) == "encoder"
    assert not any(module._forward_hooks for module in model.network.modules())


@pytest.mark.parametrize("name", ["encodec-24k", "snac-24k"])
def test_other_families(name: str) -> None:
    """Layers that run faster than the tokens, with time on the last axis."""
    model = tiny(name)
    rate = model.facts.sample_rate
    clips = [noise(0.6, rate), noise(0.35, rate, 1)]
    got = layer_features(model, clips)
    frames = sum(model.frames(len(c))[0] for c in clips)
    assert len(got) > 3
    assert list(got) == layer_names(model)
    assert {len(x) for x in got.values()} == {frames}
    assert all(np.isfinite(x).all() for x in got.values())
    assert len({x.shape[1] for x in got.values()}) > 1
    by_clip = list(clip_features(model, clips, [output_layer(model)]))
    assert np.array_equal(np.concatenate([c[output_layer(model)] for c in by_clip]), got[output_layer(model)])


def test_frames_are_averaged_or_repeated() -> None:
    x = np.arange(12.0).reshape(6, 2)
    assert at_rate(x, 6) is x
    assert at_rate(x, 3).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert at_rate(x[:3], 6).tolist() == x[[0, 0, 1, 1, 2, 2]].tolist()
    for n, count in ((7, 3), (50, 13), (101, 100), (9, 1)):
        x = np.random.default_rng(n).normal(size=(n, 2))
        spans = np.floor((np.arange(n) + 0.5) * count / n).astype(int)  # the new frame each centre falls in
        want = np.stack([x[spans == j].mean(0) for j in range(count)])
        assert np.allclose(at_rate(x, count), want)
    ones = np.random.default_rng(0).normal(size=(1, 4))
    assert np.array_equal(at_rate(ones, 3), np.repeat(ones, 3, 0))


def test_a_choice_of_frames_is_the_same_for_all() -> None:
    model = tiny("vox-rvq-16k")
    clips = [noise(0.8, seed=s) for s in range(3)]
    every, few = layer_features(model, clips), layer_features(model, clips, max_frames=25)
    again = layer_features(model, clips, ["encoder"], max_frames=25)
    kept = np.concatenate([k + 40 * i for i, k in enumerate(chosen_frames([40, 40, 40], 25, 0))])
    assert len(kept) == 25
    for name in every:
        assert np.array_equal(few[name], every[name][kept])
    assert np.array_equal(again["encoder"], few["encoder"])


def test_long_clips_are_cut() -> None:
    model = tiny("vox-rvq-16k")
    assert len(layer_features(model, [noise(21.0)], ["encoder"])["encoder"]) == 1000


def test_log_mel() -> None:
    librosa = pytest.importorskip("librosa")
    clip = noise(0.5)
    want = np.log(
        librosa.feature.melspectrogram(y=clip.samples, sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="constant")
        + 1e-6
    )
    assert np.allclose(log_mel(clip, 50), want.T[:50], atol=1e-3)
    assert np.allclose(log_mel(clip, 25), want.T[:50].reshape(25, 2, 80).mean(1), atol=1e-3)
    assert log_mel(noise(0.003), 1).shape == (1, 80)


def test_bad_input() -> None:
    model = tiny("vox-rvq-16k")
    with pytest.raises(ModelError, match="'decoder' is no layer of vox-rvq-16k; there are encoder"):
        layer_features(model, [noise(0.3)], ["decoder"])
    with pytest.raises(AudioError, match="no clips with sound"):
        layer_features(model, [])
    with pytest.raises(AudioError, match="holds no samples"):
        layer_features(model, [Audio(np.zeros(0, np.float32), 16000)])
