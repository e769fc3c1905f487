"""Higgs Audio's tokenizer against `transformers`' model on random weights; its published form and facts."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from xcodec_models import check_parity, loaded, reference, resample, settings, sound

import voxzoo
from voxzoo import WeightsError
from voxzoo.codecs._xcodec import Resampler
from voxzoo.codecs.higgs import Higgs
from voxzoo.codecs.xcodec import Xcodec, decoder_blocks, encoder_blocks

NAME = "higgs-audio-v2"


@pytest.fixture
def resampling(transformers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`transformers`, whose tokenizer is given the one function of torchaudio it calls."""
    import transformers.models.higgs_audio_v2_tokenizer.modeling_higgs_audio_v2_tokenizer as modeling

    functional = SimpleNamespace(resample=resample)
    monkeypatch.setattr(modeling, "torchaudio", SimpleNamespace(functional=functional))
    return transformers


def test_codes_and_sound_are_the_published_ones(tmp_path: Path, resampling: ModuleType) -> None:
    c = settings(NAME)
    theirs = reference(resampling, c)
    model = loaded(NAME, tmp_path, theirs)
    assert model.config == c.to_dict()
    used = [check_parity(theirs, model, sound(n, 2400, n)) for n in (1, 959, 960, 961, 2401, 37 * 2400)]
    assert min(used[-1]) > 10


@pytest.mark.slow
def test_codes_and_sound_are_the_published_ones_at_real_size(tmp_path: Path, resampling: ModuleType) -> None:
    theirs = reference(resampling, settings(NAME, real=True))
    model = loaded(NAME, tmp_path, theirs)
    assert model.facts == voxzoo.entry(NAME).facts
    assert model.config == settings(NAME, real=True).to_dict()
    for n in (1, 959, 961, 24001, 5 * 24000):
        check_parity(theirs, model, sound(n, 24000, n), ties=True)


def test_a_published_folder_is_recognised(tmp_path: Path, resampling: ModuleType) -> None:
    model = loaded(NAME, tmp_path, reference(resampling, settings(NAME)))
    assert Higgs.recognises(tmp_path)
    assert not Xcodec.recognises(tmp_path)
    assert voxzoo.load(tmp_path).fingerprint == model.fingerprint
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (({"model_type": "xcodec"}, "of a 'xcodec' model"), ({"codebook_dim": None}, "codebook_dim None")):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(WeightsError, match=message):
            voxzoo.load(NAME, weights=tmp_path)


@pytest.mark.parametrize("rates", [(24000, 16000), (16000, 24000), (2400, 1600)])
def test_the_resampler_is_torchaudios(rates: tuple[int, int]) -> None:
    for samples in (1, 2, 3, 961, 4800):
        wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
        ours, theirs = Resampler(*rates)(wav), resample(wav, *rates)
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_facts_at_real_size() -> None:
    item = voxzoo.entry(NAME)
    assert item.facts.bitrate == 2000
    c = settings(NAME, real=True)
    with torch.device("meta"):
        network = Higgs.build(item.config)
    heard, made = encoder_blocks(c, Higgs.window), decoder_blocks(c, network)
    assert (c.thinning, c.hop) == (2, 960)
    assert (made.left, made.right) == (10, 10)
    assert (heard.left, heard.right, heard.most) == (250, 100, 1150)
    assert item.facts.latency == pytest.approx((1500 + 1 + 10) * 960 / 24000)
