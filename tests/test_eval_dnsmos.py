"""DNSMOS: the values of the speechmos package itself, on sound of every kind of length."""

from importlib import resources

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.eval import dnsmos as ours
from voxzoo.eval.dnsmos import dnsmos_p808, dnsmos_p835, open_p808, open_p835
from voxzoo.eval.metric import MetricError, Original, Pair

RATE = 16000
pytest.importorskip("onnxruntime")
pytest.importorskip("librosa")
reference = pytest.importorskip("speechmos.dnsmos")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    with resources.as_file(resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, RATE).samples


def noisy(speech: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    return np.clip(speech + 0.02 * noise, -1, 1)


CASES = {
    "speech": lambda s: s,  # 9.7 s: one window
    "noisy, tiled": lambda s: noisy(s)[: int(4.6 * RATE)],  # 9.2 s after doubling: one window across the seam
}


@pytest.mark.parametrize("case", [pytest.param("speech", marks=pytest.mark.slow), "noisy, tiled"])
def test_the_values_are_those_of_speechmos(speech: np.ndarray, case: str) -> None:
    samples = CASES[case](speech)
    theirs = reference.run(samples, RATE)
    found = dnsmos_p835(samples)
    for name in ("sig", "bak", "ovrl"):
        assert found[name] == pytest.approx(theirs[f"{name}_mos"], abs=1e-5)
    assert dnsmos_p808(samples) == pytest.approx(theirs["p808_mos"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("length", [0.3, 1.0, 2.37, 4.0, 9.01, 12.0, 25.3])
@pytest.mark.parametrize("personalised", [False, True])
def test_the_values_are_those_of_speechmos_at_every_length(speech: np.ndarray, length: float, personalised: bool) -> None:
    samples = np.tile(noisy(speech), 3)[: int(length * RATE)]
    theirs = reference.run(samples, RATE, model_type="dnsmos_personalized" if personalised else "dnsmos")
    found = dnsmos_p835(samples, personalised)
    for name in ("sig", "bak", "ovrl"):
        assert found[name] == pytest.approx(theirs[f"{name}_mos"], abs=1e-5)
    assert dnsmos_p808(samples) == pytest.approx(theirs["p808_mos"], abs=1e-5)


class Windows:
    """Stands for the reference's networks: keeps what they are given."""

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.given.append(inputs["input_1"][0])
        return [np.array([[inputs["input_1"].std(), 2.0, 3.0]])]


@pytest.mark.parametrize("length", [4000, 8000, 16000, 37013, 64000, 144159, 144160, 160000, 176000, 176001, 400123])
def test_the_windows_are_those_of_speechmos(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, length).astype(np.float32)
    theirs = reference.DNSMOS.__new__(reference.DNSMOS)
    theirs.onnx_sess = theirs.p808_onnx_sess = all_windows = Windows()
    monkeypatch.setattr(theirs, "audio_melspec", lambda audio: audio[None])
    expected = theirs(samples, RATE, False)["sig_mos"]
    network = Windows()
    raw = ours._over_windows(samples, lambda window: network.run(None, {"input_1": window[None]})[0][0])
    assert np.polyval(ours.PLAIN["sig"], raw[:, 0]).mean() == pytest.approx(expected, abs=1e-6)
    full = [window.tobytes() for window in all_windows.given if window.size == 144160]  # the others went to P.808
    assert len(network.given) == len(set(full))


@pytest.mark.parametrize("fft", [(321, 160, 120), (400, 160, 40)])
def test_the_mel_spectrogram_is_librosas(speech: np.ndarray, fft: tuple[int, int, int]) -> None:
    import librosa

    n_fft, hop, mels = fft
    theirs = librosa.feature.melspectrogram(y=speech, sr=RATE, n_fft=n_fft, hop_length=hop, n_mels=mels)
    found = ours.mel_spectrogram(speech, RATE, n_fft, hop, mels)
    np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-6 * theirs.max())


def pair(samples: np.ndarray, decoded: np.ndarray) -> Pair:
    return Pair(Original(Audio(samples, RATE), RATE), decoded)


def test_the_family_scores_the_decoded_sound(speech: np.ndarray) -> None:
    speech = speech[: 2 * RATE]
    decoded = noisy(speech)
    assert open_p808(None)(pair(speech, decoded)) == {"dnsmos_p808": dnsmos_p808(decoded)}
    assert set(open_p835(None)(pair(speech, speech[: RATE // 2]))) == {"dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"}


@pytest.mark.parametrize("opener", [open_p835, open_p808])
def test_what_cannot_be_judged_is_missing_with_its_reason(opener, speech: np.ndarray) -> None:
    measure = opener(None)
    broken = speech.copy()
    broken[100] = np.nan
    with pytest.raises(MetricError, match="decoded sound is not finite"):
        measure(pair(speech, broken))
    with pytest.raises(MetricError, match="decoded sound is silent"):
        measure(pair(speech, np.zeros_like(speech)))
    with pytest.raises(MetricError, match=r"decoded sound is shorter than 0\.25 s"):
        measure(pair(speech[:1600], speech[:1600]))


def test_a_plain_call_refuses_what_is_outside_full_scale(speech: np.ndarray) -> None:
    with pytest.raises(MetricError, match="outside"):
        dnsmos_p835(speech * 100)
    with pytest.raises(MetricError, match="shape"):
        dnsmos_p808(speech[None])
