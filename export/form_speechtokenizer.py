"""Graphs of SpeechTokenizer: convolutions that mirror the sound at both ends, and an LSTM that runs both ways.

Clips of a batch are of one length, so that what is mirrored lies at the same place in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..codecs import _speechtokenizer as st
from ..codecs.speechtokenizer import SpeechTokenizer
from ..core.model import Model
from .form_encodec import looked_up, searched
from .plain_convs import filled, plain, sequence
from .plan import Plan

__all__ = ["plan"]


class Mirrored(nn.Module):
    """A convolution of sound continued by reflection, to the end of the last stride; of a short clip, by zeros first."""

    def __init__(self, layer: st.Conv) -> None:
        super().__init__()
        size = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], 0, layer.dilation[0])
        self.conv = filled(nn.Conv1d(*size, bias=layer.bias is not None), layer)
        self.left, self.right, self.stride = layer.left, layer.right, layer.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> (B, C', ceil(T / stride))."""
        if self.left or self.right or self.stride > 1:
            last = torch.arange(x.shape[2], device=x.device)[-1:]
            right = self.right + torch.remainder(-(last + 1), self.stride)
            end = torch.maximum(last, right.clamp(min=self.left))  # of the clip, or of the zeros after a short one
            before = torch.arange(self.left, 0, -1, device=x.device)
            after = torch.arange(self.right + self.stride - 1, device=x.device) + last + 1
            after = torch.where(after > end, 2 * end - after, after)
            x = torch.cat([self._taken(x, before, last), x, self._taken(x, after, last)], 2)
        return self.conv(x)

    def _taken(self, x: Tensor, place: Tensor, last: Tensor) -> Tensor:
        """x at these places, zero after its end."""
        there = (place <= last) & (place >= 0)
        return x.index_select(2, torch.minimum(place, last).clamp(min=0)) * there


class Both(nn.Module):
    """The LSTM with its skip connection, one way or both, as ONNX's own operator."""

    def __init__(self, layer: st.Recurrent) -> None:
        super().__init__()
        self.lstm, self.size = layer.lstm, layer.lstm.hidden_size
        self.ways = 1 + layer.lstm.bidirectional

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, N) -> (B, C or 2 C, N)."""
        skip = torch.cat([x] * self.ways, 1)
        if not torch.compiler.is_exporting():
            return self.lstm(x.transpose(1, 2))[0].transpose(1, 2) + skip
        y = x.permute(2, 0, 1)
        for i in range(self.lstm.num_layers):
            weights = self.lstm.all_weights[self.ways * i : self.ways * (i + 1)]
            enter, again, bias = (torch.stack(list(parts)) for parts in zip(*map(self._ordered, weights), strict=True))
            shape = (y.shape[0], self.ways, y.shape[1], self.size)
            given: dict[str, Any] = {"hidden_size": self.size, "direction": "bidirectional" if self.ways == 2 else "forward"}
            out = torch.onnx.ops.symbolic("LSTM", (y, enter, again, bias), given, dtype=x.dtype, shape=shape, version=20)
            y = out.transpose(1, 2).flatten(2)
        return y.permute(1, 2, 0) + skip

    def _ordered(self, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """torch has the gates in the order input, forget, cell, output; ONNX input, output, forget, cell."""
        enter, again, *biases = ([w.detach().chunk(4)[gate] for gate in (0, 3, 1, 2)] for w in weights)
        return torch.cat(enter), torch.cat(again), torch.cat([part for bias in biases for part in bias])


class Beside(nn.Module):
    """The block beside its shortcut."""

    def __init__(self, layer: st.Residual) -> None:
        super().__init__()
        self.block, self.shortcut = sequence(layer.block), plain(layer.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> the same shape."""
        return self.block(x) + self.shortcut(x)


class Upsampled(nn.Module):
    """A transposed convolution, cut at both ends."""

    def __init__(self, layer: st.Upsample) -> None:
        super().__init__()
        size = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        self.conv, self.stride, self.cut = filled(nn.ConvTranspose1d(*size), layer), layer.stride[0], layer.cut

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, T) -> (B, C', T stride)."""
        return self.conv(x)[:, :, self.cut : self.cut + x.shape[2] * self.stride]


@plain.register
def _(layer: st.Conv) -> nn.Module:
    return Mirrored(layer)


@plain.register
def _(layer: st.Elu) -> nn.Module:
    return nn.ELU()


@plain.register
def _(layer: st.Recurrent) -> nn.Module:
    return Both(layer)


@plain.register
def _(layer: st.Residual) -> nn.Module:
    return Beside(layer)


@plain.register
def _(layer: st.Upsample) -> nn.Module:
    return Upsampled(layer)


class Encode(nn.Module):
    """wav (B, T) -> codes."""

    def __init__(self, network: st.Network) -> None:
        super().__init__()
        self.layers, self.quantizer = sequence(network.encoder.model), network.quantizer

    def forward(self, wav: Tensor) -> list[Tensor]:
        """See the class."""
        return searched(self.quantizer, self.layers(wav[:, None]).transpose(1, 2))


class Decode(nn.Module):
    """codes -> wav (B, hop N)."""

    def __init__(self, network: st.Network) -> None:
        super().__init__()
        self.layers, self.quantizer = sequence(network.decoder.model), network.quantizer

    def forward(self, *codes: Tensor) -> Tensor:
        """See the class."""
        return self.layers(looked_up(self.quantizer, codes).transpose(1, 2))[:, 0]


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network, made = cast(SpeechTokenizer, model).network, Plan.of(model)
    # Torch cannot tell that ceil(T / hop) frames are more than one, but that n are; other lengths are tested in the graph.
    made.encoder(Encode(network), unit=made.hop)
    made.decoder(Decode(network))
    made.long = {"encoder": {"kind": "whole"}, "decoder": {"kind": "whole"}}
    return made
