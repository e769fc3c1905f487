from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo.core.slaney_mel import mel_filters
from voxzoo.eval import distances
from voxzoo.eval.distances import log_spectral_distance, mel_distance, mrstft_distance, si_sdr
from voxzoo.eval.metric import MetricError

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples[:64000]
WHITE = np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
NOISY = (SPEECH + 0.02 * WHITE).astype(np.float32)
SPECTRAL = (mrstft_distance, mel_distance, log_spectral_distance)


DECODED = (NOISY, 0.3 * NOISY + 0.1, WHITE, np.roll(SPEECH, 3))


def test_si_sdr_is_what_least_squares_leave() -> None:
    for decoded in DECODED:
        y = decoded.astype(np.float64)
        basis = np.stack([SPEECH.astype(np.float64), np.ones(len(y))], axis=1)
        found, (left,), *_ = np.linalg.lstsq(basis, y, rcond=None)
        target = found[0] * (basis[:, 0] - basis[:, 0].mean())
        wanted = 10 * np.log10(target @ target / left)
        assert si_sdr(SPEECH, decoded.astype(np.float32), RATE) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.slow
def test_si_sdr_is_torchmetrics_own() -> None:
    import torch
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    for decoded in DECODED:
        wanted = scale_invariant_signal_distortion_ratio(
            torch.tensor(decoded, dtype=torch.float64), torch.tensor(SPEECH, dtype=torch.float64), zero_mean=True
        )
        assert si_sdr(SPEECH, decoded.astype(np.float32), RATE) == pytest.approx(float(wanted), abs=1e-3)


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_powers() -> None:
    t = np.arange(RATE) / RATE
    s, n = np.sin(2 * np.pi * 100 * t), np.cos(2 * np.pi * 100 * t)
    assert si_sdr(s, s + 0.1 * n, RATE) == pytest.approx(20, abs=1e-9)
    assert si_sdr(s, -7 * (s + 0.1 * n) + 0.5, RATE) == pytest.approx(20, abs=1e-9)


def test_si_sdr_without_a_value() -> None:
    for decoded, reason in (
        (SPEECH, "infinite"),
        (0.5 * SPEECH, "infinite"),
        (0 * SPEECH, "silent"),
        (0 * SPEECH + 0.1, "silent"),
    ):
        with pytest.raises(MetricError, match=reason):
            si_sdr(SPEECH, decoded, RATE)
    t = np.arange(RATE) / RATE
    with pytest.raises(MetricError, match="minus infinity"):
        si_sdr(np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 300 * t), RATE)


@pytest.mark.parametrize("size", distances.SIZES)
@pytest.mark.parametrize("length", [1, 100, 5000, 64000])
def test_spectra_are_librosa_s(size: int, length: int) -> None:
    import librosa

    wanted = np.abs(librosa.stft(np.pad(SPEECH[:length], size // 2), n_fft=size, hop_length=size // 4, center=False)).T
    found = distances._spectrum(SPEECH[:length], size)
    assert found.shape == (1 + length // (size // 4), size // 2 + 1)
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("size", distances.SIZES)
def test_mel_bands_are_librosa_s(rate: int, size: int) -> None:
    import librosa

    wanted = librosa.filters.mel(sr=rate, n_fft=size, n_mels=distances.MELS)
    assert np.abs(mel_filters(rate, size, distances.MELS, rate / 2) - wanted).max() < 1e-7
    assert wanted.max(axis=1).min() > 0, "no band is empty"


def test_distances_are_those_of_plain_formulas() -> None:
    """With librosa's spectra, written out."""
    import librosa

    def spectra(samples: np.ndarray, size: int) -> np.ndarray:
        return np.abs(librosa.stft(samples.astype(np.float64), n_fft=size, hop_length=size // 4, pad_mode="constant"))

    stft, mel = [], []
    for size in (512, 1024, 2048):
        s, y = spectra(SPEECH, size), spectra(NOISY, size)
        stft.append(np.sqrt(((s - y) ** 2).sum() / (s**2).sum()) + np.abs(np.log(s.clip(1e-4)) - np.log(y.clip(1e-4))).mean())
        bank = librosa.filters.mel(sr=RATE, n_fft=size, n_mels=80)
        mel.append(np.abs(np.log10((bank @ s).clip(1e-5)) - np.log10((bank @ y).clip(1e-5))).mean())
    lsd = np.sqrt(((10 * np.log10((s**2).clip(1e-8)) - 10 * np.log10((y**2).clip(1e-8))) ** 2).mean(axis=0)).mean()
    assert mrstft_distance(SPEECH, NOISY, RATE) == pytest.approx(np.mean(stft), rel=1e-4)
    assert mel_distance(SPEECH, NOISY, RATE) == pytest.approx(np.mean(mel), rel=1e-4)
    assert log_spectral_distance(SPEECH, NOISY, RATE) == pytest.approx(lsd, rel=1e-4)


def test_a_gain_has_closed_forms() -> None:
    loud = (0.1 * WHITE).astype(np.float32)
    assert log_spectral_distance(loud, 2 * loud, RATE) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert mel_distance(loud, 2 * loud, RATE) == pytest.approx(np.log10(2), abs=1e-4)
    assert mrstft_distance(loud, 2 * loud, RATE) == pytest.approx(1 + np.log(2), abs=1e-3)


@pytest.mark.parametrize("distance", SPECTRAL)
def test_more_noise_is_farther(distance) -> None:
    found = [distance(SPEECH, (SPEECH + level * WHITE).astype(np.float32), RATE) for level in (0, 0.001, 0.01, 0.1)]
    assert found[0] == 0
    assert found == sorted(set(found))


@pytest.mark.parametrize("distance", SPECTRAL)
def test_digital_silence_is_a_finite_distance_but_not_an_original(distance) -> None:
    silence = np.zeros_like(SPEECH)
    assert 1 < distance(SPEECH, silence, RATE) < 100
    with pytest.raises(MetricError, match="the original is silent"):
        distance(silence, SPEECH, RATE)
    assert np.isfinite(distance(SPEECH[20000:20002], SPEECH[20001:20003], RATE))


@pytest.mark.parametrize("metric", [*SPECTRAL, si_sdr])
def test_bad_input_has_a_reason(metric) -> None:
    broken = SPEECH.copy()
    broken[3] = np.inf
    for reference, decoded, reason in (
        (SPEECH, broken, "the decoded sound has samples that are not finite"),
        (broken, SPEECH, "the original has samples that are not finite"),
        (SPEECH, SPEECH[1:], "differ in length"),
        (SPEECH[None], SPEECH[None], r"expected float samples \(T,\)"),
        ((SPEECH * 32767).astype(np.int16), SPEECH, "int16"),
        (SPEECH[:0], SPEECH[:0], "no samples"),
    ):
        with pytest.raises(MetricError, match=reason):
            metric(reference, decoded, RATE)
