"""The network of SNAC: the published layers, parameters and names, on channels-last sound (see `core/convs.py`).

Siuzdak, Grötschla and Lanzendörfer 2024, "SNAC: Multi-Scale Neural Audio Codec", arXiv:2410.14411;
published at github.com/hubertsiuzdak/snac (MIT).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import Conv, ConvTranspose, Snake, chain, in_pieces, normed
from ..core.errors import ModelError

__all__ = ["Network", "complete"]

# The arguments of the published constructor; a checkpoint's config.json holds a subset of these.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 44100,
    "encoder_dim": 64,
    "encoder_rates": [3, 3, 7, 7],
    "latent_dim": None,
    "decoder_dim": 1536,
    "decoder_rates": [7, 7, 3, 3],
    "attn_window_size": 32,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": [8, 4, 2, 1],
    "noise": True,
    "depthwise": True,
}
HEAD = 64  # channels of an attention head


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"SNAC has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, least in (("encoder_rates", 2), ("decoder_rates", 2), ("vq_strides", 1)):
        if not isinstance(full[key], list) or not full[key] or not all(isinstance(n, int) and n >= least for n in full[key]):
            raise ModelError(f"SNAC got {key} {full[key]!r}; expected a list of whole numbers, at least {least}")
    encoder, decoder, strides = full["encoder_rates"], full["decoder_rates"], full["vq_strides"]
    if math.prod(encoder) != math.prod(decoder):
        raise ModelError(f"SNAC got encoder_rates {encoder} and decoder_rates {decoder}; expected the same product")
    if any(strides[0] % stride for stride in strides):
        raise ModelError(f"SNAC got vq_strides {strides}; expected each to divide the first")
    latent = full["encoder_dim"] * 2 ** len(encoder)
    if full["latent_dim"] not in (None, latent):
        raise ModelError(f"SNAC got latent_dim {full['latent_dim']}; expected {latent}, encoder_dim doubled at each rate")
    return {**full, "latent_dim": latent}


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, edge: int | None = None
) -> nn.Module:
    """A weight-normed convolution, padded to keep its length unless `edge` says otherwise."""
    edge = (kernel - 1) * dilation // 2 if edge is None else edge
    return normed(Conv(inputs, outputs, kernel, stride, edge, dilation, groups))


class Residual(nn.Module):
    """x + pointwise(snake(dilated(snake(x)))), kernel 7."""

    def __init__(self, dim: int, dilation: int, depthwise: bool) -> None:
        super().__init__()
        dilated = conv(dim, dim, 7, dilation=dilation, groups=dim if depthwise else 1)
        self.block = nn.Sequential(Snake(dim), dilated, Snake(dim), conv(dim, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C), overwritten -> (B, T, C)."""
        return x.add_(chain(self.block, x))


class EncoderBlock(nn.Module):
    """Three residuals, then `stride` times fewer frames of twice the channels."""

    def __init__(self, dim: int, stride: int, depthwise: bool) -> None:
        super().__init__()
        residuals = [Residual(dim, dilation, depthwise) for dilation in (1, 3, 9)]
        down = conv(dim, 2 * dim, 2 * stride, stride, edge=math.ceil(stride / 2))
        self.block = nn.Sequential(*residuals, Snake(dim), down)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C), overwritten -> (B, T / stride, 2 C)."""
        return chain(self.block, x)


class Noise(nn.Module):
    """Holds the weights of the published noise layer, which is off here (see the module's docstring)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = normed(Conv(dim, dim, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """x as it is."""
        return x


class DecoderBlock(nn.Module):
    """`stride` times more frames of half the channels, then three residuals."""

    def __init__(self, dim: int, stride: int, noise: bool, depthwise: bool) -> None:
        super().__init__()
        up = ConvTranspose(dim, dim // 2, 2 * stride, stride, math.ceil(stride / 2), stride % 2)
        residuals = [Residual(dim // 2, dilation, depthwise) for dilation in (1, 3, 9)]
        self.block = nn.Sequential(Snake(dim), normed(up), *[Noise(dim // 2)] * noise, *residuals)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T stride, C / 2)."""
        return chain(self.block, x)


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864)."""

    inv_freq: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1.0 / 10000 ** (torch.arange(0, HEAD, 2).float() / HEAD))

    def forward(self, *parts: Tensor) -> list[Tensor]:
        """Each (..., N, HEAD), turned by its position 0 to N - 1."""
        angles = torch.outer(torch.arange(parts[0].shape[-2], device=parts[0].device).type_as(self.inv_freq), self.inv_freq)
        cos, sin = (torch.cat((wave, wave), -1) for wave in (angles.cos(), angles.sin()))
        halves = (part.chunk(2, -1) for part in parts)
        return [part * cos + torch.cat((-b, a), -1) * sin for part, (a, b) in zip(parts, halves, strict=True)]


class Attention(nn.Module):
    """Self-attention within windows of `window` frames that do not overlap, with a residual around it."""

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        if dim % HEAD:
            raise ModelError(f"SNAC with attention has {dim} channels; expected a multiple of {HEAD}")
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.rel_pos = Rotary()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C), T a multiple of the window -> (B, T, C)."""
        batch, frames, dim = x.shape
        heads = self.to_qkv(self.norm(x)).view(batch, frames // self.window, self.window, 3, dim // HEAD, HEAD)
        q, k, v = heads.permute(3, 0, 1, 4, 2, 5)  # each (B, windows, heads, window, HEAD)
        q, k = self.rel_pos(q, k)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.to_out(mixed.transpose(2, 3).reshape(batch, frames, dim))

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """Whole windows."""
        return first // self.window * self.window, (last // self.window + 1) * self.window - 1


class Encoder(nn.Module):
    """Sound to latent frames."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, depthwise, window = config["encoder_dim"], config["depthwise"], config["attn_window_size"]
        layers: list[nn.Module] = [conv(1, dim, 7)]
        for stride in config["encoder_rates"]:
            layers.append(EncoderBlock(dim, stride, depthwise))
            dim *= 2
        layers += [Attention(dim, window)] if window else []
        self.block = nn.Sequential(*layers, conv(dim, dim, 7, groups=dim if depthwise else 1))
        # The first half of the blocks, at the highest frame rates, runs in pieces.
        half = len(config["encoder_rates"]) // 2
        self.cut, self.hop, self.channels = 1 + half, math.prod(config["encoder_rates"][:half]), config["encoder_dim"]

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, T / hop, C)."""
        x = in_pieces(list(self.block)[: self.cut], wav[:, :, None], Fraction(1, self.hop), self.channels)
        return chain(list(self.block)[self.cut :], x)


class Decoder(nn.Module):
    """Latent frames to sound."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        latent, dim, depthwise = config["latent_dim"], config["decoder_dim"], config["depthwise"]
        layers = [conv(latent, latent, 7, groups=latent), conv(latent, dim, 1)] if depthwise else [conv(latent, dim, 7)]
        if window := config["attn_window_size"]:
            layers.append(Attention(dim, window))
        for stride in config["decoder_rates"]:
            layers.append(DecoderBlock(dim, stride, config["noise"], depthwise))
            dim //= 2
        self.model = nn.Sequential(*layers, Snake(dim), conv(dim, 1, 7), nn.Tanh())
        # The second half of the blocks, at the highest frame rates, runs in pieces.
        half = len(config["decoder_rates"]) // 2
        self.cut, self.hop = len(layers) - half, math.prod(config["decoder_rates"][len(config["decoder_rates"]) - half :])
        self.channels = self.hop * dim

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> wav (B, N hop)."""
        x = chain(list(self.model)[: self.cut], x)
        return in_pieces(list(self.model)[self.cut :], x, Fraction(self.hop), self.channels)[:, :, 0]


class Quantizer(nn.Module):
    """One codebook, searched by cosine among projections to a few dimensions, for every `stride` latent frames."""

    def __init__(self, config: Mapping[str, Any], stride: int) -> None:
        super().__init__()
        latent, size, dim = config["latent_dim"], config["codebook_size"], config["codebook_dim"]
        self.stride = stride
        self.in_proj = conv(latent, dim, 1)
        self.out_proj = conv(dim, latent, 1)
        self.codebook = nn.Embedding(size, dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, C) -> codes (B, N / stride) and what they stand for (B, N, C)."""
        pooled = x.unflatten(1, (-1, self.stride)).mean(2) if self.stride > 1 else x
        latent = self.in_proj(pooled)
        unit, book = F.normalize(latent, dim=-1), F.normalize(self.codebook.weight)
        # The whole distance, although most of it is constant: its rounding decides ties as the published model does.
        far = unit.pow(2).sum(-1, keepdim=True) - 2 * unit @ book.t() + book.pow(2).sum(1)
        codes = far.argmin(-1)
        chosen = latent + (self.codebook(codes) - latent)  # rounded as the published straight-through estimator rounds it
        return codes, self.out_proj(chosen).repeat_interleave(self.stride, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N / stride) -> (B, N, C)."""
        return self.out_proj(self.codebook(codes)).repeat_interleave(self.stride, 1)


class Quantizers(nn.Module):
    """Each quantizes what the ones before it left over."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(Quantizer(config, stride) for stride in config["vq_strides"])

    def __iter__(self) -> Iterator[Quantizer]:
        return iter(cast("list[Quantizer]", self.quantizers))

    def encode(self, x: Tensor, streams: int) -> list[Tensor]:
        """x (B, N, C) -> the codes of the first `streams` streams."""
        codes = []
        for quantizer in itertools.islice(self, streams):
            found, meant = quantizer.encode(x)
            codes.append(found)
            x = x - meant
        return codes

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Codes of the first streams -> their sum (B, N, C)."""
        return torch.stack([q.decode(c) for q, c in zip(self, codes, strict=False)]).sum(0)


class Network(nn.Module):
    """The published parameters under their published names; `fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.quantizer = Quantizers(config)
        self.decoder = Decoder(config)
