"""Kaldi's log-mel filterbank energies, in torch alone, without dither.

Of every frame its mean is taken off, then 0.97 of the sample before from each; it is windowed and padded to a power of two; the
power of its spectrum is summed in triangular bands on HTK's mel scale and its logarithm taken. Frames lie whole within the clip
(`snip_edges`). Equal to `torchaudio.compliance.kaldi.fbank` with `dither=0` and `energy_floor=0`.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from .errors import ModelError

__all__ = ["WINDOWS", "fbank_frames", "kaldi_fbank"]

FRAME, SHIFT = 0.025, 0.010  # seconds
EMPHASIS = 0.97
LOWEST = 20.0  # Hz
FLOOR = torch.finfo(torch.float32).eps
WINDOWS = ("hamming", "povey")


def fbank_frames(samples: int, rate: int = 16000) -> int:
    """Frames that lie whole within so many samples."""
    frame, shift = _sizes(rate)
    return 0 if samples < frame else 1 + (samples - frame) // shift


def kaldi_fbank(wav: Tensor, mels: int = 80, rate: int = 16000, window: str = "povey", high: float = 0.0) -> Tensor:
    """wav float32 (B, T) -> (B, N, mels) with N = `fbank_frames(T)`, 0 for a clip of less than 25 ms.

    Args:
        wav: as Kaldi sees it, which is in the range of 16-bit integers.
        mels: bands from 20 Hz to `high`.
        rate: Hz.
        window: "hamming", or Kaldi's own "povey".
        high: Hz; 0 or less counts from half the rate.

    Raises `ModelError` for another window, or bands that the rate cannot have.
    """
    frame, shift = _sizes(rate)
    size = 1 << (frame - 1).bit_length()
    bands = _bands(mels, size, rate, high).to(wav.device)
    shape = _window(window, frame).to(wav.device)
    if wav.shape[1] < frame:
        return wav.new_zeros(len(wav), 0, mels)
    with torch.autocast(wav.device.type, enabled=False):
        frames = wav.float().unfold(1, frame, shift)
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], 2)
        spectrum = torch.fft.rfft((frames - EMPHASIS * before) * shape, size).abs() ** 2
        return (spectrum[:, :, :-1] @ bands).clamp(min=FLOOR).log()


def _sizes(rate: int) -> tuple[int, int]:
    return int(rate * FRAME), int(rate * SHIFT)


@cache
def _window(name: str, size: int) -> Tensor:
    if name == "hamming":
        return torch.hamming_window(size, periodic=False)
    if name == "povey":
        return torch.hann_window(size, periodic=False) ** 0.85
    raise ModelError(f"the filterbank has no window {name!r}; it has {', '.join(WINDOWS)}")


@cache
def _bands(mels: int, size: int, rate: int, high: float) -> Tensor:
    """Triangles (size / 2, mels): height 1, evenly spaced in mel."""
    top = high if high > 0 else rate / 2 + high
    if not LOWEST < top <= rate / 2 or mels < 1:
        raise ModelError(f"{mels} bands from {LOWEST:.0f} to {top:.0f} Hz cannot be had at {rate} Hz")
    low = _mel(LOWEST)
    step = (_mel(top) - low) / (mels + 1)
    left, peak, right = (low + (torch.arange(mels) + i) * step for i in (0.0, 1.0, 2.0))
    at = 1127.0 * (1.0 + rate / size * torch.arange(size // 2) / 700.0).log()[:, None]
    return torch.minimum((at - left) / (peak - left), (right - at) / (right - peak)).clamp(min=0.0)


def _mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)
