"""The network of GLM-4-Voice's tokenizer: Whisper's encoder up to its middle, made causal in blocks, and one codebook.

Zeng et al. 2024, "GLM-4-Voice: Towards Intelligent and Human-Like End-to-End Spoken Chatbot", arXiv:2412.02612, and the
configuration published with the weights. Two convolutions that look back only; layers in which a frame attends to all frames
before it and to those of its own block of 4 s; the mean of four frames each; the nearest codeword. Parameters have the
published names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ..core.whisper import STRIDE, Layer, sinusoids
from ..core.whisper_mel import log_mel, normalise

__all__ = ["DEFAULTS", "Network", "Past", "complete", "segment_samples", "token_samples"]

# Of the published config.json what shapes the encoder, and of preprocessor_config.json the spectrogram.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 16000,
    "n_fft": 400,
    "hop_length": 160,
    "num_mel_bins": 128,
    "d_model": 1280,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "max_source_positions": 1500,
    "quantize_position": 16,
    "quantize_causal_block_size": 200,
    "pooling_kernel_size": 4,
    "quantize_vocab_size": 16384,
}
REACH = 2  # frames before its own that each convolution sees
BEHIND = 2 * REACH  # frames of the spectrogram before a block that its first frame sees


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a tokenizer."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"GLM-4-Voice's tokenizer has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, value in full.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(f"GLM-4-Voice's tokenizer got {key} {value!r}; expected a whole number, at least 1")
    width, heads, pool = full["d_model"], full["encoder_attention_heads"], full["pooling_kernel_size"]
    if width % heads or width % 2 or width < 4:
        raise ModelError(f"GLM-4-Voice's tokenizer got d_model {width} for {heads} heads; expected an even multiple of these")
    for key in ("max_source_positions", "quantize_causal_block_size"):
        if full[key] % pool:
            raise ModelError(f"GLM-4-Voice's tokenizer got {key} {full[key]}; expected whole tokens of {pool}")
    if full["n_fft"] // 2 >= token_samples(full) or pool * STRIDE < BEHIND:
        raise ModelError(f"GLM-4-Voice's tokenizer got tokens of {token_samples(full)} samples; too short for its windows")
    return full


def token_samples(config: Mapping[str, Any]) -> int:
    """Samples of a token."""
    return int(config["hop_length"] * STRIDE * config["pooling_kernel_size"])


def segment_samples(config: Mapping[str, Any]) -> int:
    """Samples for which there are positions."""
    return int(config["hop_length"] * STRIDE * config["max_source_positions"])


class Past:
    """Of a clip given block by block, what later blocks see of the earlier ones."""

    def __init__(self) -> None:
        self.frames = 0  # of the encoder
        self.mel: Tensor | None = None  # (1, mels, BEHIND), the last of the spectrogram
        self.layers: list[tuple[Tensor, Tensor]] = []  # keys and values of each layer, (1, heads, frames, d)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all frames, those of a new block included."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
        else:
            before = self.layers[layer]
            self.layers[layer] = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        return self.layers[layer]


class Network(nn.Module):
    """Sound of at most a segment to codes; `fold` before use."""

    energy: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, positions = config["d_model"], config["max_source_positions"]
        self.pool, self.block = config["pooling_kernel_size"], config["quantize_causal_block_size"]
        self.hop, self.n_fft, self.mels = config["hop_length"], config["n_fft"], config["num_mel_bins"]
        self.rate, self.token = config["sampling_rate"], token_samples(config)
        self.conv1 = nn.Conv1d(self.mels, dim, REACH + 1)
        self.conv2 = nn.Conv1d(dim, dim, REACH + 1, STRIDE)
        self.embed_positions = nn.Embedding(positions, dim, _weight=sinusoids(positions, dim))
        sizes = dim, config["encoder_attention_heads"], config["encoder_ffn_dim"]
        self.layers = nn.ModuleList([Layer(*sizes) for _ in range(config["quantize_position"])])
        self.codebook = nn.Embedding(config["quantize_vocab_size"], dim)
        # Published beside the rest, for layers that followed the codes in training; no code depends on it.
        self.embed_positions2 = nn.Embedding(positions // self.pool, dim, _weight=sinusoids(positions // self.pool, dim))

    def fold(self) -> None:
        """To be called when the codebook has changed: its codewords are squared once."""
        self.register_buffer("energy", self.codebook.weight.detach().pow(2).sum(1), persistent=False)

    # ------------------------------------------------------------------ spectrogram
    def log_mel(self, wav: Tensor) -> Tensor:
        """wav (1, T) -> (1, mels, 1 + T // hop), not yet cut off below."""
        with torch.autocast(wav.device.type, enabled=False):
            return log_mel(wav.float(), self.mels, self.rate, self.n_fft, self.hop)

    def spectrogram(self, wav: Tensor, running: bool) -> Tensor:
        """A segment (T,) -> (1, mels, L), zeros completing its last token.

        Cut off below by the loudest place of the segment, or `running`: of each block and those before it.
        """
        log = self.log_mel(F.pad(wav, (0, -len(wav) % self.token))[None])[:, :, :-1]
        return normalise(log, self.loudest_so_far(log) if running else None)

    def loudest_so_far(self, log: Tensor) -> Tensor:
        """log (1, mels, L) -> the largest value up to the end of each frame's block (1, 1, L)."""
        size, frames = STRIDE * self.block, log.shape[2]
        peaks = F.pad(log.amax(1), (0, -frames % size), value=-torch.inf).unflatten(1, (-1, size)).amax(2)
        return peaks.cummax(1).values.repeat_interleave(size, 1)[:, None, :frames]

    # ------------------------------------------------------------------ encoder
    def forward(self, mel: Tensor, frames: Sequence[int], past: Past | None = None) -> Tensor:
        """mel (B, mels, L), L of whole tokens; of each clip, how many of the encoder's frames hold sound -> codes (B, L / 8).

        With `past` (B = 1), mel is the next block of a clip, the clip's last being as long as it is; `frames` counts from the
        clip's start. Codes after a clip's own tokens mean nothing.
        """
        first = past.frames if past else 0
        x = self.stem(mel, past)
        x = x + self.embed_positions.weight[first : first + x.shape[1]]
        for i, layer in enumerate(self.layers):
            x = layer(x, partial(self.attend, i, frames, past))
        if past:
            past.frames += x.shape[1]
        return self.search(F.avg_pool1d(x.transpose(1, 2), self.pool).transpose(1, 2))

    def stem(self, mel: Tensor, past: Past | None) -> Tensor:
        """mel (B, mels, L) -> (B, L / 2, D): each frame sees itself and two before, zeros before the start."""
        pad = (REACH, 0)
        if past is not None:
            pad = pad if past.mel is None else (0, 0)
            mel = mel if past.mel is None else torch.cat([past.mel, mel], 2)
            past.mel = mel[:, :, -BEHIND:]
        x = F.gelu(self.conv1(F.pad(mel, pad)))
        return F.gelu(self.conv2(F.pad(x, pad))).transpose(1, 2)

    def attend(self, layer: int, frames: Sequence[int], past: Past | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Of one layer: each frame sees all before its block's end that hold sound. Queries are of the last N frames."""
        if past is not None:
            k, v = past.extend(layer, k, v)
        first = k.shape[2] - q.shape[2]
        parts = []
        for start in range(first, k.shape[2], self.block):
            stop = min(start + self.block, max(frames))
            mask = None
            if min(frames) < stop:
                held = torch.tensor(frames, device=k.device)
                mask = (torch.arange(stop, device=k.device) < held[:, None])[:, None, None]
            queries = q[:, :, start - first : start - first + self.block]
            parts.append(F.scaled_dot_product_attention(queries, k[:, :, :stop], v[:, :, :stop], attn_mask=mask))
        return torch.cat(parts, 2)

    def search(self, x: Tensor) -> Tensor:
        """x (B, M, D) -> code of the nearest codeword (B, M), in the published arithmetic: near ties fall alike."""
        with torch.autocast(x.device.type, enabled=False):
            flat = x.float().flatten(0, 1)
            distance = torch.addmm(self.energy + flat.pow(2).sum(1, keepdim=True), flat, self.codebook.weight.T, alpha=-2.0)
            return distance.argmin(1).view(x.shape[:2])
