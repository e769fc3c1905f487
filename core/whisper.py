"""What Whisper's encoder is made of (Radford et al. 2022, arXiv:2212.04356), for the tokenizers that build on it.

Parameters have the names of `transformers`. Where its spectrogram comes from, see whisper_mel.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["STRIDE", "Attend", "Attention", "Layer", "sinusoids"]

STRIDE = 2  # of the second convolution: frames of the spectrogram to one of the encoder

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys and values, (B, heads, N, d) each -> (B, heads, N, d)


def sinusoids(length: int, channels: int) -> Tensor:
    """Positions (length, channels): sines, then cosines, of periods from 2 pi to 10000 times that."""
    steps = torch.log(torch.tensor(10000.0)) / (channels // 2 - 1)
    angles = torch.arange(length)[:, None] * torch.exp(-steps * torch.arange(channels // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


class Attention(nn.Module):
    """Self-attention; what may see what is up to the `attend` it is called with, and everything by default."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, attend: Attend = F.scaled_dot_product_attention) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x)))
        return self.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward network, each after a norm and with a shortcut."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, attend: Attend = F.scaled_dot_product_attention) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), attend)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
