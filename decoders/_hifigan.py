"""HiFi-GAN's generator (Kong et al. 2020, arXiv:2010.05646): log-mel frames to sound by transposed convolutions, each followed
by residual blocks of several kernels whose mean is taken.

Published at github.com/jik876/hifi-gan (MIT). Parameters have the published names, weight norm multiplied in. Options of our
own move work to the frame rate: `fft`, an inverse short-time Fourier transform at the end in place of the last transposed
convolutions (iSTFTNet, Kaneko et al. 2022, arXiv:2203.02395), or of all of them, and `layers` of ConvNeXt blocks (Liu et al.
2022) at the start, as Vocos has them (Siuzdak 2023, arXiv:2306.00814).

Letters: B batch, M mel bands, F frames, C channels, T samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._hifigan_config import GeneratorConfig

__all__ = ["Generator"]

LAST_SLOPE = 0.01  # of the last leaky ReLU, which the published code leaves at torch's default
LOUDEST = 100.0  # most a magnitude may be
QUIET = -4.0  # natural log of the magnitudes that an untrained network begins with


class ConvNeXt(nn.Module):
    """A depthwise convolution and two pointwise layers, scaled, beside the input."""

    def __init__(self, dim: int, scale: float, kernel: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.pwconv1 = nn.Linear(dim, expansion * dim)
        self.pwconv2 = nn.Linear(expansion * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F) -> the same shape."""
        y = self.norm(self.dwconv(x).transpose(1, 2))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))).transpose(1, 2)


class Block1(nn.Module):
    """Pairs of convolutions, the first of each dilated, beside the input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.convs1 = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_conv(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, self.slope)), self.slope))
        return x


class Block2(nn.Module):
    """Dilated convolutions, each beside its input."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.convs = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, self.slope))
        return x


class InverseSTFT(nn.Module):
    """Log magnitudes and phases of frames to sound: N frames give N hops, half of what stands out is cut at each end."""

    window: Tensor

    def __init__(self, fft: int, hop: int) -> None:
        super().__init__()
        self.fft, self.hop, self.cut = fft, hop, (fft - hop) // 2
        self.register_buffer("window", torch.hann_window(fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, split (fft + 2), N') -> wav (B, N hop), N = split N', in float32."""
        x = x.float().transpose(1, 2).unflatten(2, (-1, self.fft + 2)).flatten(1, 2)
        magnitude, phase = x.chunk(2, dim=2)
        frames = torch.fft.irfft(torch.polar(magnitude.clamp(max=math.log(LOUDEST)).exp(), phase), self.fft) * self.window
        weights = self.window.square().expand(1, x.shape[1], -1)
        return self._overlapped(frames) / self._overlapped(weights)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """frames (B, N, fft), each a hop after the one before, added up -> (B, N hop)."""
        length = (frames.shape[1] - 1) * self.hop + self.fft
        wav = F.fold(frames.transpose(1, 2), (1, length), (1, self.fft), stride=(1, self.hop))[:, 0, 0]
        return wav[:, self.cut : self.cut + frames.shape[1] * self.hop]


class Generator(nn.Module):
    """Frames (B, M, F) -> wav (B, hop F) in [-1, 1]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: GeneratorConfig, inputs: int) -> None:
        """inputs: channels of a frame."""
        super().__init__()
        self.config = config
        width = config.channels
        if config.normalise:
            self.register_buffer("mean", torch.zeros(inputs))
            self.register_buffer("scale", torch.ones(inputs))
        self.conv_pre = nn.Conv1d(inputs, width, 7, padding=3)
        self.body = nn.ModuleList(ConvNeXt(width, 1 / config.layers) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 if config.layers else 0))  # before and after the body
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        kind = Block1 if config.block == 1 else Block2
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            # an odd difference of kernel and rate, which the published sizes do not have, would make a sample too few
            extra = (kernel - rate) % 2
            up = nn.ConvTranspose1d(width, width // 2, kernel, rate, (kernel - rate + extra) // 2, extra)
            width //= 2
            self.ups.append(up)
            for size, dilations in zip(config.block_kernels, config.block_dilations, strict=True):
                self.resblocks.append(kind(width, size, dilations, config.slope))
        outputs = config.split * (config.fft + 2) if config.fft else 1
        self.conv_post = nn.Conv1d(width, outputs, config.last_kernel, padding=config.last_kernel // 2)
        self.inverse = InverseSTFT(config.fft, config.step) if config.fft else None
        self._start()

    def _start(self) -> None:
        """Residual branches begin small, and so does the sound: without weight norm that is what makes training steady."""
        for block in self.resblocks.modules():
            for conv in block.convs2 if isinstance(block, Block1) else block.convs if isinstance(block, Block2) else ():
                assert isinstance(conv, nn.Conv1d)
                nn.init.normal_(conv.weight, std=0.3 / math.sqrt(conv.weight[0].numel()))
        if self.config.fft and self.conv_post.bias is not None:
            with torch.no_grad():
                self.conv_post.bias.view(self.config.split, 2, -1)[:, 0] = QUIET

    def forward(self, mel: Tensor) -> Tensor:
        """mel (B, M, F) -> wav (B, hop F)."""
        x = (mel - self.mean[:, None]) / self.scale[:, None] if self.config.normalise else mel
        x = self.conv_pre(x)
        if self.norms:
            x = _over_channels(self.norms[0], x)
            for layer in self.body:
                x = layer(x)
            x = _over_channels(self.norms[1], x)
        count = len(self.config.block_kernels)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, self.config.slope))
            first, *others = self.resblocks[i * count : (i + 1) * count]
            y = first(x)
            for block in others:
                y = y + block(x)
            x = y / count
        x = F.leaky_relu(x, LAST_SLOPE) if self.ups else x
        if self.inverse is None:
            return torch.tanh(self.conv_post(x))[:, 0]
        with torch.autocast(x.device.type, enabled=False):  # phases want more digits than bfloat16 has
            return self.inverse(self._last(x.float()))

    def _last(self, x: Tensor) -> Tensor:
        """`conv_post`; of kernel 1 as the matrix product it is, which CPUs run twice as fast."""
        if self.config.last_kernel > 1:
            return self.conv_post(x)
        return F.linear(x.transpose(1, 2), self.conv_post.weight[:, :, 0], self.conv_post.bias).transpose(1, 2)


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    """Layer norm of each frame of x (B, C, F)."""
    return norm(x.transpose(1, 2)).transpose(1, 2)


def _conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
