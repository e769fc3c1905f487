"""The network of FocalCodec: WavLM's features, focal modulation that makes 13 signs of them and features again, and Vocos.

Della Libera, Paissan, Subakan and Ravanelli 2025, "FocalCodec: Low-Bitrate Speech Coding via Focal Modulation Networks",
arXiv:2502.04465; published at github.com/lucadellalib/focalcodec (Apache-2.0), whose parameter names these are, but for those
of Vocos. Focal modulation is of Yang et al. 2022, arXiv:2203.11926, the quantizer of Zhao et al. 2024, arXiv:2406.07548.

Letters: B batch, T samples, N frames, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import convs
from ..core.convs import Conv, ConvTranspose
from ..core.errors import ModelError
from ..core.vocos import Backbone, Head
from ._wavlm import FeedForward, WavLM

__all__ = ["DEFAULTS", "Network", "complete"]

_FOCAL: dict[str, Any] = {
    "focal_window": 7,
    "focal_level": 2,
    "focal_factor": 2,
    "use_post_norm": False,
    "use_layerscale": False,
    "normalize_modulator": False,
}
# Of each part, the arguments of the published constructor that shape the network, with the values of the 50 Hz model.
DEFAULTS: dict[str, Any] = {
    "sample_rate": 16000,
    "codebook_size": 8192,
    "encoder": {
        "hidden_dims": [512] * 7,
        "kernel_sizes": [10, 3, 3, 3, 3, 2, 2],
        "strides": [5, 2, 2, 2, 2, 2, 2],
        "num_layers": 6,
        "dim": 1024,
        "ffn_dim": 4096,
        "num_heads": 16,
        "num_buckets": 320,
        "max_distance": 800,
        "conv_pos": 128,
        "conv_pos_groups": 16,
    },
    "compressor": {"hidden_dims": [1024, 512, 256], "downscale_factors": [1, 1, 1], **_FOCAL},
    "decompressor": {"hidden_dims": [256, 512, 1024], "upscale_factors": [1, 1, 1], **_FOCAL},
    "decoder": {"num_layers": 8, "dim": 512, "ffn_dim": 1536, "n_fft": 1024, "hop_length": 320},
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    full = _filled("FocalCodec", config, DEFAULTS)
    for part, defaults in DEFAULTS.items():
        if isinstance(defaults, dict):
            if not isinstance(full[part], Mapping):
                raise ModelError(f"FocalCodec got {part} {full[part]!r}; expected a table of arguments")
            full[part] = _filled(f"FocalCodec's {part}", full[part], defaults)
    _check(full)
    return full


def _filled(name: str, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := set(config) - set(defaults):
        raise ModelError(f"{name} has no configuration {min(map(str, unknown))!r}; it has {', '.join(defaults)}")
    full = {**defaults, **config}
    for key, default in defaults.items():
        value = full[key]
        if isinstance(default, list):
            fits = isinstance(value, list) and value and all(type(n) is int and n > 0 for n in value)
            wanted = "a list of whole numbers above 0"
        elif isinstance(default, bool):
            fits, wanted = isinstance(value, bool), "true or false"
        else:
            fits, wanted = isinstance(default, dict) or (type(value) is int and value > 0), "a whole number above 0"
        if not fits:
            raise ModelError(f"{name} got {key} {value!r}; expected {wanted}")
    return full


def _check(c: Mapping[str, Any]) -> None:
    """What must fit together."""
    encoder, compressor, decompressor, decoder = (c[part] for part in ("encoder", "compressor", "decompressor", "decoder"))
    bits = c["codebook_size"].bit_length() - 1
    down, up = compressor["downscale_factors"], decompressor["upscale_factors"]
    rules = [
        (2**bits == c["codebook_size"] > 1, "codebook_size is not a power of 2"),
        (len({len(encoder[key]) for key in ("hidden_dims", "kernel_sizes", "strides")}) == 1,
         "the encoder's hidden_dims, kernel_sizes and strides are not equally many"),
        (encoder["dim"] % encoder["num_heads"] == 0, "the encoder's dim is no multiple of its num_heads"),
        (encoder["dim"] % encoder["conv_pos_groups"] == 0, "the encoder's dim is no multiple of its conv_pos_groups"),
        (4 <= encoder["num_buckets"] < 4 * encoder["max_distance"], "the encoder's num_buckets do not fit its max_distance"),
        (len(down) == len(compressor["hidden_dims"]), "downscale_factors and their hidden_dims are not equally many"),
        (len(up) == len(decompressor["hidden_dims"]), "upscale_factors and their hidden_dims are not equally many"),
        (math.prod(down) == math.prod(up), "downscale_factors and upscale_factors have not the same product"),
        (decoder["hop_length"] == math.prod(encoder["strides"]), "hop_length is not the product of the encoder's strides"),
        (decoder["n_fft"] > decoder["hop_length"] and (decoder["n_fft"] - decoder["hop_length"]) % 2 == 0
         and decoder["n_fft"] % 2 == 0, "n_fft is not even and larger than hop_length by an even number"),
    ]  # fmt: skip
    for holds, otherwise in rules:
        if not holds:
            raise ModelError(f"this is no configuration of FocalCodec: {otherwise}")


class Snake(convs.Snake):
    """Of `core/convs.py`, its parameter shaped as published."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.alpha = nn.Parameter(torch.ones(dim, 1))


class Same(Conv):
    """A convolution that pads its own input with zeros to keep its length."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, C'). An even kernel has its odd zero on the right."""
        both = self.kernel_size[0] - 1
        return super().forward(F.pad(x, (0, 0, both // 2, both - both // 2)))


class Modulation(nn.Module):
    """Every frame times what surrounds it: ever wider surroundings, then the whole clip, weighed by gates of the frame."""

    def __init__(self, dim: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.dim, self.levels, self.mean = dim, c["focal_level"], c["normalize_modulator"]
        kernels = [c["focal_window"] + c["focal_factor"] * level for level in range(self.levels)]
        self.in_proj = nn.Linear(dim, 2 * dim + self.levels + 1)
        self.layers = nn.ModuleList(nn.ModuleList([Same(dim, dim, kernel, groups=dim)]) for kernel in kernels)
        self.context_proj = Conv(dim, dim, 1)
        self.norm = nn.LayerNorm(dim) if c["use_post_norm"] else nn.Identity()
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        query, context, gates = self.in_proj(x).split([self.dim, self.dim, self.levels + 1], 2)
        around = torch.zeros_like(context)
        for level, layer in enumerate(self.layers):
            context = F.gelu(cast(nn.ModuleList, layer)[0](context))
            around = torch.addcmul(around, context, gates[..., level : level + 1])
        around = torch.addcmul(around, F.gelu(context.mean(1, keepdim=True)), gates[..., self.levels :])
        if self.mean:
            around = around / (self.levels + 1)
        y: Tensor = self.out_proj(self.norm(query * self.context_proj(around)))
        return y


class FocalBlock(nn.Module):
    """Modulation and feed-forward, each with a norm, before it or after, and a residual."""

    def __init__(self, dim: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.after = c["use_post_norm"]
        self.modulation_norm = nn.LayerNorm(dim)
        self.modulation = Modulation(dim, c)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, 4 * dim)
        gammas = [nn.Parameter(torch.full((dim,), 0.5)) if c["use_layerscale"] else None for _ in range(2)]
        self.modulation_gamma, self.feed_forward_gamma = gammas

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = self._step(x, self.modulation, self.modulation_norm, self.modulation_gamma)
        return self._step(x, self.feed_forward, self.feed_forward_norm, self.feed_forward_gamma)

    def _step(self, x: Tensor, layer: nn.Module, norm: nn.Module, gamma: Tensor | None) -> Tensor:
        y: Tensor = norm(layer(x)) if self.after else layer(norm(x))
        return x + (y if gamma is None else y * gamma)


class DownScale(nn.Module):
    """`factor` frames to one."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.downscale = Conv(inputs, outputs, factor, factor)
        self.activation = Snake(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C), completed with zeros -> (B, ceil(N / factor), C')."""
        y: Tensor = self.activation(self.downscale(F.pad(x, (0, 0, 0, -x.shape[1] % self.factor))))
        return y


class UpScale(nn.Module):
    """One frame to `factor`."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.activation = Snake(inputs)
        self.upscale = ConvTranspose(inputs, outputs, factor, factor)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N factor, C')."""
        y: Tensor = self.upscale(self.activation(x))
        return y


class FocalDownScale(nn.Module):
    """Fewer frames, then a focal block."""

    def __init__(self, inputs: int, outputs: int, factor: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.downscale = DownScale(inputs, outputs, factor)
        self.focal_block = FocalBlock(outputs, c)

    def forward(self, x: Tensor) -> Tensor:
        """See `DownScale`."""
        y: Tensor = self.focal_block(self.downscale(x))
        return y


class FocalUpScale(nn.Module):
    """A focal block, then more frames."""

    def __init__(self, inputs: int, outputs: int, factor: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.focal_block = FocalBlock(inputs, c)
        self.upscale = UpScale(inputs, outputs, factor)

    def forward(self, x: Tensor) -> Tensor:
        """See `UpScale`."""
        y: Tensor = self.upscale(self.focal_block(x))
        return y


class Compressor(nn.Module):
    """Features to latent frames, whose signs are the code."""

    def __init__(self, features: int, bits: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        dims = c["hidden_dims"]
        scales = zip([features, *dims[:-1]], dims, c["downscale_factors"], strict=True)
        self.layers = nn.ModuleList(FocalDownScale(*scale, c) for scale in scales)
        self.out_proj = nn.Linear(dims[-1], bits)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N', bits)."""
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.out_proj(x)
        return y


class Decompressor(nn.Module):
    """Codes to features."""

    def __init__(self, bits: int, features: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        dims = c["hidden_dims"]
        self.in_proj = nn.Linear(bits, dims[0])
        scales = zip(dims, [*dims[1:], features], c["upscale_factors"], strict=True)
        self.layers = nn.ModuleList(FocalUpScale(*scale, c) for scale in scales)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N', bits) -> (B, N, D)."""
        x = self.in_proj(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Vocos(nn.Module):
    """Features to sound."""

    def __init__(self, features: int, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = Backbone(features, c["dim"], c["ffn_dim"], c["num_layers"])
        self.head = Head(c["dim"], c["n_fft"], c["hop_length"])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> wav (B, N hop)."""
        y: Tensor = self.head(self.backbone(x))
        return y


class Network(nn.Module):
    """All four parts; the quantizer between them has no parameters. `core.convs.fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        features, self.bits = config["encoder"]["dim"], config["codebook_size"].bit_length() - 1
        self.encoder = WavLM(config["encoder"])
        self.compressor = Compressor(features, self.bits, config["compressor"])
        self.decompressor = Decompressor(self.bits, features, config["decompressor"])
        self.decoder = Vocos(features, config["decoder"])

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> codes (B, N). The latent frames are not brought to the unit sphere: it would change no sign."""
        latent = self.compressor(self.encoder(wav))
        return ((latent > 0) * self._places(latent.device)).sum(2)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> wav (B, T)."""
        signs = (codes[..., None] // self._places(codes.device)) % 2 * 2 - 1
        y: Tensor = self.decoder(self.decompressor(signs.float() / math.sqrt(self.bits)))
        return y

    def _places(self, device: torch.device) -> Tensor:
        """What each sign is worth; the first is worth most."""
        return 2 ** torch.arange(self.bits - 1, -1, -1, device=device)
