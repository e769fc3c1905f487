"""TiCodec against the published network (a golden file), its published form of a checkpoint, its voices, its streams."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import voxzoo
from voxzoo import Audio, AudioError, ModelError, Tokens, WeightsError
from voxzoo.codecs.ticodec import Ticodec
from voxzoo.core import convs
from voxzoo.core.loading import random_model

ITEM = voxzoo.entry("ticodec")
TINY: dict[str, Any] = {**ITEM.config, **ITEM.tiny}
ROOT = Path(__file__).resolve().parent.parent


def tiny(seed: int = 0, **changes: Any) -> Ticodec:
    model = random_model(ITEM, {**TINY, **changes}, seed)
    assert isinstance(model, Ticodec)
    return model


def sound(samples: int, rate: int = 1200, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file: its configuration, weights and sound."""
    spec = importlib.util.spec_from_file_location("make_ticodec_golden", ROOT / "tools" / "make_ticodec_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """What the published network gave, and the names and shapes of its weights."""
    with safe_open(ROOT / "tests" / "golden" / "ticodec.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["shapes"])  # noqa: SIM118


def published(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> Path:
    """Freeze-Omni's form: model.json and final.pt, one state dict a part."""
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps({**config, "num_mels": 80, "batch_size": 160}))
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "generator": {}, "quantizer": {}}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    torch.save(parts, folder / "final.pt")
    return folder


# ---------------------------------------------------------------- against the published network
@pytest.fixture(scope="module")
def folder(maker: ModuleType, golden: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden file's checkpoint."""
    state = {key: maker.weight(key, shape) for key, shape in golden[1].items()}
    return published(tmp_path_factory.mktemp("ticodec") / "codec", maker.CONFIG, state)


def test_codes_voice_and_sound_are_the_published_ones(maker: ModuleType, golden: Any, folder: Path) -> None:
    model = voxzoo.load("ticodec", weights=folder)
    assert isinstance(model, Ticodec)
    wanted, wav = golden[0], maker.sound(maker.SAMPLES)
    tokens = model.encode(wav, 24000)
    for codes, right in zip(tokens.codes, wanted["codes"].long(), strict=True):
        assert torch.equal(codes[0], right), f"{int((codes[0] != right).sum())} of {len(right)} codes differ"
        assert len(right.unique()) > 8
    assert np.abs(model.decode(tokens).samples - wanted["sound"].numpy()).max() <= 1e-5
    assert model.voice_of(Audio(wav, 24000)) == tuple(wanted["voice"].tolist())
    assert model.voice == tuple(maker.CONFIG["global_tokens"])


def test_a_folder_is_recognised(folder: Path, tmp_path: Path) -> None:
    assert Ticodec.recognises(folder)
    model = voxzoo.load(folder)
    assert (model.facts.name, model.facts.sample_rate) == ("ticodec", 24000)
    assert not Ticodec.recognises(tmp_path)
    (tmp_path / "model.json").write_text("[80, 1026, {}]")  # that of Freeze-Omni's speech decoder
    (tmp_path / "final.pt").touch()
    assert not Ticodec.recognises(tmp_path)


def test_new_names_of_weight_norm_load_too(folder: Path, tmp_path: Path) -> None:
    old = torch.load(folder / "final.pt", weights_only=True)
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    new = {}
    for part, state in old.items():
        for key, value in state.items():
            stem, _, last = key.rpartition(".")
            new[f"{part}.{stem}.{names.get(last, last)}"] = value
    again = published(tmp_path, json.loads((folder / "model.json").read_text()), new)
    (_, ours), (_, wanted) = Ticodec.read(again), Ticodec.read(folder)
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[key], value) for key, value in wanted.items())


def test_what_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"final\.pt' does not exist"):
        voxzoo.load("ticodec", weights=tmp_path)
    for change, message in [
        ({"resblock": "2"}, "resblock '2'"),
        ({"global_tokens": None}, "global_tokens None"),
        ({"global_tokens": [64] * 8}, "expected 8 below 64"),
    ]:
        (tmp_path / "model.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=message):
            voxzoo.load("ticodec", weights=tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({key: config[key] for key in config if key != "global_tokens"}))
    with pytest.raises(WeightsError, match="no global_tokens"):
        voxzoo.load("ticodec", weights=tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(config))
    checkpoint = torch.load(folder / "final.pt", weights_only=True)
    torch.save({"generator": checkpoint["generator"]}, tmp_path / "final.pt")
    with pytest.raises(WeightsError, match="needs encoder, quantizer, generator"):
        voxzoo.load("ticodec", weights=tmp_path)
    del checkpoint["generator"]["resblocks.3.convs1.0.bias"]
    torch.save(checkpoint, tmp_path / "final.pt")
    with pytest.raises(WeightsError, match=r"generator\.stages\.1\.blocks\.1\.convs1\.0\.bias"):
        voxzoo.load("ticodec", weights=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "'width'"),
        ({"n_codes": 0}, "n_codes 0"),
        ({"upsample_rates": [5, 3]}, "upsample_kernel_sizes"),
        ({"upsample_kernel_sizes": [11, 5, 5]}, "an even number wider"),
        ({"resblock_kernel_sizes": [3, 4]}, "odd"),
        ({"resblock_dilation_sizes": [[1]]}, "one list for each"),
        ({"global_feature_conv": [16, 8, 12, 3, 1]}, "global_feature_conv"),
        ({"n_code_groups": 3}, "divisor of 64"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny(**change)


# ---------------------------------------------------------------- voices
def test_another_voice_changes_the_sound_and_not_the_tokens() -> None:
    model = tiny()
    clip = sound(600)
    tokens = model.encode(clip)
    other = model.with_voice([5, 9])
    assert np.abs(other.decode(tokens).samples - model.decode(tokens).samples).max() > 1e-4
    assert other.fingerprint == model.fingerprint
    assert (other.voice, model.voice) == ((5, 9), (3, 62))
    back = other.with_voice(model.voice)
    assert np.array_equal(back.decode(tokens).samples, model.decode(tokens).samples)
    with other.stream_decoder() as stream:
        heard = np.concatenate([stream.push(tokens).samples, stream.finish().samples])
    assert np.abs(heard - other.decode(tokens).samples).max() <= 1e-5


def test_the_voice_of_a_clip() -> None:
    model = tiny()
    with torch.no_grad():
        for parameter in model.network.encoder.GlobalTokenEncoder.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=1.0, generator=torch.Generator().manual_seed(0))
    voices = {model.voice_of(sound(900, seed=seed)) for seed in range(4)}
    assert len(voices) > 1
    assert all(len(model.with_voice(voice).voice) == 2 for voice in voices)
    long = sound(45 * 1200)
    assert model.voice_of(long) == model.voice_of(Audio(long.samples[: 40 * 1200], 1200))
    with pytest.raises(AudioError, match="no samples"):
        model.voice_of(Audio(np.zeros(0, np.float32), 1200))
    for wrong in ([1], [1, 64], [-1, 3]):
        with pytest.raises(ModelError, match="expected 2 numbers from 0 to 63"):
            model.with_voice(wrong)


# ---------------------------------------------------------------- streams
def test_groups_and_residual_layers_are_streams() -> None:
    model = tiny(n_code_groups=2, residul_layer=2)
    clip = sound(300)
    tokens = model.encode(clip)
    assert len(tokens.codes) == 4
    for streams in range(1, 5):
        part = model.encode(clip, streams=streams)
        assert all(torch.equal(a, b) for a, b in zip(part.codes, tokens.codes[:streams], strict=True))
        assert len(model.decode(part)) == 300
    frames = model.network.quantizer.decode([codes[:, :1] for codes in tokens.codes[:1]])
    assert frames[0, 0, :32].any()
    assert not frames[0, 0, 32:].any()


def test_context_of_the_decoder() -> None:
    """At real size 13 frames each side, and a frame farther off changes nothing; the entry states both."""
    item = voxzoo.entry("ticodec")
    with torch.device("meta"):
        layers = Ticodec.build(item.config).generator.layers
    first, last = convs.receptive(layers, 0, 599)
    assert (first, last) == (-13, 13)
    assert "13 frames" in item.streaming
    assert item.facts.latency == pytest.approx((40 + 10) + 13 * 600 / 24000)
    model = tiny()
    reach = model._decoder_blocks()
    codes = torch.randint(0, 64, (1, 60), generator=torch.Generator().manual_seed(0))
    moved = codes.clone()
    moved[0, 30] = (moved[0, 30] + 1) % 64
    with torch.no_grad():
        sounds = [model._decode(voxzoo.core.streaming.Encoded([x])).view(60, -1) for x in (codes, moved)]
    changed = (sounds[0] != sounds[1]).any(1).nonzero().flatten()
    assert 30 - reach.left <= changed.min() < 30 < changed.max() <= 30 + reach.right


def test_long_clips_go_through_windows_at_fixed_places() -> None:
    model = tiny()
    clip = sound(95 * 1200 + 7)
    tokens = model.encode(clip)
    for step in (7000, 50_000):
        with model.stream_encoder() as stream:
            parts = [stream.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [stream.finish()]
        assert torch.equal(Tokens.concatenate(parts).codes[0], tokens.codes[0])
    with torch.no_grad():
        whole = model._encode(torch.from_numpy(np.pad(clip.samples, (0, -len(clip) % 30)))[None], 1).codes[0]
    assert float((whole == tokens.codes[0]).float().mean()) > 0.9


@pytest.mark.slow
def test_it_works_at_real_size() -> None:
    model = random_model(ITEM, dict(ITEM.config))
    assert model.facts == ITEM.facts
    clip = sound(24001, 24000)
    tokens = model.encode(clip)
    assert tokens.codes[0].shape == (1, 41)
    with model.stream_decoder() as stream:
        heard = np.concatenate([stream.push(tokens).samples, stream.finish().samples])
    assert np.abs(heard - model.decode(tokens).samples).max() <= 1e-5
