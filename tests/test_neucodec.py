"""NeuCodec against `transformers`, on random weights; its checkpoint, and where it differs from X-Codec2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from xcodec2_reference import SMALL, check_parity, published_form, published_run, reference, sound, transformers_folder

import voxzoo
from voxzoo import WeightsError
from voxzoo.codecs.neucodec import NeuCodec
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

ITEM = voxzoo.entry("neucodec")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}


@pytest.fixture
def pair(transformers: Any, tmp_path: Path) -> tuple[Any, Model]:
    """The published model and ours with its weights."""
    theirs = reference(transformers, "NeuCodec", SMALL)
    return theirs, voxzoo.load("neucodec", weights=transformers_folder(theirs, tmp_path / "hub"))


# ---------------------------------------------------------------- against the published model
def test_codes_and_sound_are_the_published_ones(transformers: Any, pair: tuple[Any, Model]) -> None:
    theirs, model = pair
    for samples in (320, 321, 639, 640, 16_001, 80_000):
        clip = sound(samples, seed=samples)
        used = check_parity(model, clip, *published_run(transformers, theirs, model, clip))
    assert used > 15


@pytest.mark.slow
def test_codes_and_sound_of_a_long_clip_are_the_published_ones(transformers: Any, pair: tuple[Any, Model]) -> None:
    theirs, model = pair
    clip = sound(37 * 16_000)
    assert check_parity(model, clip, *published_run(transformers, theirs, model, clip)) > 15


# ---------------------------------------------------------------- lengths
def test_sound_comes_back_at_24_khz() -> None:
    assert round(ITEM.facts.bitrate) == 800
    model = random_model(ITEM, TINY)
    for samples, frames in ((1, 1), (319, 1), (320, 1), (639, 1), (640, 2), (16_001, 50)):
        tokens = model.encode(sound(samples))
        assert tokens.codes[0].shape[1] == model.frames(samples)[0] == frames
        audio = model.decode(tokens)
        assert audio.sample_rate == 24_000
        assert len(audio) == -(-samples * 3 // 2)
        assert not audio.samples[480 * frames :].any()


def test_a_clip_shorter_than_a_frame_is_padded_to_one() -> None:
    model = random_model(ITEM, TINY)
    short = sound(100)
    longer = np.pad(short.samples, (0, 220))
    assert torch.equal(model.encode(short).codes[0], model.encode(longer, 16_000).codes[0])


def test_streams_equal_the_whole_clip() -> None:
    model = random_model(ITEM, TINY)
    for samples in (7, 320, 9_999):
        clip = sound(samples)
        tokens = model.encode(clip)
        with model.stream_encoder() as encoder:
            parts = [encoder.push(clip.samples[i : i + 333]) for i in range(0, samples, 333)] + [encoder.finish()]
        with model.stream_decoder() as decoder:
            sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
        assert torch.equal(voxzoo.Tokens.concatenate(parts).codes[0], tokens.codes[0])
        assert np.abs(np.concatenate(sounds) - model.decode(tokens).samples).max() <= 1e-6


# ---------------------------------------------------------------- checkpoints
def test_the_publishers_form_is_the_same_model(pair: tuple[Any, Model], tmp_path: Path) -> None:
    """It leaves w2v-BERT to be fetched beside it, and holds weights of training."""
    theirs, model = pair
    state = published_form(theirs)
    backbone = {key: value for key, value in state.items() if key.startswith("semantic_model.")}
    rest = {key: value for key, value in state.items() if key not in backbone}
    rest |= {"fc_post_s.weight": torch.zeros(2, 2), "SemanticDecoder_module.initial_conv.weight": torch.zeros(2, 2, 3)}
    folder = tmp_path / "own"
    folder.mkdir()
    torch.save(rest, folder / "pytorch_model.bin")
    (folder / "meta.yaml").write_text("{}\n")
    assert NeuCodec.recognises(folder)
    assert NeuCodec.recognises(tmp_path / "hub")
    with pytest.raises(WeightsError, match=r"no w2v-BERT; put model\.safetensors of facebook/w2v-bert-2\.0 at"):
        voxzoo.load("neucodec", weights=folder)
    (folder / "w2v-bert-2.0").mkdir()
    plain = {key.removeprefix("semantic_model."): value for key, value in backbone.items()}
    save_file(plain, folder / "w2v-bert-2.0" / "model.safetensors")
    ours = voxzoo.load("neucodec", weights=folder).network.state_dict()
    for key, value in model.network.state_dict().items():
        assert torch.allclose(ours[key], value, atol=1e-6), key


def test_a_distilled_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"semantic_model.x": torch.zeros(1), "codec_encoder.x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="no checkpoint of NeuCodec"):
        voxzoo.load("neucodec", weights=tmp_path)
