"""The token encoders of CosyVoice's flows: Transformer layers with relative positions (Dai et al. 2019, arXiv:1901.02860).

Published at github.com/FunAudioLLM/CosyVoice (Apache-2.0), there called a Conformer, though without its convolutions.
Parameters have the published names. `chunk`: a place sees all that came before, and ahead to the end of its own chunk of so
many; 0 for no bounds. Letters: B batch, T places, D channels, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Encoder", "UpsampleEncoder", "chunk_mask"]


def chunk_mask(places: int, chunk: int, device: torch.device) -> Tensor | None:
    """bool (T, T): which places (columns) each one (rows) sees; None for all."""
    if not chunk or chunk >= places:
        return None
    place = torch.arange(places, device=device)
    return place[None] < (place[:, None] // chunk + 1) * chunk


def positions(places: int, dim: int, device: torch.device) -> Tensor:
    """Sinusoids (2 T - 1, D) of the distances T - 1 down to 1 - T, how far a place seen lies behind."""
    distance = torch.arange(places - 1, -places, -1.0, device=device)[:, None]
    rates = torch.exp(torch.arange(0, dim, 2, device=device).float() * -(math.log(10000.0) / dim))
    return torch.stack([torch.sin(distance * rates), torch.cos(distance * rates)], 2).flatten(1)


class Attention(nn.Module):
    """Self-attention (B, T, D) with biased relative positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(dim, dim) for _ in range(4))
        self.linear_pos = nn.Linear(dim, dim, bias=False)
        self.pos_bias_u = nn.Parameter(torch.randn(heads, dim // heads) / dim**0.5)
        self.pos_bias_v = nn.Parameter(torch.randn(heads, dim // heads) / dim**0.5)

    def forward(self, x: Tensor, where: Tensor, mask: Tensor | None) -> Tensor:
        """where (2 T - 1, D): see `positions`."""
        batch, places, dim = x.shape
        q, k, v = (layer(x).view(batch, places, self.heads, -1) for layer in (self.linear_q, self.linear_k, self.linear_v))
        p = self.linear_pos(where).view(1, 2 * places - 1, self.heads, -1)
        by_place = torch.einsum("bthd,ashd->bhts", q + self.pos_bias_v, p)  # s: distance T - 1 - s
        shifted = F.pad(by_place, (1, 0)).view(batch, self.heads, 2 * places, places)[:, :, 1:]
        bias = shifted.reshape(batch, self.heads, places, 2 * places - 1)[..., :places] / math.sqrt(dim // self.heads)
        if mask is not None:
            bias = bias.masked_fill(~mask, -math.inf)
        u = (q + self.pos_bias_u).transpose(1, 2)
        y = F.scaled_dot_product_attention(u, k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias)
        return self.linear_out(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers around SiLU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> the same shape."""
        return self.w_2(F.silu(self.w_1(x)))


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a norm and beside its input."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn, self.feed_forward = Attention(dim, heads), FeedForward(dim, hidden)
        self.norm_mha, self.norm_ff = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor, where: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, D) -> the same shape."""
        x = x + self.self_attn(self.norm_mha(x), where, mask)
        return x + self.feed_forward(self.norm_ff(x))


class Embed(nn.Module):
    """A linear layer and a norm, scaled by sqrt(D) as the published positions have it."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(inputs, dim), nn.LayerNorm(dim))
        self.scale = math.sqrt(dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, D)."""
        return self.out(x) * self.scale


def run_layers(layers: nn.ModuleList, x: Tensor, chunk: int) -> Tensor:
    """x (B, T, D) through layers that share positions and mask."""
    where, mask = positions(x.shape[1], x.shape[2], x.device), chunk_mask(x.shape[1], chunk, x.device)
    for layer in layers:
        x = layer(x, where, mask)
    return x


class Encoder(nn.Module):
    """Embedded tokens (B, N, D) -> (B, N, D): version 1's."""

    def __init__(self, dim: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embed = Embed(dim, dim)
        self.encoders = nn.ModuleList(Layer(dim, heads, hidden) for _ in range(layers))
        self.after_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, chunk: int) -> Tensor:
        """x (B, N, D) -> the same shape."""
        return self.after_norm(run_layers(self.encoders, self.embed(x), chunk))


class LookAhead(nn.Module):
    """Two convolutions beside their input, the first of which sees `ahead` places more."""

    def __init__(self, dim: int, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.conv1 = nn.Conv1d(dim, dim, ahead + 1)
        self.conv2 = nn.Conv1d(dim, dim, 3)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """x (B, T, D) -> the same shape; context (B, ahead, D) follows it, zeros where there is none."""
        y = F.pad(x, (0, 0, 0, self.ahead)) if context is None else torch.cat([x, context], 1)
        y = F.leaky_relu(self.conv1(y.transpose(1, 2)))
        return x + self.conv2(F.pad(y, (2, 0))).transpose(1, 2)


class Upsample(nn.Module):
    """Each place twice, then a convolution over it and the four before."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, 2 N, D)."""
        return self.conv(F.pad(x.repeat_interleave(2, 1).transpose(1, 2), (4, 0))).transpose(1, 2)


class UpsampleEncoder(nn.Module):
    """Embedded tokens (B, N, D) -> (B, 2 N, D): version 2's, which looks `ahead` tokens ahead."""

    def __init__(self, dim: int, heads: int, hidden: int, layers: int, upper: int, ahead: int) -> None:
        super().__init__()
        self.embed = Embed(dim, dim)
        self.pre_lookahead_layer = LookAhead(dim, ahead)
        self.encoders = nn.ModuleList(Layer(dim, heads, hidden) for _ in range(layers))
        self.up_layer = Upsample(dim)
        self.up_embed = Embed(dim, dim)
        self.up_encoders = nn.ModuleList(Layer(dim, heads, hidden) for _ in range(upper))
        self.after_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, chunk: int, context: Tensor | None = None) -> Tensor:
        """context (B, ahead, D): the tokens that follow, where the clip goes on."""
        x = self.pre_lookahead_layer(self.embed(x), None if context is None else self.embed(context))
        x = self.up_embed(self.up_layer(run_layers(self.encoders, x, chunk)))
        return self.after_norm(run_layers(self.up_encoders, x, 2 * chunk))
