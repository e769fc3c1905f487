"""The network of the Descript Audio Codec: SNAC's blocks, which were made from it, at one rate and with dense convolutions.

Kumar, Seetharaman, Luebs, Kumar and Kumar 2023, "High-Fidelity Audio Compression with Improved RVQGAN", arXiv:2306.06546;
published at github.com/descriptinc/descript-audio-codec (MIT), and with the weight norm multiplied in by `transformers`
(Apache-2.0). Parameters have the names of the first and the plain form of the second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ..core.convs import ConvTranspose, Snake
from ..core.errors import ModelError
from . import _snac

__all__ = ["Network", "complete", "from_descript", "from_transformers"]

# The arguments of the published constructor that shape the network, and their defaults there.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 44100,
    "encoder_dim": 64,
    "encoder_rates": [2, 4, 8, 8],
    "latent_dim": None,
    "decoder_dim": 1536,
    "decoder_rates": [8, 8, 4, 2],
    "n_codebooks": 9,
    "codebook_size": 1024,
    "codebook_dim": 8,
}
# What makes SNAC's network DAC's.
FIXED: dict[str, Any] = {"attn_window_size": None, "noise": False, "depthwise": False}
# Names in `transformers`' configuration.
TRANSFORMERS = {
    "sampling_rate": "sampling_rate",
    "encoder_hidden_size": "encoder_dim",
    "downsampling_ratios": "encoder_rates",
    "decoder_hidden_size": "decoder_dim",
    "n_codebooks": "n_codebooks",
    "codebook_size": "codebook_size",
    "codebook_dim": "codebook_dim",
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` as SNAC's network takes it. Raises `ModelError` when it is not the configuration of a codec."""
    known = {*DEFAULTS, *FIXED, "vq_strides"}
    if unknown := set(config) - known:
        raise ModelError(f"DAC has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config, **FIXED}
    codebooks = full.pop("n_codebooks") if "vq_strides" not in config else len(full.pop("vq_strides"))
    full.pop("n_codebooks", None)
    if not isinstance(codebooks, int) or codebooks < 1:
        raise ModelError(f"DAC got n_codebooks {codebooks!r}; expected a whole number, at least 1")
    return _snac.complete({**full, "vq_strides": [1] * codebooks})


class Encoder(_snac.Encoder):
    """Sound to latent frames; the end is a Snake and a convolution of kernel 3."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        dim = config["latent_dim"]
        self.block = nn.Sequential(*list(self.block)[:-1], Snake(dim), _snac.conv(dim, dim, 3))


class Decoder(_snac.Decoder):
    """Latent frames to sound.

    The published transposed convolutions give one sample too few where the stride is odd, 8 in all at 16 and 24 kHz; the end
    is filled with zeros here.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, ConvTranspose):
                module.output_padding = (0,)
        self.samples = math.prod(config["decoder_rates"])  # of a frame

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> wav (B, N hop)."""
        wav = super().forward(x)
        return F.pad(wav, (0, x.shape[1] * self.samples - wav.shape[1]))


class Network(_snac.Network):
    """Plain weights under descript's names; `fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for module in self.modules():
            if is_parametrized(module, "weight"):
                remove_parametrizations(module, "weight")


def from_descript(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a descript checkpoint, old names of weight norm or new, with the norm multiplied in."""
    norms = {"weight_g": "weight_v", "parametrizations.weight.original0": "parametrizations.weight.original1"}
    plain = {}
    for key, value in state.items():
        gain = next((gain for gain in norms if key.endswith(gain)), None)
        if gain is not None:
            stem = key.removesuffix(gain)
            direction = state.get(stem + norms[gain])
            if direction is not None:
                plain[f"{stem}weight"] = torch._weight_norm(direction, value, 0)
                continue
        if not key.endswith(tuple(norms.values())):
            plain[key] = value
    return plain


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `transformers` checkpoint under descript's names."""
    blocks = 1 + max((int(found[1]) for key in state if (found := re.match(r"encoder\.block\.(\d+)\.", key))), default=-1)
    return {_descript_name(key, blocks): value for key, value in state.items()}


def _descript_name(key: str, blocks: int) -> str:
    side, _, rest = key.partition(".")
    if side not in ("encoder", "decoder"):
        return key
    body = "block" if side == "encoder" else "model"
    ends = {"conv1": 0, "snake1": blocks + 1, "conv2": blocks + 2}
    name, _, rest = rest.partition(".")
    if name in ends:
        return f"{side}.{body}.{ends[name]}.{rest}"
    number, part, rest = rest.split(".", 2)
    # in a block of the encoder three residual units, Snake, convolution; in one of the decoder Snake, convolution, units
    units = {"res_unit1": 0, "res_unit2": 1, "res_unit3": 2}
    order = {**units, "snake1": 3, "conv1": 4}
    if side == "decoder":
        order = {"snake1": 0, "conv_t1": 1, **{unit: at + 2 for unit, at in units.items()}}
    if part in units:
        layer, rest = rest.split(".", 1)
        rest = f"block.{('snake1', 'conv1', 'snake2', 'conv2').index(layer)}.{rest}"
    return f"{side}.{body}.{int(number) + 1}.block.{order[part]}.{rest}"
