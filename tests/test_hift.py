"""HiFTNet against the published class (a golden file), its source, its published forms."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from voxzoo.core.decoder import decoder_class, load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import ModelError, WeightsError
from voxzoo.core.mel import LogMel
from voxzoo.core.vocoder import Vocoder
from voxzoo.decoders._hift import HiFT, HiFTConfig, Source, fixed_noise, fixed_phases
from voxzoo.decoders.hift import HiFT22K, HiFT24K

ROOT = Path(__file__).resolve().parent.parent
CLASSES = {22050: HiFT22K, 24000: HiFT24K}
NAMES = {"cosyvoice-hift": HiFT22K, "glm4voice-hift": HiFT22K, "step-audio-hift": HiFT22K, "cosyvoice2-hift": HiFT24K}


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file."""
    spec = importlib.util.spec_from_file_location("make_flow_golden", ROOT / "tools" / "make_flow_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published(network: nn.Module, maker: ModuleType, old: bool = False) -> dict[str, Tensor]:
    """The golden file's weights as a published checkpoint has them, under weight norm in today's or in the old spelling."""
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        stem, _, last = key.rpartition(".")
        if last != "weight" or value.ndim != 3 or "source_downs" in key:
            state[key] = maker.weight(key, list(value.shape))
            continue
        names = [f"{stem}.parametrizations.weight.original{i}" for i in range(2)]
        pair = [maker.weight(names[0], [len(value), 1, 1]), maker.weight(names[1], list(value.shape))]
        state |= dict(zip([f"{stem}.weight_g", f"{stem}.weight_v"] if old else names, pair, strict=True))
    return state


@pytest.fixture
def small(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, Any]]:
    """Configurations of the golden file's sizes, which the classes take for the published ones."""
    sizes = {key: maker.HIFT[key] for key in ("channels", "pitch_channels")}
    for cls in CLASSES.values():
        monkeypatch.setattr(cls, "own", {**cls.own, **sizes})
    return {rate: HiFTConfig.from_dict(cls.own).to_dict() for rate, cls in CLASSES.items()}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("rate", "name"), [(22050, "cosyvoice-hift"), (24000, "cosyvoice2-hift")])
def test_sound_of_the_published_class(
    rate: int, name: str, old: bool, maker: ModuleType, small: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    golden = load_file(ROOT / "tests" / "golden" / "flow.safetensors")
    state = published(CLASSES[rate].build(small[rate]), maker, old)
    torch.save({f"generator.{key}" if old else key: value for key, value in state.items()}, tmp_path / "hift.pt")
    vocoder = load_decoder(name, weights=tmp_path)
    assert isinstance(vocoder, Vocoder)
    mel = maker.features(maker.HIFT["frames"]).transpose(1, 2)
    network = vocoder.network
    assert isinstance(network, HiFT)
    source = network.m_source(network.f0_predictor(mel))
    want = golden[f"hift.{rate}.source"][0, :, 0]
    assert want.std() > 0.01
    torch.testing.assert_close(source[0], want, rtol=0, atol=1e-4)
    wav, heard = vocoder.synthesize(mel).samples, golden[f"hift.{rate}"][0, :, 0].numpy()
    assert heard.std() > 0.01
    filtered = network.filter(mel, want[None])[0].numpy()
    np.testing.assert_allclose(filtered, heard, rtol=0, atol=1e-4)
    np.testing.assert_allclose(wav, heard, rtol=0, atol=1e-3)  # phases are summed in double precision here
    assert vocoder.front.hop * mel.shape[2] == len(wav)


def test_the_source_follows_the_pitch() -> None:
    """Its sines are at the pitch and its multiples; without a voice there is noise alone."""
    config = HiFTConfig.from_dict({**HiFT22K.own, "noise": 0.0})
    source = Source(config)
    with torch.no_grad():
        source.l_linear.weight.copy_(torch.tensor([[1.0] + [0.0] * 8]))
        source.l_linear.bias.zero_()
        sound = source(torch.full((1, 86), 220.5))[0]
        quiet = source(torch.zeros(1, 86))[0]
    t = torch.arange(1, len(sound) + 1, dtype=torch.float64) / 22050
    want = torch.tanh(0.1 * torch.sin(2 * math.pi * 220.5 * t)).float()
    torch.testing.assert_close(sound, want, rtol=0, atol=1e-5)
    assert float(quiet.std()) == pytest.approx(0.1 / 3, rel=0.05)
    by_frame = Source(HiFTConfig.from_dict({**HiFT24K.own, "noise": 0.0}))
    by_frame.load_state_dict(source.state_dict())
    with torch.no_grad():
        steady = by_frame(torch.full((1, 50), 240.0))[0, 2400:-2400]
    spectrum = torch.fft.rfft(steady[:19200] * torch.hann_window(19200)).abs()
    assert int(spectrum.argmax()) == round(240 * 19200 / 24000)


def test_what_is_fixed() -> None:
    assert torch.equal(fixed_noise(100, 9), fixed_noise(70000, 9)[:100])
    assert abs(float(fixed_noise(70000, 9).std()) - 1) < 0.01
    phases = fixed_phases(9)
    assert phases[0] == 0
    assert phases.abs().max() <= 0.5
    assert len(phases.unique()) == 9


@pytest.mark.parametrize("name", NAMES)
def test_entries_say_what_is_built(name: str) -> None:
    item = decoder_entry(name)
    assert decoder_class(item) is NAMES[name]
    assert HiFTConfig.from_dict(item.config) == HiFTConfig.from_dict(NAMES[name].own)
    with torch.device("meta"):
        network = decoder_class(item).build(item.config)
    assert sum(p.numel() for p in network.parameters()) == item.facts.params
    front = LogMel.from_dict(item.config["mel"])
    assert (item.facts.sample_rate, item.facts.hop, item.facts.context) == (front.sample_rate, front.hop, None)


def test_results_repeat_at_any_length(small: dict[int, dict[str, Any]]) -> None:
    vocoder = random_decoder(decoder_entry("cosyvoice2-hift"), small[24000])
    assert isinstance(vocoder, Vocoder)
    for frames in (1, 2, 7, 50):
        mel = torch.randn(80, frames, generator=torch.Generator().manual_seed(frames))
        first = vocoder.synthesize(mel)
        assert len(first) == 480 * frames
        assert np.array_equal(first.samples, vocoder.synthesize(mel).samples)
        assert np.abs(first.samples).max() <= 0.99


def test_bad_input(small: dict[int, dict[str, Any]], tmp_path: Path, maker: ModuleType) -> None:
    torch.save(published(HiFT24K.build(small[24000]), maker), tmp_path / "hift.pt")
    with pytest.raises(WeightsError, match="has 3 upsamplings, and HiFT22K 2"):
        load_decoder("cosyvoice-hift", weights=tmp_path)
    torch.save({"ups.0.weight": torch.zeros(1), "ups.1.weight": torch.zeros(1)}, tmp_path / "hift.pt")
    with pytest.raises(WeightsError, match="conv_pre"):
        load_decoder("cosyvoice-hift", weights=tmp_path)
    with pytest.raises(ModelError, match="no setting colour"):
        HiFTConfig.from_dict({"colour": 1})
    with pytest.raises(ModelError, match="no hop of 256"):
        HiFTConfig.from_dict({**HiFT22K.own, "hop": 8})
    vocoder = random_decoder(decoder_entry("cosyvoice-hift"), small[22050])
    with pytest.raises(ModelError, match="cannot stream"):
        vocoder.stream()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_real_size() -> None:
    vocoder = load_decoder("cosyvoice2-hift", weights="random")
    assert isinstance(vocoder, Vocoder)
    assert len(vocoder.synthesize(torch.randn(80, 100))) == 48000
