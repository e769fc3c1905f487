from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo.eval import cepstrum
from voxzoo.eval.cepstrum import freqt_matrix, mcd, mel_cepstrum, spectral_envelope
from voxzoo.eval.metric import MetricError

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples[8000:40000]
WHITE = np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)


def envelopes(frames: int = 6, bins: int = 129) -> np.ndarray:
    """Smooth power spectra, from random cepstra of 40 terms."""
    random = np.random.default_rng(1).standard_normal((frames, 40)) / (1 + np.arange(40))
    w = np.linspace(0, np.pi, bins)
    return np.exp(2 * random @ np.cos(np.arange(40)[:, None] * w))


@pytest.mark.parametrize("alpha", [0.0, 0.31, 0.42, 0.554])
def test_the_mel_cepstrum_is_the_integral_over_the_warped_frequency(alpha: float) -> None:
    """c_d = (1 / pi) * integral of ln P(w(v)) cos(d v) dv, by a plain sum over v, with P between its bins by its cosines."""
    power = envelopes()
    bins = power.shape[1]
    v = (np.arange(20000) + 0.5) * np.pi / 20000
    w = v - 2 * np.arctan(alpha * np.sin(v) / (1 + alpha * np.cos(v)))  # the inverse of w -> w + 2 atan(...)
    cosines = np.cos(np.arange(bins) * w[:, None])
    weights = np.full(bins, 2.0)
    weights[[0, -1]] = 1
    logs = np.fft.irfft(np.log(power), axis=1)[:, :bins] * weights @ cosines.T
    wanted = np.stack([(logs * np.cos(d * v)).mean(axis=1) for d in range(25)], axis=1)
    wanted[:, 0] /= 2
    assert np.abs(mel_cepstrum(power, 24, alpha) - wanted).max() < 1e-4


def test_freqt_is_the_series_of_powers_of_the_all_pass() -> None:
    """Row n holds the first terms of ((z + a) / (1 + a z))^n, here by multiplying series term by term."""
    a, order, terms = 0.42, 10, 12
    all_pass = [a] + [(1 - a * a) * (-a) ** (m - 1) for m in range(1, order + 1)]
    power = [1.0] + [0.0] * order
    for row in freqt_matrix(terms, order, a):
        assert row == pytest.approx(power, abs=1e-12)
        power = [sum(power[i] * all_pass[m - i] for i in range(m + 1)) for m in range(order + 1)]


def test_without_warping_nothing_changes() -> None:
    assert np.array_equal(freqt_matrix(30, 24, 0.0), np.eye(30, 25))


def test_alphas_warp_as_the_mel_scale_does() -> None:
    """Each is within 0.02 of the all-pass nearest to the mel scale of 1000 ln(1 + f / 1000) / ln 2."""
    for rate, alpha in cepstrum.ALPHAS.items():
        w = np.linspace(0, np.pi, 1000)
        mel = np.log1p(w / np.pi * rate / 2 / 1000)
        mel *= np.pi / mel[-1]
        grid = np.arange(0, 0.9, 0.001)[:, None]
        warped = w + 2 * np.arctan(grid * np.sin(w) / (1 - grid * np.cos(w)))
        best = grid[((warped - mel) ** 2).mean(axis=1).argmin(), 0]
        assert alpha == pytest.approx(best, abs=0.02), rate


def test_distortion_is_the_plain_formula() -> None:
    random = np.random.default_rng(2)
    a, b = random.standard_normal((2, 4, 25))
    power = np.array([1.0, 0.5, 1e-6, 2e-4])
    total = 0.0
    for n in (0, 1, 3):
        total += 10 / np.log(10) * np.sqrt(2 * sum((a[n, d] - b[n, d]) ** 2 for d in range(1, 25)))
    assert cepstrum._distortion(a, b, power) == pytest.approx(total / 3)


def test_it_is_the_rms_difference_of_warped_log_spectra() -> None:
    """Parseval: for envelopes of at most 24 terms, the distortion is the RMS over the warped frequency of the dB of power."""
    a, b = np.random.default_rng(3).standard_normal((2, 1, 25))
    a[:, 0] = b[:, 0]
    v = (np.arange(4096) + 0.5) * np.pi / 4096
    cosines = np.cos(np.arange(25) * v[:, None])
    decibels = 20 / np.log(10) * (a - b) @ cosines.T
    assert cepstrum._distortion(a, b, np.ones(1)) == pytest.approx(np.sqrt((decibels**2).mean()))


def test_level_does_not_count_and_noise_does() -> None:
    assert mcd(SPEECH, SPEECH, RATE) == 0
    assert mcd(SPEECH, 0.5 * SPEECH, RATE) == pytest.approx(0, abs=1e-3)
    found = [mcd(SPEECH, (SPEECH + level * WHITE).astype(np.float32), RATE) for level in (0.001, 0.01, 0.1)]
    assert found == sorted(set(found))
    assert 1 < found[0] < 5 < found[2] < 20


def test_pauses_do_not_count() -> None:
    padded = np.concatenate([SPEECH, np.zeros(RATE, np.float32)])
    other = np.concatenate([SPEECH, 1e-5 * WHITE[:RATE]])
    assert mcd(padded, other, RATE) < 0.05


def test_frames_and_bins() -> None:
    assert spectral_envelope(SPEECH, RATE).shape == (401, 513)


def test_no_value() -> None:
    silence = np.zeros_like(SPEECH)
    for reference, decoded, rate, reason in (
        (SPEECH, silence, RATE, "the decoded sound is silent"),
        (silence, SPEECH, RATE, "the original is silent"),
        (SPEECH, SPEECH, 12345, "no alpha"),
    ):
        with pytest.raises(MetricError, match=reason):
            mcd(reference, decoded, rate)
    assert mcd(SPEECH, SPEECH, 12000, alpha=0.37) == 0
