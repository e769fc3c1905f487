"""The network of BigCodec: convolutions with alias-free SnakeBeta activations around two LSTMs, and one codebook.

Xin, Tan, Takamichi and Saruwatari 2024, "BigCodec: Pushing the Limits of Low-Bitrate Neural Speech Codec", arXiv:2409.05377;
published at github.com/Aria-K-Alethia/BigCodec (MIT). Each activation works at twice the rate of its input, between two
Kaiser-windowed sinc filters (Karras et al. 2021, "Alias-Free Generative Adversarial Networks", arXiv:2106.12423), so that what
it adds above the Nyquist frequency does not fold back. X-Codec2's acoustic encoder is made of the same blocks.

Sound is channels-last, (B, T, C); see `core/convs.py`. Parameters have the published names, but for the activations', whose
one part needs no name of its own (`rename` tells).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import Conv, ConvTranspose, Snake, _edged, _sine, chain, in_pieces, normed
from ..core.errors import ModelError, WeightsError
from ._seanet import Recurrent

__all__ = ["Activation", "Network", "check_sizes", "complete", "conv", "down", "down_blocks", "rename", "sizes"]

# What shapes the published network, and the published sizes.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 16000,
    "encoder_dim": 48,
    "encoder_rates": [2, 2, 2, 5, 5],
    "latent_dim": 1024,
    "decoder_dim": 1536,
    "decoder_rates": [5, 5, 2, 2, 2],
    "lstm_layers": 2,
    "codebook_size": 8192,
    "codebook_dim": 8,
}
TAPS = 12  # of each filter
REACH = 3  # frames on each side that a filter needs, at the rate of the activation's input
FILTERS = (".upsample.filter", ".downsample.lowpass.filter")  # stored in checkpoints, though they never vary


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"BigCodec has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, default in DEFAULTS.items():
        check_sizes("BigCodec", key, full[key], isinstance(default, list))
    encoder, decoder = full["encoder_rates"], full["decoder_rates"]
    if math.prod(encoder) != math.prod(decoder):
        raise ModelError(f"BigCodec got encoder_rates {encoder} and decoder_rates {decoder}; expected the same product")
    if full["decoder_dim"] % 2 ** len(decoder):
        raise ModelError(f"BigCodec got decoder_dim {full['decoder_dim']}; expected a multiple of {2 ** len(decoder)}")
    return full


def check_sizes(what: str, key: str, value: Any, several: bool) -> None:
    """Raise `ModelError` unless `value` is a whole number above 0, or a list of such, at least 2, where there are `several`."""
    numbers, least = (value, 2) if several else ([value], 1)
    if not isinstance(numbers, list) or not numbers or not all(type(n) is int and n >= least for n in numbers):
        wanted = "a list of whole numbers, at least 2" if several else "a whole number above 0"
        raise ModelError(f"{what} got {key} {value!r}; expected {wanted}")


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, norm: bool = True) -> nn.Module:
    """A convolution, padded to give T / stride frames; under weight norm where the checkpoint has it."""
    edge = (kernel - 1) * dilation // 2 if stride == 1 else -(-stride // 2)
    layer = Conv(inputs, outputs, kernel, stride, edge, dilation)
    return normed(layer) if norm else layer


def kaiser_sinc() -> Tensor:
    """The low-pass filter of both directions (TAPS): half of the band passes, and its sum is 1."""
    width = 0.3  # of the transition, in cycles per sample
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * width + 7.95
    beta = 0.1102 * (attenuation - 8.7)  # Kaiser's formula above 50 dB
    window = torch.kaiser_window(TAPS, beta=beta, periodic=False, dtype=torch.float32, device="cpu")
    time = torch.arange(-TAPS // 2, TAPS // 2, device="cpu") + 0.5
    taps = 0.5 * window * torch.sinc(0.5 * time)
    return taps / taps.sum()


class Activation(Snake):
    """x + sin(a x)^2 / b at twice the rate, filtered before and after; a and b, stored as logarithms, for each channel.

    The doubled signal is kept as its even and its odd samples, which are two filters of the input. Where a filter reaches
    beyond an end, the sample at the end goes on.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        taps = kaiser_sinc().tolist()
        self.to_even, self.to_odd = [2 * tap for tap in taps[::-2]], [2 * tap for tap in taps[-2::-2]]
        self.from_even, self.from_odd = taps[1::2], taps[::2]

    def fold(self) -> None:
        """Take both out of the logarithm once."""
        self.register_buffer("inverse", (self.beta.detach().exp() + 1e-9).reciprocal(), persistent=False)
        self.register_buffer("factor", self.alpha.detach().exp(), persistent=False)

    def forward(self, x: Tensor, edge: int = 0) -> Tensor:
        """x (B, T, C) -> (B, edge + T + edge, C), zeros at both ends for the convolution that follows."""
        batch, size, channels = x.shape
        longer = torch.cat([x[:, :1].expand(-1, REACH, -1), x, x[:, -1:].expand(-1, REACH, -1)], 1)
        wide = x.new_empty(2, batch, size + 2 * REACH - 1, channels)  # even and odd samples, each with what follows its ends
        even, odd = wide[0, :, REACH - 1 : REACH - 1 + size], wide[1, :, REACH : REACH + size]
        for phase, taps, source in ((even, self.to_even, longer), (odd, self.to_odd, longer[:, 1:])):
            torch.mul(source[:, :size], taps[0], out=phase)
            add(phase, source[:, 1:], taps[1:])
            wave = phase * self.factor
            _sine(wave)
            phase.addcmul_(wave.mul_(wave), self.inverse)
        for side, before in zip(wide, (REACH - 1, REACH), strict=True):
            side[:, :before] = even[:, :1]
            side[:, before + size :] = odd[:, -1:]
        out, inner = _edged(x, edge)
        torch.mul(wide[0, :, :size], self.from_even[0], out=inner)
        add(inner, wide[0, :, 1:], self.from_even[1:])
        add(inner, wide[1], self.from_odd)
        return out

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The inputs that outputs `first` to `last` are made of."""
        return first - 2 * REACH, last + 2 * REACH


def add(out: Tensor, x: Tensor, taps: Sequence[float]) -> None:
    """Add to out (B, T, C) the sum of taps[k] x[:, k : k + T]."""
    for k, tap in enumerate(taps):
        out.add_(x[:, k : k + out.shape[1]], alpha=tap)


class Residual(nn.Module):
    """x + pointwise(activation(dilated(activation(x)))), kernel 7."""

    def __init__(self, dim: int, dilation: int, norm: bool = True) -> None:
        super().__init__()
        dilated, pointwise = conv(dim, dim, 7, dilation=dilation, norm=norm), conv(dim, dim, 1, norm=norm)
        self.block = nn.Sequential(Activation(dim), dilated, Activation(dim), pointwise)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C), overwritten -> (B, T, C)."""
        return x.add_(chain(self.block, x))


class Block(nn.Module):
    """Layers in a row, under the name the checkpoint has for them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C), overwritten -> (B, T', C')."""
        return chain(self.block, x)


def down_blocks(dim: int, rates: Sequence[int], norm: bool = True) -> list[nn.Module]:
    """The layers from wav (B, T, 1) to (B, T / hop, dim 2^len(rates)): at each rate as many times fewer frames, of twice the
    channels."""
    layers = [conv(1, dim, 7, norm=norm)]
    for rate in rates:
        residuals = [Residual(dim, dilation, norm) for dilation in (1, 3, 9)]
        layers.append(Block(*residuals, Activation(dim), conv(dim, 2 * dim, 2 * rate, rate, norm=norm)))
        dim *= 2
    return layers


def up_block(dim: int, rate: int) -> Block:
    """`rate` times more frames of half the channels."""
    up = ConvTranspose(dim, dim // 2, 2 * rate, rate, -(-rate // 2), rate % 2)
    return Block(Activation(dim), normed(up), *(Residual(dim // 2, dilation) for dilation in (1, 3, 9)))


def down(layers: Sequence[nn.Module], wav: Tensor, rates: Sequence[int], channels: int) -> Tensor:
    """wav (B, T) through `down_blocks` to (B, T / hop, C). The first half of the blocks, at the highest rates, in pieces."""
    half = (len(rates) + 1) // 2
    x = in_pieces(layers[: 1 + half], wav[:, :, None], Fraction(1, math.prod(rates[:half])), 2 * channels)
    return chain(layers[1 + half :], x)


class Encoder(nn.Module):
    """Sound to latent frames: `before` the LSTM, the LSTM, and `after` it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.rates, self.dim = config["encoder_rates"], config["encoder_dim"]
        dim = self.dim * 2 ** len(self.rates)
        last: list[nn.Module] = [Activation(dim), conv(dim, config["latent_dim"], 3)]
        self.block = nn.Sequential(*down_blocks(self.dim, self.rates), Recurrent(dim, config["lstm_layers"]), *last)

    @property
    def lstm(self) -> Recurrent:
        """The LSTM over frames, which runs forward only."""
        return cast(Recurrent, self.block[-3])

    def before(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, T / hop, C)."""
        return down(list(self.block)[:-3], wav, self.rates, self.dim)

    def after(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> latent (B, N, D)."""
        return chain(list(self.block)[-2:], x)

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> latent (B, T / hop, D)."""
        return self.after(self.lstm(self.before(wav), None, None)[0])


class Decoder(nn.Module):
    """Latent frames to sound: `before` the LSTM, the LSTM, and `after` it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, rates = config["decoder_dim"], config["decoder_rates"]
        ups = [up_block(dim // 2**i, rate) for i, rate in enumerate(rates)]
        narrow = dim // 2 ** len(rates)
        ends: list[nn.Module] = [Activation(narrow), conv(narrow, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(conv(config["latent_dim"], dim, 7), Recurrent(dim, config["lstm_layers"]), *ups, *ends)
        # The second half of the blocks, at the highest rates, runs in pieces.
        half = len(rates) // 2
        self.cut, self.hop = 2 + len(rates) - half, math.prod(rates[len(rates) - half :])
        self.channels = 2 * self.hop * narrow

    @property
    def lstm(self) -> Recurrent:
        """The LSTM over frames, which runs forward only."""
        return cast(Recurrent, self.model[1])

    def before(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, C)."""
        return chain([self.model[0]], x)

    def after(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> wav (B, N hop)."""
        x = chain(list(self.model)[2 : self.cut], x)
        return in_pieces(list(self.model)[self.cut :], x, Fraction(self.hop), self.channels)[:, :, 0]

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> wav (B, N hop)."""
        return self.after(self.lstm(self.before(x), None, None)[0])


class Quantizer(nn.Module):
    """One codebook, searched by cosine among projections to a few dimensions."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        latent, dim = config["latent_dim"], config["codebook_dim"]
        self.in_proj = normed(nn.Linear(latent, dim))
        self.out_proj = normed(nn.Linear(dim, latent))
        self.codebook = nn.Embedding(config["codebook_size"], dim)

    def encode(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> codes (B, N)."""
        unit, book = F.normalize(self.in_proj(x), dim=-1), F.normalize(self.codebook.weight)
        # The whole distance, although most of it is constant: its rounding decides ties as the published model does.
        far = unit.pow(2).sum(-1, keepdim=True) - 2 * unit @ book.t() + book.pow(2).sum(1)
        return far.argmin(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> (B, N, D)."""
        return self.out_proj(self.codebook(codes))


class Network(nn.Module):
    """The published parameters; `fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.quantizer = Quantizer(config)
        self.decoder = Decoder(config)


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of activations under our names. X-Codec2's package calls beta bias, as `transformers` once renamed it.

    The filters, which checkpoints hold as well, are checked and left out.

    Raises `WeightsError` when they are not the ones that this network applies.
    """
    plain = {}
    for key, value in state.items():
        if not key.endswith(FILTERS):
            plain[re.sub(r"\.act\.(?:(alpha)|beta|bias)$", lambda found: f".{found[1] or 'beta'}", key)] = value
        elif value.numel() != TAPS or not torch.allclose(value.float().reshape(-1), kaiser_sinc(), atol=1e-4):
            raise WeightsError(f"the weights hold another filter than BigCodec's in {key!r}")
    return plain


def sizes(encoder: Mapping[str, Tensor], generator: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration that tensors of the two published parts, under their own names, are of."""
    latent, dim = generator["model.0.weight_v"].shape[1], generator["model.0.weight_v"].shape[0]
    size, width = generator["quantizer.layers.0._codebook.weight"].shape
    found = {
        "encoder_dim": encoder["block.0.weight_v"].shape[0],
        "encoder_rates": _rates(encoder, "block.{}.block.4.weight_v", 1),
        "latent_dim": latent,
        "decoder_dim": dim,
        "decoder_rates": _rates(generator, "model.{}.block.1.weight_v", 2),
        "lstm_layers": sum(key.startswith("model.1.lstm.weight_ih_l") for key in generator),
        "codebook_size": size,
        "codebook_dim": width,
    }
    return complete(found)


def _rates(state: Mapping[str, Tensor], key: str, first: int) -> list[int]:
    """Half of the kernels of consecutive layers."""
    rates: list[int] = []
    while key.format(first + len(rates)) in state:
        rates.append(state[key.format(first + len(rates))].shape[2] // 2)
    return rates
