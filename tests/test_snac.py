"""SNAC against the published package, on random weights; its laws at small and real size."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs._snac import Network, complete
from voxzoo.codecs.snac import decoder_blocks, encoder_blocks
from voxzoo.core import convs
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.weights import fingerprint

NAMES = ("snac-24k", "snac-32k", "snac-44k")
TINY: dict[str, dict[str, Any]] = {name: {**voxzoo.entry(name).config, **voxzoo.entry(name).tiny} for name in NAMES}
SHAPES = {
    "24k": TINY["snac-24k"],
    "32k": TINY["snac-32k"],
    "dense": {**TINY["snac-24k"], "depthwise": False, "noise": False},
    "odd": {
        **TINY["snac-24k"],
        "latent_dim": 32,
        "vq_strides": [6, 3, 1],
        "encoder_rates": [3, 5, 2],
        "decoder_rates": [2, 15],
    },
}


def model_of(config: dict[str, Any], seed: int = 0) -> Model:
    return random_model(voxzoo.entry("snac-24k"), config, seed)


def sound(samples: int, rate: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def reference(model: Model) -> Any:
    """The published package's model with the same weights, and its noise off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snac = pytest.importorskip("snac")
        from snac.layers import NoiseBlock
    theirs = snac.SNAC(**model.config).eval()
    theirs.load_state_dict(model.network.state_dict(), strict=True)
    for module in theirs.modules():
        if isinstance(module, NoiseBlock):
            module.forward = lambda x: x
    return theirs


def check_parity(model: Model, clip: Audio) -> list[int]:
    """Codes equal, sound to 1e-4; -> how many different codes each stream used."""
    theirs = reference(model)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = theirs.encode(torch.from_numpy(clip.samples)[None, None])
        sounds = theirs.decode(wanted)[0, 0, : len(clip)].numpy()
    tokens = model.encode(clip)
    for k, (got, codes) in enumerate(zip(tokens.codes, wanted, strict=True)):
        assert torch.equal(got, codes), f"stream {k}: {int((got != codes).sum())} of {codes.numel()} codes differ"
    assert np.abs(model.decode(tokens).samples - sounds).max() <= 1e-4
    return [len(codes.unique()) for codes in wanted]


# ---------------------------------------------------------------- against the published package
@pytest.mark.parametrize(("seed", "samples"), [(0, 1), (1, 700), (0, 1153), (1, 1601), (0, 3000), (1, 37 * 1600)])
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_sound_are_the_published_ones(shape: str, seed: int, samples: int) -> None:
    model = model_of(SHAPES[shape], seed)
    used = check_parity(model, sound(samples, model.facts.sample_rate, seed))
    if samples == 3000:
        assert min(used) > 3  # a comparison of constants would prove nothing


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "seconds"), [(0, 5.0), (1, 2.3), (2, 0.01)])
@pytest.mark.parametrize("name", NAMES)
def test_codes_and_sound_are_the_published_ones_at_real_size(name: str, seed: int, seconds: float) -> None:
    item = voxzoo.entry(name)
    model = random_model(item, dict(item.config), seed)
    assert model.facts == item.facts
    used = check_parity(model, sound(int(seconds * model.facts.sample_rate), model.facts.sample_rate, seed))
    if seconds >= 5:
        assert min(used) > 5


@pytest.mark.parametrize("streams", [1, 2])
def test_fewer_streams_decode_as_the_sum_of_those_given(streams: int) -> None:
    model = model_of(SHAPES["24k"])
    theirs = reference(model)
    tokens = model.encode(sound(900, model.facts.sample_rate), streams=streams)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = zip(theirs.quantizer.quantizers, tokens.codes, strict=False)
        latent = sum(q.out_proj(q.decode_code(c)).repeat_interleave(q.stride, dim=-1) for q, c in parts)
        wanted = theirs.decoder(latent)[0, 0, :900].numpy()
    assert np.abs(model.decode(tokens).samples - wanted).max() <= 1e-4


# ---------------------------------------------------------------- checkpoints
def published(folder: Path, model: Model, *, old: bool = False, safetensors: bool = False) -> Path:
    """A folder as the hub has it; `old`: with the key names of `torch.nn.utils.weight_norm`."""
    state = dict(model.network.state_dict())
    if old:
        names = {r"parametrizations\.weight\.original0$": "weight_g", r"parametrizations\.weight\.original1$": "weight_v"}
        for pattern, name in names.items():
            state = {re.sub(pattern, name, key): value for key, value in state.items()}
        assert any(key.endswith("weight_g") for key in state)
    folder.mkdir()
    config = {key: value for key, value in model.config.items() if key != "latent_dim"}
    (folder / "config.json").write_text(json.dumps(config))
    if safetensors:
        from safetensors.torch import save_file

        save_file({key: value.clone() for key, value in state.items()}, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("form", [{}, {"old": True}, {"safetensors": True}, {"old": True, "safetensors": True}])
def test_published_checkpoints_load_with_new_and_old_names(tmp_path: Path, form: dict[str, bool]) -> None:
    model = model_of(SHAPES["32k"])
    again = voxzoo.load("snac-32k", weights=published(tmp_path / "snac", model, **form))
    assert again.fingerprint == model.fingerprint
    clip = sound(2000, model.facts.sample_rate)
    assert all(torch.equal(a, b) for a, b in zip(again.encode(clip).codes, model.encode(clip).codes, strict=True))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    folder = published(tmp_path / "snac", model_of(SHAPES["24k"]))
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["quantizer.quantizers.1.codebook.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"do not fit snac-24k: .*quantizer\.quantizers\.1\.codebook\.weight"):
        voxzoo.load("snac-24k", weights=folder)


def test_a_folder_without_weights_or_with_unknown_configuration_is_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "snac", model_of(SHAPES["24k"]))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsError, match=r"neither pytorch_model\.bin nor model\.safetensors"):
        voxzoo.load("snac-24k", weights=folder)
    (folder / "config.json").write_text(json.dumps({"encoder_width": 4}))
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="'encoder_width'"):
        voxzoo.load("snac-24k", weights=folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_dim": 4}, "32 channels; expected a multiple of 64"),
        ({"decoder_rates": [2, 2]}, r"encoder_rates \[2, 3, 4\] and decoder_rates \[2, 2\]; expected the same product"),
        ({"latent_dim": 65}, "latent_dim 65; expected 64"),
        ({"vq_strides": [4, 3]}, r"vq_strides \[4, 3\]; expected each to divide the first"),
        ({"encoder_rates": "fast"}, "encoder_rates 'fast'; expected a list of whole numbers"),
        ({"encoder_rates": [1, 24]}, r"expected a list of whole numbers, at least 2"),
        ({"vq_strides": []}, "expected a list of whole numbers, at least 1"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_of({**TINY["snac-32k"], **change})


def test_the_fingerprint_is_of_the_published_tensors() -> None:
    model = model_of(SHAPES["24k"])
    keys = model.network.state_dict().keys()
    assert "encoder.block.0.parametrizations.weight.original0" in keys
    assert not any("laid" in key or "factor" in key for key in keys)
    before = model.fingerprint
    model.decode(model.encode(sound(500, model.facts.sample_rate)))
    assert fingerprint(model.config, model.network) == before == model_of(SHAPES["24k"]).fingerprint
    assert before != model_of(SHAPES["24k"], seed=1).fingerprint


def test_the_24_khz_configuration_is_the_published_one() -> None:
    """Written out as the hub has it, it has the recorded hash."""
    item = voxzoo.entry("snac-24k")
    assert item.weights is not None
    text = re.sub(r"\[\s+([^]]*?)\s+]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(dict(item.config), indent=4))
    assert hashlib.sha256(f"{text}\n".encode()).hexdigest() == item.weights.files["config.json"]


# ---------------------------------------------------------------- laws
@pytest.mark.parametrize(
    ("name", "second", "unit"),
    [("snac-24k", (12, 24, 48), 2048), ("snac-32k", (12, 24, 48, 96), 12288), ("snac-44k", (16, 32, 64, 128), 12288)],
)
def test_facts_at_real_size(name: str, second: tuple[int, ...], unit: int) -> None:
    facts = voxzoo.entry(name).facts
    padded = Fraction(math.ceil(facts.sample_rate / unit) * unit, facts.sample_rate)  # one second, as padded
    assert tuple(rate * padded for rate in facts.frame_rates) == second
    assert round(facts.bitrate / 1000, 2) == {"snac-24k": 0.98, "snac-32k": 1.88, "snac-44k": 2.58}[name]
    assert not facts.causal


@pytest.mark.parametrize("name", NAMES)
def test_length_law(name: str) -> None:
    """Every length up to three units: frames of whole units, as the published padding has it."""
    model = random_model(voxzoo.entry(name), TINY[name])
    strides, unit = model.config["vq_strides"], model.pad_multiple
    hop = math.prod(model.config["encoder_rates"])
    assert unit == hop * math.lcm(strides[0], model.config["attn_window_size"] or 1)
    for samples in range(1, 3 * unit + 1):
        assert model.frames(samples) == tuple(math.ceil(samples / unit) * unit // hop // s for s in strides)
    for samples in sorted({1, 2, hop, unit - 1, unit, unit + 1, 2 * unit, 3 * unit - 1, 3 * unit}):
        tokens = model.encode(sound(samples, model.facts.sample_rate))
        assert tuple(c.shape[1] for c in tokens.codes) == model.frames(samples)
        assert len(model.decode(tokens)) == samples


@pytest.mark.parametrize("name", NAMES)
def test_batching_changes_nothing(name: str) -> None:
    model = random_model(voxzoo.entry(name), TINY[name])
    clips = [sound(n, model.facts.sample_rate, seed) for seed, n in enumerate((1500, 1, 1500, 1490, 4000, 577))]
    together = model.encode(clips)
    sounds = model.decode(together)
    for i, clip in enumerate(clips):
        alone = model.encode(clip)
        assert all(torch.equal(a, b) for a, b in zip(together[i].codes, alone.codes, strict=True))
        assert np.array_equal(sounds[i].samples, model.decode(alone).samples)


def test_decoding_twice_gives_the_same_sound_whatever_the_seed() -> None:
    model = model_of(SHAPES["24k"])
    tokens = model.encode(sound(3000, model.facts.sample_rate))
    torch.manual_seed(1)
    first = model.decode(tokens).samples
    torch.manual_seed(2)
    assert np.array_equal(model.decode(tokens).samples, first)
    assert first.std() > 1e-3


def streamed(model: Model, clip: Audio, step: int) -> tuple[Tokens, np.ndarray]:
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    return Tokens.concatenate(parts), np.concatenate(sounds)


@pytest.mark.parametrize("step", [1, 31, 128, 1000, 10_000])
@pytest.mark.parametrize("name", ["snac-24k", "snac-32k"])
def test_streams_equal_the_whole_clip(name: str, step: int) -> None:
    model = random_model(voxzoo.entry(name), TINY[name])
    clip = sound((4 if step == 1 else 9) * model.pad_multiple + 17, model.facts.sample_rate)
    tokens = model.encode(clip)
    joined, wav = streamed(model, clip, step)
    assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
    assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_long_clips_equal_one_pass_over_the_network(name: str) -> None:
    """Over 20 s the clip goes through windows; the network run on all of it at once gives the same."""
    model = random_model(voxzoo.entry(name), TINY[name])
    clip = sound(27 * model.facts.sample_rate + 7, model.facts.sample_rate)
    padded = torch.zeros(1, model._padded(len(clip)))
    padded[0, : len(clip)] = torch.from_numpy(clip.samples)
    with torch.no_grad():
        whole = model._encode(padded, model.facts.streams)
        wav = model._decode(whole)[0, : len(clip)].numpy()
    tokens = model.encode(clip)
    assert all(torch.equal(a, b) for a, b in zip(tokens.codes, whole.codes, strict=True))
    assert np.abs(model.decode(tokens).samples - wav).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_windows_equal_one_pass_at_real_size(name: str) -> None:
    model = voxzoo.load(name, weights="random")
    clip = sound(int(5.1 * model.facts.sample_rate), model.facts.sample_rate)
    tokens = model.encode(clip)
    joined, wav = streamed(model, clip, 2 * model.facts.sample_rate)
    assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
    assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_context_covers_what_the_network_sees(name: str) -> None:
    """Sound outside a block's context never changes its latent frames, and codes outside never its sound."""
    model = random_model(voxzoo.entry(name), TINY[name])
    network, unit = model.network, model.pad_multiple
    frames = unit // math.prod(model.config["encoder_rates"])
    encoder, decoder = encoder_blocks(model.config, network), decoder_blocks(model.config, network)
    at = 5
    with torch.no_grad():
        wav = torch.randn(1, 12 * unit, generator=torch.Generator().manual_seed(0))
        other = wav.clone()
        other[:, : (at - encoder.left) * unit] = 0.5
        other[:, (at + 1 + encoder.right) * unit :] = 0.5
        kept = slice(at * frames, (at + 1) * frames)
        assert torch.allclose(network.encoder(wav)[:, kept], network.encoder(other)[:, kept], atol=1e-6)
        latent = torch.randn(1, 12 * frames, model.config["latent_dim"], generator=torch.Generator().manual_seed(0))
        changed = latent.clone()
        changed[:, : (at - decoder.left) * frames] = 0.5
        changed[:, (at + 1 + decoder.right) * frames :] = 0.5
        kept = slice(at * unit, (at + 1) * unit)
        assert torch.allclose(network.decoder(latent)[:, kept], network.decoder(changed)[:, kept], atol=1e-6)


def test_context_and_latency_at_real_size() -> None:
    """From the layers' sizes alone; also the figures that `streaming` states."""
    for name, context in (("snac-24k", 3), ("snac-32k", 2), ("snac-44k", 2)):
        item = voxzoo.entry(name)
        with torch.device("meta"):
            network = Network(complete(item.config))
        plans = [encoder_blocks(complete(item.config), network), decoder_blocks(complete(item.config), network)]
        assert [(plan.left, plan.right) for plan in plans] == [(context, context)] * 2
        assert item.facts.latency == pytest.approx((1 + 2 * context) * plans[0].samples / item.facts.sample_rate)
        assert f"{plans[0].samples} samples with {context} more as context" in item.streaming


@pytest.mark.parametrize("piece", [600, 4096])
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_change_nothing(shape: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(SHAPES[shape])
    clip = sound(3000, model.facts.sample_rate)
    whole = model.encode(clip)
    sounds = model.decode(whole).samples
    monkeypatch.setattr(convs, "PIECE", piece)
    pieces = model.encode(clip)
    assert all(torch.equal(a, b) for a, b in zip(pieces.codes, whole.codes, strict=True))
    assert np.abs(model.decode(pieces).samples - sounds).max() <= 1e-6
