"""Graphs of X-Codec and of Higgs Audio's tokenizer: DAC's encoder and decoder, and a speech backbone beside the encoder."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs import _xcodec
from ..codecs._xcodec import Network
from ..codecs.xcodec import Xcodec, decoder_blocks, encoder_blocks
from ..core.model import Model
from .plain_convs import Beside, plain, sequence
from .plan import Plan

__all__ = ["plan"]


@plain.register
def _(layer: _xcodec.Residual) -> nn.Module:
    return Beside(sequence([nn.ELU(), layer.conv1, nn.ELU(), layer.conv2]))


@plain.register
def _(layer: _xcodec.Block) -> nn.Module:
    return sequence([*layer.res_units, layer.conv])


class Encode(nn.Module):
    """wav (B, T), whole frames -> codes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.acoustic = sequence(network.acoustic_encoder.block)
        self.refiner = sequence([network.encoder_semantic.conv, *network.encoder_semantic.conv_blocks])
        self.network = network

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        net = self.network
        semantic = self.refiner(net._semantic(wav).transpose(1, 2))
        left = net.fc(torch.cat([self.acoustic(wav[:, None]), semantic], 1).transpose(1, 2))
        codes = []
        for quantizer in net.quantizer:
            book, x = quantizer.codebook, quantizer.project_in(left)
            codes.append((x.pow(2).sum(2, keepdim=True) - 2 * (x @ book.columns) + book.energy).argmin(2))
            left = left - quantizer.decode(codes[-1])
        return codes


class Decode(nn.Module):
    """codes -> wav (B, T)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers, self.network = sequence(network.acoustic_decoder.model), network

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class; -1 adds nothing."""
        total: Tensor | None = None
        for quantizer, stream in zip(self.network.quantizer, codes, strict=True):
            word = F.embedding(stream.clamp(min=0), quantizer.codebook.embed)
            part = quantizer.project_out(word) * (stream >= 0)[..., None]
            total = part if total is None else total + part
        return self.layers(self.network.fc2(cast(Tensor, total)).transpose(1, 2))[:, 0]


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    codec, made = cast(Xcodec, model), Plan.of(model)
    made.encoder(Encode(codec.network))
    made.decoder(Decode(codec.network))
    made.blocks("encoder", encoder_blocks(codec.settings, codec.window))
    made.blocks("decoder", decoder_blocks(codec.settings, codec.network))
    return made
