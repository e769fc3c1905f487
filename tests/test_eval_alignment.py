import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo.eval.alignment import align, delay

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples


def shifted(samples: np.ndarray, lag: int) -> np.ndarray:
    if lag >= 0:
        return np.concatenate([np.zeros(lag, np.float32), samples])[: len(samples)]
    return np.concatenate([samples[-lag:], np.zeros(-lag, np.float32)])


def noise(samples: np.ndarray, db: float, seed: int = 0) -> np.ndarray:
    """Speech with white noise at a signal-to-noise ratio."""
    white = np.random.default_rng(seed).standard_normal(len(samples)).astype(np.float32)
    return (samples + white * samples.std() * 10 ** (-db / 20)).astype(np.float32)


def without_phase(samples: np.ndarray, seed: int = 0) -> np.ndarray:
    """The speech with random phases in its spectra: what a vocoder or generative decoder keeps."""
    from scipy.signal import istft, stft

    spectra = stft(samples, nperseg=512, noverlap=384)[2]
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, spectra.shape)
    out: np.ndarray = istft(np.abs(spectra) * np.exp(1j * angle), nperseg=512, noverlap=384)[1]
    return out[: len(samples)].astype(np.float32)


def low_passed(samples: np.ndarray, hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > hz] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


@pytest.mark.parametrize("lag", [0, 1, -1, 37, 450, -450, 1600, -1600])
def test_a_shifted_copy_is_found_to_the_sample(lag: int) -> None:
    assert delay(SPEECH, shifted(SPEECH, lag), RATE) == lag
    assert delay(SPEECH, shifted(noise(SPEECH, 5), lag), RATE) == lag
    assert delay(SPEECH, 0.05 * shifted(low_passed(SPEECH, 2000), lag), RATE) == lag


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_the_rate_sets_the_limit(rate: int) -> None:
    lag = round(0.09 * rate)
    assert delay(SPEECH, shifted(SPEECH, lag), rate) == lag
    assert abs(delay(SPEECH, shifted(SPEECH, lag), rate, limit_s=0.02)) <= round(0.02 * rate)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_decoder_that_keeps_no_phase_is_aligned_to_a_millisecond(seed: int) -> None:
    decoded = without_phase(SPEECH, seed)
    assert delay(SPEECH, decoded, RATE) == 0, "nothing to gain, so not moved"
    for lag in (300, -300, 480):
        assert abs(delay(SPEECH, shifted(decoded, lag), RATE) - lag) < 24


def test_what_is_not_the_same_speech_is_not_moved() -> None:
    white = np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
    assert delay(SPEECH, white, RATE) == 0
    assert delay(SPEECH, SPEECH[::-1].copy(), RATE) == 0
    assert delay(SPEECH[: len(SPEECH) // 2], SPEECH[len(SPEECH) // 2 :], RATE) == 0


def test_of_equal_peaks_the_nearest_is_taken() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    assert delay(tone, tone, RATE) == 0
    assert delay(tone, np.roll(tone, 20), RATE) == 20  # 80 samples to the period


def test_nothing_to_align_by() -> None:
    broken = SPEECH.copy()
    broken[7] = np.nan
    for decoded in (np.zeros_like(SPEECH), broken, SPEECH[:0]):
        assert delay(SPEECH, decoded, RATE) == 0
        assert delay(decoded, SPEECH, RATE) == 0
    assert delay(SPEECH[20000:20001], SPEECH[20000:20001], RATE) == 0


def test_align_gives_the_reference_s_length() -> None:
    for lag in (0, 200, -200):
        decoded, found = align(SPEECH, np.concatenate([shifted(SPEECH, lag), np.ones(500, np.float32)]), RATE)
        assert found == lag
        assert decoded.shape == SPEECH.shape
        assert decoded.dtype == np.float32
        kept = slice(max(-lag, 0), len(SPEECH))
        cut = SPEECH[kept] if lag <= 0 else np.concatenate([SPEECH[: len(SPEECH) - lag], np.ones(lag, np.float32)])
        assert np.array_equal(decoded[kept], cut)
        assert not decoded[: kept.start].any()
    decoded, found = align(SPEECH, SPEECH[:100000], RATE)
    assert found == 0
    assert np.array_equal(decoded[:100000], SPEECH[:100000])
    assert not decoded[100000:].any()
    empty, found = align(SPEECH, SPEECH[:0], RATE)
    assert (len(empty), found) == (len(SPEECH), 0)


def has_encoder(name: str) -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    return name in subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("encoder", "options", "lags"), [("libcodec2", ["-mode", "2400"], (200, 450)), ("libgsm", [], (-8, 8))]
)
def test_codecs_of_ffmpeg(tmp_path: Path, encoder: str, options: list[str], lags: tuple[int, int]) -> None:
    if not has_encoder(encoder):
        pytest.skip(f"no ffmpeg with {encoder}")
    coded = tmp_path / {"libcodec2": "a.c2", "libgsm": "a.gsm"}[encoder]
    soundfile.write(tmp_path / "in.wav", SPEECH, RATE)
    quiet = ["ffmpeg", "-v", "error", "-i"]
    subprocess.run([*quiet, tmp_path / "in.wav", "-ar", "8000", "-c:a", encoder, *options, coded], check=True)
    subprocess.run([*quiet, coded, "-ar", "16000", tmp_path / "out.wav"], check=True)
    decoded = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert lags[0] <= delay(SPEECH, decoded, RATE) <= lags[1]
