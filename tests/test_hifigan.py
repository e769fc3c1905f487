"""HiFi-GAN against a plain second implementation and transformers' SpeechT5HifiGan; the interface of vocoders; bad input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor, nn
from torch.nn import functional as F

from voxzoo import Audio
from voxzoo.core.decoder import load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry, decoders
from voxzoo.core.errors import AudioError, ModelError, UnknownModelError, WeightsError
from voxzoo.core.mel import LogMel, Mel
from voxzoo.core.vocoder import Vocoder
from voxzoo.core.weights import bundled_folder
from voxzoo.decoders._hifigan_config import HiFiGANConfig
from voxzoo.decoders.hifigan import HiFiGAN

DILATIONS = [[1, 3, 5]] * 3
PUBLISHED: dict[str, dict[str, Any]] = {
    "v1": {"resblock": "1", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
           "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": DILATIONS},
    "v3": {"resblock": "2", "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8],
           "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]]},
    "24k": {"resblock": "1", "upsample_rates": [8, 5, 4, 3], "upsample_kernel_sizes": [16, 11, 8, 7],
            "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": DILATIONS},
}  # fmt: skip
MELS = {
    "v1": {"sampling_rate": 22050, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "num_mels": 80, "fmin": 0, "fmax": 8000},
    "v3": {"sampling_rate": 16000, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "num_mels": 40, "fmin": 0, "fmax": None},
    "24k": {
        "sampling_rate": 24000,
        "n_fft": 2048,
        "hop_size": 480,
        "win_size": 1200,
        "num_mels": 80,
        "fmin": 20,
        "fmax": 12000,
    },
}


def published(folder: Path, form: str, channels: int = 16) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Writes a folder as the published code trains one, of random weights; gives its configuration and tensors."""
    data = {**PUBLISHED[form], **MELS[form], "upsample_initial_channel": channels, "batch_size": 16, "fmax_for_loss": None}
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def layer(name: str, *shape: int, outputs: int) -> None:
        direction = torch.randn(*shape, generator=generator)
        state[f"{name}.weight_g"] = 1.3 + 0.5 * torch.rand(shape[0], 1, 1, generator=generator)
        state[f"{name}.weight_v"] = direction
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator)

    layer("conv_pre", channels, MELS[form]["num_mels"], 7, outputs=channels)
    width, n = channels, 0
    for i, kernel in enumerate(data["upsample_kernel_sizes"]):
        layer(f"ups.{i}", width, width // 2, kernel, outputs=width // 2)
        width //= 2
        for size, dilations in zip(data["resblock_kernel_sizes"], data["resblock_dilation_sizes"], strict=True):
            for part in ("convs1", "convs2") if data["resblock"] == "1" else ("convs",):
                for j in range(len(dilations)):
                    layer(f"resblocks.{n}.{part}.{j}", width, width, size, outputs=width)
            n += 1
    layer("conv_post", 1, width, 7, outputs=1)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(data))
    torch.save({"generator": state}, folder / "g_00000002")
    return data, state


def weight(state: dict[str, Tensor], name: str) -> Tensor:
    """Weight norm over all but the first axis, as torch's hook had it."""
    direction = state[f"{name}.weight_v"]
    return state[f"{name}.weight_g"] * direction / direction.norm(dim=(1, 2), keepdim=True)


def plain(data: dict[str, Any], state: dict[str, Tensor], mel: Tensor) -> Tensor:
    """The published forward pass, written down once more: mel (B, M, F) -> (B, T)."""

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        w = weight(state, name)
        return F.conv1d(x, w, state[f"{name}.bias"], dilation=dilation, padding=dilation * (w.shape[2] - 1) // 2)

    x, count = conv("conv_pre", mel), len(data["resblock_kernel_sizes"])
    for i, (rate, kernel) in enumerate(zip(data["upsample_rates"], data["upsample_kernel_sizes"], strict=True)):
        x = F.leaky_relu(x, 0.1)
        x = F.conv_transpose1d(x, weight(state, f"ups.{i}"), state[f"ups.{i}.bias"], rate, (kernel - rate) // 2)
        branches = []
        for j, dilations in enumerate(data["resblock_dilation_sizes"]):
            y, block = x, f"resblocks.{i * count + j}"
            for k, dilation in enumerate(dilations):
                if data["resblock"] == "1":
                    z = conv(f"{block}.convs1.{k}", F.leaky_relu(y, 0.1), dilation)
                    y = y + conv(f"{block}.convs2.{k}", F.leaky_relu(z, 0.1))
                else:
                    y = y + conv(f"{block}.convs.{k}", F.leaky_relu(y, 0.1), dilation)
            branches.append(y)
        x = torch.stack(branches).mean(0)
    return torch.tanh(conv("conv_post", F.leaky_relu(x)))[:, 0]


@pytest.fixture
def vocoder(tmp_path: Path) -> Vocoder:
    """A small V1."""
    published(tmp_path / "v1", "v1")
    found = load_decoder("hifigan-v1", weights=tmp_path / "v1")
    assert isinstance(found, Vocoder)
    return found


def noise(bands: int, frames: int, clips: int = 1) -> Tensor:
    return torch.randn(clips, bands, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 2, 30])
@pytest.mark.parametrize("form", PUBLISHED)
def test_sound_of_a_plain_second_implementation(form: str, frames: int, tmp_path: Path) -> None:
    data, state = published(tmp_path / form, form)
    vocoder = load_decoder(tmp_path / form)
    assert type(vocoder) is HiFiGAN
    assert vocoder.front.sample_rate == vocoder.facts.sample_rate == MELS[form]["sampling_rate"]
    mel = noise(MELS[form]["num_mels"], frames, 2)
    want = plain(data, state, mel).numpy()
    assert want.std() > 0.02
    audios = vocoder.synthesize(mel)
    assert [len(audio) for audio in audios] == [frames * MELS[form]["hop_size"]] * 2
    for audio, row in zip(audios, want, strict=True):
        np.testing.assert_allclose(audio.samples, row, atol=1e-4)


@pytest.mark.parametrize("form", MELS)
def test_the_mel_is_that_of_the_published_code(form: str, tmp_path: Path) -> None:
    published(tmp_path / form, form)
    vocoder, m = load_decoder(tmp_path / form), MELS[form]
    wav = 0.2 * np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    edge = (m["n_fft"] - m["hop_size"]) // 2
    padded = np.pad(wav, edge, mode="reflect")
    spectrum = np.abs(librosa.stft(padded, n_fft=m["n_fft"], hop_length=m["hop_size"], win_length=m["win_size"], center=False))
    bands = librosa.filters.mel(sr=m["sampling_rate"], n_fft=m["n_fft"], n_mels=m["num_mels"], fmin=m["fmin"], fmax=m["fmax"])
    want = np.log((bands @ np.sqrt(spectrum**2 + 1e-9)).clip(1e-5))
    got = vocoder.mel(Audio(wav, m["sampling_rate"])).frames[0]
    assert got.shape[1] == 9000 // m["hop_size"]
    np.testing.assert_allclose(got, want[:, : got.shape[1]], atol=1e-4)


@pytest.mark.parametrize("normalise", [True, False])
def test_sound_and_mel_of_speecht5(normalise: bool, tmp_path: Path, transformers: ModuleType) -> None:
    torch.manual_seed(0)
    theirs = transformers.SpeechT5HifiGan(
        transformers.SpeechT5HifiGanConfig(upsample_initial_channel=32, normalize_before=normalise)
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5 if parameter.ndim == 3 else 0.1)
    theirs.mean.normal_()
    theirs.scale.uniform_(0.5, 2)
    theirs.save_pretrained(tmp_path)
    vocoder = load_decoder("speecht5-hifigan", weights=tmp_path)
    mel = noise(80, 25)
    with torch.no_grad():
        want = theirs(mel.transpose(1, 2))[0]
    assert want.std() > 0.02
    np.testing.assert_allclose(vocoder.synthesize(mel).samples, want, atol=1e-4)
    wav = 0.2 * np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    reference = transformers.SpeechT5FeatureExtractor()(audio_target=wav, sampling_rate=16000, return_tensors="pt")[
        "input_values"
    ][0]
    got = vocoder.mel(Audio(wav, 16000)).frames[0].T
    assert got.shape == reference.shape
    torch.testing.assert_close(got, reference, rtol=0, atol=1e-4)
    assert type(load_decoder(tmp_path)) is HiFiGAN


@pytest.mark.parametrize(("form", "context"), [("v1", 13), ("v3", 11)])
def test_the_context_is_what_the_sound_depends_on(form: str, context: int, tmp_path: Path) -> None:
    published(tmp_path / form, form)
    vocoder = load_decoder(tmp_path / form)
    assert vocoder.facts.context == (context, context)
    hop = vocoder.front.hop
    mel = noise(vocoder.front.bands, 60).requires_grad_()
    vocoder.network(mel)[0, 30 * hop : 31 * hop].square().sum().backward()
    assert mel.grad is not None
    seen = mel.grad.abs().sum((0, 1)).nonzero().flatten()
    assert (30 - int(seen.min()), int(seen.max()) - 30) == (context, context)


@pytest.mark.parametrize("cuts", [[1] * 40, [2, 33, 5], [40]])
def test_streaming_equals_offline(vocoder: Vocoder, cuts: list[int]) -> None:
    mel = noise(80, 40)[0]
    want = vocoder.synthesize(mel).samples
    with vocoder.stream() as stream:
        parts = [stream.push(part).samples for part in mel.split(cuts, 1)]
        parts.append(stream.finish().samples)
    assert sum(map(len, parts[:-1])) == 256 * (40 - 13)
    np.testing.assert_allclose(np.concatenate(parts), want, atol=1e-5)


def test_long_clips_go_through_exact_windows(vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    mel = noise(80, 90, 2)
    want = vocoder.synthesize(mel)
    monkeypatch.setattr("voxzoo.core.vocoder.WINDOW", 20)
    for audio, whole in zip(vocoder.synthesize(mel), want, strict=True):
        np.testing.assert_allclose(audio.samples, whole.samples, atol=1e-5)


def test_copy_synthesis_of_any_rate(vocoder: Vocoder) -> None:
    mel = vocoder.mel(Audio(0.1 * np.ones(8000, np.float32), 8000))
    assert mel.front == vocoder.front
    assert mel.frames.shape == (1, 80, 22050 // 256)
    assert vocoder.synthesize(mel).sample_rate == 22050


def test_saved_decoders_load_again(vocoder: Vocoder, tmp_path: Path) -> None:
    vocoder.save(tmp_path / "own")
    again = load_decoder(tmp_path / "own")
    assert again.fingerprint == vocoder.fingerprint
    assert again.facts == vocoder.facts


# bad input


def test_mels_that_are_not_this_vocoders(vocoder: Vocoder) -> None:
    other = LogMel(16000, 1024, 160, 1024)
    with pytest.raises(ModelError, match="sample_rate 16000, not 22050, hop 160, not 256"):
        vocoder.synthesize(Mel(noise(80, 5), other))
    for mel, words in [
        (noise(40, 5), "80 bands"),
        (noise(80, 5)[0].T, "80 bands"),
        (torch.zeros(80), "80 bands"),
        (torch.zeros(80, 0), "at least 1"),
        (torch.full((80, 3), float("nan")), "NaN"),
        ("mel", "str"),
    ]:
        with pytest.raises(ModelError, match=words):
            vocoder.synthesize(mel)
    with pytest.raises(AudioError, match="too few"):
        vocoder.mel(Audio(np.zeros(200, np.float32), 22050))


def test_streams_take_one_clip_and_end_once(vocoder: Vocoder) -> None:
    stream = vocoder.stream()
    with pytest.raises(ModelError, match="one clip"):
        stream.push(noise(80, 2, 2))
    assert len(stream.push(torch.zeros(80, 0))) == 0
    assert len(stream.finish()) == 0
    with pytest.raises(ModelError, match="finished"):
        stream.push(noise(80, 2))


def test_checkpoints_that_are_not_one(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    _, state = published(folder, "v1")
    published(tmp_path / "other", "v3")
    (tmp_path / "other" / "g_00000002").write_bytes((folder / "g_00000002").read_bytes())
    with pytest.raises(WeightsError, match="resblocks"):
        load_decoder("hifigan-v1", weights=tmp_path / "other")
    torch.save({"mpd": state}, folder / "g_00000002")
    with pytest.raises(WeightsError, match="generator"):
        load_decoder("hifigan-v1", weights=folder)
    (folder / "g_00000002").unlink()
    torch.save({"generator": state}, folder / "do_00000002")  # the discriminators' file is left alone
    with pytest.raises(WeightsError, match="holds no generator"):
        load_decoder("hifigan-v1", weights=folder)
    (folder / "config.json").write_text(json.dumps({"upsample_rates": [8], "num_mels": 80}))
    with pytest.raises(WeightsError, match="lacks upsample_initial_channel"):
        load_decoder("hifigan-v1", weights=folder)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="hifigan-v1"):
        load_decoder("hifigan-v9")
    with pytest.raises(WeightsError, match="Google Drive"):
        load_decoder("hifigan-v1")
    with pytest.raises(ModelError, match="form that is known"):
        load_decoder(tmp_path)
    with pytest.raises(ModelError, match="no device"):
        load_decoder("hifigan-v1", device="toaster")


@pytest.mark.parametrize("settings", [
    {"rates": [8, 8, 2]},
    {"rates": [8, 8, 2, 3]},
    {"block": 3},
    {"channels": 24},
    {"nosuch": 1},
    {"mel": {"sample_rate": 22050}},
    {"mel": {"sample_rate": 22050, "n_fft": 1024, "hop": 256, "win": 1024, "scale": "bark"}},
])  # fmt: skip
def test_settings_that_make_no_network(settings: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        HiFiGAN.build({**decoder_entry("hifigan-v1").config, **settings})


def test_configurations_come_back() -> None:
    config = HiFiGANConfig.from_dict(decoder_entry("vox-hifigan-16k").config)
    assert HiFiGANConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", [name for name in decoders() if "hifigan" in name])
def test_facts_are_the_networks(name: str) -> None:
    item = decoder_entry(name)
    small = random_decoder(item, {**item.config, **item.tiny})
    assert small.facts.frame_rate == item.facts.frame_rate
    assert random_decoder(item, item.config).facts == item.facts


def test_our_own_streams_exactly() -> None:
    item = decoder_entry("vox-hifigan-16k")
    vocoder = random_decoder(item, {**item.config, **item.tiny})
    mel = noise(80, 50)[0]
    want = vocoder.synthesize(mel).samples
    assert len(want) == 320 * 50
    with vocoder.stream() as stream:
        got = [stream.push(part).samples for part in mel.split(9, 1)] + [stream.finish().samples]
    np.testing.assert_allclose(np.concatenate(got), want, atol=1e-5)


def test_what_ships_is_small_and_gives_speech_back() -> None:
    folder = bundled_folder("vox-hifigan-16k")
    data = (folder / "model.safetensors").read_bytes()
    assert len(data) < 12_000_000
    assert hashlib.sha256(data).hexdigest()[:16] in (folder / "README.md").read_text()  # of these weights the card speaks
    vocoder = load_decoder("vox-hifigan-16k")
    assert isinstance(vocoder, Vocoder)
    speech = Audio.read(bundled_folder("demo") / "speech.wav").resample(16000)
    made = vocoder.synthesize(vocoder.mel(speech)).samples
    want = speech.samples[: len(made)]
    assert pesq(16000, want, made[: len(want)], "wb") > 2.7
    assert stoi(want, made[: len(want)], 16000) > 0.93
