"""Predictors of quality whose weights no package carries: UTMOS, NISQA, SQUIM, each from a local ONNX file.

ONNX is what is taken because it is data: a graph of known operators, run without custom ones. A TorchScript file is a program
and a pickle may be one, so neither is opened. NISQA's published `nisqa.tar` holds tensors and is read as such (`nisqa.py`).
An exported file has one input, a waveform float32 (1, T) at 16 kHz with T free, and its outputs are one value per metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .listening import check_audible, decoded_at
from .metric import Measure, MetricError, Pair
from .onnx_session import run_waveform, session

__all__ = ["NISQA", "RATE", "SQUIM", "open_nisqa", "open_squim", "open_utmos", "predict"]

RATE = 16000
NISQA = ("nisqa_mos", "nisqa_noisiness", "nisqa_discontinuity", "nisqa_coloration", "nisqa_loudness")  # the network's order
SQUIM = ("squim_stoi", "squim_pesq", "squim_si_sdr")


def predict(path: str, samples: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """What an ONNX predictor says of a clip, by name.

    Args:
        path: ONNX file; input a waveform float32 (1, T), outputs as many values as there are names.
        samples: float (T,) at 16 kHz in [-1, 1].
        names: of the outputs, in order.

    Raises `MetricError` for sound that is not finite, silent or under 0.25 s, and for a file that is no such predictor.
    """
    check_audible(samples, RATE)
    values = run_waveform(path, samples)
    if len(values) != len(names):
        raise MetricError(f"{path!r} gives {len(values)} values; expected {len(names)}: {', '.join(names)}")
    return dict(zip(names, map(float, values), strict=True))


def open_utmos(checkpoint: str | None) -> Measure:
    """The UTMOS family of the benchmark."""
    return _open_onnx(checkpoint, ("utmos",))


def open_squim(checkpoint: str | None) -> Measure:
    """The SQUIM family of the benchmark."""
    return _open_onnx(checkpoint, SQUIM)


def open_nisqa(checkpoint: str | None) -> Measure:
    """The NISQA family of the benchmark: an ONNX file, or `nisqa.tar` as it is published."""
    if checkpoint and Path(checkpoint).suffix == ".onnx":
        return _open_onnx(checkpoint, NISQA)
    from .nisqa import nisqa, read_nisqa

    network = read_nisqa(checkpoint or "")

    def measure(pair: Pair) -> dict[str, float]:
        return dict(zip(NISQA, nisqa(network, decoded_at(pair, RATE), RATE), strict=True))

    return measure


def _open_onnx(checkpoint: str | None, names: Sequence[str]) -> Measure:
    path = checkpoint or ""
    session(path)
    return lambda pair: predict(path, decoded_at(pair, RATE), names)
