"""The unit HiFi-GAN against transformers' SeamlessM4TCodeHifiGan; its durations, speakers and published form; bad input."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from voxzoo.core.decoder import load_decoder
from voxzoo.core.errors import ModelError, TokensError, WeightsError
from voxzoo.decoders.unit_hifigan import UnitHiFiGAN

CONFIG: dict[str, Any] = {
    "resblock": "1", "upsample_rates": [5, 4, 4, 2, 2], "upsample_kernel_sizes": [11, 8, 8, 4, 4],
    "upsample_initial_channel": 32, "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "num_embeddings": 20, "embedding_dim": 8, "model_in_dim": 8, "sampling_rate": 16000, "code_hop_size": 320,
    "dur_predictor_params": {
        "encoder_embed_dim": 8, "var_pred_hidden_dim": 8, "var_pred_kernel_size": 3, "var_pred_dropout": 0.5,
    },
}  # fmt: skip


@pytest.fixture
def theirs(transformers: ModuleType) -> nn.Module:
    """Random weights; one channel of language that says nothing, since the published form has none."""
    modeling = importlib.import_module("transformers.models.seamless_m4t.modeling_seamless_m4t")
    config = transformers.SeamlessM4TConfig(
        unit_embed_dim=8, unit_hifi_gan_vocab_size=20, lang_embed_dim=1, spkr_embed_dim=8, vocoder_num_spkrs=3,
        vocoder_num_langs=1, upsample_initial_channel=32, t2u_pad_token_id=19,
    )  # fmt: skip
    torch.manual_seed(0)
    model: nn.Module = modeling.SeamlessM4TCodeHifiGan(config).eval()
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5 if parameter.ndim == 3 else 0.5)
        if name == "dur_predictor.proj.bias":
            nn.init.constant_(parameter, 1.2)
    nn.init.zeros_(model.language_embedding.weight)
    return model


def published(folder: Path, theirs: nn.Module, speakers: bool, norm: bool = True) -> Path:
    """The same weights in the form that fairseq publishes, under weight norm."""
    state = {}
    for key, value in theirs.state_dict().items():
        key = key.removeprefix("hifi_gan.").replace("upsampler.", "ups.").replace("unit_embedding", "dict")
        key = key.replace("speaker_embedding", "spkr")
        if key.startswith(("language", "spkr")) and not (speakers and key.startswith("spkr")):
            continue
        if key.startswith("dur_predictor.conv"):
            key = key.replace(".weight", ".0.weight").replace(".bias", ".0.bias")
        elif key == "conv_pre.weight":
            value = value[:, 1:] if speakers else value[:, 1:9]
        if norm and value.ndim == 3 and not key.startswith("dur"):
            state[key + "_g"] = value.norm(dim=(1, 2), keepdim=True)
            key = key + "_v"
        state[key] = value
    folder.mkdir(exist_ok=True)
    extra = {"multispkr": "_", "num_speakers": 3} if speakers else {}
    (folder / "config.json").write_text(json.dumps(CONFIG | extra))
    torch.save({"generator": state}, folder / "g_00500000")
    return folder


@pytest.fixture
def vocoder(theirs: nn.Module, tmp_path: Path) -> UnitHiFiGAN:
    found = load_decoder("unit-hifigan-mhubert", weights=published(tmp_path / "one", theirs, False))
    assert isinstance(found, UnitHiFiGAN)
    return found


@pytest.mark.parametrize("units", [[7], [1, 2], [3, 1, 4, 1, 5, 9, 2, 6]])
@pytest.mark.parametrize("speaker", [0, 2])
@torch.no_grad()
def test_durations_and_sound_of_transformers(theirs: nn.Module, tmp_path: Path, units: list[int], speaker: int) -> None:
    vocoder = load_decoder(published(tmp_path / "many", theirs, True))
    assert isinstance(vocoder, UnitHiFiGAN)
    want, _ = theirs(torch.tensor([units]), torch.tensor([[speaker]]), torch.tensor([[0]]))
    audio = vocoder.synthesize(units, speaker=speaker)
    assert len(audio) == want.shape[-1]
    assert want.std() > 0.02
    np.testing.assert_allclose(audio.samples, want.flatten(), atol=1e-4)
    log = theirs.dur_predictor(theirs.unit_embedding(torch.tensor([units])))
    durations = torch.expm1(log).round().long().clamp(min=1)[0]
    assert torch.equal(vocoder.network.durations(torch.tensor(units)), durations)


def test_durations_may_be_given_and_vary(vocoder: UnitHiFiGAN) -> None:
    units = torch.tensor([3, 1, 4, 1, 5])
    predicted = vocoder.network.durations(units)
    assert len(set(predicted.tolist())) > 1
    want = vocoder.synthesize(units).samples
    assert len(want) == 320 * int(predicted.sum())
    for same in (
        vocoder.synthesize(units, durations=predicted),
        vocoder.synthesize(units.repeat_interleave(predicted), durations="one"),
    ):
        assert np.array_equal(same.samples, want)


def test_long_clips_go_through_exact_windows(vocoder: UnitHiFiGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    units = torch.randint(0, 20, (100,), generator=torch.Generator().manual_seed(0))
    want = vocoder.synthesize(units, durations="one").samples
    monkeypatch.setattr("voxzoo.core.vocoder.WINDOW", 20)
    np.testing.assert_allclose(vocoder.synthesize(units, durations="one").samples, want, atol=1e-5)


def test_checkpoints_without_weight_norm_load_too(theirs: nn.Module, vocoder: UnitHiFiGAN, tmp_path: Path) -> None:
    folded = load_decoder(published(tmp_path / "folded", theirs, False, norm=False))
    np.testing.assert_allclose(folded.synthesize([1, 2, 3]).samples, vocoder.synthesize([1, 2, 3]).samples, atol=1e-4)


@pytest.mark.parametrize(("units", "how", "words"), [
    ([], {}, "at least one"),
    ([20], {}, "0 to 19"),
    ([[1], [2]], {}, "K from 1 to 1"),
    ([1, 2], {"durations": [1]}, "2 whole numbers"),
    ([1, 2], {"durations": [1, 0]}, "above 0"),
    ([1, 2], {"durations": "long"}, "'predict'"),
])  # fmt: skip
def test_what_units_can_be(vocoder: UnitHiFiGAN, units: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(TokensError, match=words):
        vocoder.synthesize(units, **how)


def test_speakers_that_are_not_known(vocoder: UnitHiFiGAN, theirs: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="one voice"):
        vocoder.synthesize([1], speaker=0)
    many = load_decoder(published(tmp_path / "many", theirs, True))
    with pytest.raises(ModelError, match="0 to 2"):
        many.synthesize([1], speaker=3)


def test_forms_that_are_not_read(theirs: nn.Module, tmp_path: Path) -> None:
    folder = published(tmp_path / "one", theirs, False)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"f0": True}))
    with pytest.raises(ModelError, match="pitch"):
        load_decoder(folder)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "embedding_dim"}))
    with pytest.raises(WeightsError, match="embedding_dim"):
        load_decoder(folder)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "dur_predictor_params"}))
    with pytest.raises(WeightsError, match="dur_predictor"):
        load_decoder(folder)
