"""Each transform does what its definition says, measured on its result; and says no to sound it has no meaning for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxzoo import Audio, AudioError, VoxzooError
from voxzoo.core.errors import MissingExtraError
from voxzoo.core.weights import bundled_folder
from voxzoo.eval import anchors
from voxzoo.eval.additive_noise import add_noise, coloured_noise, coloured_noise_at, recorded_noise, recorded_noise_at
from voxzoo.eval.degradations import bit_depth, codec, gain, low_pass, quantise, resampling
from voxzoo.eval.metric import MetricError
from voxzoo.eval.reverberation import exponential_response, measured_reverberation, reverberate, synthetic_reverberation
from voxzoo.eval.time_pitch import pitch, shift, tempo
from voxzoo.eval.transforms import Transform, default_transforms

RATE = 16000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def speech() -> Audio:
    return Audio.read(bundled_folder("demo") / "speech.wav", RATE)


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> Audio:
    samples = level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return Audio(samples.astype(np.float32), RATE)


def harmonics(pitch_hz: float, seconds: float = 2.0) -> Audio:
    t = np.arange(round(seconds * RATE)) / RATE
    return Audio(sum(0.3 / k * np.sin(2 * np.pi * k * pitch_hz * t) for k in range(1, 9)).astype(np.float32), RATE)


def fundamental(samples: np.ndarray) -> float:
    """Hz of the strongest line, from a long spectrum, refined by a parabola."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 19)) + 1e-12)
    k = int(spectrum.argmax())
    left, middle, right = spectrum[k - 1 : k + 2]
    return float((k + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / (1 << 19))


def decibels(signal: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(signal.astype(np.float64) ** 2) / np.sum(other.astype(np.float64) ** 2)))


# ---------------------------------------------------------------- noise
@pytest.mark.parametrize("ratio", [20, 10, 5, -3])
@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_the_ratio_is_exact(speech: Audio, colour: str, ratio: float) -> None:
    mixed = coloured_noise_at(colour, ratio)(speech).samples  # type: ignore[arg-type]
    assert decibels(speech.samples, mixed.astype(np.float64) - speech.samples) == pytest.approx(ratio, abs=0.01)


@given(st.floats(1e-4, 1), st.floats(-20, 40), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_the_ratio_is_exact_at_any_level_and_length(level: float, ratio: float, count: int) -> None:
    rng = np.random.default_rng(count)
    signal, disturbance = level * rng.uniform(0.1, 1, count), rng.uniform(0.1, 1, count)
    mixed = add_noise(signal, disturbance, ratio).astype(np.float64)
    assert decibels(signal, mixed - signal) == pytest.approx(ratio, abs=0.02)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0.0), ("pink", -10.0), ("brown", -20.0)])
def test_the_slope_of_the_spectrum(colour: str, slope: float) -> None:
    """dB per decade of power density, by Welch's averages."""
    samples = coloured_noise(colour, 20 * RATE, RATE, np.random.default_rng(3))  # type: ignore[arg-type]
    frames = np.lib.stride_tricks.sliding_window_view(samples, 4096)[::2048] * np.hanning(4096)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(0)
    frequencies = np.fft.rfftfreq(4096, 1 / RATE)
    band = (frequencies > 60) & (frequencies < 7000)
    found = np.polyfit(np.log10(frequencies[band]), 10 * np.log10(power[band]), 1)[0]
    assert found == pytest.approx(slope, abs=0.3)


def test_recorded_noise_is_a_stretch_of_a_recording(speech: Audio) -> None:
    recordings = [noise(12, 1), noise(12, 2)]
    transform = recorded_noise_at(recordings, 0)
    added = transform(speech).samples - speech.samples
    best = max(
        float(np.abs(np.fft.irfft(np.fft.rfft(added, 1 << 19) * np.conj(np.fft.rfft(r.samples, 1 << 19)))).max())
        / float(np.linalg.norm(added) * np.linalg.norm(r.samples[: len(added)]))
        for r in recordings
    )
    assert best > 0.6  # the part before the loop correlates fully
    assert decibels(speech.samples, added) == pytest.approx(0, abs=0.01)


def test_short_recordings_are_looped_and_silent_stretches_passed_over() -> None:
    rng = np.random.default_rng(0)
    ramp = np.arange(1, 6, dtype=np.float32)
    looped = recorded_noise([Audio(ramp, RATE)], 12, RATE, rng)
    assert (np.diff(looped) % 5 == 1).all()
    half_silent = np.concatenate([np.zeros(1000, np.float32), np.ones(3, np.float32)])
    assert all(
        recorded_noise([Audio(x, RATE) for x in (np.zeros(0, np.float32), half_silent)], 500, RATE, rng).any()
        for _ in range(20)
    )
    with pytest.raises(MetricError, match="no stretch of the 1 noise"):
        recorded_noise([Audio(np.zeros(100, np.float32), RATE)], 50, RATE, rng)
    with pytest.raises(MetricError, match="no noise recordings were given"):
        recorded_noise([], 50, RATE, rng)


def test_colours_that_are_not_there() -> None:
    with pytest.raises(MetricError, match="white, pink, brown"):
        coloured_noise("blue", 10, RATE, np.random.default_rng(0))  # type: ignore[arg-type]


# ---------------------------------------------------------------- rooms
@pytest.mark.parametrize("t60", [0.2, 0.5, 1.0])
def test_the_synthetic_response_decays_by_its_t60(t60: float) -> None:
    """Schroeder's backward integral between -5 and -25 dB, three times that time."""
    response = exponential_response(t60, RATE, np.random.default_rng(1))
    tail = response[1:]
    assert response[0] == 1
    assert np.sum(tail**2) == pytest.approx(1)  # a direct-to-reverberant ratio of 0 dB
    decay = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    begin, end = int(np.argmax(decay < -5)), int(np.argmax(decay < -25))
    assert 3 * (end - begin) / RATE == pytest.approx(t60, rel=0.05)


def test_the_direct_path_stays_in_place_and_the_energy_as_it_was() -> None:
    rng = np.random.default_rng(0)
    response = np.concatenate([np.zeros(40), [1.0], 0.2 * rng.standard_normal(800) * np.exp(-np.arange(800) / 100)])
    sound = noise(1).samples
    wet = reverberate(sound, response)
    lags = np.correlate(wet, sound[200:-200], "valid")
    assert int(np.abs(lags).argmax()) == 200
    assert decibels(wet, sound) == pytest.approx(0, abs=1e-3)
    slow = np.convolve(sound.astype(np.float64), response)[40 : 40 + len(sound)]
    assert np.abs(wet - slow * np.sqrt(np.sum(sound**2) / np.sum(slow**2))).max() < 1e-5


def test_measured_rooms(speech: Audio) -> None:
    twice = Audio(np.concatenate([np.zeros(8), [0.9], np.zeros(8)]).astype(np.float32), RATE)  # a room without walls
    assert np.abs(measured_reverberation([twice])(speech).samples - speech.samples).max() < 1e-6
    with pytest.raises(MetricError, match="no room responses"):
        measured_reverberation([])(speech)
    with pytest.raises(MetricError, match="empty, silent or not finite"):
        reverberate(speech.samples, np.zeros(10))
    with pytest.raises(MetricError, match="t60=0"):
        synthetic_reverberation(0)(speech)


# ---------------------------------------------------------------- time and pitch
def test_shift_is_exact(speech: Audio) -> None:
    shifted = shift(0.002)(speech).samples
    assert not shifted[:32].any()
    assert np.array_equal(shifted[32:], speech.samples[:-32])
    assert len(shifted) == len(speech)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_tempo_changes_the_length_and_not_the_pitch(factor: float) -> None:
    tone = harmonics(200)
    changed = tempo(factor)(tone).samples
    assert len(changed) == round(len(tone) / factor)
    assert fundamental(changed[4000:-4000]) == pytest.approx(200, rel=0.005)
    assert np.mean(changed**2) == pytest.approx(np.mean(tone.samples**2), rel=1e-3)


@pytest.mark.parametrize("semitones", [-4, -2, 2, 4])
def test_pitch_moves_by_its_ratio_and_the_length_stays(semitones: float) -> None:
    tone = harmonics(200)
    changed = pitch(semitones)(tone).samples
    assert len(changed) == len(tone)
    assert fundamental(changed[4000:-4000]) == pytest.approx(200 * 2 ** (semitones / 12), rel=0.005)
    assert np.mean(changed**2) == pytest.approx(np.mean(tone.samples**2), rel=1e-3)


# ---------------------------------------------------------------- level, bandwidth, coding
def test_gain(speech: Audio) -> None:
    assert decibels(gain(6)(speech).samples, speech.samples) == pytest.approx(6, abs=1e-4)
    loud = gain(6)(Audio(np.array([0.9, -0.9], np.float32), RATE)).samples
    assert loud == pytest.approx([1.7957, -1.7957], abs=1e-4)  # beyond full scale, not clipped


def test_low_pass_takes_away_what_is_above_and_nothing_below() -> None:
    t = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * f * t).astype(np.float32) for f in (3000, 5000))
    middle = slice(1000, -1000)
    assert np.abs(low_pass(4000)(Audio(low, RATE)).samples - low)[middle].max() < 0.005
    assert np.abs(low_pass(4000)(Audio(high, RATE)).samples)[middle].max() < 0.005
    with pytest.raises(MetricError, match="nothing above 4000 Hz"):
        low_pass(4000)(Audio(low, 8000))


@pytest.mark.parametrize("bits", [8, 14])
def test_bit_depth(speech: Audio, bits: int) -> None:
    crushed = bit_depth(bits)(speech).samples
    steps = crushed.astype(np.float64) * 2 ** (bits - 1)
    assert np.array_equal(steps, np.round(steps))
    assert np.abs(crushed - speech.samples).max() <= 2.0**-bits
    assert quantise(np.array([-2.0, 2.0], np.float32), 8).tolist() == [-1, 127 / 128]


def test_resampling_round_trip(speech: Audio) -> None:
    assert decibels(speech.samples, resampling(44100)(speech).samples - speech.samples) > 25
    spectrum = np.abs(np.fft.rfft(resampling(8000)(noise(2)).samples)) ** 2
    assert spectrum[2 * 4200 :].sum() < 1e-5 * spectrum.sum()


@needs_ffmpeg
@pytest.mark.parametrize(("name", "least"), [("opus:12", 4), ("gsm", 5)])
def test_codec_round_trip(speech: Audio, name: str, least: float) -> None:
    try:
        coded = codec(name)(speech).samples
    except VoxzooError as error:
        pytest.skip(str(error))
    assert len(coded) == len(speech)
    spectra = [np.fft.rfft(x, 1 << 19) for x in (coded, speech.samples)]
    assert int(np.fft.irfft(spectra[0] * np.conj(spectra[1])).argmax()) == 0  # no delay is left
    gap = decibels(speech.samples, coded - speech.samples)
    assert least < gap < 40
    loud = codec(name)(Audio(speech.samples * 4, RATE)).samples
    assert np.abs(loud).max() > 1.2


def test_codecs_that_cannot_run(speech: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MetricError, match="opus, codec2, gsm, speex"):
        codec("mp3")
    with pytest.raises(VoxzooError, match="opus"):
        codec("opus:9999")
    anchors._ffmpeg.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VoxzooError, match="ffmpeg, which is not on the PATH"):
        codec("gsm")(speech)


# ---------------------------------------------------------------- all of them
ALL = default_transforms([noise(1, 5)], [Audio(np.array([0, 1, 0.5], np.float32), RATE)])


def tried(transform: Transform, audio: Audio, seed: int = 0) -> Audio | str:
    try:
        return transform(audio, seed)
    except VoxzooError as error:
        return str(error)


def test_names_and_definitions_are_there_once() -> None:
    assert len({t.name for t in ALL}) == len(ALL)
    assert all(len(t.definition) > 15 for t in ALL)
    assert [t.name for t in ALL if not t.keeps_time] == ["tempo_0.9", "tempo_1.1"]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: t.name)
def test_short_and_silent_clips_give_sound_or_a_reason(transform: Transform) -> None:
    for samples in (np.array([0.5]), noise(0.003).samples, noise(0.2).samples, np.zeros(1), np.zeros(4000)):
        audio = Audio(samples.astype(np.float32), RATE)
        changed = tried(transform, audio)
        if isinstance(changed, Audio):
            assert len(changed) == len(audio) or not transform.keeps_time
            assert changed.samples.any() or not audio.samples.any() or transform.name.startswith(("codec", "resample"))
        else:
            assert "\n" not in changed
    with pytest.raises(AudioError, match="no samples"):
        transform(Audio(np.zeros(0, np.float32), RATE))


@pytest.mark.parametrize("transform", ALL, ids=lambda t: t.name)
def test_the_same_seed_and_clip_give_the_same_sound(transform: Transform) -> None:
    audio, other = noise(0.3), noise(0.3, 9)
    first = tried(transform, audio)
    tried(transform, other)
    again = tried(transform, audio)
    if isinstance(first, str):
        assert first == again
        return
    assert isinstance(again, Audio)
    assert np.array_equal(first.samples, again.samples)
    if transform.name.startswith(("noise", "reverb_0")):
        another = tried(transform, audio, 1)
        assert isinstance(another, Audio)
        assert not np.array_equal(first.samples, another.samples)


def test_one_noise_at_every_level(speech: Audio) -> None:
    """A curve over ratios is of the same noise, not of luckier and unluckier ones."""
    for at in (lambda r: coloured_noise_at("pink", r), lambda r: recorded_noise_at([noise(1, s) for s in range(5)], r)):
        louder, softer = (at(ratio)(speech).samples.astype(np.float64) - speech.samples for ratio in (0, 20))
        assert np.abs(louder - 10 * softer).max() < 1e-4


def test_silence_has_no_ratio() -> None:
    with pytest.raises(MetricError, match="clip is silent"):
        coloured_noise_at("white", 10)(Audio(np.zeros(100, np.float32), RATE))
    with pytest.raises(MetricError, match="noise is silent or not finite"):
        add_noise(np.ones(3), np.array([1, np.nan, 1]), 10)


@pytest.mark.parametrize(
    ("transform", "module"),
    [
        (lambda: low_pass(4000), "scipy.signal"),
        (lambda: synthetic_reverberation(0.3), "scipy.signal"),
        (lambda: tempo(0.9), "librosa.effects"),
        (lambda: pitch(2), "librosa.effects"),
    ],
)
def test_missing_libraries_are_named(transform: Callable[[], Transform], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module.partition('.')[0]}.*voxzoo\[eval\]"):
        transform()(noise(1))
