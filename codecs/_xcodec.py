"""X-Codec's network, of which that of Higgs Audio's tokenizer is a kind, its configuration, and how both are published.

Ye et al. 2024, "Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language Model", arXiv:2408.17175;
published at github.com/zhenye234/xcodec and in `transformers` (Apache-2.0). Two branches see the sound: DAC's encoder,
and a speech backbone (HuBERT or WavLM) whose layers are averaged and refined by convolutions. What they say together is
quantized; DAC's decoder makes sound of its acoustic part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ..core.convs import Conv, Snake, chain, fold
from ..core.errors import ModelError
from ..core.resampling import sinc_kernels
from ..core.ssl import architecture, backbone, without_weight_norm
from . import _snac
from ._dac import from_transformers
from ._seanet import Codebook

__all__ = ["Network", "XcodecConfig", "plain_state"]


@dataclass(frozen=True)
class XcodecConfig:
    """Every size of the codec, most under the names of the published `config.json`."""

    sample_rate: int = 16000  # Hz
    semantic_sample_rate: int = 16000  # Hz, of the backbone's sound
    downsample_factor: int = 320  # samples of a frame of the backbone
    semantic_pad: int = 160  # zeros at each end of the backbone's sound
    num_quantizers: int = 8
    codebook_size: int = 1024
    codebook_dim: int = 1024
    projected: bool = False  # whether each quantizer searches a projection to `codebook_dim` channels
    encoder_hidden_size: int = 64  # channels of the first convolution
    downsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)
    decoder_hidden_size: int = 1024
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)
    hidden_size: int = 256  # channels of the acoustic latent
    kernel_size: int = 3  # of the first convolution after the backbone
    unit_kernel_size: int = 3  # of those in its residual units
    block_dilations: tuple[int, ...] = (1, 1)  # of the residual units of a block
    strides: tuple[int, ...] = (1, 1)  # one per block
    channel_ratios: tuple[int, ...] = (1, 1)  # channels a block gives, in those of the backbone
    semantic: dict[str, Any] = field(default_factory=lambda: architecture({"model_type": "hubert"}))  # the backbone

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> XcodecConfig:
        """Raises `ModelError` on a key that is not known, or a value that makes no codec."""
        if unknown := set(config) - {f.name for f in fields(cls)}:
            raise ModelError(f"X-Codec has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        kept["semantic"] = architecture(kept.get("semantic", {"model_type": "hubert"}))
        c = cls(**kept)
        for f in fields(cls):
            value, least = getattr(c, f.name), 0 if f.name == "semantic_pad" else 1
            numbers = value if isinstance(f.default, tuple) else (value,)
            whole = isinstance(numbers, tuple) and numbers and all(type(n) is int and n >= least for n in numbers)
            if not (whole or f.name == "semantic" or (f.name == "projected" and isinstance(value, bool))):
                raise ModelError(f"X-Codec got {f.name} {value!r}; expected whole numbers, at least {least}")
        if math.prod(c.downsampling_ratios) != math.prod(c.upsampling_ratios) or len(c.strides) != len(c.channel_ratios):
            raise ModelError(
                f"X-Codec got downsampling_ratios {c.downsampling_ratios}, upsampling_ratios {c.upsampling_ratios}, strides "
                f"{c.strides} and channel_ratios {c.channel_ratios}; expected the same product twice, and as many strides as "
                "channel ratios"
            )
        return c

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with every field, so that equal models have equal fingerprints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.downsampling_ratios)

    @property
    def thinning(self) -> int:
        """The backbone's frames for each frame of the codec, of which the first is taken."""
        return max(1, self.hop * self.semantic_sample_rate // (self.sample_rate * self.downsample_factor))

    @property
    def width(self) -> int:
        """Channels of the latent: acoustic and semantic."""
        return self.hidden_size + int(self.semantic["hidden_size"])


class Encoder(_snac.Encoder):
    """DAC's: sound to the acoustic latent."""

    def __init__(self, c: XcodecConfig) -> None:
        rates = list(c.downsampling_ratios)
        super().__init__(
            {"encoder_dim": c.encoder_hidden_size, "encoder_rates": rates, "depthwise": False, "attn_window_size": None}
        )
        dim = c.encoder_hidden_size * 2 ** len(rates)
        self.block = nn.Sequential(*list(self.block)[:-1], Snake(dim), _snac.conv(dim, c.hidden_size, 3))


class Decoder(_snac.Decoder):
    """DAC's as in SNAC, whose transposed convolutions lose no samples, and without the last tanh."""

    def __init__(self, c: XcodecConfig) -> None:
        super().__init__({
            "latent_dim": c.hidden_size, "decoder_dim": c.decoder_hidden_size, "decoder_rates": list(c.upsampling_ratios),
            "depthwise": False, "attn_window_size": None, "noise": False,
        })  # fmt: skip
        self.model = nn.Sequential(*list(self.model)[:-1])


class Residual(nn.Module):
    """x + pointwise(elu(dilated(elu(x))))."""

    def __init__(self, dim: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = Conv(dim, dim, kernel, padding=(kernel - 1) // 2 * dilation, dilation=dilation, bias=False)
        self.conv2 = Conv(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, C)."""
        return x + chain([nn.ELU(), self.conv1, nn.ELU(), self.conv2], x)


class Block(nn.Module):
    """Residual units, then a convolution to `outputs` channels, `stride` times fewer frames."""

    def __init__(self, c: XcodecConfig, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        kernel = 3 if stride == 1 else 2 * stride
        self.res_units = nn.ModuleList(Residual(inputs, c.unit_kernel_size, dilation) for dilation in c.block_dilations)
        self.conv = Conv(inputs, outputs, kernel, stride, (kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N / stride, C')."""
        return chain([*self.res_units, self.conv], x)


class Refiner(nn.Module):
    """What the backbone says to the semantic half of the latent."""

    def __init__(self, c: XcodecConfig) -> None:
        super().__init__()
        dim = c.semantic["hidden_size"]
        self.conv = Conv(dim, dim, c.kernel_size, padding=c.kernel_size // 2, bias=False)
        dims = [dim, *(dim * ratio for ratio in c.channel_ratios)]
        sizes = zip(dims, dims[1:], c.strides, strict=False)
        self.conv_blocks = nn.ModuleList(Block(c, *size) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, C) -> (B, N, C')."""
        return chain([self.conv, *self.conv_blocks], x)


class Quantizer(nn.Module):
    """One codebook, searched in the latent itself or in a projection of it."""

    def __init__(self, c: XcodecConfig, scale: float) -> None:
        super().__init__()
        self.codebook = Codebook(c.codebook_size, c.codebook_dim, scale)
        self.project_in = nn.Linear(c.width, c.codebook_dim) if c.projected else nn.Identity()
        self.project_out = nn.Linear(c.codebook_dim, c.width) if c.projected else nn.Identity()

    def encode(self, x: Tensor) -> Tensor:
        """x (M, C) -> codes (M,)."""
        return self.codebook.search(self.project_in(x))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (...) -> (..., C)."""
        return cast(Tensor, self.project_out(F.embedding(codes, self.codebook.embed)))


class Quantizers(nn.Module):
    """Each quantizes what the ones before it left over."""

    def __init__(self, c: XcodecConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(Quantizer(c, 2 ** (-2 - k / 4)) for k in range(c.num_quantizers))

    def __iter__(self) -> Iterator[Quantizer]:
        return iter(cast("list[Quantizer]", self.quantizers))

    def encode(self, latent: Tensor, streams: int) -> list[Tensor]:
        """latent (B, N, C) -> the codes of the first `streams` streams, each (B, N)."""
        with torch.autocast(latent.device.type, enabled=False):
            left, codes = latent.float().flatten(0, 1), []
            for quantizer in itertools.islice(self, streams):
                codes.append(quantizer.encode(left))
                left = left - quantizer.decode(codes[-1])
        return [c.view(latent.shape[:2]) for c in codes]

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Codes of the first streams -> their sum (B, N, C)."""
        return cast(Tensor, sum(quantizer.decode(c) for quantizer, c in zip(self, codes, strict=False)))


class Resampler(nn.Module):
    """Torchaudio's sinc resampler with its defaults, as in `core/resampling.py`, for a whole batch."""

    kernels: Tensor

    def __init__(self, from_rate: int, to_rate: int) -> None:
        super().__init__()
        kernels, self.step = sinc_kernels(from_rate, to_rate)
        self.width = (kernels.shape[1] - self.step) // 2
        self.register_buffer("kernels", torch.tensor(kernels)[:, None], persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, ceil(T to / from))."""
        length = -(-wav.shape[1] * len(self.kernels) // self.step)
        padded = F.pad(wav, (self.width, self.width + self.step))
        phases = F.conv1d(padded[:, None], self.kernels, stride=self.step)  # (B, phases, T / step)
        return phases.transpose(1, 2).flatten(1)[:, :length]


class Network(nn.Module):
    """The published parameters, weight norm multiplied in; DAC's under descript's names. `fold` before use."""

    def __init__(self, c: XcodecConfig) -> None:
        super().__init__()
        self.c = c
        self.acoustic_encoder = Encoder(c)
        self.acoustic_decoder = Decoder(c)
        self.encoder_semantic = Refiner(c)
        self.semantic_model = backbone(c.semantic)
        self.fc = nn.Linear(c.width, c.width)
        self.fc2 = nn.Linear(c.width, c.hidden_size)
        self.quantizer = Quantizers(c)
        rates = c.sample_rate, c.semantic_sample_rate
        self.resample = Resampler(*rates) if rates[0] != rates[1] else nn.Identity()
        for module in self.modules():
            if is_parametrized(module, "weight"):
                remove_parametrizations(module, "weight")

    def fold(self) -> None:
        """Make every layer's fast copy; call again after changing weights."""
        fold(self)
        for module in self.modules():
            if isinstance(module, Codebook):
                module.fold()

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T), whole frames -> latent (B, N, C)."""
        semantic = self.encoder_semantic(self._semantic(wav))
        return cast(Tensor, self.fc(torch.cat([self.acoustic_encoder(wav), semantic], -1)))

    def _semantic(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> the mean of the backbone's layers, its input among them (B, N, D)."""
        padded = F.pad(self.resample(wav), (self.c.semantic_pad, self.c.semantic_pad))
        layers = self.semantic_model(padded, output_hidden_states=True).hidden_states
        return torch.stack(layers, 1).mean(1)[:, :: self.c.thinning]

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Codes of the first streams, each (B, N) -> wav (B, N hop)."""
        return cast(Tensor, self.acoustic_decoder(self.fc2(self.quantizer.decode(codes))))


# The way back to what the backbone said, which only training takes, and the codebooks' running statistics.
UNUSED = ("decoder_semantic.", "fc1.", "semantic_model.masked_spec_embed")
STATISTICS = (".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg")


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `transformers` checkpoint, with weight norm or without, as ours."""
    used = {key: value for key, value in state.items() if not key.startswith(UNUSED) and not key.endswith(STATISTICS)}
    plain = without_weight_norm(used)
    dac = {key.removeprefix("acoustic_"): value for key, value in plain.items() if key.startswith("acoustic_")}
    rest = {key: value for key, value in plain.items() if not key.startswith("acoustic_")}
    return {**{f"acoustic_{key}": value for key, value in from_transformers(dac).items()}, **rest}
