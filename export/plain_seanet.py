"""Channels-first forms, (B, C, L), of the causal layers of `codecs/_seanet.py`, for graphs.

Every layer maps `(x, ends, memory)` to the next x and ends. `ends` (B,) are the true lengths of the rows of x, which is what
reflection at a clip's end goes by; None where nothing is reflected. `memory` carries the state of a stream in and out, in the
order in which layers come: see `Memory`. Whole clips have an empty one.

Letters: B batch, C channels, L positions at the layer's rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._seanet import Activation, Conv, Recurrent, Residual, Upsample

__all__ = ["Memory", "PlainStack"]

Ends = Tensor | None


class Memory:
    """What a stream keeps between pushes.

    Attributes:
        given: the states that came in; None for a whole clip.
        kept: the states that go out.
        started: (B, 1), above 0 where something was pushed before.
    """

    def __init__(self, given: Iterable[Tensor] | None = None, started: Tensor | None = None) -> None:
        self.given = None if given is None else list(given)
        self.started, self.kept = started, list[Tensor]()

    def before(self, fresh: Tensor, begins: bool = False) -> Tensor:
        """What lies before x: `fresh` for a whole clip, else the next state, which begins as zeros.

        begins: whether a stream, too, begins with `fresh`, since that is not zeros.
        """
        if self.given is None:
            return fresh
        state = self.given[len(self.kept)]
        self.kept.append(state)  # until `keep` says what comes in its place
        return torch.where(cast(Tensor, self.started)[:, :, None] > 0, state, fresh) if begins else state

    def keep(self, following: Tensor) -> None:
        """The state for what comes after, in place of the one that was last given."""
        if self.given is not None:
            self.kept[-1] = following


class PlainConv(nn.Module):
    """A causal convolution; the last stride of rows that end inside it is completed by reflection."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        weight = layer.conv.product.detach()
        self.conv = nn.Conv1d(weight.shape[1], weight.shape[0], weight.shape[2], layer.stride, 0, layer.dilation)
        if layer.conv.bias is None:
            self.conv.bias = None
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            if layer.conv.bias is not None:
                cast(Tensor, self.conv.bias).copy_(layer.conv.bias)
        self.reach, self.stride, self.pad = layer.reach, layer.stride, layer.pad
        self.reflects = layer.pad == "reflect" and layer.stride > 1

    def states(self) -> list[tuple[int, int]]:
        """(channels, positions) of its state."""
        return [(self.conv.in_channels, self.reach)] if self.reach else []

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """x (B, C, L), L whole strides -> (B, C', L / stride)."""
        seen = x
        if self.reach:
            seen = torch.cat([memory.before(self._fresh(x, ends), self.pad != "constant"), x], 2)
            memory.keep(seen[:, :, x.shape[2] :])
        if ends is not None and self.reflects:
            seen = self._completed(seen, ends, memory)
        return self.conv(seen), None if ends is None else (ends + self.stride - 1) // self.stride

    def _fresh(self, x: Tensor, ends: Ends) -> Tensor:
        """The `reach` positions before a clip's start. Mirrored, they are its first, zeros taken as following a short clip."""
        if self.pad == "constant":
            return torch.zeros_like(x[:, :, :1]).expand(-1, -1, self.reach)
        if self.pad == "replicate":
            return x[:, :, :1].expand(-1, -1, self.reach)
        place = torch.arange(self.reach, 0, -1, device=x.device)
        last = torch.arange(x.shape[2], device=x.device)[-1:]
        there = (place <= last)[None] if ends is None else place < ends[:, None]
        return x.index_select(2, torch.minimum(place, last)) * there[:, None]

    def _completed(self, seen: Tensor, ends: Tensor, memory: Memory) -> Tensor:
        """Each row mirrored after its end up to a whole stride; zeros after a whole clip of no more than one stride."""
        place = torch.arange(self.stride - 1, device=seen.device)
        missing = place < torch.remainder(-ends, self.stride)[:, None]
        stop, channels = self.reach + ends[:, None], seen.shape[1]
        source = (stop - 2 - place).clamp(min=0)[:, None].expand(-1, channels, -1)
        target = torch.where(missing, stop + place, 0)[:, None].expand(-1, channels, -1)  # nowhere: the first is written over
        mirrored = seen.gather(2, source)
        fresh = ends <= self.stride
        if memory.given is not None:
            fresh = fresh & (cast(Tensor, memory.started)[:, 0] <= 0)
        mirrored = torch.where(fresh[:, None, None], torch.zeros_like(mirrored), mirrored)
        return seen.scatter(2, target, torch.where(missing[:, None], mirrored, seen[:, :, :1]))


class PlainUpsample(nn.Module):
    """A causal transposed convolution of two strides' width."""

    def __init__(self, layer: Upsample) -> None:
        super().__init__()
        weight = layer.conv.product.detach()
        self.conv = nn.ConvTranspose1d(weight.shape[0], weight.shape[1], weight.shape[2], layer.stride)
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            cast(Tensor, self.conv.bias).copy_(cast(Tensor, layer.conv.bias))
        self.stride = layer.stride

    def states(self) -> list[tuple[int, int]]:
        """(channels, positions) of its state."""
        return [(self.conv.in_channels, 1)]

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """x (B, C, L) -> (B, C', L stride)."""
        if memory.given is None:
            y = self.conv(x)[:, :, : x.shape[2] * self.stride]
        else:
            seen = torch.cat([memory.before(x[:, :, :1]), x], 2)
            memory.keep(x[:, :, x.shape[2] - 1 :])
            y = self.conv(seen)[:, :, self.stride : (x.shape[2] + 1) * self.stride]
        return y, None if ends is None else ends * self.stride


class PlainLSTM(nn.Module):
    """An LSTM over time with a skip connection, as ONNX's own operator: torch's decomposition bakes in the length."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.lstm, self.dim = layer.lstm, layer.lstm.hidden_size
        self.layers = layer.lstm.num_layers

    def states(self) -> list[tuple[int, int]]:
        """Hidden and cell of each layer, as (channels, positions)."""
        return [(self.dim, 1)] * (2 * self.layers)

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """x (B, C, L) -> the same shape."""
        y, start = x.permute(2, 0, 1), x[:, :, :1] * 0
        for i in range(self.layers):
            hidden, cell = memory.before(start), memory.before(start)
            y, hidden, cell = self._run(y, hidden.permute(2, 0, 1), cell.permute(2, 0, 1), i)
            if memory.given is not None:
                memory.kept[-2:] = [hidden.permute(1, 2, 0), cell.permute(1, 2, 0)]
        return y.permute(1, 2, 0) + x, ends

    def _run(self, x: Tensor, hidden: Tensor, cell: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """x (L, B, C), hidden and cell (1, B, C)."""
        weights = self.lstm.all_weights[layer]
        if not torch.compiler.is_exporting():
            y, h, c = torch.lstm(x, [hidden, cell], list[Tensor](weights), True, 1, 0.0, False, False, False)
            return y, h, c
        enter, again, bias_in, bias_again = (self._ordered(w) for w in weights)
        given = (x, enter[None], again[None], torch.cat([bias_in, bias_again])[None], None, hidden, cell)
        shapes = [(x.shape[0], 1, x.shape[1], self.dim), (1, x.shape[1], self.dim), (1, x.shape[1], self.dim)]
        kinds = [torch.float32] * 3
        y, h, c = torch.onnx.ops.symbolic_multi_out(
            "LSTM", given, {"hidden_size": self.dim}, dtypes=kinds, shapes=shapes, version=20
        )
        return y[:, 0], h, c

    def _ordered(self, weight: Tensor) -> Tensor:
        """torch has the gates in the order input, forget, cell, output; ONNX input, output, forget, cell."""
        i, f, c, o = weight.detach().chunk(4)
        return torch.cat([i, o, f, c])


class PlainResidual(nn.Module):
    """The block beside its shortcut, or beside x."""

    def __init__(self, layer: Residual) -> None:
        super().__init__()
        self.block = PlainStack(layer.block)
        self.shortcut = PlainConv(layer.shortcut) if layer.shortcut is not None else None

    def states(self) -> list[tuple[int, int]]:
        """Of the block; the shortcut has none."""
        return self.block.states()

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """x (B, C, L) -> the same shape."""
        y, _ = self.block(x, ends, memory)
        return y + (x if self.shortcut is None else self.shortcut(x, None, memory)[0]), ends


class PlainELU(nn.Module):
    """ELU."""

    def states(self) -> list[tuple[int, int]]:
        """None."""
        return []

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """Point by point."""
        return F.elu(x), ends


FORMS: dict[type[nn.Module], Any] = {
    Conv: PlainConv,
    Upsample: PlainUpsample,
    Recurrent: PlainLSTM,
    Residual: PlainResidual,
    Activation: lambda _: PlainELU(),
}


class PlainStack(nn.Module):
    """Layers in a row."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FORMS[type(layer)](layer) for layer in layers)

    def states(self) -> list[tuple[int, int]]:
        """(channels, positions) of every state, in order."""
        return [state for layer in self.layers for state in cast(PlainConv, layer).states()]

    def past(self) -> int:
        """Positions of the input, at most, that an output sees before its own; of stacks without an LSTM."""
        seen, rate = Fraction(0), Fraction(1)  # positions of the input for one at this layer
        for layer in self.modules():
            if isinstance(layer, PlainConv):
                seen, rate = seen + layer.reach * rate, rate * layer.stride
            elif isinstance(layer, PlainUpsample):
                seen, rate = seen + rate, rate / layer.stride
        return math.ceil(seen)

    def forward(self, x: Tensor, ends: Ends, memory: Memory) -> tuple[Tensor, Ends]:
        """x (B, C, L) -> (B, C', L')."""
        for layer in self.layers:
            x, ends = layer(x, ends, memory)
        return x, ends
