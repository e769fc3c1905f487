"""The first layers of WavLM: convolutions that make frames of sound, and a transformer with gated relative positions.

Chen et al. 2022, "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", arXiv:2110.13900. The
parameters have the names that FocalCodec publishes them under, github.com/lucadellalib/focalcodec (Apache-2.0).

Every frame attends to every other, so that all of a clip moves all of its frames. Letters: B batch, T samples, N frames,
D channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import Conv

__all__ = ["FeedForward", "WavLM"]

# The most numbers held at once, on a CPU, in whose cache they stay, and elsewhere: memory is bounded however long the clip.
PIECE = (1 << 20, 1 << 27)  # of one activation of the convolutions
SCORES = (1 << 22, 1 << 27)  # of attention


class Block(nn.Module):
    """Convolution without padding, norm and GELU. Input shorter than the kernel is completed with zeros."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, kernel, stride, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T', C')."""
        missing = max(0, self.conv.kernel_size[0] - x.shape[1])
        return F.gelu(self.norm(self.conv(F.pad(x, (0, 0, 0, missing)))))


class Front(nn.Module):
    """Sound to frames, `hop` samples apart, each made of `span` samples."""

    def __init__(self, dims: list[int], kernels: list[int], strides: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(map(Block, [1, *dims[:-1]], dims, kernels, strides))
        self.hop = math.prod(strides)
        self.span = 1 + sum((kernel - 1) * math.prod(strides[:i]) for i, kernel in enumerate(kernels))
        self.numbers = dims[0] * self.hop // strides[0]  # that a frame is in the first layer's output, the largest

    def frames(self, samples: int) -> int:
        """Frames of `samples` samples: those that fit whole, but at least one."""
        return max(0, (samples - self.span) // self.hop) + 1

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, N, C), in pieces; frames know nothing of each other here."""
        frames = self.frames(wav.shape[1])
        piece = max(1, _most(PIECE, wav) // (self.numbers * len(wav)))
        parts = []
        for start in range(0, frames, piece):
            end = min(start + piece, frames)
            x = wav[:, start * self.hop : (end - 1) * self.hop + self.span, None]
            for layer in self.layers:
                x = layer(x)
            parts.append(x)
        return torch.cat(parts, 1)


class Positions(nn.Module):
    """Where a frame is, told by a convolution over its neighbours."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D). An even kernel's last frame too many is dropped."""
        return F.gelu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention with a bias for each distance, which each query scales by two gates of its own."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        self.gru_rel_pos_linear = nn.Linear(dim // heads, 8)
        self.gru_rel_pos_const = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (B, N, D), bias (H, 2 N - 1) of the distances 1 - N to N - 1 -> (B, N, D).

        Queries go last to first: then the biases of one after another are `bias` shifted by one, which is a view.
        """
        query, key, value = self.qkv_proj(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        query, gate, shifted = query.flip(2), self._gate(x).flip(2), bias.unfold(1, x.shape[1], 1)
        batch, frames = x.shape[:2]
        rows = max(1, _most(SCORES, x) // (batch * self.heads * frames))
        parts = []
        for i in range(0, frames, rows):
            mask = (gate[:, :, i : i + rows] * shifted[:, i : i + rows]).to(query.dtype)
            parts.append(F.scaled_dot_product_attention(query[:, :, i : i + rows], key, value, attn_mask=mask))
        y: Tensor = self.out_proj(torch.cat(parts, 2).flip(2).transpose(1, 2).flatten(2))
        return y

    def _gate(self, x: Tensor) -> Tensor:
        """What each query (B, H, N, 1) multiplies the biases by."""
        both = self.gru_rel_pos_linear(x.unflatten(2, (self.heads, -1)).transpose(1, 2)).unflatten(3, (2, 4)).sum(4)
        one, other = both.sigmoid().chunk(2, 3)
        return cast(Tensor, one * (other * self.gru_rel_pos_const - 1.0) + 2.0)


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        y: Tensor = self.out_proj(F.gelu(self.in_proj(x)))
        return y


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, inner)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """See `Attention`."""
        x = x + self.attention(self.attention_norm(x), bias)
        y: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return y


class Transformer(nn.Module):
    """Layers that share one table of biases. No norm follows the last."""

    def __init__(self, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.distance = c["max_distance"]
        self.positional_embedding = Positions(c["dim"], c["conv_pos"], c["conv_pos_groups"])
        self.relative_embedding = nn.Embedding(c["num_buckets"], c["num_heads"])
        self.layers = nn.ModuleList(Layer(c["dim"], c["ffn_dim"], c["num_heads"]) for _ in range(c["num_layers"]))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = x + self.positional_embedding(x)
        bias = self.relative_embedding(self.buckets(x.shape[1]).to(x.device)).t().contiguous()
        for layer in self.layers:
            x = layer(x, bias)
        return x

    def buckets(self, frames: int) -> Tensor:
        """Buckets (2 N - 1,) of the distances 1 - N to N - 1: the near ones for themselves, the far ones by their logarithm,
        those ahead apart from those behind."""
        half = self.relative_embedding.num_embeddings // 2
        exact = half // 2
        ahead = torch.arange(1 - frames, frames)
        distance = ahead.abs()
        far = (distance.clamp(min=1).float() / exact).log() / math.log(self.distance / exact) * (half - exact) + exact
        bucket = torch.where(distance < exact, distance, far.long().clamp(max=half - 1))
        return bucket + half * (ahead > 0)


class WavLM(nn.Module):
    """Sound to frames of features. Its arguments are those of the published constructor."""

    def __init__(self, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.feature_extractor = Front(c["hidden_dims"], c["kernel_sizes"], c["strides"])
        self.norm = nn.LayerNorm(c["hidden_dims"][-1])
        self.feature_proj = nn.Linear(c["hidden_dims"][-1], c["dim"])
        self.encoder = Transformer(c)

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T), as it is: no normalisation -> (B, N, D)."""
        y: Tensor = self.encoder(self.feature_proj(self.norm(self.feature_extractor(wav))))
        return y


def _most(limits: tuple[int, int], x: Tensor) -> int:
    return limits[0] if x.device.type == "cpu" else limits[1]
