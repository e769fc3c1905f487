"""X-Codec2 against `transformers`, on random weights; its checkpoints, windows and laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from xcodec2_reference import SMALL, check_parity, published_form, published_run, reference, sound, transformers_folder

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs import _w2vbert, xcodec2
from voxzoo.codecs._w2vbert import Features
from voxzoo.codecs.xcodec2 import XCodec2
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

ITEM = voxzoo.entry("xcodec2")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}


@pytest.fixture
def pair(transformers: Any, tmp_path: Path) -> tuple[Any, Model]:
    """The published model and ours with its weights."""
    theirs = reference(transformers, "Xcodec2", SMALL)
    return theirs, voxzoo.load("xcodec2", weights=transformers_folder(theirs, tmp_path / "hub"))


# ---------------------------------------------------------------- against the published model
@pytest.mark.parametrize("samples", [560, 640, 1000, 48_011])
def test_features_are_the_published_ones(transformers: Any, samples: int) -> None:
    wav = sound(samples).samples
    wanted = transformers.SeamlessM4TFeatureExtractor()(wav, sampling_rate=16000, return_tensors="pt")["input_features"]
    got = Features()(torch.from_numpy(wav)[None])
    frames = ((samples - 400) // 160 + 1) // 2
    assert got.shape == (1, frames, 160)
    if ((samples - 400) // 160 + 1) % 2 == 0:  # the extractor normalises an odd frame at the end with the others, and drops it
        assert torch.allclose(got, wanted[:, :frames], atol=2e-4)


def test_codes_and_sound_are_the_published_ones(transformers: Any, pair: tuple[Any, Model]) -> None:
    theirs, model = pair
    for samples in (1, 319, 320, 321, 16_001, 80_000):
        clip = sound(samples, seed=samples)
        used = check_parity(model, clip, *published_run(transformers, theirs, model, clip))
    assert used > 15


@pytest.mark.slow
def test_codes_and_sound_of_a_long_clip_are_the_published_ones(transformers: Any, pair: tuple[Any, Model]) -> None:
    theirs, model = pair
    clip = sound(37 * 16_000)
    assert check_parity(model, clip, *published_run(transformers, theirs, model, clip)) > 15


@pytest.mark.slow
def test_codes_and_sound_are_the_published_ones_at_real_size(transformers: Any, tmp_path: Path) -> None:
    """5 GB of memory, 2.5 GB of disk."""
    theirs = reference(transformers, "Xcodec2", {})
    assert len(theirs.state_dict()) == 811  # as in the published file
    clips = [sound(320), sound(16_001, seed=1)]
    padding = random_model(ITEM, TINY)
    wanted = [published_run(transformers, theirs, padding, clip) for clip in clips]
    transformers_folder(theirs, tmp_path)
    del theirs
    model = voxzoo.load("xcodec2", weights=tmp_path)
    assert model.facts == ITEM.facts
    used = [check_parity(model, clip, *result) for clip, result in zip(clips, wanted, strict=True)]
    assert used[1] > 15


# ---------------------------------------------------------------- checkpoints
def own_form(folder: Path, theirs: Any) -> Path:
    folder.mkdir()
    config = {"model_type": "xcodec", "semantic_hidden_size": 1024, "codec_encoder_hidden_size": 1024, "use_vocos": True}
    (folder / "config.json").write_text(json.dumps(config))
    state = {
        key.replace(".act.beta", ".act.bias"): value for key, value in published_form(theirs).items()
    }  # as the package has it
    save_file(state, folder / "model.safetensors")
    return folder


def test_the_two_published_forms_are_one_model(pair: tuple[Any, Model], tmp_path: Path) -> None:
    theirs, model = pair
    own = own_form(tmp_path / "own", theirs)
    again = voxzoo.load("xcodec2", weights=own)
    assert XCodec2.recognises(own)
    assert XCodec2.recognises(tmp_path / "hub")
    # of w2v-BERT's 24 layers 16 are kept; here 14 of these were no part of the small model
    assert again.config["semantic"]["num_hidden_layers"] == 16
    ours = again.network.state_dict()
    for key, value in model.network.state_dict().items():
        assert torch.allclose(ours[key], value, atol=1e-6), key
    assert {key: again.config[key] for key in model.config if key != "semantic"} == {
        key: model.config[key] for key in model.config if key != "semantic"
    }


def test_our_own_folder_loads(tmp_path: Path) -> None:
    model = random_model(ITEM, TINY)
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint
    assert not XCodec2.recognises(tmp_path / "mine")


def test_what_is_no_checkpoint_is_refused(pair: tuple[Any, Model], tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    config = json.loads((folder / "config.json").read_text())
    semantic = config["semantic_model_config"]
    state = load_file(folder / "model.safetensors")

    def refused(message: str, **changes: Any) -> None:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(WeightsError, match=message):
            voxzoo.load("xcodec2", weights=folder)

    refused("of a 'encodec' model; expected 'xcodec2'", model_type="encodec")
    refused("hidden_act='gelu'; only 'silu'", hidden_act="gelu")
    refused("downsampling_ratios of product 160", downsampling_ratios=[4, 4, 10])
    refused("hidden_size 'wide'", hidden_size="wide")
    refused("position_embeddings_type='rotary'", semantic_model_config={**semantic, "position_embeddings_type": "rotary"})
    save_file({key: value for key, value in state.items() if key != "fc_encoder.bias"}, folder / "model.safetensors")
    refused("fc_encoder.bias")
    own = own_form(tmp_path / "own", pair[0])
    save_file({"a": torch.zeros(1)}, own / "model.safetensors")
    with pytest.raises(WeightsError, match="no checkpoint of XCodec2"):
        voxzoo.load("xcodec2", weights=own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "'width'"),
        ({"semantic": {"width": 4}}, "'width'"),
        ({"hidden_size": 48}, "multiple of 32"),
        ({"quantization_levels": [1, 4]}, r"quantization_levels \[1, 4\]"),
        ({"num_hidden_layers": 0}, "num_hidden_layers 0"),
        ({"semantic": {**TINY["semantic"], "num_attention_heads": 5}}, "heads divide"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        random_model(ITEM, {**TINY, **change})


# ---------------------------------------------------------------- laws
def test_facts_at_real_size() -> None:
    assert round(ITEM.facts.bitrate) == 800
    assert ITEM.facts.latency == 2 * (XCodec2.window + xcodec2.CONTEXT)
    model = random_model(ITEM, TINY)
    assert [model.frames(n) for n in (1, 319, 320, 321)] == [(1,), (1,), (2,), (2,)]


def test_attention_by_blocks_of_queries_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(ITEM, TINY)
    clip = sound(40_000)
    wanted = model.encode(clip)
    monkeypatch.setattr(_w2vbert, "QUERIES", 7)
    assert torch.equal(model.encode(clip).codes[0], wanted.codes[0])


def streamed(model: Model, clip: Audio, step: int) -> tuple[Tokens, np.ndarray]:
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    return Tokens.concatenate(parts), np.concatenate(sounds)


def test_streams_give_the_same_however_they_are_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XCodec2, "window", 1.0)
    monkeypatch.setattr(xcodec2, "CONTEXT", 0.2)
    model = random_model(ITEM, TINY)
    clip = sound(3 * 16_000 + 640)
    tokens = model.encode(clip)
    assert (tokens.codes[0].shape[1],) == model.frames(len(clip))
    wav = model.decode(tokens).samples
    assert len(wav) == len(clip)
    for step in (1237, 16_000, len(clip)):
        codes, parts = streamed(model, clip, step)
        assert torch.equal(codes.codes[0], tokens.codes[0])
        assert np.abs(parts - wav).max() <= 1e-6


@pytest.mark.parametrize("samples", [15_999, 16_000])
def test_a_clip_that_fits_in_a_window_is_run_whole(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(ITEM, TINY)
    clip = sound(samples)
    tokens = model.encode(clip)
    wav = model.decode(tokens).samples
    monkeypatch.setattr(XCodec2, "window", 1.0)
    codes, parts = streamed(model, clip, 999)
    assert torch.equal(codes.codes[0], tokens.codes[0])
    assert np.abs(parts - wav).max() <= 1e-6
