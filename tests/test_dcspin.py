"""DC-Spin's tokenizers: what a frame depends on, exact streams, chunks of other sizes, and Spin's reading of the codebook."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import voxzoo
from voxzoo import Audio, Tokens
from voxzoo.core.errors import ModelError, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.weights import bundled_folder
from voxzoo.eval.edit_distance import deduplicate, levenshtein
from voxzoo.tokenizers._dcspin import DCSpin, DCSpinConfig
from voxzoo.tokenizers._vox_s3 import State
from voxzoo.tokenizers.dcspin import DCSpinUnits, VoxDCSpin
from voxzoo.training.perturb import Change, changed

CONFIG = dict(voxzoo.entry("vox-dcspin-16k").config)
SMALL = {"mels": 12, "block": 8, "context": 2, "reference": 2, "dim": 32, "layers": 2, "heads": 2, "hidden": 48, "kernel": 3}
TINY: dict[str, Any] = {"encoder": {**CONFIG["encoder"], **SMALL}, "codebook_size": 40, "hidden": 16}
BLOCK = 8 * 320
AHEAD = 640


def noise(seconds: float, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    wav = torch.randn(1, int(16000 * seconds), generator=generator)
    return 0.1 * wav * (1 + torch.sin(torch.arange(wav.shape[1]) / 900))


@pytest.fixture(scope="module")
def network() -> DCSpin:
    torch.manual_seed(0)
    return VoxDCSpin.build(TINY).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> VoxDCSpin:
    found = random_model(voxzoo.entry("vox-dcspin-16k"), TINY)
    assert isinstance(found, VoxDCSpin)
    return found


def streamed(model: Model, wav: np.ndarray, step: int) -> np.ndarray:
    with model.stream_encoder() as encoder:
        parts = [encoder.push(wav[i : i + step]) for i in range(0, len(wav), step)] + [encoder.finish()]
    return Tokens.concatenate(parts).codes[0].numpy()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quantizer": "fsq"}, "expected 'cosine' or 'kmeans'"),
        ({"codebook_size": 0}, "whole number above 0"),
        ({"hidden": 2.5}, "whole number above 0"),
        ({"depth": 3}, "unknown keys: depth"),
        ({"encoder": None}, "has no `encoder`"),
        ({"encoder": {"width": 3}}, "unknown keys: width"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        DCSpinConfig.from_dict({**TINY, **change})


def test_configurations_are_plain_and_come_back() -> None:
    config = DCSpinConfig.from_dict(TINY)
    assert "levels" not in config.to_dict()["encoder"]
    assert DCSpinConfig.from_dict(config.to_dict()) == config


def test_codes_are_those_of_the_most_alike_codeword(network: DCSpin) -> None:
    """As the published Spin reads its codebook."""
    wav = noise(1)[:, : 4 * BLOCK]
    x = network.encoder(wav)
    head, words = network.quantizer.head[0], network.quantizer.codebook
    z = F.normalize(F.linear(x, head.weight, head.bias), dim=2)
    assert torch.equal(network.encode(wav), (z @ words.t()).argmax(2))
    assert len(network.encode(wav).unique()) > 3


def test_tokens_depend_on_their_block_and_what_is_just_after_it(network: DCSpin) -> None:
    wav = noise(2)[:, : 10 * BLOCK]
    codes = network.encode(wav)[0].view(10, -1)
    changed = wav.clone()
    changed[:, 5 * BLOCK + AHEAD :] += noise(2, 2)[:, : 5 * BLOCK - AHEAD]
    other = network.encode(changed)[0].view(10, -1)
    assert torch.equal(codes[:5], other[:5])
    assert (codes[5:] != other[5:]).any()


def test_the_level_does_not_matter(network: DCSpin) -> None:
    wav = noise(1)[:, : 4 * BLOCK]
    assert (network.encode(wav) == network.encode(0.05 * wav)).float().mean() > 0.97


@pytest.mark.parametrize("samples", [1, 319, 320, 321, BLOCK - 1, BLOCK, BLOCK + AHEAD, 3 * BLOCK + 700])
def test_streams_equal_the_whole_however_they_are_cut(model: VoxDCSpin, samples: int) -> None:
    wav = noise(3)[0, :samples].numpy()
    whole = model.encode(wav, sample_rate=16000).codes[0].numpy()
    assert whole.shape == (1, -(-samples // 320))
    for step in (97, 320, BLOCK + 1, samples):
        assert np.array_equal(streamed(model, wav, step), whole), step


def test_other_chunks_need_no_training(model: VoxDCSpin) -> None:
    """Same weights, shorter latency; streams of the chunked model equal its own whole, and most of the other one's tokens."""
    wav = noise(3)[0].numpy()
    short = model.chunked(0.08)
    assert short.facts.latency == pytest.approx(0.08 + 0.04)
    assert short.fingerprint != model.fingerprint  # its tokens are not the other one's
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, short.network.state_dict()[key]), key
    own = short.encode(wav, sample_rate=16000).codes[0].numpy()
    assert np.array_equal(streamed(short, wav, 1000), own)
    same = model.chunked(8 * 0.02)
    assert np.array_equal(same.encode(wav, sample_rate=16000).codes[0].numpy(), model.encode(wav, 16000).codes[0].numpy())
    with pytest.raises(ModelError, match="at least a frame"):
        model.chunked(0.005)


def test_chunks_look_back_as_far_as_blocks_do() -> None:
    config = DCSpinConfig.from_dict(CONFIG)
    for seconds in (0.16, 0.32, 1.28):
        e = config.chunked(seconds).encoder
        assert e.block * e.context >= min(4 * 32, 4 * e.block)
        assert e.block * e.context * 0.02 >= 2.56 - 1e-9
    assert config.chunked(0.64) == config


def test_k_means_takes_the_place_of_the_codebook(tmp_path: Path) -> None:
    found = random_model(voxzoo.entry("vox-dcspin-16k"), {**TINY, "quantizer": "kmeans"})
    found.save(tmp_path)
    again = voxzoo.load(tmp_path)
    x = found.network.encoder(noise(1)[:, :BLOCK])
    words = found.network.quantizer.codebook
    want = torch.cdist(x[0], words).argmin(1)
    assert torch.equal(again.network.encode(noise(1)[:, :BLOCK])[0], want)


def test_units_of_a_backbone_stream_in_chunks() -> None:
    item = voxzoo.entry("dcspin")
    found = random_model(item, {**item.config, **item.tiny})
    assert isinstance(found, DCSpinUnits)
    wav = noise(1)[0, :9000].numpy()
    short = found.chunked(1.0)
    assert short.window == pytest.approx(2.0)
    own = short.encode(wav, sample_rate=1000).codes[0].numpy()
    assert np.array_equal(streamed(short, wav, 777), own)
    assert own.shape == found.encode(wav, sample_rate=1000).codes[0].shape
    with pytest.raises(ModelError, match="at least a frame"):
        found.chunked(0.001)


def test_without_weights_the_entry_says_how_to_make_them() -> None:
    with pytest.raises(WeightsError, match="voxzoo train dcspin"):
        voxzoo.load("dcspin")


def test_a_stream_keeps_no_more_with_time(model: VoxDCSpin) -> None:
    sizes = []
    with model.stream_encoder() as encoder:
        for _ in range(10):
            encoder.push(noise(0.5)[0].numpy())
            state = encoder.core.state
            assert isinstance(state, State)
            sizes.append(sum(t.numel() for layer in state.layers for t in layer) + state.maxima.numel())
    assert len(set(sizes)) == 1


# the weights in the package


@pytest.fixture(scope="module")
def bundled() -> VoxDCSpin:
    if not (bundled_folder("vox-dcspin-16k") / "config.json").exists():
        pytest.skip("this checkout comes without the weights of vox-dcspin-16k")
    found = voxzoo.load("vox-dcspin-16k", engine="torch")
    assert isinstance(found, VoxDCSpin)
    return found


def speech(seconds: float = 6.0) -> np.ndarray:
    return Audio.read(bundled_folder("demo") / "speech.wav", 16000).samples[: int(16000 * seconds)]


def test_bundled_streams_equal_the_whole(bundled: VoxDCSpin) -> None:
    whole = bundled.encode(speech(), sample_rate=16000).codes[0].numpy()
    assert len(np.unique(whole)) > whole.size / 6
    for step in (1600, 10240, 50000):
        assert np.array_equal(streamed(bundled, speech(), step), whole)


def test_another_voice_moves_fewer_tokens_than_other_words(bundled: VoxDCSpin) -> None:
    wav = torch.from_numpy(speech())[None]
    change = Change(torch.tensor([1.4]), torch.ones(1), torch.tensor([1.12]))
    sounds = (wav, changed(wav, 16000, change), wav.flip(1))
    clean, voice, backwards = (deduplicate(bundled.encode(w[0].numpy(), 16000).codes[0][0].numpy()) for w in sounds)
    moved, chance = levenshtein([clean, clean], [voice, backwards])
    assert moved < 0.75 * chance


def test_what_ships_is_small_and_described(bundled: VoxDCSpin) -> None:
    folder = bundled_folder("vox-dcspin-16k")
    data = (folder / "model.safetensors").read_bytes()
    assert len(data) < 12_000_000
    assert hashlib.sha256(data).hexdigest()[:16] in (folder / "README.md").read_text()
