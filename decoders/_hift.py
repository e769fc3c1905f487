"""HiFTNet as CosyVoice, GLM-4-Voice and Step-Audio have it: log-mel frames to sound by a sine source that follows the pitch
(Wang et al. 2019, arXiv:1904.12088), filtered by convolutions, and an inverse short-time Fourier transform at the end.

Li et al. 2023, "HiFTNet", arXiv:2309.09493; published at github.com/FunAudioLLM/CosyVoice (Apache-2.0). Parameters have the
published names, weight norm multiplied in. What is drawn at random there, phases of the overtones and noise, is fixed here.

Letters: B batch, M mel bands, F frames, C channels, T samples, H harmonics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ..core.mel import LogMel

__all__ = ["HiFT", "HiFTConfig"]

SLOPE, LAST_SLOPE = 0.1, 0.01  # of the leaky ReLUs; the published code leaves the last one at torch's default
LOUDEST = 100.0  # most a magnitude may be
LIMIT = 0.99  # most a sample may be
BLOCK = 1 << 16  # samples of noise that are drawn at once
DILATIONS = (1, 3, 5)


@dataclass(frozen=True)
class HiFTConfig:
    """Every size of the network, and the mel it takes; plain JSON values only."""

    mel: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 512
    harmonics: int = 8  # beside the fundamental
    amplitude: float = 0.1  # of the sines
    noise: float = 0.003  # deviation beside the sines; where there is no voice, a third of the amplitude
    voiced_from: float = 10.0  # Hz
    rates: tuple[int, ...] = (8, 8)
    kernels: tuple[int, ...] = (16, 16)
    fft: int = 16
    hop: int = 4
    block_kernels: tuple[int, ...] = (3, 7, 11)
    source_kernels: tuple[int, ...] = (7, 11)
    pitch_channels: int = 512
    by_frame: bool = False  # phases summed over frames and interpolated, as at 24 kHz, rather than over samples

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` for keys it does not know and sizes that do not fit together."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"a HiFTNet has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        config = cls(**kept)
        if not len(config.rates) == len(config.kernels) == len(config.source_kernels):
            raise ModelError("a HiFTNet wants one kernel, and one of its source, for each upsampling")
        if config.front.hop != math.prod(config.rates) * config.hop:
            raise ModelError(f"upsampling by {config.rates} and {config.hop} makes no hop of {config.front.hop} samples")
        return config

    @property
    def front(self) -> LogMel:
        """The mel front end."""
        return LogMel.from_dict(self.mel)


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, alpha learned for each channel (Ziyin et al. 2020, arXiv:2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        alpha = self.alpha[:, None]
        return torch.addcmul(x, (x * alpha).sin_().square_(), (alpha + 1e-9).reciprocal())


class ResBlock(nn.Module):
    """Three pairs of convolutions behind Snakes, each beside its input."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        half = (kernel - 1) // 2
        self.convs1 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, 1, half * d, d) for d in DILATIONS)
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, 1, half) for _ in DILATIONS)
        self.activations1, self.activations2 = (nn.ModuleList(Snake(channels) for _ in DILATIONS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        for first, conv1, second, conv2 in zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True):
            x = x + conv2(second(conv1(first(x))))
        return x


class PitchPredictor(nn.Module):
    """Log-mel (B, M, F) -> Hz (B, F), below a threshold where there is no voice."""

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(5):
            layers += [nn.Conv1d(channels if i else bands, channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        return self.classifier(self.condnet(mel).transpose(1, 2))[..., 0].abs()


class Source(nn.Module):
    """Hz (B, F) -> a sum of sines and noise (B, T), T = F hop."""

    def __init__(self, c: HiFTConfig) -> None:
        super().__init__()
        self.c, self.hop, self.rate = c, c.front.hop, c.front.sample_rate
        self.l_linear = nn.Linear(c.harmonics + 1, 1)

    def forward(self, pitch: Tensor) -> Tensor:
        """See the class."""
        c, count = self.c, pitch.shape[1] * self.hop
        overtones = torch.arange(1, c.harmonics + 2, device=pitch.device)
        cycles = self._by_frame(pitch, overtones) if c.by_frame else self._by_sample(pitch, overtones)
        voiced = (pitch > c.voiced_from).repeat_interleave(self.hop, 1)[..., None].float()
        sines = c.amplitude * torch.sin(2 * math.pi * cycles).float()
        deviation = voiced * c.noise + (1 - voiced) * (c.amplitude / 3)
        noise = fixed_noise(count, c.harmonics + 1).to(pitch.device)
        return torch.tanh(self.l_linear(sines * voiced + deviation * noise))[..., 0]

    def _by_sample(self, pitch: Tensor, overtones: Tensor) -> Tensor:
        """Cycles (B, T, H + 1), summed over samples; overtones begin at phases of their own."""
        steps = (pitch.double() / self.rate).repeat_interleave(self.hop, 1).cumsum(1)
        return (steps[..., None] * overtones + fixed_phases(self.c.harmonics + 1).to(pitch.device)) % 1

    def _by_frame(self, pitch: Tensor, overtones: Tensor) -> Tensor:
        """Cycles (B, T, H + 1), summed over frames and interpolated between their middles."""
        steps = (pitch.double()[..., None] * overtones / self.rate) % 1
        cycles = steps.cumsum(1).transpose(1, 2) * self.hop
        return F.interpolate(cycles, scale_factor=float(self.hop), mode="linear").transpose(1, 2)


class HiFT(nn.Module):
    """Log-mel (B, M, F) -> wav (B, F hop)."""

    window: Tensor

    def __init__(self, config: HiFTConfig) -> None:
        super().__init__()
        c = self.config = config
        bins, depth = c.fft + 2, len(c.rates)
        widths = [c.channels // 2**i for i in range(depth + 1)]
        self.m_source = Source(c)
        self.conv_pre = nn.Conv1d(c.front.bands, c.channels, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], k, r, (k - r) // 2)
            for i, (k, r) in enumerate(zip(c.kernels, c.rates, strict=True))
        )
        left = [math.prod(c.rates[i + 1 :]) for i in range(depth)]  # frames of the last transform for one of each stage
        self.source_downs = nn.ModuleList(
            nn.Conv1d(bins, widths[i + 1], 2 * r if r > 1 else 1, r, r // 2) for i, r in enumerate(left)
        )
        self.source_resblocks = nn.ModuleList(ResBlock(widths[i + 1], k) for i, k in enumerate(c.source_kernels))
        self.resblocks = nn.ModuleList(ResBlock(width, k) for width in widths[1:] for k in c.block_kernels)
        self.conv_post = nn.Conv1d(widths[-1], bins, 7, padding=3)
        self.f0_predictor = PitchPredictor(c.front.bands, c.pitch_channels)
        self.register_buffer("window", torch.hann_window(c.fft), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        return self.filter(mel, self.m_source(self.f0_predictor(mel)))

    def filter(self, mel: Tensor, source: Tensor) -> Tensor:
        """mel (B, M, F) and a source (B, T) -> wav (B, T)."""
        c = self.config
        spectrum = torch.stft(source, c.fft, c.hop, window=self.window, return_complex=True)
        excited = torch.cat([spectrum.real, spectrum.imag], 1)
        x = self.conv_pre(mel)
        for i, (up, down, block) in enumerate(zip(self.ups, self.source_downs, self.source_resblocks, strict=True)):
            x = up(F.leaky_relu(x, SLOPE))
            if i == len(self.ups) - 1:
                x = F.pad(x, (1, 0), mode="reflect")
            x = self._mean(i, x + block(down(excited)))
        level, phase = self.conv_post(F.leaky_relu(x, LAST_SLOPE)).chunk(2, 1)
        frames = torch.polar(level.exp().clamp(max=LOUDEST), phase.sin())
        return torch.istft(frames, c.fft, c.hop, window=self.window).clamp(-LIMIT, LIMIT)

    def _mean(self, stage: int, x: Tensor) -> Tensor:
        """Of the residual blocks of a stage."""
        count = len(self.config.block_kernels)
        blocks: Sequence[nn.Module] = list(self.resblocks)[stage * count : (stage + 1) * count]
        total = blocks[0](x)
        for block in blocks[1:]:
            total = total + block(x)
        return total / count


def fixed_phases(count: int) -> Tensor:
    """Cycles (count,) at which the sines begin: none for the fundamental, anything for the others."""
    phases = np.random.default_rng(0).uniform(-0.5, 0.5, count)
    phases[0] = 0.0
    return torch.from_numpy(phases)


def fixed_noise(count: int, channels: int) -> Tensor:
    """The first samples of an endless noise that is the same everywhere, float32 (count, channels)."""
    blocks = [np.random.default_rng((1, b)).standard_normal((BLOCK, channels), np.float32) for b in range(-(-count // BLOCK))]
    return torch.from_numpy(np.concatenate(blocks)[:count])
