"""The encoder of the streaming Paraformer: 50 layers of self-attention with memory (SAN-M), run in chunks of 240 ms.

Gao et al. 2022, "Paraformer", arXiv:2206.08317; chunks as in Zhang et al. 2020, "Streaming Chunk-Aware Multihead Attention",
arXiv:2006.01712; published in FunASR (github.com/modelscope/FunASR), whose parameter names these are.

A chunk is 4 frames of 60 ms. It is run in a window that holds the 5 frames before it as well, through all layers anew, and its
queries also see, in every layer, the keys and values of 16 frames before the window: those that each of the last 4 chunks had
for the first 4 frames of its own window. Nothing ahead of the chunk is seen.

FunASR runs one chunk after the other. But in a layer the chunks depend on each other only by these keys and values, which the
layer has from its own input, so that here all chunks of a clip go through a layer together: the same numbers, and a stream
gives what the whole clip gives.

Letters: B batch, N frames, C chunks, W frames of a window, I channels of the features, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ..core.packed import Linear

__all__ = ["CHUNK", "DEFAULTS", "ChunkEncoder", "Layer", "State", "complete", "positions"]

Past = tuple[Tensor, Tensor]  # keys and values
CHUNK, CONTEXT, LOOK_BACK = 4, 5, 4  # frames of a chunk, frames before it in its window, chunks whose keys are kept
WINDOW, KEPT = CONTEXT + CHUNK, LOOK_BACK * CHUNK
EPS = 1e-12
DEFAULTS: dict[str, Any] = {
    "input_size": 560,
    "output_size": 512,
    "attention_heads": 4,
    "linear_units": 2048,
    "num_blocks": 50,
    "kernel_size": 11,
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of an encoder."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"Paraformer's encoder has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, value in full.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            raise ModelError(f"Paraformer's encoder got {key} {value!r}; expected a whole number, at least 1")
    if full["output_size"] % full["attention_heads"]:
        raise ModelError(
            f"Paraformer's encoder got output_size {full['output_size']} for {full['attention_heads']} heads; expected a "
            "multiple of them"
        )
    if full["input_size"] % 2 or full["input_size"] < 4 or full["kernel_size"] % 2 == 0:
        raise ModelError(
            f"Paraformer's encoder got input_size {full['input_size']}, kernel_size {full['kernel_size']}; expected an even "
            "number of channels, at least 4, and an odd kernel"
        )
    return full


def positions(first: int, frames: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sines, then cosines, of periods from 2 pi to 10000 times that: (frames, channels); the clip's first frame is 1."""
    step = torch.log(torch.tensor(10000.0, device=device)) / (channels / 2 - 1)
    rates = torch.exp(torch.arange(channels // 2, device=device) * -step)
    angles = torch.arange(first + 1, first + frames + 1, device=device).float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class Attention(nn.Module):
    """Self-attention, and a memory: a convolution of the values, each channel for itself, which is added to what it gives."""

    def __init__(self, inputs: int, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q_k_v = Linear(inputs, 3 * dim)
        self.linear_out = Linear(dim, dim)
        self.fsmn_block = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (..., I) -> queries, keys and values (..., D)."""
        q, k, v = self.linear_q_k_v(x).chunk(3, -1)
        return q, k, v

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, add: Tensor) -> Tensor:
        """q (B, W, D), k and v (B, M, D), seen bool, of a shape that goes with (B, heads, W, M) -> `add` + (B, W, D)."""
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return self.linear_out(F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2).flatten(2), add=add)

    def memory(self, v: Tensor, there: Tensor | None) -> Tensor:
        """v (B, W, D), there (B, W, 1): which of them are frames -> (B, W, D)."""
        v = v if there is None else v * there
        return self.fsmn_block(v.transpose(1, 2)).transpose(1, 2) + v


class FeedForward(nn.Module):
    """Two layers with a ReLU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = Linear(dim, hidden)
        self.w_2 = Linear(hidden, dim)

    def forward(self, x: Tensor, add: Tensor) -> Tensor:
        """x (..., D) -> `add` + (..., D)."""
        return self.w_2(F.relu(self.w_1(x)), add=add)


class Layer(nn.Module):
    """Attention and a feed-forward network, each after a norm and with a shortcut (the first layer's attention has none)."""

    def __init__(self, inputs: int, config: Mapping[str, Any], eps: float = EPS) -> None:
        super().__init__()
        dim = config["output_size"]
        self.self_attn = Attention(inputs, dim, config["attention_heads"], config["kernel_size"])
        self.feed_forward = FeedForward(dim, config["linear_units"])
        self.norm1 = nn.LayerNorm(inputs, eps)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.shortcut = inputs == dim

    def forward(self, x: Tensor, there: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """Whole clips, every frame of which sees all others.

        Args:
            x: (B, N, I).
            there: float (B, N, 1), where clips differ in length: which places are frames.
            seen: the same as bool (B, 1, 1, N).

        Returns:
            (B, N, D).
        """
        q, k, v = self.self_attn.project(self.norm1(x))
        y = self.self_attn(q, k, v, seen, add=self._before(x, self.self_attn.memory(v, there)))
        return self.feed_forward(self.norm2(y), add=y)

    def chunks(self, x: Tensor, past: Past, there: Tensor, seen: Tensor) -> tuple[Tensor, Past]:
        """All chunks at once.

        Args:
            x: (B, C, W, I).
            past: keys and values (B, 16, D) of the frames before the first window.
            there: (B C, W, 1), which of a window's places are frames.
            seen: bool (B C, 1, 1, 16 + W).

        Returns:
            (B, C, W, D), and `past` of the chunk that follows.
        """
        q, k, v = self.self_attn.project(self.norm1(x))
        (k_all, k_past), (v_all, v_past) = (_with_past(y, before) for y, before in zip((k, v), past, strict=True))
        q, v, k_all, v_all = (y.flatten(0, 1) for y in (q, v, k_all, v_all))
        y = self.self_attn(q, k_all, v_all, seen, add=self._before(x.flatten(0, 1), self.self_attn.memory(v, there)))
        return self.feed_forward(self.norm2(y), add=y).unflatten(0, x.shape[:2]), (k_past, v_past)

    def _before(self, x: Tensor, memory: Tensor) -> Tensor:
        """What attention is added to."""
        return x + memory if self.shortcut else memory


def _with_past(x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, C, W, D), past (B, 16, D) -> what each chunk sees (B, C, 16 + W, D), and `past` of the next."""
    run = torch.cat([past, x[:, :, :CHUNK].flatten(1, 2)], 1)
    before = run.unfold(1, KEPT, CHUNK)[:, : x.shape[1]].transpose(2, 3)
    return torch.cat([before, x], 2), run[:, -KEPT:]


@dataclass
class State:
    """Where a stream is: chunks done, the 5 frames before the next (B, 5, I), and each layer's keys and values (B, 16, D)."""

    done: int
    context: Tensor
    past: list[Past]


class ChunkEncoder(nn.Module):
    """Features to vectors, in chunks."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.inputs, self.dim = config["input_size"], config["output_size"]
        self.encoders0 = nn.ModuleList([Layer(self.inputs, config)])
        self.encoders = nn.ModuleList([Layer(self.dim, config) for _ in range(config["num_blocks"] - 1)])
        self.after_norm = nn.LayerNorm(self.dim, EPS)

    def start(self, batch: int, device: torch.device) -> State:
        """Of a clip. Before it there are 5 frames of zeros, which are seen; and no keys, which are not."""
        past = torch.zeros(batch, KEPT, self.dim, device=device)
        layers = 1 + len(self.encoders)
        return State(0, torch.zeros(batch, CONTEXT, self.inputs, device=device), [(past, past)] * layers)

    def forward(self, features: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """features (B, N, I), frames of each clip (B,) -> vectors (B, N, D), and the state after them; what lies beyond a
        clip's end is of no meaning.

        A clip that goes on has a whole number of chunks: after a shorter one the state leads nowhere.
        """
        state = self.start(len(features), features.device) if state is None else state
        frames = features.shape[1]
        chunks = -(-frames // CHUNK)
        features = features * self.dim**0.5 + positions(CHUNK * state.done, frames, self.inputs, features.device)
        run = torch.cat([state.context, features], 1)
        x = F.pad(run, (0, 0, 0, chunks * CHUNK - frames)).unfold(1, WINDOW, CHUNK).transpose(2, 3)
        there, seen = _masks(state.done, chunks, lengths)
        past = []
        for layer, before in zip([*self.encoders0, *self.encoders], state.past, strict=True):
            x, after = layer.chunks(x, before, there, seen)
            past.append(after)
        out = self.after_norm(x[:, :, CONTEXT:].flatten(1, 2)[:, :frames])
        return out, State(state.done + chunks, run[:, -CONTEXT:], past)


def _masks(done: int, chunks: int, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Which places of each window are frames, float (B C, W, 1); and which of them and of the 16 keys before it are, bool
    (B C, 1, 1, 16 + W)."""
    number = torch.arange(chunks, device=lengths.device)[:, None]
    place = CHUNK * number + torch.arange(WINDOW, device=lengths.device)
    inside = (place < CONTEXT + lengths[:, None, None]).flatten(0, 1)
    before = torch.arange(KEPT, device=lengths.device) >= KEPT - CHUNK * (done + number)
    return inside[..., None].float(), torch.cat([before.repeat(len(lengths), 1), inside], 1)[:, None, None]
