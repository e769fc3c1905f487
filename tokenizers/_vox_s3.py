"""The network of `vox-s3-16k`: log-mel front end, block-causal transformer, finite scalar quantisation.

Sound goes by blocks of `block` tokens. What a block's tokens depend on is bounded: the block itself, `ahead` samples after it,
and in every layer the `context` blocks before it; so any length is encoded in bounded memory, and a stream that keeps the keys
and values of those blocks computes the very numbers that encoding a whole clip does.

Letters: B batch, T samples, N tokens, P blocks, M mel frames of a block, D channels, H heads, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.slaney_mel import mel_filters

QUIETEST = -11.0  # log10 of mel power: sound whose loudest band is below is not turned up
SILENT = 1e-20  # mel power under which nothing is told apart
RANGE = 6.0  # decades of power, below the loudest band of the last blocks, that are seen


@dataclass(frozen=True)
class VoxS3Config:
    """Every size of the network; plain JSON values only."""

    sample_rate: int = 16000  # Hz
    hop: int = 160  # samples between mel frames; four make a token
    window: int = 400  # samples
    mels: int = 80
    ahead: int = 1280  # samples after a block that its tokens may depend on, whole hops
    block: int = 16  # tokens
    context: int = 4  # blocks that attention looks back on
    reference: int = 5  # blocks back whose loudest band sets the level, beside the block's own
    dim: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 1024  # of the MLPs
    kernel: int = 8  # tokens that the convolution of a layer looks back on, itself included
    levels: tuple[int, ...] = (3, 3, 3, 3, 3, 3)  # of the quantiser's dimensions: odd numbers

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.levels or any(level < 3 or level % 2 == 0 for level in self.levels):
            raise ModelError(f"levels {self.levels}: expected odd numbers from 3 on")
        if self.dim % (2 * self.heads) or self.ahead % self.hop:
            raise ModelError("dim is to be a multiple of twice the heads, and ahead of hop")
        if self.past < 0:
            raise ModelError(f"ahead={self.ahead} is more than the {(REACH - 4) * self.hop} samples that the front end reaches")

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return {**asdict(self), "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"the tokenizer's config has unknown keys: {', '.join(sorted(unknown))}")
        return cls(**data)

    @property
    def codes(self) -> int:
        """Size of the codebook."""
        return math.prod(self.levels)

    @property
    def past(self) -> int:
        """Mel frames before a block that its first token sees."""
        return REACH - 4 - self.ahead // self.hop

    @property
    def block_samples(self) -> int:
        """Samples of a block."""
        return 4 * self.hop * self.block

    @property
    def left(self) -> int:
        """Samples before a block that its tokens see through the front end."""
        return self.window - self.hop + self.past * self.hop


Kept = tuple[Tensor, Tensor, Tensor]  # keys, values and the convolution's tail of a layer
REACH = 13  # mel frames that a token sees through the two convolutions: (5 - 1) * 2 + 5


class FrontEnd(nn.Module):
    """Blocks of sound -> features of tokens. The level is relative to the loudest band of this and some earlier blocks."""

    basis: Tensor
    filters: Tensor

    def __init__(self, c: VoxS3Config) -> None:
        super().__init__()
        self.config = c
        self.size = 2 ** math.ceil(math.log2(c.window))
        self.register_buffer("basis", fourier_basis(c.window, self.size), persistent=False)
        bands = torch.from_numpy(mel_filters(c.sample_rate, self.size, c.mels, c.sample_rate / 2)).T.contiguous()
        self.register_buffer("filters", bands, persistent=False)
        self.first = nn.Conv1d(c.mels, c.dim, 5, stride=2)
        self.second = nn.Conv1d(c.dim, c.dim, 5, stride=2)
        self.out = nn.Linear(c.dim, c.dim)

    def log_mel(self, wav: Tensor, hop: int | None = None, filters: Tensor | None = None) -> Tensor:
        """wav (B, left + P block + ahead) -> log10 of mel power (B, P, M, mels); in training other hops and filters too."""
        c, hop = self.config, hop or self.config.hop
        frames = wav.unfold(1, c.window, hop)
        re, im = (frames @ self.basis).chunk(2, dim=-1)
        mel = torch.log10(((re * re + im * im) @ (self.filters if filters is None else filters)).clamp(min=SILENT))
        return mel.unfold(1, c.past + 4 * c.block + c.ahead // c.hop, 4 * c.block).transpose(2, 3)

    def relative(self, mel: Tensor, maxima: Tensor) -> tuple[Tensor, Tensor]:
        """mel (B, P, M, mels), maxima (B, reference) of the blocks before -> the same about [-1, 1], and the last maxima."""
        count = self.config.reference
        maxima = torch.cat([maxima, mel.amax((2, 3))], 1)
        level = maxima.unfold(1, count + 1, 1).amax(-1).clamp(min=QUIETEST)
        mel = (mel - level[..., None, None]).clamp(min=-RANGE) * (2 / RANGE) + 1
        return mel, maxima[:, maxima.shape[1] - count :]

    def forward(self, mel: Tensor) -> Tensor:
        """Relative log-mel (B, P, M, mels) -> (B, P block, D)."""
        x = F.gelu(self.first(mel.flatten(0, 1).transpose(1, 2)))
        x = F.gelu(self.second(x)).transpose(1, 2)
        return self.out(x).reshape(mel.shape[0], -1, x.shape[2])


def fourier_basis(window: int, size: int) -> Tensor:
    """(W, 2F), F = size/2+1: cosines, then sines, times a periodic Hann window; |X|^2 of a sound sums to its power."""
    time = torch.arange(window, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(time, torch.arange(size // 2 + 1, dtype=torch.float64)) / size
    hann = torch.hann_window(window, dtype=torch.float64)
    power = size * 0.375 * window  # the sum of the squared window
    return (torch.cat([angle.cos(), angle.sin()], 1) * (hann / math.sqrt(power))[:, None]).float()


@dataclass
class State:
    """What a stream keeps between blocks: maxima (B, reference), and for each layer keys, values and the convolution's tail."""

    maxima: Tensor
    layers: list[Kept]
    blocks: int = 0  # blocks kept in keys and values, at most `context`

    @classmethod
    def empty(cls, c: VoxS3Config, like: Tensor, layers: int | None = None) -> State:
        """Before the first block of B = len(like) clips."""
        count, size = like.shape[0], c.context * c.block

        def zeros(length: int) -> Tensor:
            return like.new_zeros(count, length, c.dim)

        kept = [(zeros(size), zeros(size), zeros(c.kernel - 1)) for _ in range(c.layers if layers is None else layers)]
        return cls(like.new_full((count, c.reference), -math.inf), kept)


class Attention(nn.Module):
    """Attention of the tokens of a block to themselves and the `context` blocks before, with rotary positions."""

    turn: Tensor

    def __init__(self, c: VoxS3Config) -> None:
        super().__init__()
        self.heads, self.block, self.context = c.heads, c.block, c.context
        self.query, self.key, self.value = nn.Linear(c.dim, c.dim), nn.Linear(c.dim, c.dim, bias=False), nn.Linear(c.dim, c.dim)
        self.out = nn.Linear(c.dim, c.dim)
        half = c.dim // c.heads // 2
        angle = torch.outer(torch.arange((c.context + 1) * c.block), 10000.0 ** -(torch.arange(half) / half))
        self.register_buffer("turn", torch.stack([angle.cos(), angle.sin()]), persistent=False)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, P block, D), earlier keys and values (B, context block, D), mask (P, keys) or (B, P, keys) -> the same three,
        without the mask.

        Keys are turned by their place in the window, not in the clip: so the result is the same wherever the block lies.
        """
        size = self.context * self.block
        keys, values = torch.cat([keys, self.key(x)], 1), torch.cat([values, self.value(x)], 1)
        q = self._heads(self.query(x).unflatten(1, (-1, self.block)))
        k, v = (self._heads(t.unfold(1, size + self.block, self.block).transpose(2, 3)) for t in (keys, values))
        q, k = rotated(q, self.turn[:, size:]), rotated(k, self.turn)
        rows = mask.repeat(x.shape[0], 1) if mask.ndim == 2 else mask.flatten(0, 1)
        allowed = rows[:, None, None].expand(-1, 1, self.block, -1)
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), allowed).transpose(1, 2).reshape(x.shape)
        return self.out(y), keys[:, keys.shape[1] - size :], values[:, values.shape[1] - size :]

    def _heads(self, x: Tensor) -> Tensor:
        """(B, P, n, D) -> (B P, H, n, D / H)."""
        return x.reshape(-1, x.shape[2], self.heads, x.shape[3] // self.heads).transpose(1, 2)


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """x (..., n, d) with its halves turned by the angles of `turn` (2, n, d/2)."""
    a, b = x.chunk(2, -1)
    cos, sin = turn.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Layer(nn.Module):
    """Attention, a causal depthwise convolution, an MLP; each is added to what it reads, normed."""

    def __init__(self, c: VoxS3Config) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(c.dim), Attention(c)
        self.taps = nn.Parameter(torch.randn(c.kernel, c.dim) * 0.5 / c.kernel**0.5)
        self.mlp_norm = nn.LayerNorm(c.dim)
        self.up, self.down = nn.Linear(c.dim, c.hidden), nn.Linear(c.hidden, c.dim)

    def forward(self, x: Tensor, kept: Kept, mask: Tensor, drop: float = 0.0) -> tuple[Tensor, Kept]:
        """x (B, P block, D) with what was kept of the blocks before -> the same two; `drop`: of dropout, in training."""
        y, keys, values = self.attention(self.attention_norm(x), kept[0], kept[1], mask)
        x = x + F.dropout(y, drop, drop > 0)
        seen = torch.cat([kept[2].to(x.dtype), x], 1)
        y = seen[:, : x.shape[1]] * self.taps[0]
        for i in range(1, len(self.taps)):
            y = y + seen[:, i : i + x.shape[1]] * self.taps[i]
        y = self.down(F.dropout(F.gelu(self.up(self.mlp_norm(x + y))), drop, drop > 0))
        return x + F.dropout(y, drop, drop > 0), (keys, values, seen[:, x.shape[1] :])


def window_mask(blocks: int, context: int, block: int, before: int, device: torch.device) -> Tensor:
    """(P, (context + 1) block): which keys exist, where `before` blocks precede the first."""
    slot = torch.arange(context + 1, device=device)
    exists = slot[None] >= context - before - torch.arange(blocks, device=device)[:, None]
    return exists.repeat_interleave(block, 1)


def run_layers(layers: nn.ModuleList, c: VoxS3Config, x: Tensor, state: State, drop: float = 0.0) -> tuple[Tensor, list[Kept]]:
    """Layers in a row; gives what each keeps for the blocks to come."""
    mask = window_mask(x.shape[1] // c.block, c.context, c.block, state.blocks, x.device)
    kept = []
    for layer, before in zip(layers, state.layers, strict=True):
        x, after = layer(x, before, mask, drop)
        kept.append(after)
    return x, kept


class VoxS3(nn.Module):
    """wav -> codes. The quantiser is finite scalar quantisation (Mentzer et al. 2023): each dimension rounded by itself."""

    def __init__(self, config: VoxS3Config) -> None:
        super().__init__()
        self.config = config
        self.front = FrontEnd(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.project = nn.Linear(config.dim, len(config.levels))

    def projected(self, features: Tensor, state: State, drop: float = 0.0) -> tuple[Tensor, list[Kept]]:
        """Features of tokens (B, N, D) -> the quantiser's input (B, N, dimensions), always in float32."""
        x, kept = run_layers(self.layers, self.config, features, state, drop)
        with torch.autocast(x.device.type, enabled=False):
            return self.project(self.norm(x.float())), kept

    def encode_step(self, wav: Tensor, state: State) -> tuple[Tensor, State]:
        """wav (B, left + P block + ahead) -> codes (B, P block) and the next state."""
        with torch.autocast(wav.device.type, enabled=False):
            mel, maxima = self.front.relative(self.front.log_mel(wav), state.maxima)
        projected, kept = self.projected(self.front(mel), state)
        blocks = min(self.config.context, state.blocks + mel.shape[1])
        return index(bounded(projected, self.config.levels), self.config.levels), State(maxima, kept, blocks)

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, P block) -> codes (B, N)."""
        c = self.config
        return self.encode_step(F.pad(wav, (c.left, c.ahead)), State.empty(c, wav))[0]


def bounded(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    """x (..., dimensions) squeezed so that it rounds to the L levels -(L-1)/2 ... (L-1)/2."""
    half = torch.tensor([level / 2 for level in levels], device=x.device)
    return torch.tanh(x) * (half - 1e-3)


def index(scalars: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Bounded scalars (..., dimensions) -> codes; the first dimension is the lowest digit."""
    code = torch.zeros(scalars.shape[:-1], dtype=torch.int64, device=scalars.device)
    for j in reversed(range(len(levels))):
        code = code * levels[j] + (scalars[..., j].round().long() + levels[j] // 2)
    return code


def digits(codes: Tensor, levels: tuple[int, ...]) -> Tensor:
    """The inverse of `index`: codes -> rounded scalars float32 (..., dimensions)."""
    parts = []
    for level in levels:
        parts.append((codes % level - level // 2).float())
        codes = codes // level
    return torch.stack(parts, -1)
