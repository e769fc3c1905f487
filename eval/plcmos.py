"""PLCMOS v2, the quality of speech with concealed gaps, predicted by the network that lies in the `speechmos` wheel.

L. Diener et al., "PLCMOS: a data-driven non-intrusive metric for the evaluation of packet loss concealment algorithms",
Interspeech 2023. It was trained on codecs' own concealment, and hears their artefacts.

The network also takes a vector that stands for a rater. The reference draws 15 from a normal distribution anew for each
call, so that its scores wander in the second decimal; here the 15 are drawn once, from seed 0, and the score is exact.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .listening import check_audible, decoded_at
from .metric import Measure, MetricError
from .onnx_session import installed_file, session

__all__ = ["RATE", "open_plcmos", "plcmos"]

RATE = 16000
RATERS = 15
SIZE, HOP = 512, 256


def plcmos(samples: np.ndarray) -> float:
    """PLCMOS v2, about 1 to 5: the mean over 15 raters drawn from seed 0.

    It is `speechmos.plcmos.run` after `numpy.random.seed(0)`.

    Args:
        samples: float (T,) at 16 kHz in [-1, 1].

    Raises:
        MetricError: sound that is not finite, silent, under 0.25 s or outside [-1, 1].
        MissingExtraError: speechmos or onnxruntime is not installed.
    """
    check_audible(samples, RATE)
    if np.abs(samples).max() > 1.0:
        raise MetricError("the sound is outside [-1, 1]")
    graph = _graph()
    spectrum = _log_spectrum(samples)[None, None]
    scores = [graph.run(None, {"degraded_audio": spectrum, "rater_embed": rater[None]})[0] for rater in _raters()]
    return float(np.mean(scores))


def open_plcmos(checkpoint: str | None) -> Measure:
    """The PLCMOS family of the benchmark."""
    _graph()
    return lambda pair: {"plcmos": plcmos(decoded_at(pair, RATE))}


def _graph() -> Any:
    return session(str(installed_file("speechmos", "plcmos_models", "plcmos_v2.onnx")))


@cache
def _raters() -> np.ndarray:
    return np.random.RandomState(0).normal(size=(RATERS, 64)).astype(np.float32)


def _log_spectrum(samples: np.ndarray) -> np.ndarray:
    """float32 (frames, 257): log of the power spectrum / 20, frames of 32 ms every 16 ms from one hop before the start.

    Bins that are exactly zero lie 120 dB under the smallest that is not.
    """
    count = -(-(len(samples) + SIZE - HOP) // HOP)
    padded = np.zeros((count - 1) * HOP + SIZE, samples.dtype)
    padded[SIZE - HOP : SIZE - HOP + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP] * np.hamming(SIZE + 1)[:-1]
    power = np.abs(np.fft.rfft(frames)) ** 2
    zero = power == 0
    power[zero] = power[~zero].min()
    logs = np.log(power)
    logs[zero] -= 12.0 * np.log(10.0)
    return (logs / 20.0).astype(np.float32)
