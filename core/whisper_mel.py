"""The log-mel spectrogram of Whisper (Radford et al. 2022, arXiv:2212.04356), in torch alone.

Power spectrum of frames under a periodic Hann window, centred, the ends of the clip reflected; Slaney's mel bands; log10, cut
off 8 (80 dB) below the largest value of the clip, shifted and scaled. Because of that largest value every number may depend on
the whole clip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .slaney_mel import mel_filters

__all__ = ["log_mel", "normalise", "whisper_mel"]

FLOOR, RANGE = 1e-10, 8.0


def log_mel(wav: Tensor, mels: int, rate: int = 16000, n_fft: int = 400, hop: int = 160) -> Tensor:
    """wav float32 (B, T), T > n_fft / 2 -> log10 of the power in mel bands (B, mels, 1 + T // hop), at least -10."""
    spectrum = torch.stft(wav, n_fft, hop, window=torch.hann_window(n_fft, device=wav.device), return_complex=True)
    filters = torch.from_numpy(mel_filters(rate, n_fft, mels, rate / 2)).to(wav.device)
    return (filters @ spectrum.abs() ** 2).clamp(min=FLOOR).log10()


def normalise(log: Tensor, largest: Tensor | None = None) -> Tensor:
    """log_mel (B, mels, N) -> what Whisper's encoder takes, by the clip's own largest value or one given (B, 1, 1 or N)."""
    largest = log.amax((1, 2), keepdim=True) if largest is None else largest
    return (torch.maximum(log, largest - RANGE) + 4.0) / 4.0


def whisper_mel(wav: Tensor, mels: int, rate: int = 16000, n_fft: int = 400, hop: int = 160) -> Tensor:
    """wav float32 (B, T), T > n_fft / 2 -> (B, mels, T // hop): Whisper leaves the last frame out."""
    return normalise(log_mel(wav, mels, rate, n_fft, hop)[:, :, :-1])
