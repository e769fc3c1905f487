from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo.eval import pitch
from voxzoo.eval.metric import MetricError

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples
OF_VOICED = (pitch.f0_rmse_hz, pitch.f0_rmse_cents, pitch.f0_correlation, pitch.gross_pitch_error)


def voice(hz: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Pulses of a pitch (T,) in Hz, with harmonics; silent where it is 0."""
    phase = 2 * np.pi * np.cumsum(hz) / rate
    tone = sum(np.cos(k * phase) / k for k in range(1, 9))
    return (0.1 * tone * (hz > 0)).astype(np.float32)


def glide(start: float, end: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return np.geomspace(start, end, int(seconds * rate))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_the_pitch_of_a_glide(rate: int) -> None:
    hz = glide(120, 240, 1.0, rate)
    found = pitch.f0_contour(voice(hz, rate), rate)
    assert len(found) == 1 + len(hz) * 100 // rate
    cents = 1200 * np.log2(found / np.append(hz, 240)[:: rate // 100])[5:95]
    assert np.abs(cents).max() < 20  # its steps
    assert abs(cents.mean()) < 2  # and it is late by less than 2 ms


def test_the_range_ends_where_it_is_said_to() -> None:
    for hz in (66, 590):
        assert np.median(pitch.f0_contour(voice(np.full(8000, float(hz))), RATE)) == pytest.approx(hz, rel=0.012)


def test_the_pitch_of_speech_is_that_of_world() -> None:
    """Another algorithm, of another library, on the frames both call voiced."""
    from voxzoo.eval._pyworld import pyworld

    found, wav = pitch.f0_contour(SPEECH[16000:48000], RATE), SPEECH[16000:48000].astype(np.float64)
    other = pyworld().stonemask(wav, *pyworld().dio(wav, RATE, frame_period=10.0), RATE)
    both = (found > 0) & (other > 0)
    assert both.sum() > 75
    assert np.median(np.abs(1200 * np.log2(found[both] / other[both]))) < 20
    assert ((found > 0) == (other > 0)).mean() > 0.8


def test_a_fundamental_that_is_missing_is_still_the_pitch() -> None:
    """Where trackers of the fundamental jump an octave."""
    hz = glide(110, 140)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    weak = (0.1 * sum(np.cos(k * phase) for k in range(2, 9))).astype(np.float32)
    assert pitch.gross_pitch_error(voice(hz), weak, RATE) == 0
    assert pitch.f0_correlation(voice(hz), weak, RATE) > 0.98


def test_long_sounds_are_searched_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pitch.f0_contour(SPEECH[:40000], RATE)
    monkeypatch.setattr(pitch, "PIECE", 16000)
    for length in (40000, 33000, 32100):  # the last piece may be long, never shorter than a window
        cut = pitch.f0_contour(SPEECH[:length], RATE)
        assert len(cut) == 1 + length // 160
        same = (cut == whole[: len(cut)])[: length // 160 - 5]
        assert same.mean() > 0.9
    assert np.array_equal(cut[:95], pitch.f0_contour(SPEECH[:16000], RATE)[:95])


def test_what_is_shorter_than_a_window_has_no_pitch() -> None:
    with pytest.raises(MetricError, match="shorter than 64 ms"):
        pitch.voicing_error(SPEECH[20000:21023], SPEECH[20000:21023], RATE)
    assert pitch.voicing_error(SPEECH[20000:21024], SPEECH[20000:21024], RATE) == 0


def test_a_transposed_voice_has_closed_forms() -> None:
    low, high = voice(glide(120, 180)), voice(glide(120, 180) * 2 ** (1 / 12))
    assert pitch.f0_rmse_cents(low, high, RATE) == pytest.approx(100, abs=5)
    assert pitch.f0_rmse_hz(low, high, RATE) == pytest.approx(149 * (2 ** (1 / 12) - 1), rel=0.08)
    assert pitch.f0_correlation(low, high, RATE) > 0.99
    assert pitch.gross_pitch_error(low, high, RATE) < 0.02
    assert pitch.gross_pitch_error(low, voice(glide(120, 180) * 1.3), RATE) > 0.95
    assert pitch.f0_correlation(low, voice(glide(180, 120)), RATE) < -0.9


def test_formulas_on_contours() -> None:
    s = np.tile([100.0, 200, 0, 300, 0, 400], 4)
    y = np.tile([110.0, 200, 50, 0, 0, 600], 4)
    a, b = pitch._both(s, y)
    assert (list(a), list(b)) == ([100, 200, 400] * 4, [110, 200, 600] * 4)
    assert pitch._rmse_hz(a, b) == pytest.approx(np.sqrt((100 + 0 + 40000) / 3))
    cents = [1200 * np.log2(1.1), 0, 1200 * np.log2(1.5)]
    assert pitch._rmse_cents(a, b) == pytest.approx(np.sqrt(np.mean(np.square(cents))))
    assert pitch._gross(a, b) == pytest.approx(1 / 3)
    assert pitch._voicing(s, y) == pytest.approx(2 / 6)
    random = np.random.default_rng(0).uniform(80, 300, (2, 50))
    assert pitch._correlation(*random) == pytest.approx(np.corrcoef(random)[0, 1])


def test_voicing_of_a_voice_cut_short() -> None:
    hz = glide(120, 180)
    half = hz.copy()
    half[len(hz) // 2 :] = 0
    assert pitch.voicing_error(voice(hz), voice(half), RATE) == pytest.approx(0.5, abs=0.05)
    assert pitch.voicing_error(SPEECH[16000:24000], SPEECH[16000:24000], RATE) == 0
    assert pitch.voicing_error(voice(hz), np.zeros(len(hz), np.float32), RATE) > 0.9


def test_no_value_where_nothing_is_voiced_in_both() -> None:
    hz = glide(120, 180)
    first, second = hz.copy(), hz.copy()
    first[len(hz) // 2 - 800 :] = 0
    second[: len(hz) // 2 + 800] = 0
    for metric in OF_VOICED:
        with pytest.raises(MetricError, match="fewer than 10 frames"):
            metric(voice(first), voice(second), RATE)
        with pytest.raises(MetricError, match="the decoded sound is silent"):
            metric(voice(first), np.zeros(len(hz), np.float32), RATE)
        with pytest.raises(MetricError, match="the original is silent"):
            metric(np.zeros(len(hz), np.float32), voice(first), RATE)


def test_no_correlation_of_few_frames_or_of_a_constant() -> None:
    with pytest.raises(MetricError, match="fewer than 10 frames"):
        pitch._both(np.full(50, 100.0), np.where(np.arange(50) < 9, 100.0, 0.0))
    assert len(pitch._both(np.full(50, 100.0), np.where(np.arange(50) < 10, 100.0, 0.0))[0]) == 10
    with pytest.raises(MetricError, match="constant"):
        pitch._correlation(np.full(20, 100.0), np.linspace(100, 200, 20))


def test_equal_sounds_are_perfect() -> None:
    wanted = {"f0_rmse_hz": 0, "f0_rmse_cents": 0, "f0_correlation": 1, "gross_pitch_error": 0}
    for metric in OF_VOICED:
        assert metric(SPEECH[16000:24000], SPEECH[16000:24000], RATE) == pytest.approx(wanted[metric.__name__])
