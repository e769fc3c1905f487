"""Voices changed in batches: pitch and formants against what was asked, by Praat where it is installed; equalisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voxzoo import Audio
from voxzoo.core.weights import bundled_folder
from voxzoo.training import perturb_equalizer
from voxzoo.training.perturb import Change, Strength, changed, fast_length, new_pitch, perturbed
from voxzoo.training.perturb_pitch import UNVOICED, Phase, Pitch, track

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> Tensor:
    """Two stretches of the bundled clip, (2, T)."""
    wav = Audio.read(bundled_folder("demo") / "speech.wav", RATE).samples
    size = min(len(wav) // 2, 2 * RATE + RATE // 2)
    return torch.from_numpy(np.stack([wav[:size], wav[-size:]]))


def change(pitch: float = 1.0, formants: float = 1.0, spread: float = 1.0, count: int = 2) -> Change:
    return Change(*(torch.full((count,), ratio) for ratio in (pitch, spread, formants)))


def pulses(f0: float, seconds: float = 1.0, resonance: float = 700.0) -> Tensor:
    """A made vowel (1, T): pulses through one resonance, whose place is that of the formant."""
    length = int(seconds * RATE)
    spectrum = np.zeros(length // 2 + 1, complex)
    place = np.fft.rfftfreq(length, 1 / RATE)
    harmonics = np.arange(1, int(7000 / f0)) * f0
    bins = np.round(harmonics * length / RATE).astype(int)
    spectrum[bins] = 1 / (1 + ((place[bins] - resonance) / 80) ** 2)
    wav = np.fft.irfft(spectrum, length)
    return torch.from_numpy((0.3 * wav / np.abs(wav).max()).astype(np.float32))[None]


def measured(wav: Tensor) -> Pitch:
    """Pitch at every sample's rate over FINE steps: the same tracker, on sound that is not decimated."""
    return track(wav[:, ::4], RATE / 4, -(-wav.shape[1] // 160))


def centre(wav: Tensor) -> float:
    """Hz: the loudest place of the smoothed spectrum."""
    power = torch.fft.rfft(wav[0] * torch.hann_window(wav.shape[1])).abs().square().numpy()
    smooth = np.convolve(power, np.hanning(301), "same")
    return float(np.argmax(smooth) * RATE / wav.shape[1])


# pitch and its marks


@pytest.mark.parametrize("f0", [80.0, 123.0, 210.0, 430.0])
def test_pitch_of_made_vowels(f0: float) -> None:
    pitch = measured(pulses(f0))
    assert pitch.voiced.float().mean() > 0.95
    assert float(pitch.median) == pytest.approx(f0, rel=0.01)


def test_noise_and_silence_have_no_voice() -> None:
    noise = 0.1 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert measured(noise).voiced.float().mean() < 0.2
    silence = measured(torch.zeros(1, RATE))
    assert not silence.voiced.any()
    assert float(silence.median) == UNVOICED


def test_marks_are_where_periods_begin() -> None:
    phase = Phase.of(torch.tensor([[100.0, 200.0, 50.0, 400.0]]), RATE)
    times, frame = phase.times(9)
    want = [0, 160, 240, 320, 500, 540, 580, 620]  # half of the third frame's period is over at its end
    assert times[0, :8].tolist() == pytest.approx(want)
    assert torch.allclose(phase.before(times), torch.arange(9.0)[None], atol=1e-3)
    dense = phase.samples()[0]
    assert torch.allclose(dense.diff(), phase.slope[0].repeat_interleave(160)[:-1], atol=1e-4)
    assert frame[0, :8].tolist() == [0, 1, 1, 2, 3, 3, 3, 3]


def test_a_new_pitch_is_spread_about_its_median() -> None:
    f0 = torch.tensor([[90.0, 100.0, 110.0, UNVOICED]])
    pitch = Pitch(f0, torch.tensor([[True, True, True, False]]), torch.tensor([[100.0]]))
    got = new_pitch(pitch, change(2.0, spread=1.5, count=1))
    assert got[0].tolist() == pytest.approx([170, 200, 230, UNVOICED])


# voices


@pytest.mark.parametrize(("pitch", "formants"), [(1.5, 1.0), (0.7, 1.0), (1.0, 1.25), (1.0, 0.8), (1.8, 1.3)])
def test_a_made_vowel_gets_the_pitch_and_the_formant_that_were_asked_for(pitch: float, formants: float) -> None:
    vowel = pulses(140.0)
    got = changed(vowel, RATE, change(pitch, formants, count=1))
    assert float(measured(got).median) == pytest.approx(140 * pitch, rel=0.01)
    assert centre(got) == pytest.approx(700 * formants, abs=0.55 * 140 * pitch)  # no nearer than the next harmonic
    assert float(got.square().mean()) == pytest.approx(float(vowel.square().mean()), rel=1e-3)


@pytest.mark.parametrize(("pitch", "formants"), [(1.6, 1.0), (0.6, 1.0), (1.0, 0.83), (1.4, 1.15)])
def test_praat_hears_what_was_asked_for(speech: Tensor, pitch: float, formants: float) -> None:
    """Medians over the frames that Praat calls voiced: pitch within 2 %, the first three formants within 7 %."""
    parselmouth = pytest.importorskip("parselmouth")
    got = changed(speech, RATE, change(pitch, formants))
    ratios, moved = [], []
    for before, after in zip(speech.double().numpy(), got.double().numpy(), strict=True):
        f0 = [praat_pitch(parselmouth, wav) for wav in (before, after)]
        frames = min(map(len, f0))
        both = (f0[0][:frames] > 0) & (f0[1][:frames] > 0)
        assert both.sum() > 0.6 * (f0[0] > 0).sum()
        places = np.flatnonzero(both)
        ratios.append(np.median(f0[1][places] / f0[0][places]))
        times = 0.01 * places[::3] + 0.03  # Praat's first frame is centred three periods of 50 Hz from the start
        tops = (5500.0, 5500.0 * formants)
        found = [praat_formants(parselmouth, wav, top, times) for wav, top in zip((before, after), tops, strict=True)]
        moved.append(np.nanmedian(found[1] / found[0], 0))
    assert ratios == pytest.approx([pitch] * 2, rel=0.02)
    assert np.mean(moved, 0) == pytest.approx([formants] * 3, rel=0.07)


def praat_pitch(parselmouth: Any, wav: np.ndarray) -> np.ndarray:
    sound = parselmouth.Sound(wav, RATE)
    options = (0.01, 50, 15, "no", 0.03, 0.45, 0.01, 0.35, 0.14, 900)
    return np.asarray(parselmouth.praat.call(sound, "To Pitch (ac)", *options).selected_array["frequency"])


def praat_formants(parselmouth: Any, wav: np.ndarray, top: float, times: np.ndarray) -> np.ndarray:
    """(times, 3)."""
    found = parselmouth.Sound(wav, RATE).to_formant_burg(0.01, 5, top, 0.025, 50)
    return np.array([[found.get_value_at_time(k, t) for k in (1, 2, 3)] for t in times])


def test_nothing_asked_for_changes_little(speech: Tensor) -> None:
    """Grains of the very periods that were there: the same sound but for where marks lie, which spectra do not hear."""
    got = changed(speech, RATE, change())
    before, after = (torch.stft(w, 512, 160, window=torch.hann_window(512), return_complex=True).abs() for w in (speech, got))
    assert float((before - after).square().sum() / before.square().sum()) < 0.08


def test_a_clip_does_not_depend_on_its_batch(speech: Tensor) -> None:
    both = changed(speech, RATE, Change(torch.tensor([1.5, 0.7]), torch.ones(2), torch.tensor([1.2, 1.0])))
    alone = changed(speech[1:], RATE, Change(torch.tensor([0.7]), torch.ones(1), torch.tensor([1.0])))
    assert torch.allclose(both[1:], alone, atol=1e-4)


def test_what_is_drawn_follows_from_the_seed_alone(speech: Tensor) -> None:
    a, b, c = (perturbed(speech, RATE, Strength(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert (a - c).abs().max() > 0.01
    assert a.shape == speech.shape
    assert a.abs().max() <= 1


@pytest.mark.parametrize("samples", [1, 100, 1600, 5000])
def test_short_and_silent_clips_stay_finite(samples: int) -> None:
    for wav in (torch.zeros(1, samples), torch.full((2, samples), 0.5), torch.randn(1, samples).clamp(-1, 1)):
        got = perturbed(wav, RATE, Strength(), np.random.default_rng(0))
        assert got.shape == wav.shape
        assert torch.isfinite(got).all()


# equalisers


def test_equalisers_are_the_cookbooks() -> None:
    """Against the filters run sample by sample, from the coefficients as they are written down."""
    gains, quality = perturb_equalizer.drawn(2, np.random.default_rng(0))
    got = perturb_equalizer.responses(torch.from_numpy(gains), torch.from_numpy(quality), RATE)
    centres = 2 * np.pi * np.geomspace(60, 7600, 10) / RATE
    for b in range(2):
        want = [1.0] + [0.0] * (perturb_equalizer.TAPS - 1)
        for i, (gain, q, w) in enumerate(zip(gains[b].tolist(), quality[b].tolist(), centres.tolist(), strict=True)):
            want = filtered(*cookbook(i, 10 ** (gain / 40), np.sin(w) / (2 * q), np.cos(w)), want)
        assert np.abs(got[b].numpy() - want).max() < 2e-3 * np.abs(want).max()


def filtered(b: list[float], a: list[float], x: list[float]) -> list[float]:
    y: list[float] = []
    for n in range(len(x)):
        x1, x2 = (x[n - 1] if n > 0 else 0.0), (x[n - 2] if n > 1 else 0.0)
        y1, y2 = (y[n - 1] if n > 0 else 0.0), (y[n - 2] if n > 1 else 0.0)
        y.append((b[0] * x[n] + b[1] * x1 + b[2] * x2 - a[1] * y1 - a[2] * y2) / a[0])
    return y


def cookbook(i: int, a: float, alpha: float, cos: float) -> tuple[list[float], list[float]]:
    root = 2 * np.sqrt(a) * alpha
    if i == 0:
        return (
            [a * (a + 1 - (a - 1) * cos + root), 2 * a * (a - 1 - (a + 1) * cos), a * (a + 1 - (a - 1) * cos - root)],
            [a + 1 + (a - 1) * cos + root, -2 * (a - 1 + (a + 1) * cos), a + 1 + (a - 1) * cos - root],
        )
    if i == 9:
        return (
            [a * (a + 1 + (a - 1) * cos + root), -2 * a * (a - 1 + (a + 1) * cos), a * (a + 1 + (a - 1) * cos - root)],
            [a + 1 - (a - 1) * cos + root, 2 * (a - 1 - (a + 1) * cos), a + 1 - (a - 1) * cos - root],
        )
    return [1 + alpha * a, -2 * cos, 1 - alpha * a], [1 + alpha / a, -2 * cos, 1 - alpha / a]


@pytest.mark.parametrize("length", [1, 31, 32, 33, 40, 41, 48, 49, 100000])
def test_lengths_of_transforms(length: int) -> None:
    size = fast_length(length)
    assert length <= size <= max(32, 4 * length)
    while size % 2 == 0:
        size //= 2
    assert size in (1, 3, 5)
