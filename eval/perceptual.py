"""Intrusive measures of quality and intelligibility: PESQ, STOI, ESTOI, ViSQOL.

Each is the well-known library's figure, with its silent failures turned into reasons.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ._signals import checked, is_silent, need, pair_at, resampled
from .metric import Measure, MetricError, Pair

__all__ = ["estoi", "pesq_nb", "pesq_wb", "stoi", "visqol"]

WIDE, NARROW = 16000, 8000  # Hz
PESQ_SECONDS = 20  # the ITU code holds 50 utterances, each of at least 0.2 s after a pause of 0.2 s, and overruns beyond
STOI_RATE, STOI_FRAME, STOI_SEGMENT = 10000, 256, 30


def pesq_wb(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ, MOS-LQO of ITU-T P.862.2 at 16 kHz, about 1.0 to 4.64 (equal sounds), higher is better.

    Sounds over 20 s are cut into the fewest equal pieces that are not, the mean of whose scores is given; pieces without
    speech are left out. Library: `pesq` (the ITU's code).

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz; other rates than 16000 are resampled by soxr HQ.

    Raises `MetricError` under 0.25 s, and where PESQ finds no utterance.
    """
    return _pesq_at(reference, decoded, sample_rate, WIDE)


def pesq_nb(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Narrow-band PESQ, MOS-LQO of ITU-T P.862.1 at 8 kHz, about 1.0 to 4.55 (equal sounds), higher is better.

    Otherwise as `pesq_wb`, at 8000 Hz.
    """
    return _pesq_at(reference, decoded, sample_rate, NARROW)


def stoi(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility, up to 1 (equal sounds), higher is better.

    Taal et al. 2011, at 10 kHz: 15 third-octave bands from 150 Hz, segments of 30 frames (384 ms), frames of the original more
    than 40 dB below its loudest left out. Library: `pystoi`.

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz; pystoi resamples.

    Raises `MetricError` for silence, and where fewer than 30 frames are left (about 0.4 s).
    """
    return _stoi(*_stoi_signals(reference, decoded, sample_rate), extended=False)


def estoi(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Extended STOI, up to 1 (equal sounds), higher is better; Jensen and Taal 2016. Otherwise as `stoi`."""
    return _stoi(*_stoi_signals(reference, decoded, sample_rate), extended=True)


def visqol(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """ViSQOL v3 in speech mode with the lattice mapper, MOS-LQO at 16 kHz, 1 to about 4.8, higher is better.

    Chinen et al. 2020. Equal sounds give 4.1 to 4.8, not one figure. The older polynomial mapper gives up to 2 points more:
    figures compare with one mapper only. Library: `visqol-python`, which holds the mapper's model.

    Args:
        reference, decoded: float (T,).
        sample_rate: Hz; other rates than 16000 are resampled by soxr HQ.

    Raises `MetricError` for silence, and where no patch of speech is found (under about 0.6 s).
    """
    checked(reference, decoded)
    return _visqol(*checked(resampled(reference, sample_rate, WIDE), resampled(decoded, sample_rate, WIDE)))


def open_pesq(checkpoint: str | None) -> Measure:
    """`Family` of PESQ."""
    need("pesq")

    def measure(pair: Pair) -> dict[str, float | str]:
        values: dict[str, float | str] = {}
        for name, rate in (("pesq_wb", WIDE), ("pesq_nb", NARROW)):
            try:
                values[name] = _pesq(*pair_at(pair, rate), rate)
            except MetricError as error:
                values[name] = str(error)
        return values

    return measure


def open_stoi(checkpoint: str | None) -> Measure:
    """`Family` of STOI and ESTOI, which share the signals at 10 kHz."""
    need("pystoi")

    def measure(pair: Pair) -> dict[str, float]:
        s, y = checked(pair.original.samples, pair.decoded)
        rate = pair.original.rate
        s10, y10 = pair.original.keep(("stoi", rate), lambda: _at_stoi_rate(s, rate)), _at_stoi_rate(y, rate)
        return {"stoi": _stoi(s10, y10, extended=False), "estoi": _stoi(s10, y10, extended=True)}

    return measure


def open_visqol(checkpoint: str | None) -> Measure:
    """`Family` of ViSQOL."""
    _visqol_api()
    return lambda pair: {"visqol": _visqol(*pair_at(pair, WIDE))}


def _pesq_at(reference: np.ndarray, decoded: np.ndarray, sample_rate: int, rate: int) -> float:
    checked(reference, decoded)
    return _pesq(*checked(resampled(reference, sample_rate, rate), resampled(decoded, sample_rate, rate)), rate)


def _pesq(reference: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    """Of (T,) at `rate` Hz, in pieces where it is too long for the ITU's code."""
    library = need("pesq")
    pieces = -(-len(reference) // (PESQ_SECONDS * rate))
    scores: list[float] = []
    for s, y in zip(np.array_split(reference, pieces), np.array_split(decoded, pieces), strict=True):
        if is_silent(s):
            continue
        with contextlib.suppress(library.NoUtterancesError):
            scores.append(_pesq_piece(s, y, rate))
    if not scores:
        raise MetricError("PESQ finds no utterance in the original")
    return float(np.mean(scores))


def _pesq_piece(reference: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    library = need("pesq")
    if is_silent(decoded):
        raise MetricError("a piece of the decoded sound is silent")
    try:
        score = float(library.pesq(rate, reference, decoded, "wb" if rate == WIDE else "nb"))
    except library.BufferTooShortError:
        raise MetricError("shorter than 0.25 s, the least that PESQ takes") from None
    except library.NoUtterancesError:
        raise
    except (library.PesqError, ValueError):
        raise MetricError("PESQ has no value for this sound") from None
    if not np.isfinite(score):
        raise MetricError("PESQ has no value for this sound")
    return score


def _stoi_signals(reference: np.ndarray, decoded: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    s, y = checked(reference, decoded)
    return _at_stoi_rate(s, sample_rate), _at_stoi_rate(y, sample_rate)


def _at_stoi_rate(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """By pystoi's own resampler, so that the figures are those of pystoi given the sounds themselves."""
    if sample_rate == STOI_RATE:
        return samples
    out: np.ndarray = need("pystoi.utils").resample_oct(samples, STOI_RATE, sample_rate)
    return out


def _stoi(reference: np.ndarray, decoded: np.ndarray, extended: bool) -> float:
    """Of (T,) at 10 kHz."""
    short = MetricError("fewer than 30 frames (0.4 s) of the original are not pauses, the least that STOI takes")
    if len(reference) <= STOI_FRAME:
        raise short
    library = need("pystoi")
    with warnings.catch_warnings(), _seeded():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            score = float(library.stoi(reference, decoded, STOI_RATE, extended=extended))
        except RuntimeWarning:
            raise short from None
    if not np.isfinite(score):
        raise MetricError("STOI has no value for this sound")
    return score


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """pystoi's ESTOI adds noise of numpy's global generator, which tells in digital silence: always the same noise."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _visqol(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Of (T,) at 16 kHz."""
    try:
        score = float(_visqol_api().measure_from_arrays(reference, decoded, WIDE).moslqo)
    except (IndexError, ValueError):
        raise MetricError("too short for ViSQOL to find a patch of speech (about 0.6 s)") from None
    if not np.isfinite(score):
        raise MetricError("ViSQOL has no value for this sound")
    return score


@lru_cache(maxsize=1)
def _visqol_api() -> Any:
    """With the lattice mapper, whose absence is an error: the fallback would be another scale."""
    library = need("visqol")
    need("ai_edge_litert.interpreter")
    api = library.VisqolApi()
    with _quiet_stderr():
        api.create(mode="speech", use_lattice_model=True)
    return api


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """The TFLite runtime tells file descriptor 2 which delegate it made, amid progress bars."""
    try:
        descriptor = sys.stderr.fileno()
        saved = os.dup(descriptor)
    except (AttributeError, OSError, ValueError):  # no stderr, or one that is no file
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
        try:
            yield
        finally:
            os.dup2(saved, descriptor)
            os.close(saved)
