"""The SEANet encoder and decoder with residual vector quantisation, as EnCodec uses them (Defossez et al. 2022).

Written against the published checkpoints: parameter names are theirs. Every layer maps `(x, state, lengths)` to the same
three, so one body serves whole clips, batches of unequal lengths and streams:

    x        float (B, D, L)
    state    (a copy of) what the layer keeps of its past (causal networks); None at the start of a clip
    lengths  true length of each row of x, or None when all rows end where x ends

Letters: B batch, L positions at the layer's rate, N frames, D channels, K streams, V codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Lengths = list[int] | None
Passed = tuple[Tensor, Any, Lengths]


class Kernel(nn.Module):
    """Weight (O, I, W) and bias of a convolution; with weight norm (Salimans & Kingma 2016) stored as `weight_g`, `weight_v`.

    The product of the two is computed once, by `fold`, and not at every call.
    """

    folded: Tensor

    def __init__(self, weight: Tensor, biases: int, weight_norm: bool) -> None:
        super().__init__()
        if weight_norm:
            self.weight_g = nn.Parameter(weight.norm(dim=(1, 2), keepdim=True))
            self.weight_v = nn.Parameter(weight)
        else:
            self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(biases).uniform_(-0.1, 0.1))
        self.weight_norm = weight_norm
        self.register_buffer("folded", None, persistent=False)

    def fold(self) -> None:
        """Make the weight that is used out of the parameters; to be called when these have changed."""
        self.folded = torch._weight_norm(self.weight_v, self.weight_g, 0) if self.weight_norm else self.weight.data


def random_kernel(first: int, second: int, width: int, fan: int) -> Tensor:
    """Keeps the scale of the signal, so that a network with random weights hears its input."""
    return torch.randn(first, second, width) / fan**0.5


class Conv(nn.Module):
    """Convolution padded by reflection: on the left where causal, on both sides otherwise; the last stride is completed.

    Where a clip is too short to be reflected, it is first continued by zeros.
    """

    def __init__(
        self, inside: int, outside: int, width: int, stride: int = 1, dilation: int = 1, *, causal: bool, weight_norm: bool
    ) -> None:
        super().__init__()
        self.conv = Kernel(random_kernel(outside, inside, width, inside * width), outside, weight_norm)
        self.norm = None if weight_norm else nn.GroupNorm(1, outside)
        self.stride, self.dilation, self.causal = stride, dilation, causal
        self.reach = (width - 1) * dilation + 1 - stride  # positions before its own stride that an output sees

    def forward(self, x: Tensor, state: Tensor | None, lengths: Lengths) -> Passed:
        """state: the last `reach` positions (B, D, reach) before x."""
        if not self.causal:
            return self._centred(x), None, None
        left = self._reflected(x, lengths) if state is None else state
        seen = torch.cat([left, x], dim=2) if self.reach else x
        if self.stride > 1:
            seen, lengths = self._completed(seen, lengths, state is None)
        y = F.conv1d(seen, self.conv.folded, self.conv.bias, self.stride, 0, self.dilation)
        return (y if self.norm is None else self.norm(y)), seen[:, :, seen.shape[2] - self.reach :].clone(), lengths

    def _reflected(self, x: Tensor, lengths: Lengths) -> Tensor:
        """The `reach` positions before the start: the first ones mirrored, zeros taken as following a short clip."""
        head = x[:, :, : self.reach + 1]
        if lengths is not None:
            head = head * (torch.arange(head.shape[2], device=x.device) < torch.tensor(lengths, device=x.device)[:, None, None])
        return F.pad(head, (0, self.reach + 1 - head.shape[2]))[:, :, 1:].flip(2)

    def _completed(self, seen: Tensor, lengths: Lengths, fresh: bool) -> tuple[Tensor, Lengths]:
        """Each row continued to a whole number of strides, by reflection (by zeros a clip of at most one stride)."""
        total = seen.shape[2] - self.reach
        ends = [total] * len(seen) if lengths is None else lengths
        missing = -total % self.stride
        if missing or lengths is not None:
            seen = F.pad(seen, (0, missing))
            for row, end in zip(seen, ends, strict=True):
                short, stop = -end % self.stride, self.reach + end
                mirrored = row[:, stop - 1 - short : stop - 1].flip(1)
                row[:, stop : stop + short] = 0 if fresh and end <= self.stride else mirrored
        return seen, None if lengths is None else [-(-end // self.stride) for end in ends]

    def _centred(self, x: Tensor) -> Tensor:
        right = self.reach // 2
        left, right = self.reach - right, right + -x.shape[2] % self.stride
        extra = max(0, max(left, right) + 1 - x.shape[2])
        seen = F.pad(F.pad(x, (0, extra)) if extra else x, (left, right), mode="reflect")
        seen = seen[:, :, : seen.shape[2] - extra]
        y = F.conv1d(seen, self.conv.folded, self.conv.bias, self.stride, 0, self.dilation)
        return y if self.norm is None else self.norm(y)


class Upsample(nn.Module):
    """Transposed convolution of two strides' width, cut to L * stride: on the right where causal, else on both sides."""

    def __init__(self, inside: int, outside: int, stride: int, *, causal: bool, weight_norm: bool) -> None:
        super().__init__()
        self.conv = Kernel(random_kernel(inside, outside, 2 * stride, 2 * inside), outside, weight_norm)
        self.norm = None if weight_norm else nn.GroupNorm(1, outside)
        self.stride, self.causal = stride, causal

    def forward(self, x: Tensor, state: Tensor | None, lengths: Lengths) -> Passed:
        """state: the last position (B, D, 1) before x, whose second half still sounds in x's first stride."""
        seen = x if state is None else torch.cat([state, x], dim=2)
        y = F.conv_transpose1d(seen, self.conv.folded, self.conv.bias, self.stride)
        y = y if self.norm is None else self.norm(y)
        start = self.stride - self.stride // 2 if not self.causal else (0 if state is None else self.stride)
        y = y[:, :, start : start + x.shape[2] * self.stride]
        return y, seen[:, :, -1:].clone(), None if lengths is None else [n * self.stride for n in lengths]


class Recurrent(nn.Module):
    """LSTM over time with a skip connection."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: Lengths) -> Passed:
        """state: hidden and cell (layers, B, D)."""
        steps = x.permute(2, 0, 1)
        y, state = self.lstm(steps, state)
        return (y + steps).permute(1, 2, 0), state, lengths


class Activation(nn.Module):
    """ELU. `spare` says that the input is needed again and must not be overwritten."""

    def __init__(self, spare: bool = False) -> None:
        super().__init__()
        self.inplace = not spare

    def forward(self, x: Tensor, state: None, lengths: Lengths) -> Passed:
        """No state."""
        return F.elu(x, inplace=self.inplace), None, lengths


class Residual(nn.Module):
    """A wide and a 1-wide convolution at reduced width, beside a 1-wide shortcut (or none)."""

    def __init__(self, dim: int, width: int, dilation: int, compress: int, shortcut: bool, **kind: bool) -> None:
        super().__init__()
        hidden = dim // compress
        wide = Conv(dim, hidden, width, dilation=dilation, **kind)
        self.block = nn.ModuleList([Activation(spare=True), wide, Activation(), Conv(hidden, dim, 1, **kind)])
        self.shortcut = Conv(dim, dim, 1, **kind) if shortcut else None

    def forward(self, x: Tensor, state: list[Any] | None, lengths: Lengths) -> Passed:
        """state: of the block's layers; the shortcut has none."""
        y, state, _ = run(self.block, x, state, lengths)
        return y + (x if self.shortcut is None else self.shortcut(x, None, lengths)[0]), state, lengths


def run(layers: Iterable[nn.Module], x: Tensor, state: list[Any] | None, lengths: Lengths) -> tuple[Tensor, list[Any], Lengths]:
    """Layers in a row, each with its own state."""
    following = []
    for i, layer in enumerate(layers):
        x, kept, lengths = layer(x, None if state is None else state[i], lengths)
        following.append(kept)
    return x, following, lengths


class Stack(nn.Module):
    """Layers in a row, under the name the checkpoints have for them."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, state: list[Any] | None = None, lengths: Lengths = None) -> tuple[Tensor, list[Any], Lengths]:
        """x (B, D, L) -> (B, D', L'), the state for what follows, and the lengths of its rows."""
        return run(self.layers, x, state, lengths)


class Codebook(nn.Module):
    """V codewords of D channels. The search repeats the reference's arithmetic, so that near ties fall alike."""

    columns: Tensor
    energy: Tensor

    def __init__(self, size: int, dim: int, scale: float) -> None:
        super().__init__()
        self.embed = nn.Parameter(scale * torch.randn(size, dim))
        self.register_buffer("columns", None, persistent=False)
        self.register_buffer("energy", None, persistent=False)

    def fold(self) -> None:
        """Make what the search needs out of the codewords; to be called when these have changed."""
        self.columns = self.embed.data.t()
        self.energy = self.columns.pow(2).sum(0, keepdim=True)

    def search(self, x: Tensor) -> Tensor:
        """x (M, D) -> code of the nearest codeword (M,): |x|^2 - 2 x.e + |e|^2 is least."""
        distance = torch.addmm(x.pow(2).sum(1, keepdim=True), x, self.columns, alpha=-2)
        return distance.add_(self.energy).argmin(1)


class Quantizer(nn.Module):
    """Residual vector quantisation (Zeghidour et al. 2021): each stream codes what the ones before it left over."""

    def __init__(self, streams: int, size: int, dim: int) -> None:
        super().__init__()
        scales = [2 ** (-2 - k / 4) for k in range(streams)]  # each stream is finer than the one before
        self.layers = nn.ModuleList([nn.ModuleDict({"codebook": Codebook(size, dim, scale)}) for scale in scales])

    @property
    def books(self) -> list[Codebook]:
        """K codebooks."""
        return [cast(Codebook, cast(nn.ModuleDict, layer)["codebook"]) for layer in self.layers]

    def encode(self, latent: Tensor, streams: int) -> list[Tensor]:
        """latent (B, D, N) -> the first `streams` streams of codes, each (B, N)."""
        batch, dim, frames = latent.shape
        with torch.autocast(latent.device.type, enabled=False):
            left = latent.float().transpose(1, 2).reshape(-1, dim)
            codes = []
            for book in self.books[:streams]:
                codes.append(book.search(left))
                left = left - F.embedding(codes[-1], book.embed)
        return [c.view(batch, frames) for c in codes]

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of the first streams, each (B, N) -> latent (B, D, N), the sum of the codewords."""
        latent = F.embedding(codes[0], self.books[0].embed)
        for stream, book in zip(codes[1:], self.books[1:], strict=False):
            latent = latent + F.embedding(stream, book.embed)
        return latent.transpose(1, 2)
