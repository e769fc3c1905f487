"""w2v-BERT 2.0 as codecs use it: sound to the hidden states of one of its layers.

Barrault et al. 2023, "Seamless: Multilingual Expressive and Streaming Speech Translation", arXiv:2312.05187; published as
facebook/w2v-bert-2.0, with the network in `transformers`, whose parameter names these are. Conformer layers (Gulati et al.
2020, arXiv:2005.08100) with clipped relative positions in attention (Shaw et al. 2018, arXiv:1803.02155), over log-mel features
in Kaldi's manner, normalised over the clip. Attention goes by blocks of queries, so that memory grows with the length and not
with its square.

Letters: B batch, T samples, N frames (50 Hz), D channels, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import Conv
from ..core.errors import ModelError

__all__ = ["DEFAULTS", "FBANK_SHIFT", "RATE", "STACKED", "Features", "W2vBert"]

# What shapes the network, and the published sizes. Codecs take the layers up to one of the 24.
DEFAULTS: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
    "conv_depthwise_kernel_size": 31,
    "layer_norm_eps": 1e-5,
}
RATE = 16000  # Hz
FBANK_FRAME, FBANK_SHIFT = 400, 160  # samples
BANDS, STACKED = 80, 2  # mel bands, and frames of them that make one of the network
FFT = 512
FLOOR = 2.0**-23  # of a band's energy, of sound between -32768 and 32767
QUERIES = 256  # positions whose attention is computed at once


def mel(hertz: Tensor) -> Tensor:
    """Hz to Kaldi's mel."""
    return 1127.0 * (1.0 + hertz / 700.0).log()


def mel_filters() -> Tensor:
    """Triangles on the mel axis between 20 Hz and 8 kHz: (FFT / 2 + 1, BANDS)."""
    double = torch.float64
    low, high = mel(torch.tensor([20.0, RATE / 2], dtype=double, device="cpu"))
    corners = torch.linspace(float(low), float(high), BANDS + 2, dtype=double, device="cpu")
    bins = mel(torch.arange(FFT // 2 + 1, dtype=double, device="cpu") * RATE / FFT)[:, None]
    rise = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return torch.minimum(rise, fall).clamp(min=0)


class Features(nn.Module):
    """Log-mel features, normalised over the clip: in double precision, so that only what others round differs."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(FBANK_FRAME, periodic=False, dtype=torch.float64, device="cpu")
        self.register_buffer("window", hann.pow(0.85), persistent=False)  # Povey's
        self.register_buffer("filters", mel_filters(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """wav float32 (B, T) -> (B, N, 160), N = floor(((T - 400) / 160 + 1) / 2); T at least 560."""
        frames = wav.double().unfold(1, FBANK_FRAME, FBANK_SHIFT) * 2**15
        frames = frames[:, : frames.shape[1] // STACKED * STACKED]
        frames = frames - frames.mean(2, keepdim=True)
        frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], 2)
        power = torch.fft.rfft(frames * self.window, FFT).abs().square()
        bands = (power @ self.filters).clamp(min=FLOOR).log()
        bands = (bands - bands.mean(1, keepdim=True)) / (bands.var(1, keepdim=True) + 1e-7).sqrt()
        return bands.reshape(len(wav), -1, BANDS * STACKED).float()


class FeedForward(nn.Module):
    """Two matrices with Swish between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(dim, hidden)
        self.output_dense = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        return self.output_dense(F.silu(self.intermediate_dense(x), inplace=True))


class Attention(nn.Module):
    """Self-attention over the whole clip; each query also meets an embedding of how far away a key is, clipped."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.left, self.right = config["left_max_position_embeddings"], config["right_max_position_embeddings"]
        for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
            self.add_module(name, nn.Linear(dim, dim))
        self.distance_embedding = nn.Embedding(self.left + self.right + 1, dim // self.heads)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        q, k, v = (self._heads(name, x) for name in ("linear_q", "linear_k", "linear_v"))
        scores = q @ self.distance_embedding.weight.t().to(q.dtype) * q.shape[-1] ** -0.5  # (B, H, N, distances)
        places = torch.arange(x.shape[1], device=x.device)
        out = []
        for queries, part, rows in zip(q.split(QUERIES, 2), scores.split(QUERIES, 2), places.split(QUERIES), strict=True):
            distance = (places - rows[:, None]).clamp(-self.left, self.right) + self.left
            bias = part.gather(3, distance.expand(*part.shape[:2], -1, -1))
            out.append(F.scaled_dot_product_attention(queries, k, v, attn_mask=bias))
        return cast(nn.Module, self.linear_out)(torch.cat(out, 2).transpose(1, 2).flatten(2))

    def _heads(self, name: str, x: Tensor) -> Tensor:
        """x (B, N, D) through one matrix, as (B, H, N, D / H)."""
        return self.get_submodule(name)(x).unflatten(2, (self.heads, -1)).transpose(1, 2)


class Convolution(nn.Module):
    """Gated, then a causal convolution of each channel alone."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, self.width, eps = config["hidden_size"], config["conv_depthwise_kernel_size"], config["layer_norm_eps"]
        self.layer_norm = nn.LayerNorm(dim, eps=eps)
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, 1, bias=False)
        self.depthwise_conv = Conv(dim, dim, self.width, groups=dim, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(dim, eps=eps)
        self.pointwise_conv2 = nn.Conv1d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = F.glu(F.linear(self.layer_norm(x), self.pointwise_conv1.weight[:, :, 0]), dim=2)
        x = self.depthwise_conv(F.pad(x, (0, 0, self.width - 1, 0)))
        x = F.silu(self.depthwise_layer_norm(x), inplace=True)
        return F.linear(x, self.pointwise_conv2.weight[:, :, 0])


class Layer(nn.Module):
    """Half a feed-forward part, attention, convolution, half a feed-forward part."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, hidden, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.ffn1_layer_norm = nn.LayerNorm(dim, eps=eps)
        self.ffn1 = FeedForward(dim, hidden)
        self.self_attn_layer_norm = nn.LayerNorm(dim, eps=eps)
        self.self_attn = Attention(config)
        self.conv_module = Convolution(config)
        self.ffn2_layer_norm = nn.LayerNorm(dim, eps=eps)
        self.ffn2 = FeedForward(dim, hidden)
        self.final_layer_norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        x = x + self.conv_module(x)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        return self.final_layer_norm(x)


class Projection(nn.Module):
    """Features to the network's width."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(BANDS * STACKED, eps=eps)
        self.projection = nn.Linear(BANDS * STACKED, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, 160) -> (B, N, D)."""
        return self.projection(self.layer_norm(x))


class W2vBert(nn.Module):
    """The first `num_hidden_layers` layers; `fold` (of `core/convs.py`) before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if config["hidden_size"] % config["num_attention_heads"] or not config["conv_depthwise_kernel_size"] % 2:
            raise ModelError("w2v-BERT wants a hidden_size that its heads divide, and an odd conv_depthwise_kernel_size")
        self.feature_projection = Projection(config["hidden_size"], config["layer_norm_eps"])
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))})

    def forward(self, features: Tensor) -> Tensor:
        """features (B, N, 160) -> the last layer's hidden states (B, N, D)."""
        x = self.feature_projection(features)
        for layer in cast(nn.ModuleList, self.encoder["layers"]):
            x = layer(x)
        return x
