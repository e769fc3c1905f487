"""X-Codec against `transformers`' model on random weights; its published form, windows and laws. The backbone's own helper."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from xcodec_models import check_parity, loaded, reference, settings, sound

import voxzoo
from voxzoo import MissingExtraError, ModelError, Tokens, WeightsError
from voxzoo.codecs.xcodec import Xcodec, decoder_blocks, encoder_blocks
from voxzoo.core import ssl
from voxzoo.core.loading import random_model

NAMES = [name for name in voxzoo.models() if name.startswith("xcodec-")]
HUBERT, WAVLM = "xcodec-hubert-librispeech", "xcodec-wavlm-mls"
ODD = {
    "downsampling_ratios": [5, 4, 4], "upsampling_ratios": [4, 4, 5], "channel_ratios": [2, 1], "block_dilations": [1, 3],
    "unit_kernel_size": 5, "kernel_size": 5,
}  # fmt: skip
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {"hubert": (HUBERT, {}), "wavlm": (WAVLM, {}), "odd": (HUBERT, ODD)}


# ---------------------------------------------------------------- against the published model
@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_sound_are_the_published_ones(shape: str, tmp_path: Path, transformers: ModuleType) -> None:
    name, changes = SHAPES[shape]
    c = settings(name, **changes)
    theirs = reference(transformers, c)
    model = loaded(name, tmp_path, theirs)
    assert model.config == c.to_dict()
    used = [check_parity(theirs, model, sound(n, 1600, n)) for n in (1, 79, 80, 81, 1601, 37 * 1600)]
    assert min(used[-1]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", [HUBERT, WAVLM])
def test_codes_and_sound_are_the_published_ones_at_real_size(name: str, tmp_path: Path, transformers: ModuleType) -> None:
    theirs = reference(transformers, settings(name, real=True))
    model = loaded(name, tmp_path, theirs)
    assert model.facts == voxzoo.entry(name).facts
    assert model.config == settings(name, real=True).to_dict()
    for n in (1, 319, 321, 16001, 5 * 16000):
        check_parity(theirs, model, sound(n, 16000, n), ties=True)


# ---------------------------------------------------------------- published forms
def test_weight_norm_in_any_form_is_multiplied_in(tmp_path: Path, transformers: ModuleType) -> None:
    theirs = reference(transformers, settings(HUBERT))
    plain = loaded(HUBERT, tmp_path / "plain", theirs)
    theirs.apply_weight_norm()
    today = loaded(HUBERT, tmp_path / "today", theirs)
    state = load_file(tmp_path / "today" / "model.safetensors")
    assert sum(key.endswith("original0") for key in state) > 40
    old = {"original0": "weight_g", "original1": "weight_v"}
    renamed = {key.replace(f"parametrizations.weight.{key[-9:]}", old.get(key[-9:], "")): v for key, v in state.items()}
    save_file(renamed, tmp_path / "today" / "model.safetensors")
    for model in (today, voxzoo.load(HUBERT, weights=tmp_path / "today")):
        for a, b in zip(model.network.state_dict().values(), plain.network.state_dict().values(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_a_published_folder_is_recognised_and_our_own_loads(tmp_path: Path, transformers: ModuleType) -> None:
    model = loaded(HUBERT, tmp_path / "theirs", reference(transformers, settings(HUBERT)))
    assert Xcodec.recognises(tmp_path / "theirs")
    assert voxzoo.load(tmp_path / "theirs").fingerprint == model.fingerprint
    model.save(tmp_path / "ours")
    assert not Xcodec.recognises(tmp_path / "ours")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "xcodec", "codec_encoder_hidden_size": 48}')  # X-Codec2's
    assert not Xcodec.recognises(tmp_path / "other")
    assert voxzoo.load(tmp_path / "ours").fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "dac"}, "of a 'dac' model; expected 'xcodec'"),
        ({"acoustic_model_config": {"model_type": "mimi"}}, "acoustic model is a 'mimi'"),
        ({"acoustic_model_config": None}, "no xcodec that is known"),
        ({"semantic_model_config": {"model_type": "whisper"}}, "model_type 'whisper'"),
        ({"target_bandwidths": []}, "no xcodec that is known"),
        ({"sample_rate": "16000"}, "sample_rate '16000'"),
        ({"codebook_size": 2.5}, "codebook_size 2.5"),
        ({"strides": [1]}, "as many strides"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path, transformers: ModuleType
) -> None:
    reference(transformers, settings(HUBERT)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=message):
        voxzoo.load(HUBERT, weights=tmp_path)


def test_missing_and_strange_tensors_are_named(tmp_path: Path, transformers: ModuleType) -> None:
    loaded(HUBERT, tmp_path, reference(transformers, settings(HUBERT)))
    state = load_file(tmp_path / "model.safetensors")
    save_file({key: value for key, value in state.items() if key != "fc2.bias"}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"fc2\.bias"):
        voxzoo.load(HUBERT, weights=tmp_path)
    save_file({**state, "fc3.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"fc3\.bias"):
        voxzoo.load(HUBERT, weights=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "no setting width"),
        ({"num_quantizers": 0}, "num_quantizers 0"),
        ({"strides": 1}, "strides 1"),
        ({"projected": "no"}, "projected 'no'"),
        ({"semantic": 7}, "model_type None"),
        ({"upsampling_ratios": [2]}, "same product"),
        ({"semantic": {"model_type": "hubert", "num_attention_heads": 5, "hidden_size": 16}}, "no Hubert has this"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    item = voxzoo.entry(HUBERT)
    with pytest.raises(ModelError, match=message):
        random_model(item, {**item.config, **item.tiny, **change})


# ---------------------------------------------------------------- laws
@pytest.mark.parametrize("name", NAMES)
def test_facts_at_real_size(name: str) -> None:
    item = voxzoo.entry(name)
    assert item.facts.bitrate == 4000
    assert [item.facts.bitrate_of(k) for k in (1, 2, 3, 4)] == [500, 1000, 1500, 2000]
    c = settings(name, real=True)
    with torch.device("meta"):
        network = Xcodec.build(item.config)
    heard, made = encoder_blocks(c, Xcodec.window), decoder_blocks(c, network)
    assert (made.left, made.right) == (10, 10)
    assert (heard.left, heard.right, heard.most) == (500, 200, 2300)
    assert item.facts.latency == pytest.approx((3000 + 1 + 10) * 320 / 16000)


def test_random_models_use_many_codes() -> None:
    item = voxzoo.entry(HUBERT)
    codes = random_model(item, {**item.config, **item.tiny}).encode(sound(37 * 1600, 1600)).codes
    assert min(len(c.unique()) for c in codes) > 5


@pytest.mark.parametrize("step", [777, 40_000])
def test_long_clips_are_encoded_the_same_however_they_come(step: int) -> None:
    item = voxzoo.entry(HUBERT)
    model = random_model(item, {**item.config, **item.tiny})
    for seconds, exact in ((59.99, True), (71.3, False), (127.3, False)):
        clip = sound(int(seconds * 1600), 1600)
        with model.stream_encoder(streams=3) as encoder:
            parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
        joined, tokens = Tokens.concatenate(parts), model.encode(clip, streams=3)
        assert all(torch.equal(a, b) for a, b in zip(joined.codes, tokens.codes, strict=True))
        wav = torch.zeros(1, model._padded(len(clip)))
        wav[0, : len(clip)] = torch.from_numpy(clip.samples)
        with torch.no_grad():
            whole = model._encode(wav, 3).codes
        assert whole[0].shape == tokens.codes[0].shape
        assert exact == all(torch.equal(a, b) for a, b in zip(whole, tokens.codes, strict=True))


def test_decoding_in_windows_is_exact() -> None:
    item = voxzoo.entry(HUBERT)
    model = random_model(item, {**item.config, **item.tiny})
    tokens = model.encode(sound(55 * 1600, 1600))
    with torch.no_grad():
        whole = model.network.decode(list(tokens.codes))[0].numpy()
    clip = tokens[0]
    with model.stream_decoder() as decoder:
        wav = np.concatenate([decoder.push(clip).samples, decoder.finish().samples])
    assert np.abs(wav - whole[: len(wav)]).max() <= 1e-5


# ---------------------------------------------------------------- the backbone
def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers.models.hubert.configuration_hubert", None)
    with pytest.raises(MissingExtraError, match=r"voxzoo\[ssl\]"):
        ssl.backbone({"model_type": "hubert"})


def test_a_torchaudio_that_does_not_import_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('libraries of another torch')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with ssl._torchaudio_or_none():
        import torchaudio
    assert "torchaudio" not in sys.modules
    with pytest.raises(OSError, match="another torch"):
        import torchaudio  # noqa: F401


def test_weight_norm_along_either_axis() -> None:
    for axis in (0, 2):
        conv = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(4, 6, 5), dim=axis)
        conv.parametrizations.weight.original0.data.mul_(2)
        plain = ssl.without_weight_norm({f"a.{key}": value for key, value in conv.state_dict().items()})
        assert set(plain) == {"a.weight", "a.bias"}
        assert torch.allclose(plain["a.weight"], conv.weight)
