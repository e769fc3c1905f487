"""The SEANet encoder and decoder with residual vector quantisation, as EnCodec (Defossez et al. 2022) and Mimi use them.

Written against the published checkpoints: parameter names and shapes are theirs. Sound runs channels last, (B, L, D), the
layout in which CPUs convolve fastest. Every layer maps `(x, state, lengths)` to the same three, so one body serves whole
clips, batches of unequal lengths and streams:

    x        float (B, L, D)
    state    (a copy of) what the layer keeps of its past (causal networks); None at the start of a clip
    lengths  true length of each row of x, or None when all rows end where x ends

Letters: B batch, L positions at the layer's rate, N frames, D channels, K streams, V codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.convs import elu
from ..core.packed import plain
from ._kernels import Kernel, after, random_kernel

FEW_STEPS = 4  # up to so many, an LSTM goes step by step
PIECE = 1 << 20  # numbers in one activation; a few times as many leave the cache, and each costs page faults
Lengths = list[int] | None
Passed = tuple[Tensor, Any, Lengths]
Norm = Literal["weight_norm", "time_group_norm", "none"]
Pad = Literal["reflect", "constant", "replicate"]


def normalised(norm: nn.GroupNorm | None, x: Tensor) -> Tensor:
    """x (B, L, D) normalised over its whole length and all channels, or x itself."""
    if norm is None:
        return x
    return F.group_norm(x.transpose(1, 2)[:, :, None], 1, norm.weight, norm.bias, norm.eps)[:, :, 0].transpose(1, 2)


class Conv(nn.Module):
    """Convolution padded on the left where causal, on both sides otherwise; the last stride is completed.

    `pad`: "reflect"; or, for causal ones that are given whole strides, "constant" (zeros) or "replicate" (the first position).
    Where a clip is too short to be reflected, it is first continued by zeros.
    """

    def __init__(
        self, inside: int, outside: int, width: int, stride: int = 1, dilation: int = 1, *, causal: bool, norm: Norm,
        pad: Pad = "reflect", bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        kernel = random_kernel(outside, inside, width, inside * width)
        self.conv = Kernel(kernel, outside if bias else None, norm == "weight_norm")
        self.norm = nn.GroupNorm(1, outside) if norm == "time_group_norm" else None
        self.pad, self.outside = pad, outside
        self.width, self.stride, self.dilation, self.causal = width, stride, dilation, causal
        self.reach = (width - 1) * dilation + 1 - stride  # positions before its own stride that an output sees

    def fold(self) -> None:
        """To be called when the parameters have changed."""
        self.conv.lay(self.conv.product)

    def forward(
        self, x: Tensor, state: Tensor | None, lengths: Lengths, elu: bool = False, add: Tensor | None = None
    ) -> Passed:
        """state: the last `reach` positions (B, reach, D) before x; `elu`: of ELU of x; `add` is added to what comes out."""
        if not self.causal:
            return self._convolved(self._surrounded(x), add), None, None
        seen = after(x, self.reach, lambda y: self._before(y, lengths) if state is None else state, elu)
        if self.stride > 1:
            seen, lengths = self._completed(seen, lengths, state is None)
        return self._convolved(seen, add), seen[:, seen.shape[1] - self.reach :].clone(), lengths

    def _convolved(self, seen: Tensor, add: Tensor | None) -> Tensor:
        inner = add if self.norm is None else None
        y = normalised(self.norm, self.conv.convolved(seen, self.conv.bias, self.stride, self.dilation, inner))
        return y if add is inner else y + cast(Tensor, add)

    def _before(self, x: Tensor, lengths: Lengths) -> Tensor:
        """The `reach` positions before the start. Mirrored, they are the first ones, zeros taken as following a short clip."""
        if self.pad != "reflect":
            first = x[:, :1] if self.pad == "replicate" else torch.zeros_like(x[:, :1])
            return first.expand(-1, self.reach, -1)
        head = x[:, : self.reach + 1]
        if lengths is not None:
            ends = torch.tensor(lengths, device=x.device)
            head = head * (torch.arange(head.shape[1], device=x.device) < ends[:, None])[:, :, None]
        return F.pad(head, (0, 0, 0, self.reach + 1 - head.shape[1]))[:, 1:].flip(1)

    def _completed(self, seen: Tensor, lengths: Lengths, fresh: bool) -> tuple[Tensor, Lengths]:
        """Each row continued to a whole number of strides, by reflection (by zeros a clip of at most one stride)."""
        total = seen.shape[1] - self.reach
        ends = [total] * len(seen) if lengths is None else lengths
        missing = -total % self.stride
        if missing or lengths is not None:
            seen = F.pad(seen, (0, 0, 0, missing))
            for row, end in zip(seen, ends, strict=True):
                short, stop = -end % self.stride, self.reach + end
                mirrored = row[stop - 1 - short : stop - 1].flip(0)
                row[stop : stop + short] = 0 if fresh and end <= self.stride else mirrored
        return seen, None if lengths is None else [-(-end // self.stride) for end in ends]

    def _surrounded(self, x: Tensor) -> Tensor:
        """x with half of its reach on each side, more on the left, and the last stride completed."""
        right = self.reach // 2
        left, right = self.reach - right, right + -x.shape[1] % self.stride
        size = x.shape[1]
        longer = F.pad(x, (0, 0, 0, max(0, max(left, right) + 1 - size)))
        end = longer.shape[1]
        whole = torch.cat([longer[:, 1 : left + 1].flip(1), longer, longer[:, end - 1 - right : end - 1].flip(1)], dim=1)
        return whole[:, : left + size + right]


class Upsample(nn.Module):
    """Transposed convolution of two strides' width, cut to L * stride: on the right where causal, else on both sides.

    Each stride of the output is a linear function of two neighbouring positions of the input, and is computed so.
    """

    def __init__(self, inside: int, outside: int, stride: int, *, causal: bool, norm: Norm) -> None:
        super().__init__()
        self.conv = Kernel(random_kernel(inside, outside, 2 * stride, 2 * inside), outside, norm == "weight_norm")
        self.norm = nn.GroupNorm(1, outside) if norm == "time_group_norm" else None
        self.stride, self.causal, self.outside = stride, causal, outside

    def fold(self) -> None:
        """To be called when the parameters have changed."""
        late, early = self.conv.product.split(self.stride, dim=2)  # (I, O, S): of the position itself, and of the one before
        self.conv.lay(torch.stack([early, late], dim=3).permute(2, 1, 0, 3).flatten(0, 1))  # (S * O, I, 2)

    def forward(self, x: Tensor, state: Tensor | None, lengths: Lengths, elu: bool = False) -> Passed:
        """state: the last position (B, 1, D) before x, which still sounds in x's first stride; `elu`: of ELU of x."""
        if self.causal:
            seen = after(x, 1, lambda y: torch.zeros_like(y[:, :1]) if state is None else state, elu)
        else:
            seen = F.pad(x, (0, 0, 1, 1))
        bias = cast(Tensor, self.conv.bias)
        y = self.conv.convolved(seen, bias.repeat(self.stride))
        y = normalised(self.norm, y.reshape(len(y), -1, len(bias)))
        if not self.causal:
            start = self.stride - self.stride // 2
            y = y[:, start : start + x.shape[1] * self.stride]
        return y, seen[:, -1:].clone(), None if lengths is None else [n * self.stride for n in lengths]


class Recurrent(nn.Module):
    """LSTM over time with a skip connection.

    On a CPU the library lays the weights out anew at every call, which for a few steps costs several times the steps.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers, batch_first=True)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: Lengths) -> Passed:
        """state: hidden and cell (layers, B, D)."""
        few = x.shape[1] <= FEW_STEPS and x.device.type == "cpu"
        y, state = self._step_by_step(x, state) if few else self.lstm(x, state)
        return y + x, state, lengths

    def _step_by_step(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        start = x.new_zeros(len(self.lstm.all_weights), len(x), x.shape[2])
        cells = list(zip(*((start, start) if state is None else state), strict=True))
        out = []
        for y in x.unbind(1):
            for i, weights in enumerate(self.lstm.all_weights):
                cells[i] = torch.lstm_cell(y, cells[i], *weights)
                y = cells[i][0]
            out.append(y)
        hidden, cell = zip(*cells, strict=True)
        return torch.stack(out, dim=1), (torch.stack(hidden), torch.stack(cell))


class Activation(nn.Module):
    """ELU. `spare` says that the input is needed again and must not be overwritten."""

    def __init__(self, spare: bool = False) -> None:
        super().__init__()
        self.inplace = not spare

    def forward(self, x: Tensor, state: None, lengths: Lengths) -> Passed:
        """No state."""
        return elu(x, x if self.inplace else torch.empty_like(x)), None, lengths


class Residual(nn.Module):
    """A wide and a 1-wide convolution at reduced width, beside a 1-wide shortcut (or none)."""

    def __init__(self, dim: int, width: int, dilation: int, compress: int, shortcut: bool, **kind: Any) -> None:
        super().__init__()
        hidden = dim // compress
        wide = Conv(dim, hidden, width, dilation=dilation, **kind)
        self.block = nn.ModuleList([Activation(spare=True), wide, Activation(), Conv(hidden, dim, 1, **kind)])
        self.shortcut = Conv(dim, dim, 1, **kind) if shortcut else None

    def forward(self, x: Tensor, state: list[Any] | None, lengths: Lengths) -> Passed:
        """state: of the block's layers; the shortcut has none."""
        beside = x if self.shortcut is None else self.shortcut(x, None, lengths)[0]
        y, state, _ = run(self.block, x, state, lengths, beside)
        return y, state, lengths


def run(
    layers: Iterable[nn.Module], x: Tensor, state: list[Any] | None, lengths: Lengths, add: Tensor | None = None
) -> tuple[Tensor, list[Any], Lengths]:
    """Layers in a row, each with its own state; `add` is given to the last, a convolution.

    A causal convolution does the activation before it as it pads, in one pass.
    """
    layers = list(layers)
    following: list[Any] = []
    extra: dict[str, Any] = {}
    for i, (layer, then) in enumerate(zip(layers, [*layers[1:], None], strict=True)):
        if isinstance(layer, Activation) and isinstance(then, (Conv, Upsample)) and then.causal:
            extra = {"elu": True}
            following.append(None)
        else:
            extra |= {"add": add} if then is None and add is not None else {}
            x, kept, lengths = layer(x, None if state is None else state[i], lengths, **extra)
            following.append(kept)
            extra = {}
    return x, following, lengths


class Stack(nn.Module):
    """Layers in a row, under the name the checkpoints have for them.

    On a CPU the causal layers at the highest rates go through a clip in pieces that stay in its cache; the layers' states
    make that the same as the whole.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        turns = [i for i, layer in enumerate(layers) if getattr(layer, "stride", 1) > 1]
        middle = len(turns) // 2
        self.rising = bool(turns) and isinstance(layers[turns[0]], Upsample)
        self.cut = turns[middle] - 1 if self.rising else 1 + turns[middle - 1] if middle else 1
        self.causal = cast(Conv, layers[0]).causal

    def forward(self, x: Tensor, state: list[Any] | None = None, lengths: Lengths = None) -> tuple[Tensor, list[Any], Lengths]:
        """x (B, L, D) -> (B, L', D'), the state for what follows, and the lengths of its rows."""
        if not (self.causal and plain(x)):
            return run(self.layers, x, state, lengths)
        following = []
        for part, fast in ((slice(self.cut), not self.rising), (slice(self.cut, None), self.rising)):
            way = in_pieces if fast else run
            x, kept, lengths = way(list(self.layers)[part], x, None if state is None else state[part], lengths)
            following += kept
        return x, following, lengths


def in_pieces(
    layers: list[nn.Module], x: Tensor, state: list[Any] | None, lengths: Lengths
) -> tuple[Tensor, list[Any], Lengths]:
    """What `run` gives, made of pieces; rows of unequal lengths go one by one, and no state comes of them."""
    if lengths is not None:
        rows = [in_pieces(layers, row[None, :end], None, None)[0][0] for row, end in zip(x, lengths, strict=True)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), [None] * len(layers), [len(row) for row in rows]
    parts, size, kept = [], piece(layers, x), state or []
    for start in range(0, max(1, x.shape[1]), size):
        y, kept, _ = run(layers, x[:, start : start + size], kept or None, None)
        parts.append(y)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), kept, None


def piece(layers: list[nn.Module], x: Tensor) -> int:
    """Positions of a piece of x (B, L, D): whole strides, more than a layer needs of the past, else as the cache holds."""
    unit, rate, most, past = 1, 1, x.shape[2], 0
    for layer in layers:
        if isinstance(layer, (Conv, Residual)):
            conv = layer if isinstance(layer, Conv) else cast(Conv, layer.block[1])
            unit, past = unit * conv.stride, max(past, (conv.reach + 1) * unit)
        if isinstance(layer, Upsample):
            rate *= layer.stride
        if isinstance(layer, (Conv, Upsample)):
            most = max(most, layer.outside * rate // unit)
    return -(-max(past, PIECE // (most * len(x))) // unit) * unit


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

    def __init__(self, streams: int, size: int, dim: int, book: type[Codebook] = Codebook) -> None:
        super().__init__()
        scales = [2 ** (-2 - k / 4) for k in range(streams)]  # each stream is finer than the one before
        self.layers = nn.ModuleList([nn.ModuleDict({"codebook": book(size, dim, scale)}) for scale in scales])

    @property
    def books(self) -> list[Codebook]:
        """K codebooks."""
        return [cast(Codebook, cast(nn.ModuleDict, layer)["codebook"]) for layer in self.layers]

    def encode(self, latent: Tensor, streams: int) -> list[Tensor]:
        """latent (B, N, D) -> the first `streams` streams of codes, each (B, N)."""
        batch, frames, dim = latent.shape
        with torch.autocast(latent.device.type, enabled=False):
            left = latent.float().reshape(-1, dim)
            codes = []
            for book in self.books[:streams]:
                codes.append(book.search(left))
                left = left - F.embedding(codes[-1], book.embed)
        return [c.view(batch, frames) for c in codes]

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Codes of the first streams, each (B, N) -> latent (B, N, D), the sum of the codewords."""
        latent = F.embedding(codes[0], self.books[0].embed)
        for stream, book in zip(codes[1:], self.books[1:], strict=False):
            latent = latent + F.embedding(stream, book.embed)
        return latent
