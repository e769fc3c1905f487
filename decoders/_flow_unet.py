"""The estimators of CosyVoice's flows: a one-dimensional U-Net of residual convolutions and Transformer blocks, from
Matcha-TTS (Mehta et al. 2023, arXiv:2309.03199; MIT).

Parameters have the published names. `causal` (version 2): convolutions look back only and have layer norms, at index 2 of
their block, in place of group norms at index 1; attention may be kept to chunks. Letters: B batch, F frames, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._flow_conformer import chunk_mask

__all__ = ["UNet"]


class CausalConv(nn.Conv1d):
    """Padded on the left only."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F) -> (B, C', F)."""
        return super().forward(F.pad(x, (self.kernel_size[0] - 1, 0)))


class ChannelNorm(nn.LayerNorm):
    """Layer norm of (B, C, F) over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F) -> the same shape."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    """A convolution of kernel 3, a norm and Mish."""

    def __init__(self, inputs: int, dim: int, causal: bool) -> None:
        super().__init__()
        parts = [CausalConv(inputs, dim, 3), nn.Identity(), ChannelNorm(dim), nn.Identity(), nn.Mish()]
        plain = [nn.Conv1d(inputs, dim, 3, padding=1), nn.GroupNorm(8, dim), nn.Mish()]
        self.block = nn.Sequential(*(parts if causal else plain))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F) -> (B, C', F)."""
        return self.block(x)


class Residual(nn.Module):
    """Two blocks beside their input, the time added between them."""

    def __init__(self, inputs: int, dim: int, time: int, causal: bool) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time, dim))
        self.block1, self.block2 = Block(inputs, dim, causal), Block(dim, dim, causal)
        self.res_conv = nn.Conv1d(inputs, dim, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, C, F), time (B, C'') -> (B, C', F)."""
        y = self.block1(x) + self.mlp(time)[:, :, None]
        return self.block2(y) + self.res_conv(x)


class Attention(nn.Module):
    """Self-attention without biases but the last."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, heads * width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(heads * width, dim)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, F, C) -> the same shape."""
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class Gelu(nn.Module):
    """A linear layer and GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, F, C) -> (B, F, C')."""
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """Two linear layers around GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gelu(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, F, C) -> the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention and a feed-forward part, each behind a norm and beside its input."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(dim), Attention(dim, heads, width)
        self.norm3, self.ff = nn.LayerNorm(dim), FeedForward(dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, F, C) -> the same shape."""
        x = x + self.attn1(self.norm1(x), mask)
        return x + self.ff(self.norm3(x))


class Resample(nn.Module):
    """Half the frames, or twice as many."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F) -> (B, C, about F / 2 or 2 F)."""
        return self.conv(x)


class TimeEmbedding(nn.Module):
    """Sinusoids of the time through two layers."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.linear_1, self.linear_2 = nn.Linear(inputs, dim), nn.Linear(dim, dim)

    def forward(self, t: Tensor) -> Tensor:
        """t (B,) -> (B, C)."""
        half = self.inputs // 2
        rates = torch.exp(torch.arange(half, device=t.device).float() * -(math.log(10000) / (half - 1)))
        angles = 1000 * t[:, None] * rates
        return self.linear_2(F.silu(self.linear_1(torch.cat([angles.sin(), angles.cos()], 1))))


class UNet(nn.Module):
    """The flow's velocity (B, M, F) from noisy mel, guess, voice and prompt side by side, (B, C, F), at time t (B,)."""

    def __init__(
        self, inputs: int, outputs: int, channels: Sequence[int], blocks: int, middle: int, heads: int, width: int, causal: bool
    ) -> None:
        super().__init__()
        time = 4 * channels[0]
        self.time_mlp = TimeEmbedding(inputs, time)

        def stage(before: int, dim: int, last: nn.Module | None) -> nn.ModuleList:
            attention = nn.ModuleList(TransformerBlock(dim, heads, width) for _ in range(blocks))
            return nn.ModuleList([Residual(before, dim, time, causal), attention, *([] if last is None else [last])])

        def plain(dim: int) -> nn.Module:
            return CausalConv(dim, dim, 3) if causal else nn.Conv1d(dim, dim, 3, padding=1)

        levels, top = list(channels), len(channels) - 1
        halves = [Resample(nn.Conv1d(dim, dim, 3, 2, 1)) for dim in levels[:top]]
        downs = zip([inputs, *levels], levels, [*halves, plain(levels[top])], strict=False)
        self.down_blocks = nn.ModuleList(stage(before, dim, last) for before, dim, last in downs)
        self.mid_blocks = nn.ModuleList(stage(levels[top], levels[top], None) for _ in range(middle))
        back = [*levels[::-1], levels[0]]
        doubles = [Resample(nn.ConvTranspose1d(dim, dim, 4, 2, 1)) for dim in back[1:-1]]
        ups = zip(back[:-1], back[1:], [*doubles, plain(back[-1])], strict=True)
        self.up_blocks = nn.ModuleList(stage(2 * before, dim, last) for before, dim, last in ups)
        self.final_block = Block(back[-1], back[-1], causal)
        self.final_proj = nn.Conv1d(back[-1], outputs, 1)

    def forward(self, x: Tensor, t: Tensor, chunk: int = 0) -> Tensor:
        """chunk: frames of a chunk, beyond whose end attention does not see; 0 for no bounds."""
        time = self.time_mlp(t)
        kept: list[Tensor] = []
        downs, middle, ups = cast(tuple[Any, Any, Any], (self.down_blocks, self.mid_blocks, self.up_blocks))
        for residual, attention, down in downs:
            x = _attended(residual(x, time), attention, chunk)
            kept.append(x)
            x = down(x)
        for residual, attention in middle:
            x = _attended(residual(x, time), attention, chunk)
        for residual, attention, up in ups:
            skipped = kept.pop()
            x = torch.cat([x[:, :, : skipped.shape[2]], skipped], 1)
            x = up(_attended(residual(x, time), attention, chunk))
        return self.final_proj(self.final_block(x))


def _attended(x: Tensor, blocks: nn.ModuleList, chunk: int) -> Tensor:
    mask, x = chunk_mask(x.shape[2], chunk, x.device), x.transpose(1, 2)
    for block in blocks:
        x = block(x, mask)
    return x.transpose(1, 2)
