"""Baichuan-Audio's tokenizer against its own encoder (a golden file), its published form, its segments; and Whisper's mel."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import voxzoo
from voxzoo import Audio, ModelError, NotDecodableError, Tokens, WeightsError
from voxzoo.codecs.baichuan import Baichuan
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.slaney_mel import mel_filters
from voxzoo.core.whisper_mel import whisper_mel

ITEM = voxzoo.entry("baichuan-audio")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}
ROOT = Path(__file__).resolve().parent.parent
HOP, SEGMENT = 128, 48000  # samples of a token, and of 30 s


def tiny(seed: int = 0, **changes: Any) -> Model:
    return random_model(ITEM, {**TINY, **changes}, seed)


def sound(samples: int, seed: int = 0) -> Audio:
    return Audio((0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32), 1600)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file: its configuration, weights and sounds."""
    spec = importlib.util.spec_from_file_location("make_baichuan_golden", ROOT / "tools" / "make_baichuan_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(maker: ModuleType, tmp_path: Path) -> Path:
    """The published form: the whole language model's config, an index, and two files, one of which holds other things too."""
    model = tiny()
    state = {
        key: value.clone() if key.endswith("positional_embedding") else maker.weight(key, list(value.shape))
        for key, value in model.network.state_dict().items()
    }
    for i, size in enumerate(maker.CODEBOOKS):
        state[f"audio_bridge_model.vq_list.{i}.codebook.embed_avg"] = torch.zeros(size, 64)
        state[f"audio_bridge_model.vq_list.{i}.codebook.cluster_size"] = torch.ones(size)
    state |= {
        "audio_bridge_model.proj_decoder.weight": torch.zeros(16, 64),
        "audio_bridge_model.proj_decoder.bias": torch.zeros(16),
    }
    return write(tmp_path / "baichuan", maker, {f"audio_tokenizer.{key}": value for key, value in state.items()})


def write(folder: Path, maker: ModuleType, state: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    audio = {**maker.CONFIG, "audio_pad_token_id": 151, "vq_config": {"codebook_sizes": maker.CODEBOOKS}}
    (folder / "config.json").write_text(json.dumps({"model_type": "omni", "hidden_size": 3584, "audio_config": audio}))
    state = {**state, "audio_tokenizer.audio_decoder.dconv1.conv.weight": torch.zeros(2), "lm_head.weight": torch.zeros(2)}
    files = {key: f"model-0000{1 + i % 2}-of-00003.safetensors" for i, key in enumerate(sorted(state))}
    files |= {"lm_head.weight": "model-00003-of-00003.safetensors"}
    for name in ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"):  # the third is not fetched
        save_file({key: state[key] for key, file in files.items() if file == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


# ---------------------------------------------------------------- against the published code
def test_codes_are_the_published_ones(maker: ModuleType, folder: Path) -> None:
    golden = load_file(ROOT / "tests" / "golden" / "baichuan.safetensors")
    model = voxzoo.load("baichuan-audio", weights=folder)
    positions = model.network.audio_model.positional_embedding[::100]  # type: ignore[union-attr, index]
    assert torch.allclose(positions, golden["positions"], atol=1e-5)
    for samples in maker.LENGTHS:
        tokens = model.encode(maker.sound(samples), 1600)
        for codes, right in zip(tokens.codes, golden[f"codes.{samples}"].long(), strict=True):
            assert torch.equal(codes[0, : len(right)], right), samples
            assert codes.shape[1] - len(right) in (0, 1)  # one more for the last 96 samples or fewer
    assert min(len(row.unique()) for row in golden["codes.59200"]) > 10


def test_it_is_recognised_and_other_files_are_not_opened(maker: ModuleType, folder: Path, tmp_path: Path) -> None:
    assert Baichuan.recognises(folder)
    assert not Baichuan.recognises(tmp_path)
    model = voxzoo.load(folder)
    assert model.facts.name == "baichuan-audio"
    assert model.config == TINY
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint


def test_half_precision_weights_are_read_as_single(maker: ModuleType, folder: Path) -> None:
    for name in ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"):
        save_file({key: value.bfloat16() for key, value in load_file(folder / name).items()}, folder / name)
    model = voxzoo.load("baichuan-audio", weights=folder)
    assert all(value.dtype == torch.float32 for value in model.network.state_dict().values())
    assert model.encode(sound(1000)).codes[0].shape == (1, 8)


def test_what_is_no_checkpoint_is_refused(maker: ModuleType, folder: Path) -> None:
    index, config = folder / "model.safetensors.index.json", folder / "config.json"
    text = index.read_text()
    index.write_text(json.dumps({"weight_map": {"audio_tokenizer.audio_model.conv1.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(WeightsError, match="no weight_map from tensors to files beside it"):
        voxzoo.load("baichuan-audio", weights=folder)
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "model-00003-of-00003.safetensors"}}))
    with pytest.raises(WeightsError, match=r"no tensors under audio_tokenizer\.audio_model\."):
        voxzoo.load("baichuan-audio", weights=folder)
    index.write_text(text)
    published = json.loads(config.read_text())
    for change, message in [
        ({"audio_config": None}, "no audio_config"),
        ({"kernel_size": 5}, "kernel_size 5"),
        ({"d_model": 15}, "d_model 15"),
    ]:
        audio = {**published["audio_config"], **change}
        config.write_text(json.dumps({"model_type": "omni", "audio_config": change.get("audio_config", audio)}))
        with pytest.raises(ModelError, match=message):
            voxzoo.load("baichuan-audio", weights=folder)
    config.write_text(json.dumps(published))
    file = folder / "model-00002-of-00003.safetensors"
    state = load_file(file)
    first = next(key for key in state if "audio_model.layers" in key)
    save_file({key: value for key, value in state.items() if key != first}, file)
    with pytest.raises(WeightsError, match=first.removeprefix("audio_tokenizer.").replace(".", r"\.")):
        voxzoo.load("baichuan-audio", weights=folder)
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match="is damaged or no safetensors file"):
        voxzoo.load("baichuan-audio", weights=folder)
    file.unlink()
    with pytest.raises(WeightsError, match=r"lacks model-00002-of-00003\.safetensors, where its index says"):
        voxzoo.load("baichuan-audio", weights=folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "'width'"),
        ({"encoder_layers": 0}, "encoder_layers 0"),
        ({"codebook_sizes": []}, "codebook_sizes"),
        ({"encoder_attention_heads": 3}, "for 3 heads"),
        ({"max_audio_seconds": 1}, "whole tokens"),
    ],
)
def test_configurations_that_make_no_tokenizer_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny(**change)


# ---------------------------------------------------------------- segments
def test_segments_of_30_s_know_nothing_of_each_other() -> None:
    model = tiny()
    clip = sound(2 * SEGMENT + 777)
    tokens = model.encode(clip)
    assert tokens.codes[0].shape[1] == 2 * 375 + 7
    for i in range(3):
        part = model.encode(Audio(clip.samples[i * SEGMENT : (i + 1) * SEGMENT], 1600))
        assert all(torch.equal(a[:, i * 375 : (i + 1) * 375], b) for a, b in zip(tokens.codes, part.codes, strict=True))
    for step in (SEGMENT - 1, SEGMENT, 70_000):
        with model.stream_encoder() as stream:
            parts = [stream.push(clip.samples[j : j + step]) for j in range(0, len(clip), step)] + [stream.finish()]
        joined = Tokens.concatenate(parts)
        assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True)), step


def test_the_last_token_takes_nothing_from_the_others() -> None:
    """A clip's tokens are those of the clip without its token of less than 128 samples, as long as the spectrogram is."""
    model = tiny()
    clip = sound(10 * HOP + 15)  # 15 samples more make no new frame of the spectrogram
    short = model.encode(Audio(clip.samples[: 10 * HOP], 1600))
    quiet = Audio(np.concatenate([clip.samples[: 10 * HOP], np.zeros(15, np.float32)]), 1600)
    longer = model.encode(quiet)
    assert longer.codes[0].shape[1] == 11
    assert all(torch.equal(a[:, :10], b) for a, b in zip(longer.codes, short.codes, strict=True))


def test_it_says_what_decoding_would_need() -> None:
    model = tiny()
    with pytest.raises(NotDecodableError, match=r"baichuan-audio has no decoder: .*flow-matching"):
        model.decode(model.encode(sound(500)))


# ---------------------------------------------------------------- Whisper's spectrogram
@pytest.mark.parametrize("mels", [80, 128])
def test_the_spectrogram_is_whispers(transformers: Any, mels: int) -> None:
    theirs = transformers.WhisperFeatureExtractor(feature_size=mels)
    filters = np.asarray(theirs.mel_filters, np.float32).T
    assert np.abs(filters - mel_filters(16000, 400, mels, 8000.0)).max() <= 1e-9
    wav = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    for level in (1.0, 0.0):
        wanted = theirs(wav * level, sampling_rate=16000, padding="longest", return_tensors="np")["input_features"][0]
        ours = whisper_mel(torch.from_numpy(np.stack([wav * level, 0.5 * wav])), mels)
        assert ours.shape == (2, mels, 100)
        assert np.abs(ours[0].numpy() - wanted).max() <= 1e-5


@pytest.mark.slow
def test_it_works_at_real_size() -> None:
    """Of its 32 layers, 813 million parameters in all, one."""
    model = random_model(ITEM, {**ITEM.config, "encoder_layers": 1})
    assert replace(model.facts, params=ITEM.facts.params) == ITEM.facts
    clip = Audio((0.1 * np.random.default_rng(0).standard_normal(16001)).astype(np.float32), 16000)
    codes = model.encode(clip).codes
    assert [c.shape for c in codes] == [(1, 13)] * 8
    assert min(len(c.unique()) for c in codes) > 2
