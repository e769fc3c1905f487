"""Graphs of SNAC and DAC."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs._snac import Network, Quantizers
from ..codecs.snac import Snac, decoder_blocks, encoder_blocks
from ..core.model import Model
from .plain_convs import sequence
from .plan import Plan

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), whole padding units -> codes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = sequence(network.encoder.block)
        self.quantizer = network.quantizer
        self.streams = len(network.quantizer.quantizers)

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        return self.quantizer.encode(self.layers(wav[:, None]).transpose(1, 2), self.streams)


class Decode(nn.Module):
    """codes -> wav (B, T)."""

    def __init__(self, network: Network, hop: int) -> None:
        super().__init__()
        self.layers = sequence(network.decoder.model)
        self.quantizer, self.hop = network.quantizer, hop

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class; what the convolutions give too few is filled up with zeros, as the model does."""
        latent = looked_up(self.quantizer, codes)
        wav = self.layers(latent.transpose(1, 2))[:, 0]
        return F.pad(wav, (0, latent.shape[1] * self.hop - wav.shape[1]))


def looked_up(quantizer: Quantizers, codes: tuple[Tensor, ...]) -> Tensor:
    """codes -> latent (B, N, C); -1 adds nothing."""
    total: Tensor | None = None
    for one, stream in zip(quantizer, codes, strict=True):
        part = one.out_proj(one.codebook(stream.clamp(min=0))) * (stream >= 0)[..., None]
        part = part.repeat_interleave(one.stride, 1) if one.stride > 1 else part
        total = part if total is None else total + part
    return cast(Tensor, total)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    codec, made = cast(Snac, model), Plan.of(model)
    made.encoder(Encode(codec.network))
    made.decoder(Decode(codec.network, math.prod(codec.config["encoder_rates"])))
    made.blocks("encoder", encoder_blocks(codec.config, codec.network))
    made.blocks("decoder", decoder_blocks(codec.config, codec.network))
    return made
