"""Small discriminators with least-squares and feature-matching losses: of STFTs at several scales (Defossez et al. 2022,
EnCodec) and of the wave folded by several periods (Kong et al. 2020, HiFi-GAN).

Off in the CPU recipes: they double the cost of a step and only pay after many tens of thousands of them.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .losses import spectrum

Features = list[Tensor]


class ScaleDiscriminator(nn.Module):
    """2-D convolutions over the complex STFT at one resolution."""

    window: Tensor

    def __init__(self, n_fft: int, filters: int) -> None:
        super().__init__()
        self.hop = n_fft // 4
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        layers: list[nn.Module] = [nn.Conv2d(2, filters, (3, 9), padding=(1, 4))]
        for dilation in (1, 2, 4):
            shape = {"stride": (1, 2), "dilation": (dilation, 1), "padding": (dilation, 4)}
            layers.append(nn.Conv2d(filters, filters, (3, 9), **shape))  # type: ignore[arg-type]
        layers.append(nn.Conv2d(filters, filters, (3, 3), padding=(1, 1)))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.out = weight_norm(nn.Conv2d(filters, 1, (3, 3), padding=(1, 1)))

    def forward(self, wav: Tensor) -> tuple[Tensor, Features]:
        """wav (B, T) -> scores (B, 1, M, F'), the maps before it."""
        x = torch.view_as_real(spectrum(wav, self.window, self.hop) * self.window.sum().sqrt()).permute(0, 3, 1, 2)
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        return self.out(x), maps


class PeriodDiscriminator(nn.Module):
    """2-D convolutions along every `period`-th sample of the wave, one column for each phase of the period."""

    def __init__(self, period: int, filters: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, filters, 2 * filters, 4 * filters, 4 * filters]
        layers = [nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in itertools.pairwise(widths)]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.out = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> tuple[Tensor, Features]:
        """wav (B, T) -> scores (B, 1, T', period), the maps before it."""
        x = F.pad(wav, (0, -wav.shape[1] % self.period)).unflatten(1, (-1, self.period))[:, None]
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return self.out(x), maps


class Discriminator(nn.Module):
    """Scales and periods; what it is given must be at least as long as the longest scale."""

    def __init__(self, filters: int = 16, sizes: tuple[int, ...] = (1024, 512, 256), periods: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.scales = nn.ModuleList(ScaleDiscriminator(n, filters) for n in sizes)
        self.periods = nn.ModuleList(PeriodDiscriminator(period, 2 * filters) for period in periods)

    def forward(self, wav: Tensor) -> list[tuple[Tensor, Features]]:
        """wav (B, T) -> one (scores, maps) per scale and period."""
        return [part(wav) for part in (*self.scales, *self.periods)]

    def critic_loss(self, got: Tensor, want: Tensor) -> Tensor:
        """Least squares (Mao et al. 2017): real to 1, made to 0."""
        losses = []
        for scores, _ in self(torch.cat([want, got.detach()])):
            real, made = scores.float().chunk(2)
            losses.append((real - 1).square().mean() + made.square().mean())
        return torch.stack(losses).mean()

    def generator_loss(self, got: Tensor, want: Tensor) -> tuple[Tensor, Tensor]:
        """(adversarial, feature matching): made to 1; mean distance of the maps over their mean size."""
        with torch.no_grad():
            real = self(want)
        made = self(got)
        adversarial = torch.stack([(scores.float() - 1).square().mean() for scores, _ in made]).mean()
        matching = [
            (a.float() - b.float()).abs().mean() / b.float().abs().mean().clamp(min=1e-6)
            for (_, made_maps), (_, real_maps) in zip(made, real, strict=True)
            for a, b in zip(made_maps, real_maps, strict=True)
        ]
        return adversarial, torch.stack(matching).mean()
