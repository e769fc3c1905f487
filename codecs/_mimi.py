"""The network of Mimi: SEANet, a causal transformer on each side at 25 Hz, and a quantizer in two parts at 12.5 Hz.

Défossez et al. 2024, "Moshi: a speech-text foundation model for real-time dialogue", arXiv:2410.00037; published at
github.com/kyutai-labs/moshi and in `transformers`, whose parameter names these are. Every part maps `(x, state)` to its output
and the state for what follows, so that whole clips and streams in both directions are one piece of code.

Letters: B batch, L positions, N frames, D channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.packed import Linear
from ._seanet import Activation, Codebook, Conv, Quantizer, Residual, Stack, Upsample

__all__ = ["MimiConfig", "Network"]

STEADY = 16  # rows: products of fewer are rounded otherwise than those of many, which would move codes between chunk sizes


@dataclass(frozen=True)
class MimiConfig:
    """Every size of the codec, under the names of the published `config.json`."""

    sampling_rate: int = 24000  # Hz
    num_filters: int = 64
    hidden_size: int = 512
    upsampling_ratios: tuple[int, ...] = (8, 6, 5, 4)  # of the decoder; the encoder takes them in reverse
    num_residual_layers: int = 1
    dilation_growth_rate: int = 2
    kernel_size: int = 7
    last_kernel_size: int = 3
    residual_kernel_size: int = 3
    compress: int = 2
    num_hidden_layers: int = 8  # of each transformer
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    sliding_window: int = 250  # positions that attention sees, its own included
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    codebook_size: int = 2048
    codebook_dim: int = 256
    num_quantizers: int = 32
    num_semantic_quantizers: int = 1

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> MimiConfig:
        """Raises `ModelError` on a key that is not known and on sizes that do not fit."""
        if unknown := set(config) - {f.name for f in fields(cls)}:
            raise ModelError(f"Mimi has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        c = cls(**kept)
        if not 1 <= c.num_semantic_quantizers < c.num_quantizers:
            raise ModelError(
                f"Mimi got num_semantic_quantizers {c.num_semantic_quantizers} of {c.num_quantizers}; expected fewer"
            )
        if c.hidden_size % (2 * c.num_attention_heads):
            raise ModelError(f"Mimi got hidden_size {c.hidden_size}; expected an even number for each of its heads")
        return c

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with every field, so that equal models have equal fingerprints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def hop(self) -> int:
        """Samples per frame: SEANet's hop, twice."""
        return 2 * math.prod(self.upsampling_ratios)


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return x * self.scale


@dataclass(frozen=True)
class Place:
    """Where L positions stand in the clip, for every block alike.

    Attributes:
        turn: cosines and sines (1 or B, 1, L, D / H) of the rotary positions (Su et al. 2021, arXiv:2104.09864).
        mask: bool (L, past + L) or (B, 1, L, past + L), which positions each one attends to.
        kept: of past + L, those that what follows will attend to.
    """

    turn: tuple[Tensor, Tensor]
    mask: Tensor
    kept: slice


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, L, D / H), turned by its positions."""
    a, b = x.chunk(2, dim=3)
    return x * cos + torch.cat([-b, a], dim=3) * sin


class Attention(nn.Module):
    """Causal self-attention over the last positions."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.heads = c.num_attention_heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.add_module(name, Linear(c.hidden_size, c.hidden_size, bias=False))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None, place: Place) -> tuple[Tensor, Any]:
        """x (B, L, D); past: keys and values before it."""
        q, k, v = (self._heads(name, x) for name in ("q_proj", "k_proj", "v_proj"))
        q, k = turned(q, *place.turn), turned(k, *place.turn)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=place.mask)
        kept = (k[:, :, place.kept], v[:, :, place.kept])
        return cast(Linear, self.o_proj)(mixed.transpose(1, 2).flatten(2)), kept

    def _heads(self, name: str, x: Tensor) -> Tensor:
        """(B, H, L, D / H)."""
        y: Tensor = getattr(self, name)(x)
        return y.unflatten(2, (self.heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.fc1 = Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.fc2 = Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """Attention and MLP, each after a norm and before a scale, with a residual around it."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = nn.LayerNorm(c.hidden_size, eps=c.norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(c.hidden_size, eps=c.norm_eps)
        self.self_attn_layer_scale, self.mlp_layer_scale = Scale(c.hidden_size), Scale(c.hidden_size)

    def forward(self, x: Tensor, past: Any, place: Place) -> tuple[Tensor, Any]:
        """See `Attention`."""
        y, past = self.self_attn(self.input_layernorm(x), past, place)
        x = x + self.self_attn_layer_scale(y)
        return x + self.mlp_layer_scale(self.mlp(self.post_attention_layernorm(x))), past


class Transformer(nn.Module):
    """Blocks in a row. State: the positions so far (one number, or one for each row), and keys and values of each block."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
        self.window, self.theta, self.head = c.sliding_window, c.rope_theta, c.hidden_size // c.num_attention_heads

    def forward(self, x: Tensor, state: tuple[Any, list[Any]] | None = None) -> tuple[Tensor, tuple[Any, list[Any]]]:
        """x (B, L, D) -> the same shape, and the state for what follows."""
        start, pasts = state or (0, [None] * len(self.layers))
        count = x.shape[1]
        x = F.pad(x, (0, 0, 0, max(0, STEADY - count)))
        place = self._place(x, start, count, 0 if pasts[0] is None else pasts[0][0].shape[2])
        kept = []
        for layer, past in zip(self.layers, pasts, strict=True):
            x, past = layer(x, past, place)
            kept.append(past)
        return x[:, :count], (start + count, kept)

    def _place(self, x: Tensor, start: int | Tensor, count: int, past: int) -> Place:
        """Of x (B, L, D), positions from `start` on, the first `count` of which are real, with keys of `past` before them."""
        slow = 1.0 / self.theta ** (torch.arange(0, self.head, 2, device=x.device, dtype=torch.float32) / self.head)
        starts = torch.as_tensor(start, device=x.device).view(-1, 1)
        positions = starts + torch.arange(x.shape[1], device=x.device)
        angles = positions[:, None, :, None].float() * slow
        cos, sin = (torch.cat([wave, wave], dim=3).to(x.dtype) for wave in (angles.cos(), angles.sin()))
        total = past + x.shape[1]
        keys = torch.arange(total, device=x.device)
        distance = keys[past:, None] - keys
        mask = (distance >= 0) & (distance < self.window)
        if len(starts) > 1:  # clips that began later have fewer keys, which stand at the end of `past`
            mask = mask & (starts - past + keys >= 0)[:, None, None]
        end = past + count
        return Place((cos, sin), mask, slice(max(0, end - self.window + 1), end))

    def joined(self, states: Sequence[tuple[int, list[Any]]]) -> tuple[Tensor, list[Any]]:
        """The states of clips at different positions as that of one batch."""
        device = states[0][1][0][0].device
        longest = max(pasts[0][0].shape[2] for _, pasts in states)
        grown = [[[_led(t, longest) for t in pair] for pair in pasts] for _, pasts in states]
        return torch.tensor([start for start, _ in states], device=device), [tuple(pair) for pair in joined(grown)]

    def parted(self, state: tuple[Tensor, list[Any]]) -> list[tuple[int, list[Any]]]:
        """The inverse of `joined`."""
        rows = []
        for i, start in enumerate(state[0].tolist()):
            kept = min(start, self.window - 1)
            rows.append((start, [tuple(t[i : i + 1, :, t.shape[2] - kept :].clone() for t in pair) for pair in state[1]]))
        return rows


def _led(past: Tensor, size: int) -> Tensor:
    """past (1, H, P, D / H) with zeros before it, `size` in all."""
    return F.pad(past, (0, 0, size - past.shape[2], 0))


def joined(states: Sequence[Any]) -> Any:
    """Nested lists of tensors (1, ...) as one of tensors (B, ...); where one has None, all have."""
    first = states[0]
    if first is None:
        return None
    return torch.cat(list(states)) if isinstance(first, Tensor) else [joined(parts) for parts in zip(*states, strict=True)]


def parted(state: Any, row: int) -> Any:
    """One row of what `joined` gives."""
    if state is None:
        return None
    return state[row : row + 1].clone() if isinstance(state, Tensor) else [parted(part, row) for part in state]


class Doubled(nn.Module):
    """Twice as many positions: a transposed convolution of width 4 and stride 2 on each channel for itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Module()
        self.conv.weight = nn.Parameter(torch.randn(dim, 1, 4) / 2)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, N, D) -> (B, 2 N, D); state: the frame (B, 1, D) before x."""
        seen = torch.cat([torch.zeros_like(x[:, :1]) if state is None else state, x], dim=1)
        early, late = (
            cast(Tensor, self.conv.weight)[:, 0].t().unflatten(0, (2, 2))[[1, 0]]
        )  # each (2, D): of the frame before, own
        y = seen[:, :-1, None] * early + seen[:, 1:, None] * late
        return y.flatten(1, 2), seen[:, -1:].clone()


class Nearest(Codebook):
    """Searched with the arithmetic of `torch.cdist`, which the published code calls, so that near ties fall alike."""

    def fold(self) -> None:
        """See `Codebook.fold`."""
        embed = self.embed.data
        energy = embed.pow(2).sum(1, keepdim=True)
        self.columns = torch.cat([embed, torch.ones_like(energy), energy], dim=1).t()

    def search(self, x: Tensor) -> Tensor:
        """x (M, D) -> code of the nearest codeword (M,): |x - e| is least."""
        rows = F.pad(x, (0, 0, 0, max(0, STEADY - len(x))))
        energy = rows.pow(2).sum(1, keepdim=True)
        squared = torch.cat([rows * -2, energy, torch.ones_like(energy)], dim=1) @ self.columns
        return squared[: len(x)].clamp_(min=0).sqrt_().argmin(1)


class ResidualQuantizer(Quantizer):
    """Residual vector quantisation between two projections."""

    def __init__(self, c: MimiConfig, streams: int) -> None:
        super().__init__(streams, c.codebook_size, c.codebook_dim, Nearest)
        self.input_proj = nn.Conv1d(c.hidden_size, c.codebook_dim, 1, bias=False)
        self.output_proj = nn.Conv1d(c.codebook_dim, c.hidden_size, 1, bias=False)

    def encode(self, latent: Tensor, streams: int) -> list[Tensor]:
        """latent (B, N, D) -> codes of the first `streams` streams, each (B, N)."""
        rows = F.pad(latent, (0, 0, 0, max(0, STEADY - latent.shape[1])))
        return super().encode(F.linear(rows, self.input_proj.weight[:, :, 0])[:, : latent.shape[1]], streams)

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of the first streams, each (B, N) -> latent (B, N, D)."""
        return F.linear(super().decode(codes), self.output_proj.weight[:, :, 0])


class SplitQuantizer(nn.Module):
    """A semantic and an acoustic quantizer of the same latent; what they stand for is added up."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.first = c.num_semantic_quantizers
        self.semantic_residual_vector_quantizer = ResidualQuantizer(c, self.first)
        self.acoustic_residual_vector_quantizer = ResidualQuantizer(c, c.num_quantizers - self.first)

    def encode(self, latent: Tensor, streams: int) -> list[Tensor]:
        """latent (B, N, D) -> codes of the first `streams` streams, each (B, N); semantic ones first."""
        with torch.autocast(latent.device.type, enabled=False):
            codes = self.semantic_residual_vector_quantizer.encode(latent.float(), min(streams, self.first))
            if streams > self.first:
                codes += self.acoustic_residual_vector_quantizer.encode(latent.float(), streams - self.first)
        return codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of the first streams, each (B, N) -> latent (B, N, D)."""
        latent = self.semantic_residual_vector_quantizer.decode(codes[: self.first])
        if len(codes) > self.first:
            latent = latent + self.acoustic_residual_vector_quantizer.decode(codes[self.first :])
        return latent


class Network(nn.Module):
    """Encoder, quantizer and decoder. `fold` before use."""

    def __init__(self, c: MimiConfig) -> None:
        super().__init__()
        self.encoder = Stack(_encoder(c))
        self.encoder_transformer = Transformer(c)
        self.downsample = Conv(c.hidden_size, c.hidden_size, 4, 2, causal=True, norm="none", pad="replicate", bias=False)
        self.quantizer = SplitQuantizer(c)
        self.upsample = Doubled(c.hidden_size)
        self.decoder_transformer = Transformer(c)
        self.decoder = Stack(_decoder(c))

    def fold(self) -> None:
        """Compute what follows from the parameters alone; to be called when these have changed."""
        for module in self.modules():
            if isinstance(module, (Conv, Upsample, Codebook, Linear)):
                module.fold()

    def encode(self, wav: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """wav (B, T), whole frames -> latent (B, N, D), and the state for what follows."""
        conv, attention, down = state or (None, None, None)
        x, conv, _ = self.encoder(wav[:, :, None], conv)
        x, attention = self.encoder_transformer(x, attention)
        x, down, _ = self.downsample(x, down, None)
        return x, [conv, attention, down]

    def decode(self, latent: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """latent (B, N, D) -> wav (B, T), and the state for what follows."""
        up, attention, conv = state or (None, None, None)
        x, up = self.upsample(latent, up)
        x, attention = self.decoder_transformer(x, attention)
        x, conv, _ = self.decoder(x, conv)
        return x[:, :, 0], [up, attention, conv]

    def joined(self, states: Sequence[list[Any]], encoding: bool) -> list[Any]:
        """The states of several clips, none of them at its beginning, as that of one batch; of `encode` or of `decode`."""
        transformer = self.encoder_transformer if encoding else self.decoder_transformer
        before, attention, behind = zip(*states, strict=True)
        return [joined(before), transformer.joined(attention), joined(behind)]

    def parted(self, state: list[Any], encoding: bool) -> list[list[Any]]:
        """The inverse of `joined`."""
        transformer = self.encoder_transformer if encoding else self.decoder_transformer
        rows = transformer.parted(state[1])
        return [[parted(state[0], i), row, parted(state[2], i)] for i, row in enumerate(rows)]


KIND: dict[str, Any] = {"causal": True, "norm": "none"}


def _encoder(c: MimiConfig) -> list[nn.Module]:
    width = c.num_filters
    layers: list[nn.Module] = [Conv(1, width, c.kernel_size, pad="constant", **KIND)]
    for ratio in reversed(c.upsampling_ratios):
        layers += [*_residuals(c, width), Activation(), Conv(width, 2 * width, 2 * ratio, ratio, pad="constant", **KIND)]
        width *= 2
    return [*layers, Activation(), Conv(width, c.hidden_size, c.last_kernel_size, pad="constant", **KIND)]


def _decoder(c: MimiConfig) -> list[nn.Module]:
    width = c.num_filters * 2 ** len(c.upsampling_ratios)
    layers: list[nn.Module] = [Conv(c.hidden_size, width, c.kernel_size, pad="constant", **KIND)]
    for ratio in c.upsampling_ratios:
        layers += [Activation(), Upsample(width, width // 2, ratio, **KIND), *_residuals(c, width // 2)]
        width //= 2
    return [*layers, Activation(), Conv(width, 1, c.last_kernel_size, pad="constant", **KIND)]


def _residuals(c: MimiConfig, width: int) -> list[nn.Module]:
    count, rate = c.num_residual_layers, c.dilation_growth_rate
    return [Residual(width, c.residual_kernel_size, rate**i, c.compress, False, pad="constant", **KIND) for i in range(count)]
