"""What every metric on two signals asks of them first. Reasons read the same for every clip, so that tables can count them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..core.audio import MAX_PEAK, Audio
from ..core.errors import AudioError, MissingExtraError
from .metric import MetricError, Pair

__all__ = ["checked", "is_silent", "need", "pair_at", "resampled"]

SILENCE = 2.0**-15  # one step of 16-bit sound


def need(module: str) -> Any:
    """The module, imported now. Raises `MissingExtraError` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(error.name or module, "eval") from None


def is_silent(samples: np.ndarray) -> bool:
    """Whether (T,), T > 0, stays within one step of 16-bit sound, 2^-15 of full scale, of a constant."""
    return bool(samples.max() - samples.min() < 2 * SILENCE)


def checked(reference: np.ndarray, decoded: np.ndarray, silent_decoded: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Both signals as float64 (T,), T > 0.

    Args:
        reference, decoded: float (T,) in [-1, 1].
        silent_decoded: whether the metric has a value where the decoded sound is silent.

    Raises `MetricError` for other shapes, unequal lengths, samples that are not finite or beyond 8, and silence: a constant is
    silent, whatever its value.
    """
    for samples, name in ((reference, "the original"), (decoded, "the decoded sound")):
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise MetricError(f"{name} is {samples.dtype} of shape {samples.shape}; expected float samples (T,) in [-1, 1]")
        if not len(samples):
            raise MetricError(f"{name} has no samples")
        if not np.isfinite(samples).all():
            raise MetricError(f"{name} has samples that are not finite")
        if np.abs(samples).max() > MAX_PEAK:
            raise MetricError(f"{name} is beyond 8 times full scale")
    if len(reference) != len(decoded):
        raise MetricError("the original and the decoded sound differ in length: align them first")
    if is_silent(reference):
        raise MetricError("the original is silent")
    if not silent_decoded and is_silent(decoded):
        raise MetricError("the decoded sound is silent")
    return reference.astype(np.float64), decoded.astype(np.float64)


def resampled(samples: np.ndarray, sample_rate: int, rate: int) -> np.ndarray:
    """float (T',) at `rate` Hz, by soxr HQ. Raises `MetricError` for samples that are no sound."""
    if sample_rate == rate:
        return samples
    try:
        return Audio(samples, sample_rate).resample(rate).samples
    except AudioError:
        raise MetricError("samples are not finite, or beyond 8 times full scale") from None


def pair_at(pair: Pair, rate: int, silent_decoded: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """`pair.at(rate)`, checked."""
    checked(pair.original.samples, pair.decoded, silent_decoded)
    try:
        return checked(*pair.at(rate), silent_decoded)
    except AudioError:
        raise MetricError("the decoded sound is beyond 8 times full scale") from None
