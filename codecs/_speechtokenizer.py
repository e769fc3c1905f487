"""The network of SpeechTokenizer: a SEANet that looks both ways, on channels-last sound (see `core/convs.py`).

Zhang, Zhang, Li, Zhou and Qiu 2023, "SpeechTokenizer: Unified Speech Tokenizer for Speech Large Language Models",
arXiv:2308.16692; published at github.com/ZhangXInFD/SpeechTokenizer (Apache-2.0). Every convolution continues its input by
reflection at both ends and completes its last stride, so that a clip need not be padded and T samples make ceil(T / hop)
frames. Between the encoder's convolutions stands an LSTM that runs both ways over the whole clip; the decoder's runs forwards.

Letters: B batch, T samples or positions, N frames, C channels, K streams.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import convs
from ..core.convs import Snake, normed, receptive
from ..core.errors import ModelError, WeightsError
from . import _seanet

__all__ = ["DEFAULTS", "Network", "Sliding", "check_published", "complete", "from_published"]

# The arguments of the published constructor that shape the network, with the values of its published configurations.
DEFAULTS: dict[str, Any] = {
    "sample_rate": 16000,
    "n_filters": 64,
    "strides": [8, 5, 4, 2],  # of the decoder; the encoder takes them in reverse
    "dimension": 1024,  # channels of the latent and of the codewords
    "bidirectional": True,  # the encoder's LSTM
    "lstm_layers": 2,
    "n_residual_layers": 1,
    "residual_kernel_size": 3,
    "dilation_base": 2,
    "activation": "ELU",
    "n_q": 8,
    "codebook_size": 1024,
}
KERNEL = 7  # of the first and the last convolution of each side
COMPRESS = 2  # of the width inside residual blocks

# What only training needs: the moving averages that a codebook is made of, and the projection of the first stream's codewords
# to the width of HuBERT, which the distillation compares.
_TRAINING_ONLY = re.compile(r"^transform\.(weight|bias)$|\._codebook\.(inited|cluster_size|embed_avg)$")
_RENAMED = {
    r"\.(conv|convtr)\.(conv|convtr)\.": ".",
    r"^quantizer\.vq\.layers\.(\d+)\._codebook\.": r"quantizer.layers.\1.codebook.",
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"SpeechTokenizer has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    if not isinstance(full["bidirectional"], bool):
        raise ModelError(f"SpeechTokenizer got bidirectional {full['bidirectional']!r}; expected true or false")
    for key in set(DEFAULTS) - {"bidirectional", "activation"}:
        least = 2 if key == "strides" else 1
        values = [full[key]] if key != "strides" else full[key] if isinstance(full[key], list) else []
        if not values or not all(type(n) is int and n >= least for n in values):
            wanted = "a list of whole numbers, each" if key == "strides" else "a whole number,"
            raise ModelError(f"SpeechTokenizer got {key} {full[key]!r}; expected {wanted} at least {least}")
    if full["activation"] not in ACTIVATIONS:
        raise ModelError(f"SpeechTokenizer got activation {full['activation']!r}; expected {' or '.join(ACTIVATIONS)}")
    return full


def check_published(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our configuration of a published `config.json`, whose other settings are the trainer's. Raises `WeightsError`."""
    if missing := set(DEFAULTS) - set(config):
        raise WeightsError(f"config.json is not of a SpeechTokenizer: it has no {sorted(missing)[0]!r}")
    return complete({key: config[key] for key in DEFAULTS})


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names, without what only training needs."""
    out = {}
    for key, value in state.items():
        if not _TRAINING_ONLY.search(key):
            for pattern, replacement in _RENAMED.items():
                key = re.sub(pattern, replacement, key)
            out[key] = value
    return out


class Elu(nn.Module):
    """ELU, with room for the convolution that follows, as `Snake` leaves it."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, edge: int = 0) -> Tensor:
        """x (B, T, C) -> (B, edge + T + edge, C)."""
        out = _roomy(x, edge)
        F.elu(out[:, edge : edge + x.shape[1]], inplace=True)
        return out


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {"ELU": Elu, "Snake": Snake}


def _roomy(x: Tensor, edge: int) -> Tensor:
    """A copy of x (B, T, C) with `edge` positions at both ends, not yet filled."""
    out = x.new_empty(x.shape[0], x.shape[1] + 2 * edge, x.shape[2])
    out[:, edge : edge + x.shape[1]].copy_(x)
    return out


class Conv(convs.Conv):
    """A convolution whose input is continued by reflection: by half of its reach on each side, more on the left, and on the
    right to the end of the last stride. A clip too short to be reflected is first continued by zeros, as published."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, dilation)
        nn.init.normal_(self.weight, std=(inputs * kernel) ** -0.5)
        reach = (kernel - 1) * dilation + 1 - stride
        self.left, self.right = reach - reach // 2, reach // 2

    @property
    def edge(self) -> int:
        """Positions of room wanted at each end."""
        return max(self.left, self.right + self.stride[0] - 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, edge + T + edge, C), its edges yet to be filled -> (B, ceil(T / stride), C')."""
        edge, left = self.edge, self.left
        size = x.shape[1] - 2 * edge
        right = self.right + -size % self.stride[0]
        if left or right:
            clip = x[:, edge : edge + size]
            longer = clip if size > max(left, right) else F.pad(clip, (0, 0, 0, max(left, right) + 1 - size))
            last = longer.shape[1] - 1
            x[:, edge - left : edge] = longer[:, 1 : left + 1].flip(1)
            tail = torch.cat([longer[:, size:], longer[:, last - right : last].flip(1)], dim=1)
            x[:, edge + size : edge + size + right] = tail[:, :right]
        return super().forward(x[:, edge - left : edge + size + right])

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The inputs that outputs `first` to `last` are made of."""
        start = first * self.stride[0] - self.left
        return start, last * self.stride[0] - self.left + self.dilation[0] * (self.kernel_size[0] - 1)


class Upsample(nn.ConvTranspose1d):
    """A transposed convolution of two strides' width, cut to T strides at both ends: each stride of the output is a linear
    function of two neighbouring inputs, and is computed so."""

    laid: Tensor

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 2 * stride, stride)
        nn.init.normal_(self.weight, std=(2 * inputs) ** -0.5)
        self.cut = stride - stride // 2  # at the start

    def fold(self) -> None:
        """Lay out the weight, weight norm multiplied in, for `forward`."""
        late, early = self.weight.detach().split(self.stride[0], dim=2)  # (C, C', S): of an input itself, of the one before
        laid = torch.cat([early, late]).permute(2, 1, 0).flatten(0, 1)  # (S C', 2 C)
        self.register_buffer("laid", laid.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """x (B, T, C) -> (B, T stride, C')."""
        seen = F.pad(x, (0, 0, 1, 1))
        bias = cast(Tensor, self.bias)
        pairs = torch.cat([seen[:, :-1], seen[:, 1:]], dim=2)
        y = F.linear(pairs, self.laid, bias.repeat(self.stride[0])).reshape(len(x), -1, len(bias))
        return y[:, self.cut : self.cut + x.shape[1] * self.stride[0]]

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The inputs that outputs `first` to `last` are made of."""
        return (first + self.cut) // self.stride[0] - 1, (last + self.cut) // self.stride[0]


def chain(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """x (B, T, C) through the layers one after another, with the room around it that each convolution wants."""
    layers = list(layers)
    edges = [layer.edge if isinstance(layer, Conv) else 0 for layer in layers]
    x = _roomy(x, edges[0]) if edges[0] else x
    for layer, edge in zip(layers, [*edges[1:], 0], strict=True):
        x, leaves_room = (layer(x, edge), True) if isinstance(layer, (Elu, Snake)) else (layer(x), not edge)
        x = x if leaves_room else _roomy(x, edge)
    return x


class Residual(nn.Module):
    """A wide and a 1-wide convolution at half the width, beside a 1-wide shortcut."""

    def __init__(self, dim: int, kernel: int, dilation: int, activation: str) -> None:
        super().__init__()
        act, hidden = ACTIVATIONS[activation], dim // COMPRESS
        wide = normed(Conv(dim, hidden, kernel, dilation=dilation))
        self.block = nn.Sequential(act(dim), wide, act(hidden), normed(Conv(hidden, dim, 1)))
        self.shortcut = normed(Conv(dim, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        return chain(self.block, x).add_(self.shortcut(x))

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """Of the block, which sees farther than the shortcut."""
        return receptive(self.block, first, last)


class Recurrent(nn.Module):
    """LSTM over time with a skip connection; one that runs both ways gives twice the channels."""

    def __init__(self, dim: int, layers: int, both: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """x (B, N, C) -> (B, N, C or 2 C), and the state for what follows."""
        y, state = self.lstm(x, state)
        return y.add_(torch.cat([x, x], dim=2) if self.lstm.bidirectional else x), state


def _residuals(c: Mapping[str, Any], dim: int) -> list[nn.Module]:
    dilations = [c["dilation_base"] ** i for i in range(c["n_residual_layers"])]
    return [Residual(dim, c["residual_kernel_size"], dilation, c["activation"]) for dilation in dilations]


class Encoder(nn.Module):
    """Sound to latent frames: convolutions down to the frame rate (`front`), the LSTM, and one more convolution."""

    def __init__(self, c: Mapping[str, Any]) -> None:
        super().__init__()
        act, dim = ACTIVATIONS[c["activation"]], c["n_filters"]
        layers: list[nn.Module] = [normed(Conv(1, dim, KERNEL))]
        for stride in reversed(c["strides"]):
            layers += [*_residuals(c, dim), act(dim), normed(Conv(dim, 2 * dim, 2 * stride, stride))]
            dim *= 2
        self.cut, wide = len(layers), dim * (1 + c["bidirectional"])
        layers += [Recurrent(dim, c["lstm_layers"], c["bidirectional"]), act(wide), normed(Conv(wide, c["dimension"], KERNEL))]
        self.model = nn.Sequential(*layers)
        self.hop = math.prod(c["strides"])

    def front(self, most: int) -> Sliding:
        """wav (B, T, 1) -> (B, N, C) at the frame rate, in parts of `most` frames, each with the context it needs."""
        layers = list(self.model)[: self.cut]
        first, last = receptive(layers, 0, 0)
        # An incomplete last frame is completed by reflection at every layer, which may reach up to a frame farther back.
        before, after = 1 - first // self.hop, last // self.hop
        return Sliding(lambda wav: chain(layers, wav), self.hop, 1, before, after, most)

    def forward(self, wav: Tensor, most: int) -> Tensor:
        """wav (B, T) -> (B, ceil(T / hop), C)."""
        x = torch.cat(self.front(most).push(wav[:, :, None], last=True), dim=1)
        recurrent, *rest = list(self.model)[self.cut :]
        return chain(rest, recurrent(x)[0])


class Decoder(nn.Module):
    """Latent frames to sound: a convolution (`head`), the LSTM, and convolutions up to the sample rate (`tail`)."""

    def __init__(self, c: Mapping[str, Any]) -> None:
        super().__init__()
        act, dim = ACTIVATIONS[c["activation"]], c["n_filters"] * 2 ** len(c["strides"])
        layers: list[nn.Module] = [normed(Conv(c["dimension"], dim, KERNEL)), Recurrent(dim, c["lstm_layers"], False)]
        for stride in c["strides"]:
            layers += [act(dim), normed(Upsample(dim, dim // 2, stride)), *_residuals(c, dim // 2)]
            dim //= 2
        self.model = nn.Sequential(*layers, act(dim), normed(Conv(dim, 1, KERNEL)))
        self.hop, self.width = math.prod(c["strides"]), c["n_filters"] * 2 ** len(c["strides"])

    def head(self, most: int) -> Sliding:
        """latent (B, N, C) -> (B, N, C'), what the LSTM is given."""
        return self._sliding([self.model[0]], 1, most)

    def recurrent(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """See `Recurrent`."""
        return cast(Recurrent, self.model[1])(x, state)

    def tail(self, most: int) -> Sliding:
        """(B, N, C) of the LSTM -> wav (B, N hop, 1)."""
        return self._sliding(list(self.model)[2:], self.hop, most)

    def _sliding(self, layers: list[nn.Module], out: int, most: int) -> Sliding:
        first, last = receptive(layers, 0, out - 1)
        return Sliding(lambda x: chain(layers, x), 1, out, -first, last, most)

    def forward(self, latent: Tensor, most: int) -> Tensor:
        """latent (B, N, C) -> wav (B, N hop)."""
        x, _ = self.recurrent(chain([self.model[0]], latent))
        return torch.cat(self.tail(most).push(x, last=True), dim=1)[:, :, 0]


class Quantizer(_seanet.Quantizer):
    """SEANet's; decoding may leave out the first streams."""

    def decode(self, codes: list[Tensor], first: int = 0) -> Tensor:
        """Codes of the streams from the first one on, each (B, N) -> (B, N, C), the sum of the codewords from `first` on."""
        latent = F.embedding(codes[first], self.books[first].embed)
        for stream, book in zip(codes[first + 1 :], self.books[first + 1 :], strict=False):
            latent = latent + F.embedding(stream, book.embed)
        return latent


class Network(nn.Module):
    """Encoder, quantiser and decoder; `fold` before use."""

    def __init__(self, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(c)
        self.decoder = Decoder(c)
        self.quantizer = Quantizer(c["n_q"], c["codebook_size"], c["dimension"])

    def fold(self) -> None:
        """Compute what follows from the parameters alone; to be called when these have changed."""
        for module in self.modules():
            if isinstance(module, (convs.Conv, Upsample, Snake, _seanet.Codebook)):
                module.fold()


class Sliding:
    """Runs a function of a long input part by part, each with context on both sides; what is kept of the parts joins up.

    Args:
        run: (B, n size, ...) -> (B, n out, ...); the last block of a clip may be shorter than `size`.
        size, out: inputs and outputs of a block.
        before, after: blocks of context. Only the clip's own ends go without.
        most: blocks kept of one part.
        even: cut at multiples of `most` only, so that where the input was pushed never shows, for functions that see farther
            than the context. Otherwise a block is given as soon as its context is there.
    """

    def __init__(
        self, run: Callable[[Tensor], Tensor], size: int, out: int, before: int, after: int, most: int, even: bool = False
    ) -> None:
        self.run, self.size, self.out = run, size, out
        self.before, self.after, self.most, self.even = before, after, most, even
        self.held: list[Tensor] = []
        self.first = 0  # block at which what is held starts
        self.kept = 0  # blocks given out

    def push(self, x: Tensor, last: bool = False) -> list[Tensor]:
        """x (B, any, ...) -> the outputs that are now certain, in parts (possibly none); all of them at the `last` push."""
        self.held.append(x)
        length = sum(part.shape[1] for part in self.held)
        end = self.first + (-(-length // self.size) if last else length // self.size - self.after)
        if self.even and not last:
            end = end // self.most * self.most
        if self.kept >= end:
            return []
        held, parts = torch.cat(self.held, dim=1), []
        while self.kept < end:
            stop, start = min(self.kept + self.most, end), max(0, self.kept - self.before)
            part = self.run(held[:, (start - self.first) * self.size : (stop + self.after - self.first) * self.size])
            parts.append(part[:, (self.kept - start) * self.out : (stop - start) * self.out])
            self.kept = stop
        first = max(0, self.kept - self.before)
        self.held, self.first = [held[:, (first - self.first) * self.size :].clone()], first
        return parts
