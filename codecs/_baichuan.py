"""The network of Baichuan-Audio's tokenizer: Whisper's encoder, a gated convolution over four frames each, residual codebooks.

Li et al. 2025, "Baichuan-Audio: A Unified Framework for End-to-End Speech Interaction", arXiv:2502.17239; its code comes with
the weights, at huggingface.co/baichuan-inc/Baichuan-Audio-Base. Parameters have the published names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ..core.whisper import STRIDE, Layer, sinusoids
from ..core.whisper_mel import log_mel, normalise

__all__ = ["DEFAULTS", "Network", "complete", "segment_samples", "token_samples"]

# `audio_config` of the published config.json, as far as it shapes the encoder, and `codebook_sizes` of its `vq_config`.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 16000,
    "n_fft": 400,
    "hop_length": 160,
    "num_mel_bins": 128,
    "max_audio_seconds": 30,
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "avg_pooler": 4,
    "codebook_sizes": [8192, 4096, 2048, 1024, 1024, 1024, 1024, 1024],
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a tokenizer."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"Baichuan's tokenizer has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key in DEFAULTS:
        numbers = full[key] if key == "codebook_sizes" else [full[key]]
        if not isinstance(numbers, list) or not numbers or not all(isinstance(n, int) and n >= 1 for n in numbers):
            raise ModelError(f"Baichuan's tokenizer got {key} {full[key]!r}; expected whole numbers, at least 1")
    width, heads = full["d_model"], full["encoder_attention_heads"]
    if width % heads or width % 2 or width < 4:
        raise ModelError(f"Baichuan's tokenizer got d_model {width} for {heads} heads; expected an even multiple of the heads")
    if segment_samples(full) % token_samples(full):
        raise ModelError(f"Baichuan's tokenizer got max_audio_seconds {full['max_audio_seconds']}; expected whole tokens")
    return full


def token_samples(config: Mapping[str, Any]) -> int:
    """Samples of a token."""
    return int(config["hop_length"] * STRIDE * config["avg_pooler"])


def segment_samples(config: Mapping[str, Any]) -> int:
    """Samples that the encoder sees at most."""
    return int(config["max_audio_seconds"] * config["sampling_rate"])


class AudioModel(nn.Module):
    """Whisper's encoder."""

    positional_embedding: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim = config["d_model"]
        self.conv1 = nn.Conv1d(config["num_mel_bins"], dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, STRIDE, padding=1)
        positions = segment_samples(config) // config["hop_length"] // STRIDE
        self.register_buffer("positional_embedding", sinusoids(positions, dim))
        sizes = dim, config["encoder_attention_heads"], config["encoder_ffn_dim"]
        self.layers = nn.ModuleList([Layer(*sizes) for _ in range(config["encoder_layers"])])
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, mel: Tensor) -> Tensor:
        """mel (B, mels, L) -> (B, ceil(L / 2), D)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Codebook(nn.Module):
    """V codewords of D channels; `fold` before use. The search repeats the published arithmetic: near ties fall alike."""

    energy: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(size, dim))

    def fold(self) -> None:
        """Square the codewords once: at real size they are a hundred million numbers."""
        self.register_buffer("energy", self.embed.detach().pow(2).sum(1), persistent=False)

    def search(self, x: Tensor) -> Tensor:
        """x (M, D) -> code of the nearest codeword (M,)."""
        distance = (x.pow(2).sum(1, keepdim=True) + self.energy).sub_(x @ self.embed.T, alpha=2)
        return distance.clamp_(min=0).sqrt_().argmin(1)


class Bridge(nn.Module):
    """Four frames each to one vector, and its codes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, pool = config["d_model"], config["avg_pooler"]
        self.pool, wide = pool, dim * pool
        self.gate_proj = nn.Conv1d(dim, wide, pool, pool, bias=False)
        self.up_proj = nn.Conv1d(dim, wide, pool, pool, bias=False)
        self.down_proj = nn.Linear(wide, wide, bias=False)
        self.layer_norm = nn.LayerNorm(wide)
        books = [nn.ModuleDict({"codebook": Codebook(size, wide)}) for size in config["codebook_sizes"]]
        self.vq_list = nn.ModuleList(books)

    @property
    def books(self) -> list[Codebook]:
        """K codebooks."""
        return [layer["codebook"] for layer in self.vq_list]  # type: ignore[index]

    def forward(self, x: Tensor, tokens: int, streams: int) -> list[Tensor]:
        """x (B, N, D) -> the first `streams` streams of `tokens` codes, each (B, tokens)."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % self.pool))[:, : tokens * self.pool]
        gate, up = (proj(x.transpose(1, 2)).transpose(1, 2) for proj in (self.gate_proj, self.up_proj))
        left = self.layer_norm(self.down_proj(F.silu(gate) * up) + x.unflatten(1, (tokens, self.pool)).flatten(2))
        with torch.autocast(x.device.type, enabled=False):
            left = left.float().flatten(0, 1)
            codes = []
            for book in self.books[:streams]:
                codes.append(book.search(left))
                left = left - F.embedding(codes[-1], book.embed)
        return [code.view(len(x), tokens) for code in codes]


class Network(nn.Module):
    """Sound of at most a segment to codes; `fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.audio_model = AudioModel(config)
        self.audio_bridge_model = Bridge(config)
        self.hop, self.n_fft, self.mels = config["hop_length"], config["n_fft"], config["num_mel_bins"]
        self.rate, self.longest, self.token = config["sampling_rate"], segment_samples(config), token_samples(config)

    def fold(self) -> None:
        """To be called when the parameters have changed."""
        for book in self.audio_bridge_model.books:
            book.fold()

    def mel(self, wav: Tensor) -> Tensor:
        """wav (B, T), T <= a segment -> the spectrogram (B, mels, L), L = T // hop + 1 but for a full segment.

        As it is of the segment that zeros fill up: the largest value may be of a frame that lies beyond L and reaches back.
        """
        samples = wav.shape[1]
        wide = F.pad(wav, (0, min(self.n_fft, self.longest - samples)))
        log = log_mel(wide, self.mels, self.rate, self.n_fft, self.hop)[:, :, : self.longest // self.hop]
        return normalise(log)[:, :, : samples // self.hop + 1]

    def forward(self, wav: Tensor, streams: int) -> list[Tensor]:
        """wav (B, T), T <= a segment -> the first `streams` streams, each (B, ceil(T / token))."""
        with torch.autocast(wav.device.type, enabled=False):
            mel = self.mel(wav.float())
        return self.audio_bridge_model(self.audio_model(mel), -(-wav.shape[1] // self.token), streams)
