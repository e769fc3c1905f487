"""What is given to learned metrics: clipped, resampled, and refused where it cannot be judged."""

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.eval.listening import check_audible, decoded_at, original_at
from voxzoo.eval.metric import MetricError, Original, Pair


def tone(rate: int, level: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def test_sound_is_clipped_and_resampled() -> None:
    original = Original(Audio(tone(24000), 24000), 24000)
    loud = Pair(original, tone(24000, 3.0))
    heard = decoded_at(loud, 16000)
    assert heard.dtype == np.float32
    assert heard.shape == (16000,)
    assert np.abs(heard).max() == 1.0
    np.testing.assert_array_equal(decoded_at(loud, 24000), np.clip(loud.decoded, -1, 1))
    np.testing.assert_allclose(original_at(original, 16000)[100:-100], tone(16000)[100:-100], atol=1e-3)
    assert original_at(original, 16000) is original_at(original, 16000)
    exploded = Pair(original, 1e20 * tone(24000))
    assert np.abs(decoded_at(exploded, 16000)).max() == 1.0


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(16000), "it is silent"),
        (np.full(16000, 0.5), "it is silent"),
        (tone(16000, 0.5) + 8, "it is silent"),
        (tone(16000, 1e-4), "it is silent"),
        (tone(16000)[:3999], "it is shorter than 0.25 s"),
        (np.zeros(0), "it is shorter than 0.25 s"),
        (np.append(tone(16000), np.inf), "it is not finite"),
        (tone(16000)[None], "it has shape (1, 16000); expected (T,)"),
    ],
)
def test_what_cannot_be_judged(samples: np.ndarray, reason: str) -> None:
    with pytest.raises(MetricError) as caught:
        check_audible(samples, 16000, "it")
    assert str(caught.value) == reason


def test_what_can_be_judged_just_so() -> None:
    check_audible(tone(16000, 1e-3)[:4000], 16000)
