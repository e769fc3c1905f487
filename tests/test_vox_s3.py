"""Our own semantic tokenizer: its front end, bounded context, exact streams, levels that do not matter; tiny weights but for
the last part, which asks the weights in the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import voxzoo
from voxzoo import Audio, Tokens
from voxzoo.core.errors import ModelError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.slaney_mel import mel_filters
from voxzoo.core.weights import bundled_folder
from voxzoo.eval.phonetic import frame_labels, phone_content
from voxzoo.tokenizers._vox_s3 import State, VoxS3, VoxS3Config, bounded, digits, index, window_mask

TINY = VoxS3Config(mels=12, block=4, context=2, reference=2, dim=32, layers=2, heads=2, hidden=48, kernel=3)
BLOCK = TINY.block_samples
DEMO = bundled_folder("demo") / "speech.wav"


@pytest.fixture
def network() -> VoxS3:
    """Random weights, the quantiser's input standardised so that all levels occur."""
    torch.manual_seed(0)
    network = VoxS3(TINY).eval().requires_grad_(False)
    features = network.front(network.front.relative(network.front.log_mel(noise(4)), State.empty(TINY, noise(0)).maxima)[0])
    before = network.projected(features, State.empty(TINY, features))[0]
    network.project.weight.div_(before.std((0, 1))[:, None])
    network.project.bias.sub_(before.mean((0, 1))).div_(before.std((0, 1)))
    return network


def noise(seconds: float, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    wav = torch.randn(1, int(16000 * seconds), generator=generator)
    return 0.1 * wav * (1 + torch.sin(torch.arange(wav.shape[1]) / 900))


def streamed(model: Model, wav: np.ndarray, step: int) -> np.ndarray:
    with model.stream_encoder() as encoder:
        parts = [encoder.push(wav[i : i + step]) for i in range(0, len(wav), step)] + [encoder.finish()]
    return Tokens.concatenate(parts).codes[0].numpy()


# configuration and quantiser


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": (3, 4)}, "odd numbers"),
        ({"levels": ()}, "odd numbers"),
        ({"dim": 30, "heads": 4}, "multiple of twice the heads"),
        ({"ahead": 100}, "multiple"),
        ({"ahead": 16000}, "more than the 1440 samples"),
        ({"depth": 3}, "unknown keys: depth"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        VoxS3Config.from_dict({**TINY.to_dict(), **change})


@pytest.mark.parametrize("levels", [(3,) * 6, (5, 3, 7)])
def test_codes_and_scalars_are_one_to_one(levels: tuple[int, ...]) -> None:
    codes = torch.arange(int(np.prod(levels)))
    scalars = digits(codes, levels)
    assert torch.equal(index(scalars, levels), codes)
    assert len(torch.unique(scalars, dim=0)) == len(codes)
    assert scalars.abs().amax(0).tolist() == [level // 2 for level in levels]


def test_every_level_is_reached_and_none_beyond() -> None:
    scalars = bounded(torch.linspace(-30, 30, 2001)[:, None].expand(-1, 2), (3, 5)).round()
    assert [sorted(column.unique().int().tolist()) for column in scalars.T] == [[-1, 0, 1], [-2, -1, 0, 1, 2]]


# front end


def test_log_mel_is_that_of_each_frame_alone(network: VoxS3) -> None:
    wav = noise(0.5)[:, : TINY.left + 2 * BLOCK + TINY.ahead]
    got = network.front.log_mel(wav)[0]
    assert got.shape == (2, TINY.past + 4 * TINY.block + TINY.ahead // TINY.hop, TINY.mels)
    window = np.hanning(TINY.window + 1)[:-1]
    bands = mel_filters(16000, 512, TINY.mels, 8000.0)
    for block, frame in ((0, 0), (0, 9), (1, 3)):
        start = block * BLOCK + frame * TINY.hop
        power = np.abs(np.fft.rfft(wav[0, start : start + TINY.window].double().numpy() * window, 512)) ** 2
        want = np.log10(bands @ (power / (512 * np.square(window).sum())))
        assert np.abs(got[block, frame].numpy() - want).max() < 1e-4


def test_levels_are_relative_to_the_loudest_of_the_last_blocks(network: VoxS3) -> None:
    mel = torch.full((1, 6, 3, TINY.mels), -5.0)
    mel[0, 1] = -3.0
    relative, maxima = network.front.relative(mel, State.empty(TINY, torch.zeros(1, 1)).maxima)
    assert relative[0, :, 0, 0].tolist() == pytest.approx([1, 1, 1 - 2 / 3, 1 - 2 / 3, 1, 1])
    assert maxima.tolist() == [[-5.0, -5.0]]


def test_silence_is_not_turned_up(network: VoxS3) -> None:
    nothing = network.front.log_mel(torch.zeros(1, TINY.left + BLOCK + TINY.ahead))
    relative, _ = network.front.relative(nothing, State.empty(TINY, torch.zeros(1, 1)).maxima)
    assert (relative == -1).all()


# what tokens depend on


def test_tokens_depend_on_their_block_and_what_is_just_after_it(network: VoxS3) -> None:
    wav = noise(2)[:, : 10 * BLOCK]
    codes = network.encode(wav)[0].view(10, -1)
    changed = wav.clone()
    changed[:, 5 * BLOCK + TINY.ahead :] += noise(2, 2)[:, : 5 * BLOCK - TINY.ahead]
    other = network.encode(changed)[0].view(10, -1)
    assert torch.equal(codes[:5], other[:5])
    assert (codes[5:] != other[5:]).any()


def test_tokens_forget_what_lies_beyond_their_context(network: VoxS3) -> None:
    wav = noise(4)[:, : 14 * BLOCK]
    changed = wav.clone()
    changed[:, :BLOCK] = noise(2, 3)[:, :BLOCK]
    codes, other = (network.encode(w)[0].view(14, -1) for w in (wav, changed))
    reach = TINY.layers * (TINY.context + 1) + TINY.reference
    assert (codes[:reach] != other[:reach]).any()
    assert torch.equal(codes[reach + 1 :], other[reach + 1 :])


def test_keys_that_do_not_exist_are_not_attended_to() -> None:
    mask = window_mask(3, 2, 2, 1, torch.device("cpu"))
    assert mask.int().tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("samples", [1, 639, 640, 641, BLOCK - 1, BLOCK, BLOCK + TINY.ahead, 3 * BLOCK + 700])
def test_streams_equal_the_whole_however_they_are_cut(samples: int) -> None:
    model = random_model(voxzoo.entry("vox-s3-16k"), TINY.to_dict())
    wav = noise(3)[0, :samples].numpy()
    whole = model.encode(wav, sample_rate=16000).codes[0].numpy()
    assert whole.shape == (1, -(-samples // 640))
    for step in (97, 640, BLOCK + 1, samples):
        assert np.array_equal(streamed(model, wav, step), whole), step


def test_a_stream_keeps_no_more_with_time() -> None:
    model = random_model(voxzoo.entry("vox-s3-16k"), TINY.to_dict())
    sizes = []
    with model.stream_encoder() as encoder:
        for _ in range(12):
            encoder.push(noise(0.5)[0].numpy())
            state = encoder.core.state
            sizes.append(sum(t.numel() for layer in state.layers for t in layer) + state.maxima.numel())
            assert encoder.core.wav.shape[1] < TINY.left + BLOCK + TINY.ahead
    assert len(set(sizes)) == 1


# the weights in the package


@pytest.fixture(scope="module")
def bundled() -> Model:
    return voxzoo.load("vox-s3-16k", engine="torch")


def speech(seconds: float = 6.0) -> np.ndarray:
    audio = Audio.read(DEMO, 16000)
    return audio.samples[: int(16000 * seconds)]


def test_bundled_streams_equal_the_whole(bundled: Model) -> None:
    wav = speech()
    whole = bundled.encode(wav, sample_rate=16000).codes[0].numpy()
    for step in (1600, 10240, 50000):
        assert np.array_equal(streamed(bundled, wav, step), whole)


@pytest.mark.parametrize("gain", [0.05, 0.5, 3.0])
def test_the_level_does_not_matter(bundled: Model, gain: float) -> None:
    wav = speech()
    wav = wav / np.abs(wav).max() / 3
    codes = [bundled.encode((wav * g).astype(np.float32), sample_rate=16000).codes[0].numpy() for g in (1.0, gain)]
    assert (codes[0] == codes[1]).mean() >= 0.99


def test_speech_uses_many_codes(bundled: Model) -> None:
    codes = bundled.encode(speech(), sample_rate=16000).codes[0].numpy()
    assert len(np.unique(codes)) > codes.size / 4
    assert codes.max() < 729


@pytest.mark.slow
def test_tokens_tell_more_of_phones_than_clusters_of_cepstra_do(bundled: Model, espeak: Any) -> None:
    """In voices that training had not, above what as many codes tell by chance; of cepstra every second frame, at 25 Hz too."""
    clips = espeak.corpus(8, 40)
    cepstra = [codes[::2] for codes in espeak.units(8, 40)[1]]
    ours = [bundled.encode(clip.samples, sample_rate=16000).codes[0][0].numpy() for clip in clips]

    def content(units: list[np.ndarray]) -> float:
        phones = np.concatenate([frame_labels(clip.phones, len(u), 25) for clip, u in zip(clips, units, strict=True)])
        codes = np.concatenate(units)
        chance = phone_content(codes, np.random.default_rng(0).permutation(phones))
        return phone_content(codes, phones).pnmi - chance.pnmi

    assert content(ours) > content(cepstra) + 0.15


def test_what_ships_is_small_and_half_precision() -> None:
    folder = bundled_folder("vox-s3-16k")
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "README.md"}
    data = Path(folder / "model.safetensors").read_bytes()
    assert len(data) < 12_000_000
    card = (folder / "README.md").read_text()
    assert hashlib.sha256(data).hexdigest()[:16] in card  # the figures in the card are of these very weights
