import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo.eval import perceptual
from voxzoo.eval.metric import MetricError
from voxzoo.eval.perceptual import estoi, pesq_nb, pesq_wb, stoi, visqol

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples[8000:48000]
WHITE = np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
METRICS = (pesq_wb, pesq_nb, stoi, estoi, visqol)


def noisy(level: float) -> np.ndarray:
    return (SPEECH + level * WHITE).astype(np.float32)


def bursts(seconds: float, on: float, off: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    white = np.random.default_rng(1).standard_normal(len(t))
    return (0.1 * white * (t % (on + off) < on)).astype(np.float32)


def test_pesq_is_the_library_s() -> None:
    from pesq import pesq

    for decoded in (SPEECH, noisy(0.002), noisy(0.02)):
        assert pesq_wb(SPEECH, decoded, RATE) == pytest.approx(pesq(RATE, SPEECH, decoded, "wb"), abs=1e-4)
        assert pesq_nb(SPEECH[::2], decoded[::2], 8000) == pytest.approx(pesq(8000, SPEECH[::2], decoded[::2], "nb"), abs=1e-4)
    at_24k = [voxzoo.Audio(samples, RATE).resample(24000).samples for samples in (SPEECH, noisy(0.02))]
    assert pesq_wb(*at_24k, 24000) == pytest.approx(pesq(RATE, SPEECH, noisy(0.02), "wb"), abs=0.05)


def test_equal_sounds_have_the_highest_scores() -> None:
    assert pesq_wb(SPEECH, SPEECH, RATE) == pytest.approx(4.644, abs=1e-3)
    assert pesq_nb(SPEECH, SPEECH, RATE) == pytest.approx(4.549, abs=1e-3)
    assert stoi(SPEECH, SPEECH, RATE) == pytest.approx(1, abs=1e-9)
    assert estoi(SPEECH, SPEECH, RATE) == pytest.approx(1, abs=1e-9)
    assert 4.4 < visqol(SPEECH, SPEECH, RATE) < 4.75


@pytest.mark.parametrize("metric", METRICS)
def test_more_noise_scores_lower(metric) -> None:
    found = [metric(SPEECH, noisy(level), RATE) for level in (0.0005, 0.005, 0.05)]
    assert found == sorted(set(found), reverse=True)


def test_stoi_is_the_library_s() -> None:
    import pystoi

    for decoded in (noisy(0.002), noisy(0.05)):
        for metric, extended in ((stoi, False), (estoi, True)):
            assert metric(SPEECH, decoded, RATE) == pytest.approx(pystoi.stoi(SPEECH, decoded, RATE, extended), abs=1e-6)
    at_10k = [voxzoo.Audio(samples, RATE).resample(10000).samples for samples in (SPEECH, noisy(0.05))]
    assert stoi(*at_10k, 10000) == pytest.approx(pystoi.stoi(*at_10k, 10000), abs=1e-6)


def test_visqol_is_the_library_s_with_the_lattice() -> None:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    wanted = api.measure_from_arrays(SPEECH.astype(np.float64), noisy(0.01).astype(np.float64), RATE).moslqo
    assert visqol(SPEECH, noisy(0.01), RATE) == pytest.approx(wanted, abs=1e-6)
    api.create(mode="speech", use_lattice_model=False)
    polynomial = api.measure_from_arrays(SPEECH.astype(np.float64), noisy(0.01).astype(np.float64), RATE).moslqo
    assert abs(polynomial - wanted) > 0.2, "this test tells the mappers apart"


def test_estoi_with_digital_silence_is_always_the_same_and_leaves_numpy_s_generator_alone() -> None:
    dropped = SPEECH.copy()
    dropped[10000:30000] = 0
    np.random.seed(5)
    wanted = np.random.random()
    np.random.seed(5)
    first = estoi(SPEECH, dropped, RATE)
    assert np.random.random() == wanted
    assert estoi(SPEECH, dropped, RATE) == first


@pytest.mark.parametrize("seconds", [0.2499, 0.01])
def test_short_clips_have_no_score(seconds: float) -> None:
    clip = 0.1 * WHITE[: round(seconds * RATE)]
    for metric, reason in ((pesq_wb, "0.25 s"), (pesq_nb, "0.25 s"), (stoi, "0.4 s"), (estoi, "0.4 s"), (visqol, "too short")):
        with pytest.raises(MetricError, match=reason):
            metric(clip, clip, RATE)


def test_the_least_that_each_takes() -> None:
    assert pesq_wb(0.1 * WHITE[:4000], 0.1 * WHITE[:4000], RATE) > 4.6
    for count, wanted in ((6500, False), (6900, True)):
        clip = 0.1 * WHITE[:count]
        if wanted:
            assert stoi(clip, clip, RATE) == pytest.approx(1)
        else:
            with pytest.raises(MetricError, match="fewer than 30 frames"):
                stoi(clip, clip, RATE)


@pytest.mark.parametrize("metric", METRICS)
def test_silence_and_nan_have_no_score(metric) -> None:
    silence = np.zeros_like(SPEECH)
    broken = SPEECH.copy()
    broken[9] = np.nan
    for reference, decoded, reason in (
        (silence, silence, "the original is silent"),
        (silence, SPEECH, "the original is silent"),
        (SPEECH, silence, "the decoded sound is silent"),
        (SPEECH, broken, "not finite"),
        (SPEECH, SPEECH[:-1], "differ in length"),
    ):
        with pytest.raises(MetricError, match=reason):
            metric(reference, decoded, RATE)


def test_pesq_of_a_few_clicks_finds_no_utterance() -> None:
    clicks = bursts(2, 0.05, 0.21)
    with pytest.raises(MetricError, match="no utterance"):
        pesq_wb(clicks, clicks, RATE)


def test_pesq_of_more_utterances_than_the_itu_code_holds() -> None:
    """The library alone would overrun its tables and kill the process: so in a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_eval_perceptual import bursts; "
        "from voxzoo.eval.perceptual import pesq_wb; x = bursts(23, 0.21, 0.21); print(pesq_wb(x, x, 16000))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(4.644, abs=1e-3)


def test_pesq_of_long_speech_is_the_mean_of_equal_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from pesq import pesq

    monkeypatch.setattr(perceptual, "PESQ_SECONDS", 3)
    reference, decoded = np.tile(SPEECH, 2), np.concatenate([noisy(0.001), noisy(0.02)])
    pieces = [pesq(RATE, a, b, "wb") for a, b in zip(np.split(reference, 2), np.split(decoded, 2), strict=True)]
    assert pesq_wb(reference, decoded, RATE) == pytest.approx(np.mean(pieces), abs=1e-4)
    silence = np.zeros(len(reference), np.float32)
    half = pesq_wb(np.concatenate([reference, silence]), np.concatenate([decoded, silence]), RATE)
    assert 1 < half < 4.6, "pieces of silence are left out"


def test_importing_it_imports_no_library_of_its() -> None:
    code = "import sys, voxzoo.eval.perceptual, voxzoo.eval.signal_table, voxzoo.eval.distances, voxzoo.eval.cepstrum; "
    code += "print([m for m in ('pesq', 'pystoi', 'visqol', 'pyworld', 'scipy', 'torch', 'librosa') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
