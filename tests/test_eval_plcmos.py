"""PLCMOS: the values of the speechmos package itself, for the same raters."""

from importlib import resources

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.eval.metric import MetricError, Original, Pair
from voxzoo.eval.plcmos import open_plcmos, plcmos

RATE = 16000
pytest.importorskip("onnxruntime")
reference = pytest.importorskip("speechmos.plcmos")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples[:24000]


def with_gaps(speech: np.ndarray) -> np.ndarray:
    lossy = speech.copy()
    for start in range(4000, len(lossy), 8000):
        lossy[start : start + 800] = 0.0  # whole frames of zeros: bins without power
    return lossy


@pytest.mark.parametrize("case", ["gaps", "short", "double precision"])
def test_the_values_are_those_of_speechmos(speech: np.ndarray, case: str) -> None:
    samples = {
        "gaps": with_gaps(speech),
        "short": speech[8000:12001],
        "double precision": speech[:20011].astype(np.float64),
    }[case]
    np.random.seed(0)
    theirs = reference.run(samples, RATE)["plcmos"]
    assert plcmos(samples) == pytest.approx(theirs, abs=1e-5)


def test_a_score_is_exact_and_hears_gaps(speech: np.ndarray) -> None:
    assert plcmos(speech) == plcmos(speech)
    assert plcmos(with_gaps(speech)) < plcmos(speech) - 0.3


def test_what_cannot_be_judged_is_missing_with_its_reason(speech: np.ndarray) -> None:
    measure = open_plcmos(None)
    original = Original(Audio(speech, RATE), RATE)
    broken = speech.copy()
    broken[-1] = np.inf
    assert measure(Pair(original, speech)) == {"plcmos": plcmos(speech)}
    with pytest.raises(MetricError, match="decoded sound is not finite"):
        measure(Pair(original, broken))
    with pytest.raises(MetricError, match="decoded sound is silent"):
        measure(Pair(original, 1e-6 * speech))
    with pytest.raises(MetricError, match=r"shorter than 0\.25 s"):
        measure(Pair(original, speech[:1600]))
    with pytest.raises(MetricError, match="outside"):
        plcmos(100 * speech)
