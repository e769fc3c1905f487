"""Resampling of mono sound that arrives in blocks. Which resampler was used is part of what tokens mean.

`soxr-hq`, the default, is clean and quick. `torchaudio-sinc` is what many reference scripts use without a thought
(`torchaudio.transforms.Resample` with its defaults); its soft band edge moves a few percent of some models' tokens.
Both give the same samples however the sound is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from .errors import ModelError
from .registry import SINC, SOXR

__all__ = ["RESAMPLERS", "SINC", "SOXR", "check_resampler", "resample_blocks", "sinc_kernels"]

RESAMPLERS = (SOXR, SINC)


class _Resampler(Protocol):
    def push(self, block: np.ndarray) -> np.ndarray: ...

    def finish(self) -> np.ndarray: ...


def check_resampler(name: str) -> str:
    """`name`, if there is such a resampler; else raises `ModelError`."""
    if name not in RESAMPLERS:
        raise ModelError(f"resampler={name!r}; expected one of {', '.join(RESAMPLERS)}")
    return name


def resample_blocks(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int, resampler: str = SOXR) -> Iterator[np.ndarray]:
    """Resample a stream of mono float32 blocks; a non-empty stream gives at least one sample."""
    engine: _Resampler = _Sinc(from_rate, to_rate) if check_resampler(resampler) == SINC else _Soxr(from_rate, to_rate)
    given, taken, last = 0, 0, np.zeros(1, np.float32)
    for block in blocks:
        if len(block):
            given, last = given + len(block), block[-1:]
            out = engine.push(block)
            taken += len(out)
            yield out
    out = engine.finish()
    yield out if taken + len(out) or not given else last.copy()


class _Soxr:
    def __init__(self, from_rate: int, to_rate: int) -> None:
        import soxr

        self.stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        out: np.ndarray = self.stream.resample_chunk(block)
        return out

    def finish(self) -> np.ndarray:
        out: np.ndarray = self.stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return out


ZEROS = 6  # zero crossings of the sinc on each side
ROLLOFF = 0.99  # of the lower Nyquist rate


def sinc_kernels(from_rate: int, to_rate: int) -> tuple[np.ndarray, int]:
    """Of the `torchaudio-sinc` resampler, with the rates in lowest terms a : b: kernels float32 (b, 2 width + a), and a.

    Output sample b n + k is the dot product of kernel k with the samples from a n - width on, zeros beyond both ends.
    """
    common = math.gcd(from_rate, to_rate)
    a, b = from_rate // common, to_rate // common
    band = min(a, b) * ROLLOFF
    width = math.ceil(ZEROS * a / band)
    phase = np.arange(b, dtype=np.float32)[:, None] / np.float32(b)  # in single precision, as there
    at = np.arange(-width, width + a)[None] / a - phase
    at = np.clip(at * band, -ZEROS, ZEROS)
    kernels = np.sinc(at) * np.cos(at * math.pi / ZEROS / 2) ** 2 * band / a
    return kernels.astype(np.float32), a


class _Sinc:
    """Band-limited interpolation by a Hann-windowed sinc (Smith, "Digital Audio Resampling"), torchaudio's defaults.

    With the rates in lowest terms a : b, every a samples in make b samples out, each the dot product of one of b kernels
    with the same stretch of input. T samples give ceil(T b / a).
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.kernels, self.a = sinc_kernels(from_rate, to_rate)  # (b, 2 width + a)
        self.b = len(self.kernels)
        self.width = (self.kernels.shape[1] - self.a) // 2
        self.held = np.zeros(self.width, np.float32)
        self.given = self.taken = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        self.given += len(block)
        self.held = np.concatenate([self.held, block])
        return self._take()

    def finish(self) -> np.ndarray:
        self.held = np.concatenate([self.held, np.zeros(self.width + self.a, np.float32)])
        left = -(-self.given * self.b // self.a) - self.taken
        return self._take()[:left]

    def _take(self) -> np.ndarray:
        """The output of every whole stretch in `held`."""
        length = self.kernels.shape[1]
        count = max(0, (len(self.held) - length) // self.a + 1)
        if not count:
            return np.zeros(0, np.float32)
        stretches = np.lib.stride_tricks.sliding_window_view(self.held, length)[: count * self.a : self.a]
        out = np.einsum("nk,bk->nb", stretches, self.kernels, optimize=False).reshape(-1)
        self.held = self.held[count * self.a :].copy()
        self.taken += len(out)
        return out
