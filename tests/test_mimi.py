"""Mimi against the moshi package (a golden file) and `transformers`, on random weights; its streams and laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs import _kernels, _seanet
from voxzoo.codecs.mimi import _from_moshi, _published_state
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

ITEM = voxzoo.entry("mimi")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}
GOLDEN = Path(__file__).parent / "golden" / "mimi.safetensors"


def tiny(seed: int = 0) -> Model:
    return random_model(ITEM, TINY, seed)


def sound(samples: int, rate: int = 2400, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def reference(transformers: Any, config: dict[str, Any], seed: int = 0) -> Any:
    """`transformers`' Mimi with random weights, codebooks included."""
    torch.manual_seed(seed)
    width = config.get("hidden_size", 512)
    heads = config.get("num_attention_heads", 8)
    dim = config.get("codebook_dim", 256)
    theirs = transformers.MimiModel(
        transformers.MimiConfig(
            **config, num_key_value_heads=heads, upsample_groups=width, vector_quantization_hidden_dimension=dim,
            layer_scale_initial_scale=0.4,
        )
    ).eval()  # fmt: skip
    for key, value in theirs.state_dict().items():
        if key.startswith("encoder.encoder_seanet") and key.endswith("bias"):
            value.zero_()  # or they would drown the sound
        elif key.startswith("decoder.decoder_seanet.layers.0."):
            value.mul_(0.05)  # a quiet decoder
        elif "embed_sum" in key:
            value.copy_(torch.randn_like(value) * 0.2)
        elif "cluster_usage" in key:
            value.copy_(torch.rand_like(value) + 0.5)
    return theirs


def check_parity(theirs: Any, model: Model, clip: Audio) -> int:
    """Codes equal, sound to 1e-4 of its peak; -> how many different codes the streams use at least."""
    padded = torch.zeros(1, 1, model._padded(len(clip)))
    padded[0, 0, : len(clip)] = torch.from_numpy(clip.samples)
    with torch.no_grad():
        wanted = theirs.encode(padded).audio_codes[0]
        wav = theirs.decode(wanted[None]).audio_values[0, 0, : len(clip)].numpy()
    tokens = model.encode(clip)
    for k, (got, codes) in enumerate(zip(tokens.codes, wanted, strict=True)):
        assert torch.equal(got[0], codes), f"stream {k}: {int((got[0] != codes).sum())} of {codes.numel()} codes differ"
    assert np.abs(model.decode(tokens).samples - wav).max() <= 1e-4 * max(1.0, np.abs(wav).max())
    return min(len(codes.unique()) for codes in wanted)


# ---------------------------------------------------------------- against the published models
@pytest.mark.parametrize("samples", [1, 47, 48, 49, 700, 24 * 37])
def test_codes_and_sound_are_those_of_transformers(transformers: Any, tmp_path: Path, samples: int) -> None:
    theirs = reference(transformers, TINY)
    theirs.save_pretrained(tmp_path)
    used = check_parity(theirs, voxzoo.load("mimi", weights=tmp_path), sound(samples))
    if samples > 100:
        assert used > 3


def test_codes_and_sound_are_those_of_moshi() -> None:
    golden = load_file(GOLDEN)
    weights = {key.removeprefix("weights."): value for key, value in golden.items() if key.startswith("weights.")}
    model = tiny()
    model.network.load_state_dict(_published_state(_from_moshi(weights, heads=2)), strict=True)
    model.network.fold()  # type: ignore[operator]
    wav, wanted = golden["wav"].numpy(), golden["codes"].long()
    tokens = model.encode(wav, 2400)
    assert torch.equal(torch.cat(tokens.codes), wanted)
    assert min(len(codes.unique()) for codes in wanted) > 3
    decoded = model.decode(tokens).samples
    assert np.abs(decoded - golden["sound"].numpy()[: len(decoded)]).max() <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "samples"), [(0, 1), (1, 1921), (0, 24 * 1000 * 5 + 1)])
def test_codes_and_sound_are_those_of_transformers_at_real_size(
    transformers: Any, tmp_path: Path, seed: int, samples: int
) -> None:
    theirs = reference(transformers, dict(ITEM.config), seed)
    theirs.save_pretrained(tmp_path)
    model = voxzoo.load("mimi", weights=tmp_path)
    assert model.facts == ITEM.facts
    used = check_parity(theirs, model, sound(samples, 24000, seed))
    assert used > 5 or samples < 10_000


# ---------------------------------------------------------------- checkpoints
def test_the_two_published_forms_are_one_model(tmp_path: Path) -> None:
    """The hub's flat names, those newer transformers nest, and ours."""
    golden = load_file(GOLDEN)
    weights = {key.removeprefix("weights."): value for key, value in golden.items() if key.startswith("weights.")}
    ours = _published_state(_from_moshi(weights, heads=2))
    assert set(ours) == set(tiny().network.state_dict())
    nested = {
        "encoder.layers.": "encoder.encoder_seanet.layers.", "decoder.layers.": "decoder.decoder_seanet.layers.",
        "encoder_transformer.": "encoder.encoder_transformer.", "downsample.": "encoder.downsample.",
        "decoder_transformer.": "decoder.decoder_transformer.", "upsample.": "decoder.upsample.",
    }  # fmt: skip
    again = {}
    for key, value in ours.items():
        start = next((old for old in nested if key.startswith(old)), "")
        again[nested.get(start, "") + key.removeprefix(start)] = value
    again = _published_state(again)
    assert all(torch.equal(again[key], value) for key, value in ours.items())
    model = tiny()
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint


def test_what_is_no_mimi_is_refused(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json and 0 tokenizer-\*\.safetensors"):
        voxzoo.load("mimi", weights=tmp_path)
    theirs = reference(transformers, TINY)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "pad_mode": "reflect"}))
    with pytest.raises(WeightsError, match="pad_mode='reflect'; only 'constant'"):
        voxzoo.load("mimi", weights=tmp_path)
    file.write_text(json.dumps({**config, "num_semantic_quantizers": 5}))
    with pytest.raises(WeightsError, match="num_semantic_quantizers 5 of 5"):
        voxzoo.load("mimi", weights=tmp_path)
    file.write_text(json.dumps(config))
    state = load_file(tmp_path / "model.safetensors")
    first = next(key for key in state if key.endswith("cluster_usage"))
    save_file({key: value for key, value in state.items() if key != first}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="cluster_usage"):
        voxzoo.load("mimi", weights=tmp_path)
    with pytest.raises(ModelError, match="no setting width"):
        random_model(ITEM, {**TINY, "width": 3})


# ---------------------------------------------------------------- streams
def streamed(model: Model, clip: Audio, step: int) -> tuple[Tokens, np.ndarray]:
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    return Tokens.concatenate(parts), np.concatenate(sounds)


@pytest.mark.parametrize("step", [7, 48, 100, 1000])
def test_streams_equal_the_whole_clip(step: int) -> None:
    """Over many more positions than attention sees."""
    model = tiny()
    clip = sound(48 * 40 + 17)
    tokens = model.encode(clip)
    joined, wav = streamed(model, clip, step)
    assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
    assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("size", [1, 3000])
def test_pieces_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does gathering the windows of convolutions."""
    model = tiny()
    clips = [sound(48 * 30 + 17), sound(48 * 26, seed=1)]
    whole = model.encode(clips)
    sounds = model.decode(whole)
    monkeypatch.setattr(_seanet, "PIECE", size)
    monkeypatch.setattr(_kernels, "MANY", 1)
    pieces = model.encode(clips)
    assert all(torch.equal(a, b) for a, b in zip(pieces.codes, whole.codes, strict=True))
    for a, b in zip(model.decode(pieces), sounds, strict=True):
        assert np.abs(a.samples - b.samples).max() <= 1e-5


def test_the_first_stream_is_the_semantic_one_and_stands_alone() -> None:
    model = tiny()
    clip = sound(48 * 5)
    alone = model.encode(clip, streams=1)
    assert torch.equal(alone.codes[0], model.encode(clip).codes[0])
    quantizer = model.network.quantizer
    latent = quantizer.semantic_residual_vector_quantizer.decode(alone.codes)  # type: ignore[union-attr, operator]
    with torch.no_grad():
        wanted = model.network.decode(latent)[0][0].numpy()  # type: ignore[operator]
    assert np.allclose(model.decode(alone).samples, wanted, atol=1e-6)


@pytest.mark.slow
def test_streams_equal_the_whole_clip_at_real_size() -> None:
    model = voxzoo.load("mimi", weights="random")
    clip = sound(24000 * 12 + 5, 24000)
    tokens = model.encode(clip)
    for step in (1920, 4000):
        joined, wav = streamed(model, clip, step)
        assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
        assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5
