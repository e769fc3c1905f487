"""WavTokenizer against the published code (a golden file), its published files, its streams and its windows."""

from __future__ import annotations

import math
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs import wavtokenizer
from voxzoo.codecs._seanet import run
from voxzoo.codecs._wavtokenizer import Network, complete, sees
from voxzoo.codecs.wavtokenizer import WavTokenizer
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.vocos import Head

NAMES = {"40": "wavtokenizer-40", "75": "wavtokenizer-75"}
TINY: dict[str, dict[str, Any]] = {name: {**voxzoo.entry(name).config, **voxzoo.entry(name).tiny} for name in NAMES.values()}
GOLDEN = load_file(Path(__file__).parent / "golden" / "wavtokenizer.safetensors")
SAMPLES = {rate: sorted(int(key.split(".")[2]) for key in GOLDEN if key.startswith(f"{rate}.codes.")) for rate in NAMES}
CODEC = "feature_extractor.encodec."
YAML = """
seed_everything: 3407
model:
  class_path: decoder.experiment.WavTokenizer
  init_args:
    sample_rate: 24000
    initial_learning_rate: 2e-4
    feature_extractor:
      class_path: decoder.feature_extractors.EncodecFeatures
      init_args: {{encodec_model: encodec_24khz, bandwidths: [6.6, 6.6], dowmsamples: {ratios}, vq_bins: 64, vq_kmeans: 200}}
    backbone:
      class_path: {path}
      init_args: {{input_channels: 8, dim: 32, intermediate_dim: 32, num_layers: 2, adanorm_num_embeddings: 4}}
    head:
      class_path: decoder.heads.ISTFTHead
      init_args: {{dim: 32, n_fft: {fft}, hop_length: {hop}, padding: same}}
"""


def yaml_of(ratios: list[int], path: str = "decoder.models.VocosBackbone", hop: int | None = None) -> str:
    size = math.prod(ratios)
    return YAML.format(ratios=ratios, path=path, fft=4 * size, hop=hop or size)


def published(rate: str) -> dict[str, Tensor]:
    """The golden model's tensors as published, with some that only training needs."""
    state = {key.removeprefix("weights."): value.float() for key, value in GOLDEN.items() if key.startswith("weights.")}
    prefix = f"{rate}.weights."
    state |= {key.removeprefix(prefix): value.float() for key, value in GOLDEN.items() if key.startswith(prefix)}
    names = (
        "multiperioddisc.d.0",
        "multiresddisc.d.0",
        "dac.d.0",
        "dacdiscriminator.d.0",
        "melspec_loss.mel",
        f"{CODEC}decoder.model.0",
    )
    return {**state, **{f"{name}.weight": torch.ones(2) for name in names}}


def folder_of(folder: Path, state: dict[str, Tensor], name: str = "wavtokenizer_large_600.ckpt", **yamls: str) -> Path:
    """Lightning's checkpoint, and YAMLs."""
    folder.mkdir(exist_ok=True)
    training = {"epoch": 3, "callbacks": {"ModelCheckpoint{}": {"best_model_score": torch.tensor(1.0), "best_model_path": "x"}}}
    torch.save(
        {"state_dict": state, "hyper_parameters": {"resume": False}, "optimizer_states": [{}], **training}, folder / name
    )
    for key, text in yamls.items():
        (folder / f"{key}.yaml").write_text(text)
    return folder


def model_of(name: str, seed: int = 0, **changes: Any) -> WavTokenizer:
    model = random_model(voxzoo.entry(name), {**TINY[name], **changes}, seed)
    assert isinstance(model, WavTokenizer)
    return model


def sound(samples: int, rate: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(20, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def streamed(model: Model, clip: Audio, step: int) -> tuple[Tokens, np.ndarray]:
    """What the streams give, pushed `step` samples at a time."""
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in parts] + [decoder.finish().samples]
    return Tokens.concatenate(parts), np.concatenate(sounds)


# ---------------------------------------------------------------- against the published code
@pytest.mark.parametrize(("rate", "samples"), [(rate, n) for rate in NAMES for n in SAMPLES[rate]])
def test_codes_and_sound_are_the_published_ones(rate: str, samples: int, tmp_path: Path) -> None:
    model = voxzoo.load(NAMES[rate], weights=folder_of(tmp_path / "published", published(rate)))
    tokens = model.encode(Audio(GOLDEN[f"{rate}.wav"][:samples].numpy(), 24000))
    codes = GOLDEN[f"{rate}.codes.{samples}"].long()
    assert torch.equal(tokens.codes[0][0], codes)
    assert tokens.codes[0].shape[1] == math.ceil(samples / math.prod(model.config["ratios"]))
    if samples == SAMPLES[rate][-1]:
        assert len(codes.unique()) > 30
    if f"{rate}.sound.{samples}" in GOLDEN:
        wanted = GOLDEN[f"{rate}.sound.{samples}"].numpy()[:samples]
        assert np.abs(model.decode(tokens).samples - wanted).max() <= 1e-5
        assert np.abs(wanted).max() > 0.1


@pytest.mark.parametrize("rate", NAMES)
def test_every_form_of_a_checkpoint_gives_the_same_model(rate: str, tmp_path: Path) -> None:
    state = published(rate)
    first = voxzoo.load(folder_of(tmp_path / "ckpt", state))  # recognised by its name
    modern = {
        key.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): value
        for key, value in state.items()
    }
    (tmp_path / "safe").mkdir()
    save_file(modern, tmp_path / "safe" / "wavtokenizer.safetensors")
    second = voxzoo.load(tmp_path / "safe")
    ratios = first.config["ratios"]
    third = voxzoo.load(folder_of(tmp_path / "yaml", state, "a.ckpt", wavtokenizer_a=yaml_of(ratios), b=yaml_of([5, 4])))
    first.save(tmp_path / "own")
    fourth = voxzoo.load(tmp_path / "own")
    assert first.fingerprint == second.fingerprint == third.fingerprint == fourth.fingerprint
    assert first.facts.frame_rates == (Fraction(24000, math.prod(ratios)),)


def test_a_config_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mixed", published("75"), frame40=yaml_of([3, 2, 2, 2]))
    with pytest.raises(
        WeightsError, match=r"frame40.yaml states ratios=\[3, 2, 2, 2\], .* has ratios=\[4, 2\].*different models"
    ):
        voxzoo.load("wavtokenizer-40", weights=folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "not a readable YAML"),
        ("!!python/object/apply:os.system ['true']", "not a readable YAML"),
        ("seed_everything: 1", "lacks 'model'"),
        ("- 1", "no configuration of WavTokenizer"),
        (yaml_of([4, 2], hop=9), "hop_length=9"),
        (yaml_of([4, 2]).replace("num_layers: 2", "num_layers: two"), "whole numbers above 0"),
    ],
)
def test_yaml_of_something_else_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        voxzoo.load("wavtokenizer-75", weights=folder_of(tmp_path / "bad", published("75"), config=text))


def test_a_class_path_is_never_followed(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    folder = folder_of(tmp_path / "x", published("75"), config=yaml_of([4, 2], path="evil.Backbone"))
    shutil.copy(tmp_path / "evil.py", folder)
    voxzoo.load("wavtokenizer-75", weights=folder)
    assert not marker.exists()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_pickled_code_is_refused_and_the_way_out_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "callbacks": Evil(tmp_path / "ran")}, tmp_path / "wavtokenizer.ckpt")
    with pytest.raises(WeightsError, match=r"pickled code.*weights_only=False\)\['state_dict'\]"):
        voxzoo.load("wavtokenizer-40", weights=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = published("75")
    cases: list[tuple[dict[str, Tensor], str]] = [
        ({"weight": torch.ones(2)}, "no checkpoint of WavTokenizer"),
        ({key: value for key, value in state.items() if "head.out.weight" not in key}, r"lacks 'head\.out\.weight'"),
        ({key: value for key, value in state.items() if not key.endswith("pos_net.2.q.bias")}, r"pos_net\.2\.q\.bias"),
        ({**state, "backbone.extra.weight": torch.ones(2)}, r"backbone\.extra\.weight"),
        ({**state, "head.out.weight": torch.ones(36, 32)}, "size mismatch for head.out"),
        ({**state, "head.out.weight": torch.ones(37, 32)}, "does not stand out evenly"),
        ({**state, "backbone.embed.weight": torch.tensor(1.0)}, "no checkpoint of WavTokenizer"),
    ]
    for i, (tensors, message) in enumerate(cases):
        with pytest.raises(ModelError, match=message):
            voxzoo.load("wavtokenizer-75", weights=folder_of(tmp_path / str(i), tensors))


def test_folders_that_hold_no_checkpoint_or_two_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds 0 checkpoints; expected one"):
        voxzoo.load("wavtokenizer-40", weights=tmp_path)
    for name in ("WavTokenizer_small_320.ckpt", "WavTokenizer_small_600.ckpt"):
        folder_of(tmp_path / "two", published("40"), name)
    with pytest.raises(WeightsError, match=r"2 checkpoints \(WavTokenizer_small_320.ckpt, WavTokenizer_small_600.ckpt\)"):
        voxzoo.load(tmp_path / "two")
    whole = folder_of(tmp_path / "cut", published("40")) / "wavtokenizer_large_600.ckpt"
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="damaged or not a checkpoint"):
        voxzoo.load("wavtokenizer-40", weights=tmp_path / "cut")


def test_only_its_own_folders_are_recognised(tmp_path: Path) -> None:
    for names, known in [
        (["wavtokenizer_large_unify_600_24k.ckpt"], True),
        (["model.safetensors", "wavtokenizer_smalldata_frame40.yaml"], True),
        (["model.safetensors", "config.yaml"], False),
        (["wavtokenizer_smalldata_frame40.yaml"], False),
        (["codec.ckpt"], False),
    ]:
        folder = tmp_path / names[0]
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for name in names:
            (folder / name).touch()
        assert WavTokenizer.recognises(folder) == known, names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 3}, "no setting 'hop'"),
        ({"layers": 0}, "whole numbers above 0"),
        ({"ratios": []}, "whole numbers above 0"),
        ({"ratios": "42"}, "whole numbers above 0"),
        ({"dim": 40}, "multiple of 32"),
        ({"fft": 31}, "does not stand out"),
        ({"fft": 6}, "does not stand out"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_of("wavtokenizer-75", **change)


# ---------------------------------------------------------------- laws
@pytest.mark.parametrize("name", NAMES.values())
def test_facts_at_real_size(name: str) -> None:
    item = voxzoo.entry(name)
    with torch.device("meta"):
        network = Network(complete(item.config))
    assert sum(p.numel() for p in network.parameters()) == item.facts.params
    hop = math.prod(item.config["ratios"])
    assert item.facts.frame_rates == (Fraction(24000, hop),)
    assert item.facts.bitrate == {600: 480, 320: 900}[hop]
    waits = 1 + math.ceil(sees(network.front)[1] / hop) + sees(network.last)[1]
    assert waits == 5
    assert item.facts.latency == 60 + waits * hop / 24000
    assert "4 frames" in item.streaming


@pytest.mark.parametrize("ratios", [[3, 2], [4, 2], [5, 4]])
def test_the_encoder_sees_as_far_as_it_is_said_to(ratios: list[int]) -> None:
    model = model_of("wavtokenizer-75", ratios=ratios, fft=4 * math.prod(ratios))
    left, right = sees(model.network.front)
    frame, end = 20 * model.hop, 21 * model.hop
    x = torch.randn(1, 60 * model.hop, 1)

    def moves(position: int) -> bool:
        y = x.clone()
        y[0, position] += 1.0
        before, after = (run(model.network.front, wav, None, None)[0][0, 20] for wav in (x, y))
        return not torch.equal(before, after)

    assert moves(frame - left)
    assert not moves(frame - left - 1)
    assert moves(end + right - 1)
    assert not moves(end + right)


@pytest.mark.parametrize("step", [13, 100_000])
@pytest.mark.parametrize("frames", [1, 4, 60])
@pytest.mark.parametrize("name", NAMES.values())
def test_streams_equal_the_whole_clip(name: str, frames: int, step: int) -> None:
    model = model_of(name)
    clip = sound(frames * model.hop - 3, model.facts.sample_rate)
    tokens = model.encode(clip)
    joined, heard = streamed(model, clip, step)
    assert torch.equal(joined.codes[0], tokens.codes[0])
    assert np.abs(heard - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES.values())
def test_pieces_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name)
    clip = sound(300 * model.hop - 5, model.facts.sample_rate)
    whole = model.encode(clip)
    assert len(whole.codes[0].unique()) > 20
    monkeypatch.setattr(wavtokenizer, "PIECE", 0.05)
    assert torch.equal(model.encode(clip).codes[0], whole.codes[0])


@pytest.mark.parametrize("name", NAMES.values())
def test_a_long_clip_has_exact_tokens_and_windows_that_its_length_alone_places(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(name)
    rate, frames = model.facts.sample_rate, int(6 * model.facts.frame_rates[0])
    clips = [sound(n * model.hop - 3, rate) for n in (frames, frames + 1, frames * 3 + 7)]
    whole = [model.encode(clip) for clip in clips]
    sounds = [model.decode(tokens).samples for tokens in whole]
    monkeypatch.setattr(WavTokenizer, "window", 6.0)
    for i, (clip, tokens) in enumerate(zip(clips, whole, strict=True)):
        assert torch.equal(model.encode(clip).codes[0], tokens.codes[0])
        heard = model.decode(tokens).samples
        for step in (len(clip) // 3 + 1, len(clip)):
            joined, again = streamed(model, clip, step)
            assert torch.equal(joined.codes[0], tokens.codes[0])
            assert np.abs(again - heard).max() <= 1e-5
        difference = np.abs(heard - sounds[i]).max()
        assert difference <= 1e-5 if i == 0 else 0 < difference < 0.3 * np.abs(sounds[i]).max()


@pytest.mark.parametrize(("fft", "hop"), [(16, 4), (10, 4), (4, 4), (8, 6)])
def test_the_inverse_transform_is_overlap_and_add(fft: int, hop: int) -> None:
    torch.manual_seed(0)
    head = Head(6, fft, hop)
    head.window = torch.rand(fft) + 0.5
    x = torch.randn(2, 7, 6)
    magnitude, phase = head.out(x).chunk(2, 2)
    frames = torch.fft.irfft(magnitude.exp() * torch.exp(1j * phase), fft) * head.window
    wav, weights = torch.zeros(2, 6 * hop + fft), torch.zeros(6 * hop + fft)
    for i in range(7):
        wav[:, i * hop : i * hop + fft] += frames[:, i]
        weights[i * hop : i * hop + fft] += head.window**2
    cut = (fft - hop) // 2
    wanted = (wav / weights)[:, cut : cut + 7 * hop]
    assert torch.allclose(head(x), wanted, atol=1e-5)
    moved = (head(x + torch.eye(7)[3][:, None]) - head(x)).abs().sum(0).reshape(7, hop).sum(1) > 1e-6
    first, last = head.needs(3, 3)
    assert moved.nonzero()[:, 0].tolist() == list(range(6 - last, 6 - first + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES.values())
def test_streams_equal_the_whole_clip_at_real_size(name: str) -> None:
    item = voxzoo.entry(name)
    model = random_model(item, dict(item.config))
    assert model.facts == item.facts
    clip = sound(5 * 24000 + 1, 24000)
    tokens = model.encode(clip)
    joined, heard = streamed(model, clip, 1920)
    assert torch.equal(joined.codes[0], tokens.codes[0])
    assert np.abs(heard - model.decode(tokens).samples).max() <= 1e-5
