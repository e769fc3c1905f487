"""Whisper's log-mel spectrogram for graphs: the transform as a convolution, and each row of a batch mirrored at its own ends.

ONNX's operator for it is fifteen times as slow on a CPU. What `core/whisper_mel.py` gives of a clip alone, this gives of it in
any batch, to the rounding of sums taken in another order.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.slaney_mel import mel_filters
from ..core.whisper_mel import FLOOR, normalise

__all__ = ["PlainLogMel", "loudest"]


class PlainLogMel(nn.Module):
    """wav (B, T), true lengths -> log-mel, each clip cut off by its own loudest place. T is above `n_fft` / 2."""

    basis: Tensor
    filters: Tensor

    def __init__(self, mels: int, rate: int, n_fft: int, hop: int) -> None:
        super().__init__()
        self.reach, self.hop = n_fft // 2, hop
        time = torch.arange(n_fft, dtype=torch.float64)
        angle = 2 * math.pi * torch.outer(torch.arange(n_fft // 2 + 1, dtype=torch.float64), time) / n_fft
        window = torch.hann_window(n_fft, dtype=torch.float64)
        basis = torch.cat([angle.cos(), angle.sin()]) * window
        self.register_buffer("basis", basis.float()[:, None])
        self.register_buffer("filters", torch.from_numpy(mel_filters(rate, n_fft, mels, rate / 2)))

    def forward(self, wav: Tensor, ends: Tensor, frames: Tensor) -> Tensor:
        """ends (B,): samples at which each row is mirrored; frames (B,): of each row, that are looked at for the loudest.

        -> (B, mels, T // hop).
        """
        log = self.log_mel(wav, ends)
        return normalise(log, loudest(log, frames))

    def log_mel(self, wav: Tensor, ends: Tensor) -> Tensor:
        """log10 of the power in mel bands, (B, mels, T // hop)."""
        place = torch.arange(wav.shape[1] + 2 * self.reach, device=wav.device)[None] - self.reach
        last = ends[:, None] - 1
        place = torch.where(place > last, 2 * last - place, place).abs()  # beyond a row's end it may be anything
        mirrored = wav.gather(1, torch.minimum(place, last))
        spectrum = F.conv1d(mirrored[:, None], self.basis, stride=self.hop)[:, :, : wav.shape[1] // self.hop]
        real, imaginary = spectrum.chunk(2, dim=1)
        return (self.filters @ (real * real + imaginary * imaginary)).clamp(min=FLOOR).log10()


def loudest(log: Tensor, frames: Tensor) -> Tensor:
    """log (B, mels, L), of which each clip has so many frames (B,) -> its largest value (B, 1, 1)."""
    place = torch.arange(log.shape[2], device=log.device)
    return torch.where((place < frames[:, None])[:, None], log, -math.inf).amax((1, 2), keepdim=True)
