"""GLM-4-Voice's tokenizer once more, as it is specified and as slowly as that reads: one frame, one head, one code at a time.

In NumPy and in double precision, sharing nothing with the implementation under test but the names of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def tokens(state: Mapping[str, Array], config: Mapping[str, Any], wav: Array, running: bool = False) -> list[int]:
    """Codes of a clip (T,); `running`: the floor of the spectrogram follows the loudest block so far."""
    segment = config["max_source_positions"] * 2 * config["hop_length"]
    codes: list[int] = []
    for start in range(0, len(wav), segment):
        codes += segment_tokens(state, config, wav[start : start + segment].astype(np.float64), running)
    return codes


def segment_tokens(state: Mapping[str, Array], config: Mapping[str, Any], wav: Array, running: bool) -> list[int]:
    hop, pool, block = config["hop_length"], config["pooling_kernel_size"], config["quantize_causal_block_size"]
    padded = math.ceil(len(wav) / (2 * hop * pool)) * 2 * hop * pool
    mel = whisper_features(np.concatenate([wav, np.zeros(padded - len(wav))]), config, running)
    x = gelu(causal_conv(mel, state["conv1.weight"], state["conv1.bias"], 1))
    x = gelu(causal_conv(x, state["conv2.weight"], state["conv2.bias"], 2))
    x = x + state["embed_positions.weight"][: len(x)]
    sounding = [i for i in range(len(x)) if i * 2 * hop < len(wav)]
    seen = [[j for j in sounding if j <= i or j // block == i // block] for i in range(len(x))]
    for n in range(config["quantize_position"]):
        layer = {key.removeprefix(f"layers.{n}."): value for key, value in state.items() if key.startswith(f"layers.{n}.")}
        x = encoder_layer(x, layer, config["encoder_attention_heads"], seen)
    pooled = [x[i : i + pool].mean(0) for i in range(0, len(x), pool)]
    return [nearest(vector, state["codebook.weight"]) for vector in pooled]


# ---------------------------------------------------------------- spectrogram
def whisper_features(wav: Array, config: Mapping[str, Any], running: bool) -> Array:
    """(T,) -> (T / hop, mels)."""
    n_fft, hop = config["n_fft"], config["hop_length"]
    mirrored = np.concatenate([wav[1 : n_fft // 2 + 1][::-1], wav, wav[-n_fft // 2 - 1 : -1][::-1]])
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / n_fft) for i in range(n_fft)])
    turns = 2 * math.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft
    cosines, sines = np.cos(turns), np.sin(turns)
    bands = slaney_bands(config["sampling_rate"], n_fft, config["num_mel_bins"])
    logs = []
    for frame in range(len(wav) // hop):
        piece = window * mirrored[frame * hop : frame * hop + n_fft]
        power = (cosines @ piece) ** 2 + (sines @ piece) ** 2
        logs.append(np.log10(np.maximum(bands @ power, 1e-10)))
    size = 2 * config["quantize_causal_block_size"] if running else len(logs)
    features = []
    for frame, log in enumerate(logs):
        loudest = max(other.max() for other in logs[: (frame // size + 1) * size])
        features.append((np.maximum(log, loudest - 8.0) + 4.0) / 4.0)
    return np.array(features)


def slaney_bands(rate: int, n_fft: int, count: int) -> Array:
    """(count, n_fft / 2 + 1): triangles on Slaney's scale, each of the area one."""

    def mel(hz: float) -> float:
        return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    def hertz(m: float) -> float:
        return 200 * m / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27)

    corners = [hertz(mel(rate / 2) * i / (count + 1)) for i in range(count + 2)]
    bands = np.zeros((count, n_fft // 2 + 1))
    for i in range(count):
        low, middle, high = corners[i : i + 3]
        for k in range(n_fft // 2 + 1):
            hz = k * rate / n_fft
            height = min((hz - low) / (middle - low), (high - hz) / (high - middle))
            bands[i, k] = max(0.0, height) * 2 / (high - low)
    return bands


# ---------------------------------------------------------------- encoder
def causal_conv(x: Array, weight: Array, bias: Array, stride: int) -> Array:
    """x (N, C), weight (D, C, 3) -> (N / stride, D)."""
    out = []
    for i in range(0, len(x), stride):
        total = bias.astype(np.float64)
        for k in range(3):
            if i + k - 2 >= 0:
                total = total + weight[:, :, k].astype(np.float64) @ x[i + k - 2]
        out.append(total)
    return np.array(out)


def encoder_layer(x: Array, layer: Mapping[str, Array], heads: int, seen: list[list[int]]) -> Array:
    y = norm(x, layer["self_attn_layer_norm.weight"], layer["self_attn_layer_norm.bias"])
    q = linear(y, layer["self_attn.q_proj.weight"]) + layer["self_attn.q_proj.bias"]
    k = linear(y, layer["self_attn.k_proj.weight"])
    v = linear(y, layer["self_attn.v_proj.weight"]) + layer["self_attn.v_proj.bias"]
    width = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for i, others in enumerate(seen):
        for h in range(0, x.shape[1], width):
            scores = k[others, h : h + width] @ (q[i, h : h + width] * width**-0.5)
            shares = np.exp(scores - scores.max())
            mixed[i, h : h + width] = shares @ v[others, h : h + width] / shares.sum()
    x = x + linear(mixed, layer["self_attn.out_proj.weight"]) + layer["self_attn.out_proj.bias"]
    y = norm(x, layer["final_layer_norm.weight"], layer["final_layer_norm.bias"])
    y = gelu(linear(y, layer["fc1.weight"]) + layer["fc1.bias"])
    return x + linear(y, layer["fc2.weight"]) + layer["fc2.bias"]


def linear(x: Array, weight: Array) -> Array:
    return x @ weight.astype(np.float64).T


def norm(x: Array, weight: Array, bias: Array) -> Array:
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * weight + bias


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def nearest(vector: Array, codebook: Array) -> int:
    """Index of the codeword at the smallest Euclidean distance, the first of equals."""
    distances = [float(((row - vector) ** 2).sum()) for row in codebook]
    return distances.index(min(distances))
