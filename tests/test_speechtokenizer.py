"""SpeechTokenizer against the published package (a golden file), its published files, its streams and its windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.codecs._speechtokenizer import Network, Sliding, complete
from voxzoo.codecs.speechtokenizer import SpeechTokenizer
from voxzoo.core import convs
from voxzoo.core.loading import random_model

NAMES = {"ELU": "speechtokenizer", "Snake": "speechtokenizer-anygpt"}
TINY: dict[str, dict[str, Any]] = {name: {**voxzoo.entry(name).config, **voxzoo.entry(name).tiny} for name in NAMES.values()}
GOLDEN = load_file(Path(__file__).parent / "golden" / "speechtokenizer.safetensors")
LENGTHS = sorted(int(key.split(".")[2]) for key in GOLDEN if key.startswith("ELU.codes."))
RATE = 1600
every_form = pytest.mark.parametrize("form", NAMES)


def published(form: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the published files of the golden model hold: every setting and tensor, those that only training needs included."""
    prefix = f"{form}.weights."
    state = {key.removeprefix(prefix): value.float() for key, value in GOLDEN.items() if key.startswith(prefix)}
    config = {
        "sample_rate": RATE, "sampling_rate": RATE, "n_filters": 2, "strides": [4, 3, 2], "dimension": 16,
        "semantic_dimension": 12, "bidirectional": True, "lstm_layers": 2, "n_residual_layers": 1, "residual_kernel_size": 3,
        "dilation_base": 2, "activation": form, "n_q": 4, "codebook_size": 64, "num_mels": 80, "betas": [0.9, 0.99],
    }  # fmt: skip
    return config, state


def folder_of(folder: Path, form: str, file: str = "SpeechTokenizer.pt", **changes: Any) -> Path:
    config, state = published(form)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    torch.save(state, folder / file)
    return folder


def golden_model(form: str, folder: Path) -> SpeechTokenizer:
    model = voxzoo.load(NAMES[form], weights=folder_of(folder, form))
    assert isinstance(model, SpeechTokenizer)
    return model


def model_of(name: str, seed: int = 0, **changes: Any) -> SpeechTokenizer:
    model = random_model(voxzoo.entry(name), {**TINY[name], **changes}, seed)
    assert isinstance(model, SpeechTokenizer)
    return model


def sound(samples: int, rate: int = RATE, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(20, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def same(a: Tokens, b: Tokens) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.codes, b.codes, strict=True))


def streamed(model: SpeechTokenizer, clip: Audio, step: int) -> tuple[Tokens, np.ndarray]:
    """What the streams give, pushed `step` samples at a time."""
    with model.stream_encoder() as encoder:
        parts = [encoder.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)] + [encoder.finish()]
    tokens = Tokens.concatenate(parts)
    frames = max(1, step // model.hop)
    with model.stream_decoder() as decoder:
        sounds = [decoder.push(part).samples for part in cut(tokens, frames, model.hop)] + [decoder.finish().samples]
    return tokens, np.concatenate(sounds)


def cut(tokens: Tokens, frames: int, hop: int) -> list[Tokens]:
    """Tokens of `frames` frames each."""
    length, parts = int(tokens.lengths[0]), []
    for i in range(0, tokens.codes[0].shape[1], frames):
        codes = [c[:, i : i + frames] for c in tokens.codes]
        samples = min(length, (i + frames) * hop) - i * hop
        parts.append(Tokens(codes, np.array([samples]), tokens.facts, tokens.fingerprint, tokens.resampler))
    return parts


# ---------------------------------------------------------------- against the published package
@pytest.mark.parametrize("samples", LENGTHS)
@every_form
def test_codes_and_sound_are_the_published_ones(form: str, samples: int, tmp_path: Path) -> None:
    model = golden_model(form, tmp_path)
    tokens = model.encode(GOLDEN["wav"][:samples], RATE)
    codes = GOLDEN[f"{form}.codes.{samples}"].long()
    assert torch.equal(torch.cat(tokens.codes), codes)
    assert codes.shape[1] == -(-samples // 24)
    if samples == LENGTHS[-1]:
        assert min(len(stream.unique()) for stream in codes) > 30
    wanted = GOLDEN[f"{form}.sound.{samples}"].numpy()
    assert np.abs(model.decode(tokens).samples - wanted).max() <= 1e-5


@every_form
def test_the_semantic_stream_stands_alone_and_so_does_what_it_leaves_over(form: str, tmp_path: Path) -> None:
    model = golden_model(form, tmp_path)
    clip = GOLDEN["wav"][: len(GOLDEN[f"{form}.left"])]
    semantic, tokens = model.encode(clip, RATE, streams=1), model.encode(clip, RATE)
    assert torch.equal(semantic.codes[0], tokens.codes[0])
    assert np.abs(model.decode(semantic).samples - GOLDEN[f"{form}.semantic"].numpy()).max() <= 1e-5
    assert np.abs(model.decode(tokens, first=1).samples - GOLDEN[f"{form}.left"].numpy()).max() <= 1e-5
    both = model.encode([clip[:100], clip], RATE)
    assert np.abs(model.decode(both, first=1)[1].samples - GOLDEN[f"{form}.left"].numpy()).max() <= 1e-5
    for first in (-1, 4):
        with pytest.raises(ModelError, match=rf"first={first}; these tokens hold 4 streams"):
            model.decode(tokens, first=first)


# ---------------------------------------------------------------- checkpoints
@every_form
def test_every_tensor_of_a_published_file_is_accounted_for(form: str, tmp_path: Path) -> None:
    """All is used but what training alone needs; old names of weight norm and new ones are one model."""
    model = golden_model(form, tmp_path)
    _, state = published(form)
    training = ["transform.weight", "transform.bias"]
    training += [
        f"quantizer.vq.layers.{k}._codebook.{key}" for k in range(4) for key in ("inited", "cluster_size", "embed_avg")
    ]
    assert set(training) < set(state)
    assert len(model.network.state_dict()) == len(state) - len(training)
    for key in ("transform.scale", "quantizer.vq.layers.0._codebook.surplus"):
        torch.save({**state, key: torch.ones(1)}, tmp_path / "SpeechTokenizer.pt")
        with pytest.raises(WeightsError, match=key.rpartition(".")[2]):
            voxzoo.load(NAMES[form], weights=tmp_path)
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    renamed = {}
    for key, value in state.items():
        stem, _, last = key.rpartition(".")
        renamed[f"{stem}.{new.get(last, last)}"] = value
    torch.save(renamed, tmp_path / "SpeechTokenizer.pt")
    assert voxzoo.load(NAMES[form], weights=tmp_path).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("form", "file"), [("ELU", "SpeechTokenizer.pt"), ("Snake", "ckpt.dev"), ("ELU", "SpeechTokenizer_best_dev.pt")]
)
def test_a_published_folder_is_recognised(form: str, file: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "published", form, file)
    assert SpeechTokenizer.recognises(folder)
    model = voxzoo.load(folder)
    assert model.facts.sample_rate == RATE
    assert not SpeechTokenizer.recognises(tmp_path)
    model.save(tmp_path / "mine")
    assert not SpeechTokenizer.recognises(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == model.fingerprint


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "published", "ELU")
    torch.save({}, folder / "ckpt.dev")
    with pytest.raises(WeightsError, match=r"holds 2 of SpeechTokenizer\.pt, ckpt\.dev"):
        voxzoo.load("speechtokenizer", weights=folder)
    (folder / "ckpt.dev").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["n_q"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="it has no 'n_q'"):
        voxzoo.load("speechtokenizer", weights=folder)
    folder_of(folder, "ELU", activation="Snake")
    with pytest.raises(WeightsError, match=r"encoder\.model\.1\.block\.0\.alpha"):
        voxzoo.load("speechtokenizer", weights=folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "GELU"}, "activation 'GELU'; expected ELU or Snake"),
        ({"bidirectional": 1}, "bidirectional 1; expected true or false"),
        ({"strides": 8}, "strides 8; expected a list"),
        ({"strides": []}, "at least 2"),
        ({"lstm_layers": 0}, "lstm_layers 0; expected a whole number, at least 1"),
        ({"semantic_dimension": 768}, "no configuration 'semantic_dimension'"),
    ],
)
def test_configurations_that_make_no_codec_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_of("speechtokenizer", **change)


# ---------------------------------------------------------------- streams and windows
@pytest.mark.parametrize("step", [17, 24, 131, 5000])
@pytest.mark.parametrize("name", TINY)
def test_streams_equal_the_whole_clip(name: str, step: int) -> None:
    model = model_of(name)
    clip = sound(40 * model.hop + 5)
    tokens, wav = streamed(model, clip, step)
    assert same(tokens, model.encode(clip))
    assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5


@pytest.mark.parametrize("frames", [1, 3, 1000])
@pytest.mark.parametrize(
    "changes", [{}, {"strides": [5, 2, 4], "n_residual_layers": 3}, {"residual_kernel_size": 6, "n_filters": 2}]
)
def test_pieces_change_nothing(changes: dict[str, Any], frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("speechtokenizer-anygpt", **changes)
    clip = sound(40 * model.hop + 7)
    latents = []
    for size in (frames, 10_000):
        monkeypatch.setattr(convs, "PIECE", size * model.config["n_filters"] * model.hop)
        assert model._piece == size
        with torch.no_grad():
            latents.append(model.network.encoder(torch.from_numpy(clip.samples)[None], model._piece))
            latents.append(model.network.decoder(latents[0], model._piece))
    assert torch.allclose(latents[0], latents[2], atol=1e-6)
    assert torch.allclose(latents[1], latents[3], atol=1e-5)


def test_longer_clips_go_by_windows_of_equal_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut at multiples of the window however they are pushed; their sound is that of the whole."""
    model = model_of("speechtokenizer")
    clip = sound(7 * RATE + 5)
    whole = model.encode(clip)
    wav = model.decode(whole).samples
    monkeypatch.setattr(SpeechTokenizer, "window", 3.0)
    monkeypatch.setattr("voxzoo.codecs.speechtokenizer.CONTEXT", 0.02)  # one frame: the windows show
    windows = model.encode(clip)
    assert not same(windows, whole)
    assert np.abs(model.decode(whole).samples - wav).max() <= 1e-5
    for step in (1000, 4801, 12_000):
        assert same(streamed(model, clip, step)[0], windows)
    monkeypatch.setattr("voxzoo.codecs.speechtokenizer.CONTEXT", 2.0)
    assert same(model.encode(clip), whole)  # an LSTM of random weights forgets in less


def test_sliding_gives_what_is_certain() -> None:
    """Three blocks of context: the sum over seven."""
    x = torch.arange(100.0).view(1, -1, 1)
    seen = []

    def run(part: Tensor) -> Tensor:
        seen.append(part.shape[1])
        return torch.nn.functional.avg_pool1d(part.transpose(1, 2), 7, 1, 3, count_include_pad=True).transpose(1, 2)

    whole = run(x)
    for even in (False, True):
        seen.clear()
        sliding = Sliding(run, 1, 1, 3, 3, 10, even)
        parts = [sliding.push(x[:, i : i + 4]) for i in range(0, 100, 4)] + [sliding.push(x[:, :0], last=True)]
        assert torch.allclose(torch.cat([part for push in parts for part in push], dim=1), whole)
        assert sum(bool(push) for push in parts) == (10 if even else 26)
        assert max(seen) <= 16


def test_a_batch_of_equal_lengths_is_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where clips run together."""
    model = model_of("speechtokenizer")
    clips = [sound(500, seed=i) for i in range(3)] + [sound(501)]
    alone = model.encode(clips)
    monkeypatch.setattr(SpeechTokenizer, "_together", 64)
    assert same(model.encode(clips), alone)


# ---------------------------------------------------------------- at real size
@pytest.mark.parametrize("name", TINY)
def test_facts_at_real_size(name: str) -> None:
    item = voxzoo.entry(name)
    assert round(item.facts.bitrate / 1000, 2) == 4.0
    with torch.device("meta"):
        network = Network(complete(item.config))
    front, head, tail = network.encoder.front(1), network.decoder.head(1), network.decoder.tail(1)
    assert [(part.before, part.after) for part in (front, head, tail)] == [(2, 1), (3, 3), (1, 1)]
    assert item.facts.latency == pytest.approx(120 + 10 + (3 + 1) / 50)
    assert "120 s" in item.exceptions["long"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_streams_equal_the_whole_clip_at_real_size(name: str) -> None:
    model = voxzoo.load(name, weights="random")
    assert isinstance(model, SpeechTokenizer)
    assert model.facts == voxzoo.entry(name).facts
    for value in model.network.decoder.model[15].parameters():
        value.mul_(0.02)  # random weights are loud, and samples far beyond [-1, 1] are refused
    model.network.fold()
    clip = sound(5 * 16000 + 7, 16000)
    tokens, wav = streamed(model, clip, 7001)
    assert same(tokens, model.encode(clip))
    assert min(len(codes.unique()) for codes in tokens.codes) > 3
    assert np.abs(wav - model.decode(tokens).samples).max() <= 1e-5
