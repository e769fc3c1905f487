"""Flow matching: the solver, `vox-flow-16k`'s network, its streams, and tokenizers heard through it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voxzoo import Audio
from voxzoo.core import pairing
from voxzoo.core.decoder import load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import AudioError, ModelError, NotDecodableError, TokensError, WrongModelError
from voxzoo.core.flow import Flow, FlowSettings, Prompt
from voxzoo.core.loading import load, random_model
from voxzoo.core.mel import LogMel, Mel
from voxzoo.core.model import Model
from voxzoo.core.pairing import Speech, paired, players
from voxzoo.core.registry import entry
from voxzoo.core.weights import bundled_folder
from voxzoo.decoders._flow_ode import SIGMA, euler, fixed_noise, guided, straight_path, times
from voxzoo.decoders._flow_sampling import sample
from voxzoo.decoders._flow_vox import Depthwise, FlowConfig, FlowNetwork
from voxzoo.decoders.flow import VoxFlow
from voxzoo.eval.edit_distance import unit_edit_distance
from voxzoo.eval.speaker_embedding import embed_ge2e
from voxzoo.eval.speaker_similarity import cosine

SETTINGS = FlowSettings(steps=3)


def awake(network: torch.nn.Module, seed: int = 0) -> None:
    """Weights that start at zero, so that blocks pass their input on, made random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            if not value.any():
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))


def tiny(**changes: Any) -> Flow:
    item = decoder_entry("vox-flow-16k")
    config = {**item.config, **item.tiny, **changes}
    network = random_decoder(item, config).network
    awake(network)
    return VoxFlow(item.facts, config, network)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return tiny()


def tokens(count: int, clips: int = 1, seed: int = 1) -> Tensor:
    return torch.randint(0, 729, (clips, count), generator=torch.Generator().manual_seed(seed))


# the solver


@pytest.mark.parametrize(("steps", "far"), [(10, 0.08), (100, 0.008), (1000, 0.0008)])
def test_the_solver_follows_a_flow_that_is_known(steps: int, far: float) -> None:
    """dx/dt = a x + b t from x(0): x(1) = e^a (x(0) + b / a^2) - b / a - b / a^2."""
    a, b, start = -1.3, 0.7, torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    at = times(steps).double()
    got = euler(lambda step, t, x: a * x + b * t, start, at)
    want = math.exp(a) * (start + b / a**2) - b / a - b / a**2
    assert 0 < (got - want).abs().max() < far


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_straight_path_is_followed_exactly(steps: int) -> None:
    noise, data = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    velocity = straight_path(data, noise, torch.tensor(0.3))[1]
    got = euler(lambda step, t, x: velocity, noise, times(steps))
    torch.testing.assert_close(got, data + SIGMA * noise, rtol=0, atol=1e-5)


def test_the_path_and_its_velocity() -> None:
    noise, data = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    at, velocity = straight_path(data, noise, t)
    torch.testing.assert_close(at[0], noise[0])
    torch.testing.assert_close(at[-1], data[-1] + SIGMA * noise[-1])
    later = straight_path(data, noise, t + 1e-3)[0]
    torch.testing.assert_close((later - at) / 1e-3, velocity, rtol=0, atol=1e-9)


def test_times_are_those_of_a_cosine() -> None:
    at = times(4)
    assert at.tolist() == pytest.approx([1 - math.cos(i * math.pi / 8) for i in range(5)], abs=1e-6)


def test_noise_belongs_to_its_place() -> None:
    noise = fixed_noise(0, 3000, 5)
    assert torch.equal(noise[1000:2100], fixed_noise(1000, 2100, 5))
    assert fixed_noise(7, 7, 5).shape == (0, 5)
    assert not torch.equal(noise, fixed_noise(0, 3000, 5, seed=1))
    assert abs(float(noise.mean())) < 0.03
    assert float(noise.std()) == pytest.approx(1, abs=0.03)


def test_guidance() -> None:
    both = torch.randn(4, 3)
    assert torch.equal(guided(both, 0.0), both[:2])
    torch.testing.assert_close(guided(both, 0.7), both[:2] + 0.7 * (both[:2] - both[2:]))


# the network


@pytest.mark.parametrize(("chunk", "dilation"), [(4, 1), (4, 2), (5, 1), (100, 1), (0, 1)])
def test_a_chunk_sees_nothing_beyond_its_end(chunk: int, dilation: int) -> None:
    """Against the sum over taps, written out."""
    torch.manual_seed(0)
    conv, x = Depthwise(3, 5, 2, dilation), torch.randn(2, 13, 3)
    want = torch.zeros_like(x)
    for n in range(13):
        end = min(13, (n // chunk + 1) * chunk) if chunk else 13
        for k in range(5):
            m = n + (k - 2) * dilation
            if 0 <= m < end:
                want[:, n] += conv.weight[:, 0, k] * x[:, m]
    torch.testing.assert_close(conv(x, chunk), want + conv.bias, rtol=0, atol=1e-5)


@torch.no_grad()
def test_guidance_of_zero_is_none(flow: Flow) -> None:
    assert isinstance(flow.network, FlowNetwork)
    codes, voice = tokens(21), flow.voice()
    none = sample(flow.network, codes, voice, 3, 0.0)
    torch.testing.assert_close(none, sample(flow.network, codes, voice, 3, 1e-12), rtol=0, atol=1e-4)
    assert (none - sample(flow.network, codes, voice, 3, 1.0)).abs().max() > 0.01


def test_a_clip_does_not_depend_on_its_company(flow: Flow) -> None:
    assert isinstance(flow.network, FlowNetwork)
    codes, voice = tokens(33, 2), torch.randn(2, 8)
    codes[0, 20:] = -1
    with torch.no_grad():
        both = sample(flow.network, codes, voice, 3)
        alone = sample(flow.network, codes[:1, :20], voice[:1], 3)
    torch.testing.assert_close(both[:1, :40], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "changes", [{}, {"stack": 2, "frames_per_token": 1}, {"encoder_layers": 3, "layers": 4, "chunk_tokens": 3}]
)
def test_streaming_equals_offline(changes: dict[str, Any]) -> None:
    flow = tiny(**changes)
    voice = torch.randn(8, generator=torch.Generator().manual_seed(2))
    for count, cuts in ((1, [1]), (41, [1] * 41), (41, [17, 3, 21]), (30, [30])):
        codes = tokens(count)[0]
        want = flow.mel(codes, voice=voice, settings=SETTINGS).frames[0]
        with flow.stream(voice=voice, settings=SETTINGS) as stream:
            parts = [stream.push(part) for part in codes.split(cuts)]
            parts.append(stream.finish())
        got = torch.cat(parts, 1)
        assert got.shape == want.shape == (80, 2 * count)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)


def test_a_stream_gives_frames_on_the_way(flow: Flow) -> None:
    with flow.stream() as stream:
        given = [stream.push(part).shape[1] for part in tokens(20)[0].split(1)]
    assert given == [8 if n in (5, 9, 13, 17) else 0 for n in range(1, 21)]  # chunks of 4 tokens that see one more


def test_long_clips_take_pieces(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = tokens(60, 2)
    want = flow.mel(codes, settings=SETTINGS)
    monkeypatch.setattr("voxzoo.decoders.flow.PIECE", 50)
    got = flow.mel(codes, settings=SETTINGS)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.frames, b.frames, rtol=0, atol=1e-4)


def test_the_voice_matters_and_its_level_does_not(flow: Flow) -> None:
    t = np.arange(32000) / 16000
    low, high = (Audio((0.1 * np.sign(np.sin(2 * np.pi * f * t))).astype(np.float32), 16000) for f in (110, 230))
    quiet = Audio(0.05 * low.samples, 16000)
    voices = [flow.voice(audio) for audio in (low, high, quiet)]
    assert voices[0].shape == (1, 8)
    torch.testing.assert_close(voices[0], voices[2], rtol=0, atol=0.02)
    assert (voices[0] - voices[1]).abs().max() > 0.05
    mels = [flow.mel(tokens(10)[0], voice=voice, settings=SETTINGS).frames for voice in (*voices[:2], low)]
    torch.testing.assert_close(mels[0], mels[2])
    assert (mels[0] - mels[1]).abs().max() > 1e-3


def test_results_repeat_and_a_folder_keeps_them(flow: Flow, tmp_path: Path) -> None:
    flow.save(tmp_path)
    again = load_decoder(tmp_path)
    assert again.fingerprint == flow.fingerprint
    assert isinstance(again, Flow)
    assert torch.equal(again.mel(tokens(9)[0]).frames, flow.mel(tokens(9)[0].tolist()).frames)


def test_bad_input(flow: Flow) -> None:
    other = LogMel(16000, 512, 160, 512)
    cases: list[tuple[type[Exception], str, Any]] = [
        (TokensError, "without tokens", lambda: flow.mel([])),
        (TokensError, "no tokens", lambda: flow.mel(np.zeros((0, 3), np.int64))),
        (TokensError, "token 729 is out of range", lambda: flow.mel([3, 729])),
        (TokensError, "token -1 is out of range", lambda: flow.mel([3, -1])),
        (TokensError, "whole numbers", lambda: flow.mel([0.5])),
        (TokensError, "whole numbers", lambda: flow.mel("tokens")),
        (TokensError, r"shape \(1, 1, 1\)", lambda: flow.mel([[[1]]])),
        (ModelError, "voice of 3 numbers", lambda: flow.mel([1], voice=[1.0, 2.0, 3.0])),
        (ModelError, "finite", lambda: flow.mel([1], voice=[math.nan] * 8)),
        (AudioError, "too few", lambda: flow.mel([1], voice=Audio(np.zeros(100, np.float32), 16000))),
        (ModelError, "steps=0", lambda: flow.mel([1], settings=FlowSettings(steps=0))),
        (ModelError, "guidance=-1", lambda: FlowSettings(guidance=-1)),
        (ModelError, "no prompt", lambda: flow.mel([1], prompt=Prompt([1], Mel(torch.zeros(1, 80, 2), other)))),
        (ModelError, "unknown keys: dims", lambda: FlowConfig.from_dict({"dims": 3})),
    ]
    for kind, words, run in cases:
        with pytest.raises(kind, match=words):
            run()
    with flow.stream() as stream, pytest.raises(TokensError, match="no tokens"):
        stream.finish()
    with pytest.raises(ModelError, match="finished"):
        stream.push([1])


# pairs


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Model:
    """vox-s3-16k with random weights, and a flow and a vocoder for it, as `$VOXZOO_WEIGHTS` holds them."""
    item = entry("vox-s3-16k")
    model = random_model(item, dict(item.config))
    tiny(fingerprint=model.fingerprint).save(tmp_path / "vox-flow-16k")
    vocoder = decoder_entry("vox-hifigan-16k")
    random_decoder(vocoder, {**vocoder.config, **vocoder.tiny}).save(tmp_path / "vox-hifigan-16k")
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(tmp_path))
    return model


def speech_like(seconds: float) -> np.ndarray:
    t = np.arange(int(16000 * seconds)) / 16000
    wav = sum(np.sin(2 * np.pi * f * 120 * t) / f for f in range(1, 9)) * 0.1 * np.sin(9 * t) ** 2
    return np.asarray(wav, np.float32)


def test_tokens_are_heard_through_their_pair(pair: Model) -> None:
    clips = [speech_like(s) for s in (0.7, 1.3, 0.05)]
    found = pair.encode(clips, 16000)
    audios = pair.decode(found)
    assert [len(audio) for audio in audios] == [len(clip) for clip in clips]
    alone = pair.decode(found[1])
    np.testing.assert_allclose(alone.samples, audios[1].samples, atol=1e-4)
    other = pair.decode(found[1], voice=Audio(speech_like(2.0)[::-1].copy(), 16000))
    assert np.abs(other.samples - alone.samples).max() > 1e-6
    with pair.stream_decoder() as stream:
        parts = [stream.push(part) for part in _cut(found[1], 7)]
        parts.append(stream.finish())
    np.testing.assert_allclose(np.concatenate([p.samples for p in parts]), alone.samples, atol=1e-4)


def _cut(clip: Any, frames: int) -> list[Any]:
    """Parts of so many tokens."""
    from dataclasses import replace

    total, length, parts = clip.codes[0].shape[1], int(clip.lengths[0]), []
    for start in range(0, total, frames):
        end = min(total, start + frames)
        samples = length - 640 * start if end == total else 640 * frames
        parts.append(replace(clip, codes=[clip.codes[0][:, start:end]], lengths=np.array([samples])))
    return parts


def test_tokens_of_another_model_are_refused(pair: Model) -> None:
    item = entry("vox-s3-16k")
    other = random_model(item, dict(item.config), seed=1)
    found = other.encode(speech_like(0.3), 16000)
    with pytest.raises(WrongModelError, match="fingerprint"):
        pair.decode(found)
    with pytest.raises(WrongModelError, match="fingerprint"):
        pair.speech.flow.mel(found)
    with pytest.raises(NotDecodableError, match="voxzoo train vox-flow-16k --tokenizer"):
        other.decode(found)


def test_a_missing_half_is_named(pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vox-flow-16k" / "config.json").unlink()
    monkeypatch.setattr(pairing, "bundled_folder", lambda name: tmp_path / "nowhere")
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(tmp_path / "other"))
    with pytest.raises(NotDecodableError, match="vox-flow-16k and vox-hifigan-16k"):
        paired(pair)


def test_a_vocoder_of_another_mel_is_refused(pair: Model) -> None:
    item = decoder_entry("vox-hifigan-16k")
    mel = {**item.config["mel"], "fmax": 7600.0}
    vocoder = random_decoder(item, {**item.config, **item.tiny, "mel": mel})
    with pytest.raises(ModelError, match="fmax"):
        Speech(pair, tiny(), vocoder)  # type: ignore[arg-type]


def test_models_with_a_decoder_have_no_use_for_a_voice() -> None:
    item = entry("vox-rvq-16k")
    model = random_model(item, {**item.config, **item.tiny})
    found = model.encode(speech_like(0.2), 16000)
    with pytest.raises(ModelError, match="no use for a voice"):
        model.decode(found, voice=[1.0])


def test_the_registry_says_who_plays_what() -> None:
    assert [item.name for item in players("vox-s3-16k")] == ["vox-flow-16k"]
    assert players("vox-rvq-16k") == []
    item = decoder_entry("vox-flow-16k")
    front = LogMel.from_dict(decoder_entry(item.vocoder).config["mel"])
    assert LogMel.from_dict(item.config["mel"]) == front
    flow = random_decoder(item, item.config)
    assert flow.facts.params == item.facts.params
    assert (flow.facts.sample_rate, flow.facts.frame_rate) == (item.facts.sample_rate, item.facts.frame_rate)


def test_what_ships_speaks_the_tokens_in_the_voice_it_is_given() -> None:
    folder = bundled_folder("vox-flow-16k")
    data = (folder / "model.safetensors").read_bytes()
    assert len(data) < 12_000_000
    assert hashlib.sha256(data).hexdigest()[:16] in (folder / "README.md").read_text()  # of these weights the card speaks
    model = load("vox-s3-16k")
    speech = Audio.read(bundled_folder("demo") / "speech.wav").resample(16000)
    tokens = model.encode(speech)
    units = tokens.codes[0][0].numpy()
    spoken, default = model.decode(tokens, voice=speech), model.decode(tokens)
    assert len(spoken) == len(speech)
    again = model.encode(default).codes[0][0].numpy()
    moved = unit_edit_distance([units], [again]).weighted
    assert moved < 80 < unit_edit_distance([units], [np.random.default_rng(0).permutation(again)]).weighted
    mine, own, other = (embed_ge2e(sound.samples) for sound in (speech, spoken, default))
    assert cosine(mine, own) > cosine(mine, other) + 0.03
