"""DAC against `transformers`' model and descript's form of a checkpoint, on random weights; its laws at small and real size."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import voxzoo
from voxzoo import Audio, ModelError, WeightsError
from voxzoo.codecs._dac import Network, complete
from voxzoo.codecs.snac import decoder_blocks, encoder_blocks
from voxzoo.core import convs
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

NAMES = ("dac-16k", "dac-24k", "dac-44k")
TINY: dict[str, dict[str, Any]] = {name: {**voxzoo.entry(name).config, **voxzoo.entry(name).tiny} for name in NAMES}
SHAPES = {**TINY, "odd": {**TINY["dac-16k"], "encoder_rates": [3, 5, 2], "decoder_rates": [2, 5, 3]}}


ORDER = {
    "DacEncoder": ["conv1", "block", "snake1", "conv2"],
    "DacDecoder": ["conv1", "block", "snake1", "conv2"],
    "DacEncoderBlock": ["res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"],
    "DacDecoderBlock": ["snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"],
    "DacResidualUnit": ["snake1", "conv1", "snake2", "conv2"],
}


def model_of(config: dict[str, Any], seed: int = 0, name: str = "dac-16k") -> Model:
    return random_model(voxzoo.entry(name), config, seed)


def sound(samples: int, rate: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def reference(model: Model) -> Any:
    """`transformers`' model with the same weights; they are carried over by position, not by name."""
    transformers = pytest.importorskip("transformers")
    c = model.config
    config = transformers.DacConfig(
        encoder_hidden_size=c["encoder_dim"], downsampling_ratios=c["encoder_rates"], decoder_hidden_size=c["decoder_dim"],
        n_codebooks=len(c["vq_strides"]), codebook_size=c["codebook_size"], codebook_dim=c["codebook_dim"],
        sampling_rate=c["sampling_rate"],
    )  # fmt: skip
    theirs = transformers.DacModel(config).eval()
    with torch.no_grad():
        for part in ("encoder", "decoder", "quantizer"):
            for a, b in zip(_leaves(getattr(model.network, part)), _leaves(getattr(theirs, part)), strict=True):
                for name in ("weight", "bias", "alpha"):
                    if getattr(b, name, None) is not None:
                        getattr(b, name).copy_(getattr(a, name))
    return theirs


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Layers with weights, in the order in which they are applied, which differs from that of transformers' attributes."""
    names = ORDER.get(type(module).__name__, [name for name, _ in module.named_children()])
    children = [module.get_submodule(name) for name in names]
    if not children:
        return [module] if list(module.parameters(recurse=False)) else []
    return [leaf for child in children for leaf in _leaves(child)]


def check_parity(model: Model, clip: Audio) -> list[int]:
    """Codes equal, sound to 1e-4; -> how many different codes each stream used."""
    theirs = reference(model)
    padded = torch.zeros(1, 1, model._padded(len(clip)))
    padded[0, 0, : len(clip)] = torch.from_numpy(clip.samples)
    with torch.no_grad():
        wanted = theirs.encode(padded).audio_codes[0]
        wav = theirs.decode(audio_codes=wanted[None]).audio_values[0].numpy()
    tokens = model.encode(clip)
    for k, (got, codes) in enumerate(zip(tokens.codes, wanted, strict=True)):
        assert torch.equal(got[0], codes), f"stream {k}: {int((got[0] != codes).sum())} of {codes.numel()} codes differ"
    decoded = model.decode(tokens).samples
    wav = wav[: len(clip)]
    assert np.abs(decoded[: len(wav)] - wav).max() <= 1e-4
    assert not decoded[len(wav) :].any()
    return [len(codes.unique()) for codes in wanted]


# ---------------------------------------------------------------- against the published models
@pytest.mark.parametrize("samples", [1, 79, 80, 81, 1601, 3001, 37 * 1600])
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_sound_are_the_published_ones(shape: str, samples: int) -> None:
    model = model_of(SHAPES[shape])
    used = check_parity(model, sound(samples, model.facts.sample_rate))
    if samples == 3001:
        assert min(used) > 3


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "samples"), [(0, 1), (1, 511), (2, 513), (0, 48001)])
@pytest.mark.parametrize("name", NAMES)
def test_codes_and_sound_are_the_published_ones_at_real_size(name: str, seed: int, samples: int) -> None:
    item = voxzoo.entry(name)
    model = random_model(item, dict(item.config), seed)
    assert model.facts == item.facts
    check_parity(model, sound(samples, model.facts.sample_rate, seed))


def transformers_folder(folder: Path, model: Model) -> Path:
    theirs = reference(model)
    theirs.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hop_length": 512}))  # stale, as in published files
    return folder


def descript_folder(folder: Path, model: Model, old: bool) -> Path:
    """Descript's checkpoint: names of weight norm, old or new, and the constructor's arguments."""
    folder.mkdir()
    state: dict[str, torch.Tensor] = {}
    for key, value in model.network.state_dict().items():
        if key.endswith(".weight") and "codebook" not in key:
            stem = key.removesuffix("weight")
            direction = value * torch.rand(value.shape[0], *[1] * (value.ndim - 1)).add(0.5)
            gain = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1))
            names = ("weight_g", "weight_v") if old else tuple(f"parametrizations.weight.original{i}" for i in (0, 1))
            state[stem + names[0]], state[stem + names[1]] = gain, direction
        else:
            state[key] = value
    c = model.config
    arguments = {"encoder_dim": c["encoder_dim"], "encoder_rates": c["encoder_rates"], "latent_dim": None,
                 "decoder_dim": c["decoder_dim"], "decoder_rates": c["decoder_rates"], "n_codebooks": len(c["vq_strides"]),
                 "codebook_size": c["codebook_size"], "codebook_dim": c["codebook_dim"], "quantizer_dropout": 0.5,
                 "sample_rate": c["sampling_rate"]}  # fmt: skip
    torch.save({"state_dict": state, "metadata": {"kwargs": arguments}}, folder / "weights.pth")
    return folder


def test_a_transformers_checkpoint_loads(tmp_path: Path) -> None:
    model = model_of(SHAPES["dac-24k"], name="dac-24k")
    again = voxzoo.load("dac-24k", weights=transformers_folder(tmp_path / "dac", model))
    assert again.fingerprint == model.fingerprint
    assert again.config == model.config


@pytest.mark.parametrize("old", [True, False])
def test_a_descript_checkpoint_loads(tmp_path: Path, old: bool) -> None:
    model = model_of(SHAPES["dac-44k"], name="dac-44k")
    again = voxzoo.load("dac-44k", weights=descript_folder(tmp_path / "dac", model, old))
    assert again.config == model.config
    for a, b in zip(again.network.state_dict().values(), model.network.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    clip = sound(3000, model.facts.sample_rate)
    assert all(torch.equal(a, b) for a, b in zip(again.encode(clip).codes, model.encode(clip).codes, strict=True))


def test_our_own_folder_loads(tmp_path: Path) -> None:
    model = model_of(SHAPES["odd"])
    model.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    model = model_of(SHAPES["dac-16k"])
    folder = transformers_folder(tmp_path / "dac", model)
    (folder / "config.json").write_text(json.dumps({"model_type": "encodec"}))
    with pytest.raises(WeightsError, match="of a 'encodec' model; expected 'dac'"):
        voxzoo.load("dac-16k", weights=folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match=r"0 \.pth files and no config\.json"):
        voxzoo.load("dac-16k", weights=empty)
    torch.save({"state_dict": {}}, empty / "weights.pth")
    with pytest.raises(WeightsError, match="lacks 'metadata'"):
        voxzoo.load("dac-16k", weights=empty)
    folder = descript_folder(tmp_path / "part", model, True)
    checkpoint = torch.load(folder / "weights.pth", weights_only=True)
    del checkpoint["state_dict"]["decoder.model.0.weight_v"]
    torch.save(checkpoint, folder / "weights.pth")
    with pytest.raises(WeightsError, match=r"decoder\.model\.0\.weight"):
        voxzoo.load("dac-16k", weights=folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_codebooks": 0}, "n_codebooks 0"),
        ({"encoder_width": 4}, "'encoder_width'"),
        ({"decoder_rates": [2]}, "same product"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_of({**TINY["dac-16k"], **change})


# ---------------------------------------------------------------- laws
@pytest.mark.parametrize("name", NAMES)
def test_facts_at_real_size(name: str) -> None:
    item = voxzoo.entry(name)
    rate, kbps = {"dac-16k": (50, 6.0), "dac-24k": (75, 24.0), "dac-44k": (Fraction(44100, 512), 7.75)}[name]
    assert item.facts.frame_rates == (Fraction(rate),) * item.facts.streams
    assert round(item.facts.bitrate / 1000, 2) == kbps
    with torch.device("meta"):
        network = Network(complete(item.config))
    plans = [encoder_blocks(complete(item.config), network), decoder_blocks(complete(item.config), network)]
    assert [(plan.left, plan.right) for plan in plans] == [(8, 8), (10, 10)]
    assert item.facts.latency == pytest.approx(19 * plans[0].samples / item.facts.sample_rate)
    assert "8 frames" in item.streaming
    assert "10" in item.streaming


@pytest.mark.parametrize("step", [31, 160, 10_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_streams_equal_the_whole_clip(shape: str, step: int) -> None:
    model = model_of(SHAPES[shape])
    clip = sound(60 * model.pad_multiple + 17, model.facts.sample_rate)
    tokens = model.encode(clip)
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    joined = voxzoo.Tokens.concatenate(parts)
    assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
    assert np.abs(np.concatenate(sounds) - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("piece", [600, 4096])
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_change_nothing(shape: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(SHAPES[shape])
    clip = sound(3000, model.facts.sample_rate)
    whole = model.encode(clip)
    wav = model.decode(whole).samples
    monkeypatch.setattr(convs, "PIECE", piece)
    assert all(torch.equal(a, b) for a, b in zip(model.encode(clip).codes, whole.codes, strict=True))
    assert np.abs(model.decode(whole).samples - wav).max() <= 1e-6
