"""Vocos: ConvNeXt blocks over frames, and an inverse short-time Fourier transform that turns them into sound.

Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders", arXiv:2306.00814;
published at github.com/gemelo-ai/vocos (MIT). Parameters have the published names. Frames run channels last, (B, N, D);
`core.convs.fold` lays the convolutions out before use. Inference only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .convs import Conv, chain

__all__ = ["AdaNorm", "Backbone", "ConvNeXt", "Head"]

EPSILON = 1e-6  # of every layer norm
LOUDEST = 100.0  # most a magnitude may be


class AdaNorm(nn.Module):
    """Layer norm with a scale and a shift for each of several conditions, of which one is used."""

    def __init__(self, conditions: int, dim: int, condition: int = 0) -> None:
        super().__init__()
        self.scale = nn.Embedding.from_pretrained(torch.ones(conditions, dim), freeze=False)
        self.shift = nn.Embedding.from_pretrained(torch.zeros(conditions, dim), freeze=False)
        self.condition = condition

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape."""
        scale, shift = self.scale.weight[self.condition], self.shift.weight[self.condition]
        return F.layer_norm(x, x.shape[-1:], scale, shift, EPSILON)


def _norm(dim: int, conditions: int | None) -> nn.Module:
    return AdaNorm(conditions, dim) if conditions else nn.LayerNorm(dim, eps=EPSILON)


class ConvNeXt(nn.Module):
    """A depthwise convolution of kernel 7 and two pointwise layers, scaled by gamma, beside the input."""

    def __init__(self, dim: int, hidden: int, scale: float, conditions: int | None) -> None:
        super().__init__()
        self.dwconv = Conv(dim, dim, 7, padding=3, groups=dim)
        self.norm = _norm(dim, conditions)
        self.pwconv1 = nn.Linear(dim, hidden)
        self.pwconv2 = nn.Linear(hidden, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape."""
        y = self.pwconv1(self.norm(chain([self.dwconv], x)))
        return torch.addcmul(x, self.gamma, self.pwconv2(F.gelu(y)))


class Backbone(nn.Module):
    """Features (B, N, C) to hidden frames (B, N, D): `start`, which widens them, then `body`."""

    def __init__(self, inputs: int, dim: int, hidden: int, layers: int, conditions: int | None = None) -> None:
        super().__init__()
        self.embed = Conv(inputs, dim, 7, padding=3)
        self.norm = _norm(dim, conditions)
        self.convnext = nn.ModuleList([ConvNeXt(dim, hidden, 1 / layers, conditions) for _ in range(layers)])
        self.final_layer_norm = nn.LayerNorm(dim, eps=EPSILON)

    def start(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, D)."""
        return chain([self.embed], x)

    def body(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape. A frame sees three more on each side for every layer."""
        x = self.norm(x)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, D)."""
        return self.body(self.start(x))


class Head(nn.Module):
    """Hidden frames to log magnitudes and phases, and these to sound: N frames give N hops.

    Frames of `fft` samples overlap; half of what they stand out over N hops is cut at each end.
    """

    window: Tensor

    def __init__(self, dim: int, fft: int, hop: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, fft + 2)
        self.fft, self.hop, self.cut = fft, hop, (fft - hop) // 2
        self.register_buffer("window", torch.hann_window(fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> wav (B, N hop)."""
        magnitude, phase = self.out(x).float().chunk(2, dim=2)
        frames = torch.fft.irfft(torch.polar(magnitude.exp().clamp(max=LOUDEST), phase), self.fft) * self.window
        weights = self.window.square().expand(1, x.shape[1], -1)
        return self._overlapped(frames) / self._overlapped(weights)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """frames (B, N, fft), each a hop after the one before, added up -> (B, N hop)."""
        batch, count, _ = frames.shape
        parts = F.pad(frames, (0, -self.fft % self.hop)).unflatten(2, (-1, self.hop)).unbind(2)
        out = frames.new_zeros(batch, count + len(parts) - 1, self.hop)
        for i, part in enumerate(parts):
            out[:, i : i + count] += part
        return out.flatten(1)[:, self.cut : self.cut + count * self.hop]

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The frames that the hops `first` to `last` of the sound are made of."""
        return -((self.fft - 1 - self.cut) // self.hop) + first, (self.hop - 1 + self.cut) // self.hop + last
