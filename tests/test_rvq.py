"""The bundled `vox-rvq-16k`: the weights that ship, on the speech that ships."""

from __future__ import annotations

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio, Tokens
from voxzoo.codecs.rvq import RVQConfig
from voxzoo.core.model import Model
from voxzoo.core.weights import bundled_folder

FINGERPRINT = "a6f5ac8c15e2bbce"  # of the weights released with 0.1.0: tokens made with them must stay decodable


@pytest.fixture(scope="module")
def model() -> Model:
    return voxzoo.load("vox-rvq-16k")


@pytest.fixture(scope="module")
def speech() -> Audio:
    return Audio.read(bundled_folder("demo") / "speech.wav", 16000)


def test_the_weights_are_those_released(model: Model) -> None:
    assert model.fingerprint.startswith(FINGERPRINT)
    assert model.config == RVQConfig().to_dict() == dict(voxzoo.entry("vox-rvq-16k").config)
    assert model.facts == voxzoo.entry("vox-rvq-16k").facts
    assert (bundled_folder("vox-rvq-16k") / "model.safetensors").stat().st_size <= 12_000_000


@pytest.mark.parametrize("step", [320, 1000])
def test_streams_give_the_very_codes_of_encode(model: Model, speech: Audio, step: int) -> None:
    """At real size small matrix products round otherwise than large ones unless care is taken (see `STEADY`)."""
    tokens = model.encode(speech)
    with model.stream_encoder() as stream:
        parts = [stream.push(speech.samples[i : i + step]) for i in range(0, len(speech), step)] + [stream.finish()]
    joined = Tokens.concatenate(parts)
    assert all(bool((a == b).all()) for a, b in zip(joined.codes, tokens.codes, strict=True))


def test_a_batch_gives_the_very_codes_of_its_clips(model: Model, speech: Audio) -> None:
    clips = [Audio(speech.samples[i : i + n], 16000) for i, n in ((0, 16000), (30000, 1), (50000, 333), (60000, 50001))]
    together = model.encode(clips)
    for i, clip in enumerate(clips):
        alone = model.encode(clip)
        assert all(bool((a == b).all()) for a, b in zip(together[i].codes, alone.codes, strict=True))


def test_more_streams_sound_nearer(model: Model, speech: Audio) -> None:
    """Distance of log spectra (dB, bins within 50 dB of the peak) falls with every doubling of the streams."""

    def spectrum(audio: Audio) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(audio.samples, 512)[::160] * np.hanning(512)
        return np.abs(np.fft.rfft(frames))

    want = spectrum(speech)
    floor = want.max() * 10 ** (-50 / 20)
    distances = []
    for streams in (1, 2, 4, 8):
        got = spectrum(model.decode(model.encode(speech, streams=streams)))
        distances.append(float(np.abs(20 * np.log10(np.maximum(got, floor) / np.maximum(want, floor))).mean()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 4.0
