"""Every family of the table on good, bad and worse pairs: a number or a reason, nothing else."""

from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.eval import cepstrum, distances, perceptual, pitch
from voxzoo.eval.metric import Family, MetricError, Original, Pair
from voxzoo.eval.signal_table import SIGNAL

RATE = 16000
SPEECH = voxzoo.Audio.read(Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav").samples[:32000]
WHITE = np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
SILENCE = np.zeros_like(SPEECH)
PERFECT = {
    "pesq_wb": 4.644, "pesq_nb": 4.549, "stoi": 1, "estoi": 1, "mrstft_distance": 0, "mel_distance": 0, "lsd": 0, "mcd": 0,
    "f0_rmse_hz": 0, "f0_rmse_cents": 0, "f0_correlation": 1, "voicing_error": 0, "gross_pitch_error": 0,
}  # fmt: skip
FUNCTIONS = {
    "lsd": distances.log_spectral_distance,
    **{name: getattr(distances, name) for name in ("si_sdr", "mrstft_distance", "mel_distance")},
    **{name: getattr(perceptual, name) for name in ("pesq_wb", "pesq_nb", "stoi", "estoi", "visqol")},
    **{name: getattr(pitch, name) for name in (*pitch.OF_VOICED, "voicing_error")},
    "mcd": cepstrum.mcd,
}
ALL = pytest.mark.parametrize("family", SIGNAL, ids=[family.name for family in SIGNAL])


def noisy(level: float) -> np.ndarray:
    return (SPEECH + level * WHITE).astype(np.float32)


def measured(family: Family, reference: np.ndarray, decoded: np.ndarray, rate: int = RATE) -> dict[str, float | str]:
    """As the benchmark takes it: a `MetricError` is the reason of all metrics of the family."""
    pair = Pair(Original(Audio(reference, rate), rate), decoded)
    try:
        found = dict(family.open(None)(pair))
    except MetricError as error:
        found = {metric.name: str(error) for metric in family.metrics}
    assert set(found) == {metric.name for metric in family.metrics}
    for value in found.values():
        assert value if isinstance(value, str) else isinstance(value, float) and np.isfinite(value)
    return found


def test_the_table_holds_each_metric_once_and_defines_it() -> None:
    names = [metric.name for family in SIGNAL for metric in family.metrics]
    assert len(names) == len(set(names)) == 15
    assert set(names) == set(FUNCTIONS) == {*PERFECT, "si_sdr", "visqol"}
    for family in SIGNAL:
        assert family.group == "reconstruction"
        assert family.intrusive
        for metric in family.metrics:
            assert len(metric.definition) > 40
            assert metric.better in ("higher", "lower")
            assert all(f"{package} " in family.definition(metric) for package in family.packages)
            assert "not installed" not in family.definition(metric)


@ALL
def test_speech_against_itself_is_perfect(family: Family) -> None:
    for name, value in measured(family, SPEECH, SPEECH.copy()).items():
        if name == "si_sdr":
            assert "infinite" in str(value)
        elif name == "visqol":
            assert 4.4 < float(value) < 4.75
        else:
            assert value == pytest.approx(PERFECT[name], abs=1e-3)


@ALL
def test_noise_makes_it_worse(family: Family) -> None:
    steps = [measured(family, SPEECH, noisy(level)) for level in (0.001, 0.03)]
    for metric in family.metrics:
        better, worse = float(steps[0][metric.name]), float(steps[1][metric.name])
        assert better > worse if metric.better == "higher" else better < worse or better == worse == 0, metric.name


@ALL
@pytest.mark.parametrize(
    ("reference", "decoded"),
    [
        pytest.param(SILENCE, SILENCE, id="silence-silence"),
        pytest.param(SILENCE, SPEECH, id="silence-speech"),
        pytest.param(SPEECH, SILENCE, id="speech-silence"),
        pytest.param(SPEECH, 1e-6 * SPEECH, id="speech-faint"),
        pytest.param(1e-6 * SPEECH, SPEECH, id="faint-speech"),
        pytest.param(SPEECH, np.where(np.arange(len(SPEECH)) == 5, np.float32(np.nan), SPEECH), id="nan"),
        pytest.param(SPEECH, np.where(np.arange(len(SPEECH)) == 5, np.float32(np.inf), SPEECH), id="inf"),
        pytest.param(SPEECH, 100 * SPEECH, id="loud"),
        pytest.param(SPEECH, WHITE, id="noise"),
        pytest.param(SPEECH, SILENCE + np.float32(0.5), id="constant"),
        pytest.param(SPEECH, np.where(np.arange(len(SPEECH)) == 9000, np.float32(0.9), SILENCE), id="click"),
        pytest.param(SPEECH, (1e4 * SPEECH).clip(-8, 8), id="overload"),
        pytest.param(SPEECH, SPEECH[:-1], id="shorter"),
        pytest.param(SPEECH[12000:13600], noisy(0.01)[12000:13600], id="0.1s"),
        pytest.param(SPEECH[12000:12001], noisy(0.01)[12000:12001], id="one"),
        pytest.param(SPEECH[12000:12002], SPEECH[12001:12003], id="two"),
    ],
)
def test_a_number_or_a_reason(family: Family, reference: np.ndarray, decoded: np.ndarray) -> None:
    found = measured(family, reference, decoded)
    if np.ptp(reference) < 2**-14:
        assert set(found.values()) == {"the original is silent"}
    elif np.isfinite(decoded).all() and np.ptp(decoded) < 2**-14:  # a constant, too, is silent
        numbers = {name for name, value in found.items() if isinstance(value, float)}
        assert numbers <= {"mrstft_distance", "mel_distance", "lsd", "voicing_error"}
    if not np.isfinite(decoded).all() or len(decoded) != len(reference):
        assert all(isinstance(value, str) for value in found.values())


@ALL
def test_the_functions_give_what_the_families_give(family: Family) -> None:
    """Families share and keep analyses; the functions on arrays do not."""
    rate = 24000
    reference, decoded = SPEECH[8000:], noisy(0.01)[8000:]
    for name, value in measured(family, reference, decoded, rate).items():
        assert FUNCTIONS[name](reference, decoded, rate) == pytest.approx(value, rel=1e-4), name


@ALL
def test_the_original_is_analysed_once(family: Family) -> None:
    pair = Pair(Original(Audio(SPEECH, RATE), RATE), noisy(0.01))
    measure = family.open(None)
    first = measure(pair)
    kept = {key: id(value) for key, value in pair.original._kept.items()}
    other = measure(Pair(pair.original, noisy(0.0005)))
    assert {key: id(pair.original._kept[key]) for key in kept} == kept
    assert measure(pair) == first
    assert other != first
