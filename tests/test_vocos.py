"""Vocos against the published package (a golden file), its mel against librosa, its published forms, streams and bad input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import voxzoo
from voxzoo import Audio
from voxzoo.core.decoder import load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import AudioError, ModelError, TokensError, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.core.registry import entry
from voxzoo.core.vocoder import Vocoder
from voxzoo.decoders.vocos import Vocos, VocosCodes

GOLDEN = load_file(Path(__file__).parent / "golden" / "vocos.safetensors")
MEL_YAML = """\
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {sample_rate: 24000, n_fft: 64, hop_length: 16, n_mels: 10, padding: center}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 10, dim: 16, intermediate_dim: 24, num_layers: 2}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 16, n_fft: 64, hop_length: 16, padding: center}
"""
CODES_YAML = """\
feature_extractor:
  class_path: vocos.feature_extractors.EncodecFeatures
  init_args: {encodec_model: encodec_24khz, bandwidths: [1.5, 3.0]}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 4, dim: 16, intermediate_dim: 24, num_layers: 2, adanorm_num_embeddings: 2}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 16, n_fft: 80, hop_length: 20, padding: same}
"""


def published(folder: Path, kind: str, text: str) -> Path:
    """A folder as on the hub, of the golden file's weights."""
    parts = ("backbone.", "head.", "feature_extractor.")
    state = {key.removeprefix(f"{kind}."): value for key, value in GOLDEN.items() if key.startswith(f"{kind}.")}
    state = {key: value for key, value in state.items() if key.startswith(parts)}
    if kind == "mel":
        state["feature_extractor.mel_spec.spectrogram.window"] = torch.hann_window(64)
        state["feature_extractor.mel_spec.mel_scale.fb"] = torch.zeros(33, 10)
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.yaml").write_text(text)
    return folder


@pytest.fixture
def mel_vocoder(tmp_path: Path) -> Vocos:
    vocoder = load_decoder("vocos-mel-24k", weights=published(tmp_path / "mel", "mel", MEL_YAML))
    assert isinstance(vocoder, Vocos)
    return vocoder


@pytest.fixture
def code_vocoder(tmp_path: Path) -> VocosCodes:
    vocoder = load_decoder("vocos-encodec-24k", weights=published(tmp_path / "codes", "codes", CODES_YAML))
    assert isinstance(vocoder, VocosCodes)
    return vocoder


@pytest.mark.parametrize("count", [2, 3, 40])
def test_sound_of_the_package(mel_vocoder: Vocos, count: int) -> None:
    want = GOLDEN[f"mel.sound.{count}"].numpy()
    assert want.std() > 0.01
    audio = mel_vocoder.synthesize(GOLDEN[f"mel.frames.{count}"])
    assert audio.sample_rate == 24000
    assert len(audio) == len(want) == mel_vocoder.samples(count) == 16 * (count - 1)
    np.testing.assert_allclose(audio.samples, want, atol=1e-4)


@pytest.mark.parametrize("streams", [2, 4])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_sound_of_the_packages_codes(code_vocoder: VocosCodes, count: int, streams: int) -> None:
    codes = GOLDEN[f"codes.codes.{count}"][:streams]
    audio = code_vocoder.synthesize(codes)
    want = GOLDEN[f"codes.sound.{count}.{streams}"].numpy()
    assert len(audio) == 20 * count
    np.testing.assert_allclose(audio.samples, want, atol=1e-4)
    assert np.array_equal(code_vocoder.synthesize(codes.tolist()).samples, audio.samples)


def test_the_mel_is_that_of_the_package() -> None:
    front = Vocos.front_end(decoder_entry("vocos-mel-24k").config)
    wav = 0.1 * np.random.default_rng(0).standard_normal(24000).astype(np.float32)
    want = librosa.feature.melspectrogram(
        y=wav, sr=24000, n_fft=1024, hop_length=256, n_mels=100, power=1, htk=True, norm=None, pad_mode="reflect"
    )
    got = front(torch.from_numpy(wav)[None])[0]
    assert got.shape == (100, front.frames(24000))
    np.testing.assert_allclose(got, np.log(want.clip(1e-7)), atol=1e-3)


@pytest.mark.parametrize(("kind", "text", "cls"), [("mel", MEL_YAML, Vocos), ("codes", CODES_YAML, VocosCodes)])
def test_folders_are_recognised_and_saved(kind: str, text: str, cls: type, tmp_path: Path) -> None:
    vocoder = load_decoder(published(tmp_path / kind, kind, text))
    assert type(vocoder) is cls
    assert "not known" in vocoder.facts.weights_licence
    vocoder.save(tmp_path / "own")
    again = load_decoder(tmp_path / "own")
    assert type(again) is cls
    assert again.fingerprint == vocoder.fingerprint


@pytest.mark.parametrize("cuts", [[1] * 40, [7, 30, 3], [40]])
def test_streaming_equals_offline(mel_vocoder: Vocos, cuts: list[int]) -> None:
    frames = GOLDEN["mel.frames.40"]
    want = mel_vocoder.synthesize(frames).samples
    with mel_vocoder.stream() as stream:
        parts = [stream.push(part).samples for part in frames.split(cuts, 1)]
        parts.append(stream.finish().samples)
    got = np.concatenate(parts)
    assert len(got) == len(want)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_long_clips_go_through_exact_windows(mel_vocoder: Vocos, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.randn(10, 100, generator=torch.Generator().manual_seed(0))
    want = mel_vocoder.synthesize(frames).samples
    monkeypatch.setattr("voxzoo.core.vocoder.WINDOW", 17)
    np.testing.assert_allclose(mel_vocoder.synthesize(frames).samples, want, atol=1e-5)


def test_tokens_of_encodec() -> None:
    codec = random_model(entry("encodec-24k"), {**entry("encodec-24k").config, **entry("encodec-24k").tiny})
    item = decoder_entry("vocos-encodec-24k")
    sizes = {"sample_rate": 2400, "hop": 8, "fft": 32, "codes": 16, "streams": 4, "conditions": 2}  # the small codec's
    vocoder = random_decoder(item, {**item.config, **item.tiny, **sizes})
    assert vocoder.facts.frame_rate == codec.facts.frame_rates[0] == Fraction(300)
    wav = 0.1 * np.random.default_rng(0).standard_normal((2, 5001)).astype(np.float32)
    tokens = codec.encode([Audio(wav[0], 2400), Audio(wav[1, :3000], 2400)], streams=2)
    audios = vocoder.synthesize(tokens)
    assert [len(audio) for audio in audios] == [5001, 3000]
    alone = vocoder.synthesize(codec.encode(Audio(wav[1, :3000], 2400), streams=2))
    np.testing.assert_allclose(alone.samples, audios[1].samples, atol=1e-5)
    with pytest.raises(TokensError, match="run at 300 Hz"):
        random_decoder(item, {**item.config, **item.tiny, "codes": 16}).synthesize(tokens)


def test_what_codes_can_be(code_vocoder: VocosCodes) -> None:
    for codes, words in [
        ([[0, 1], [2, 1024]], "0 to 1023"),
        ([[-1], [0]], "-1"),
        ([[], []], "at least one"),
        ([[0.5], [1.0]], "whole numbers"),
        ([[0]] * 3, "2, 4"),
        ([[0]] * 5, "1 to 4"),
        ("codes", "str"),
    ]:
        with pytest.raises(TokensError, match=words):
            code_vocoder.synthesize(codes)
    tokens = voxzoo.load("vox-rvq-16k").encode(Audio(np.zeros(3200, np.float32), 16000), streams=2)
    with pytest.raises(TokensError, match="vox-rvq-16k"):
        code_vocoder.synthesize(tokens)


def test_one_frame_of_a_centred_mel_is_no_sound(mel_vocoder: Vocos) -> None:
    with pytest.raises(ModelError, match="at least 2"):
        mel_vocoder.synthesize(torch.zeros(10, 1))
    with pytest.raises(AudioError, match="too few"):
        mel_vocoder.mel(Audio(np.zeros(0, np.float32), 24000))


@pytest.mark.parametrize(("old", "new", "words"), [
    ("VocosBackbone", "VocosResNetBackbone", "VocosResNetBackbone"),
    ("dim: 16, inter", "inter", "lacks 'dim'"),
    ("hop_length: 16, n_mels", "hop_length: 8, n_mels", "hop"),
    ("backbone:", "[", "YAML"),
])  # fmt: skip
def test_configurations_of_something_else(old: str, new: str, words: str, tmp_path: Path) -> None:
    folder = published(tmp_path / "mel", "mel", MEL_YAML.replace(old, new))
    with pytest.raises((WeightsError, ModelError), match=words):
        load_decoder("vocos-mel-24k", weights=folder)


def test_facts_are_the_networks() -> None:
    for name in ("vocos-mel-24k", "vocos-encodec-24k"):
        item = decoder_entry(name)
        assert random_decoder(item, item.config).facts == item.facts


def test_the_context_is_what_is_needed(mel_vocoder: Vocos) -> None:
    assert isinstance(mel_vocoder, Vocoder)
    before, after = mel_vocoder.facts.context or (0, 0)
    frames = torch.zeros(1, 10, 80, requires_grad=True)
    mel_vocoder.network(frames)[0, 40 * 16 : 41 * 16].sum().backward()
    assert frames.grad is not None
    seen = frames.grad.abs().sum((0, 1)).nonzero().flatten()
    assert (40 - int(seen.min()), int(seen.max()) - 40) == (before, after)
