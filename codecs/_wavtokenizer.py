"""The network of WavTokenizer: EnCodec's encoder, padded on both sides, one codebook, and a Vocos decoder with attention.

Ji et al. 2024, "WavTokenizer: an Efficient Acoustic Discrete Codec Tokenizer for Audio Language Modeling", arXiv:2408.16532;
published at github.com/jishengpeng/WavTokenizer (MIT).

Before its ConvNeXt blocks the decoder has a part that sees the whole clip at once, `pos_net`: residual blocks, which normalise
over all frames, around one attention over all frames, with no mask and no positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ..core import convs, vocos
from ..core.errors import ModelError
from ._seanet import Activation, Codebook, Conv, Quantizer, Recurrent, Residual, Stack

__all__ = ["DEFAULTS", "Network", "complete", "random", "sees"]

GROUPS = 32  # of channels, normalised together

# The arguments of the published configuration that shape the network, and their values for 40 frames/s.
DEFAULTS: dict[str, Any] = {
    "sample_rate": 24000,
    "filters": 32,  # channels of the encoder's first layer; they double at every ratio
    "ratios": [6, 5, 5, 4],  # of the hop; the encoder takes them from the last to the first
    "codebook_size": 4096,
    "codebook_dim": 512,
    "dim": 768,  # channels of the decoder
    "intermediate_dim": 2304,
    "layers": 12,  # ConvNeXt blocks
    "conditions": 4,  # scales and shifts of the decoder's norms, of which the first are used
    "fft": 2400,
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every setting. Raises `ModelError` when it is not the configuration of a WavTokenizer."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"WavTokenizer has no setting {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, value in full.items():
        several = key == "ratios" and isinstance(value, (list, tuple)) and len(value) > 0
        if not all(type(number) is int and number > 0 for number in (value if several else [value])):
            raise ModelError(f"WavTokenizer got {key}={value!r}; expected whole numbers above 0, several in `ratios` alone")
    full["ratios"] = list(full["ratios"]) if isinstance(full["ratios"], (list, tuple)) else [full["ratios"]]
    hop = math.prod(full["ratios"])
    if full["fft"] < hop or (full["fft"] - hop) % 2:
        raise ModelError(f"fft={full['fft']} does not stand out evenly over the hop of {hop} that ratios={full['ratios']} make")
    if full["dim"] % GROUPS:
        raise ModelError(f"dim={full['dim']}; the decoder's width is a multiple of {GROUPS}")
    return full


def encoder_layers(c: Mapping[str, Any]) -> list[nn.Module]:
    """Sound to latent frames; the LSTM is third from the end."""
    kind: dict[str, Any] = {"causal": False, "norm": "weight_norm"}
    width = c["filters"]
    layers: list[nn.Module] = [Conv(1, width, 7, **kind)]
    for ratio in reversed(c["ratios"]):
        layers += [Residual(width, 3, 1, 2, True, **kind), Activation(), Conv(width, 2 * width, 2 * ratio, ratio, **kind)]
        width *= 2
    # what goes into the last activation is needed again, as context
    return [*layers, Recurrent(width, 2), Activation(spare=True), Conv(width, c["codebook_dim"], 7, **kind)]


def sees(layers: list[nn.Module]) -> tuple[int, int]:
    """Positions of the input that an output of SEANet layers sees: so many before and after its own stride's."""
    first, last, strides = 0, 0, 1
    for layer in reversed(layers):
        conv = layer.block[1] if isinstance(layer, Residual) else layer
        if isinstance(conv, Conv):
            right = conv.reach // 2
            first = first * conv.stride - (conv.reach - right)
            last = last * conv.stride + conv.stride - 1 + right
            strides *= conv.stride
    return -first, last - strides + 1


class GroupNorm(nn.GroupNorm):
    """Normalises each group of channels over the whole clip."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape."""
        image = x.transpose(1, 2)[:, :, None]  # (B, D, 1, N), channels last in memory
        return F.group_norm(image, self.num_groups, self.weight, self.bias, self.eps)[:, :, 0].transpose(1, 2)


def normed(dim: int) -> GroupNorm:
    """Over the groups of all of the decoder's norms of this kind."""
    return GroupNorm(GROUPS, dim, eps=1e-6)


class Block(nn.Module):
    """Two convolutions of kernel 3 beside the input, each after a norm over the clip and x sigmoid(x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = normed(dim), convs.Conv(dim, dim, 3, padding=1)
        self.norm2, self.conv2 = normed(dim), convs.Conv(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape."""
        y = convs.chain([self.conv1], F.silu(self.norm1(x)))
        return x + convs.chain([self.conv2], F.silu(self.norm2(y)))


class Attention(nn.Module):
    """One head over all frames of the clip, beside the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = normed(dim)
        self.q, self.k, self.v, self.proj_out = (convs.Conv(dim, dim, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> the same shape."""
        y = self.norm(x)
        q, k, v = (layer(y)[:, None] for layer in (self.q, self.k, self.v))
        return x + self.proj_out(F.scaled_dot_product_attention(q, k, v)[:, 0])


class Backbone(vocos.Backbone):
    """Vocos' backbone; what widens the codewords also looks over the whole clip."""

    def __init__(self, inputs: int, dim: int, hidden: int, layers: int, conditions: int) -> None:
        super().__init__(inputs, dim, hidden, layers, conditions)
        self.pos_net = nn.Sequential(Block(dim), Block(dim), Attention(dim), Block(dim), Block(dim), normed(dim))

    def start(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, D); a frame depends on all of the clip."""
        return self.pos_net(super().start(x))


class Network(nn.Module):
    """Encoder, codebook and decoder; `fold` before use. `config` is complete."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        c = config
        self.encoder = Stack(encoder_layers(c))
        self.quantizer = Quantizer(1, c["codebook_size"], c["codebook_dim"])
        self.backbone = Backbone(c["codebook_dim"], c["dim"], c["intermediate_dim"], c["layers"], c["conditions"])
        self.head = vocos.Head(c["dim"], c["fft"], math.prod(c["ratios"]))

    def fold(self) -> None:
        """Compute what follows from the parameters alone; to be called when these have changed."""
        convs.fold(self)
        for module in self.modules():
            if isinstance(module, (Conv, Codebook)):
                module.fold()

    @property
    def front(self) -> list[nn.Module]:
        """The encoder's convolutions before its LSTM."""
        return list(self.encoder.layers[:-3])

    @property
    def recurrent(self) -> Recurrent:
        """The encoder's LSTM; it runs forwards."""
        layer = self.encoder.layers[-3]
        assert isinstance(layer, Recurrent)
        return layer

    @property
    def last(self) -> list[nn.Module]:
        """The encoder's layers after its LSTM."""
        return list(self.encoder.layers[-2:])

    def sound(self, x: Tensor) -> Tensor:
        """What `backbone.start` gave, x (B, N, D) -> wav (B, N hop); a hop sees so many frames as `context` says."""
        return self.head(self.backbone.body(x))

    @property
    def context(self) -> int:
        """Frames on each side that a hop of `sound` sees."""
        first, last = convs.receptive([self.backbone.convnext, self.head], 0, 0)
        return max(-first, last)

    def decode(self, codes: list[Tensor]) -> Tensor:
        """codes, one (B, N) -> wav (B, N hop)."""
        return self.sound(self.backbone.start(self.quantizer.decode(codes)))


def random(config: Mapping[str, Any]) -> Network:
    """The network with random weights under which codes vary.

    On the way to them it has no biases, which would drown the sound; and the codebook is as wide as what comes there.
    """
    network = Network(config)
    for book in network.quantizer.books:
        book.embed.data.mul_(0.5)
    for name, parameter in network.encoder.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
    network.fold()
    return network
