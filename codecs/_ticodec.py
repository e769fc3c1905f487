"""The network of TiCodec, on channels-last sound (see `core/convs.py`): HiFi-GAN's generator, its mirror image, and two codes.

Ren et al. 2024, "Fewer-token Neural Speech Codec with Time-invariant Codes", arXiv:2310.00014; published at
github.com/y-ren16/TiCodec and, for Freeze-Omni, at github.com/VITA-MLLM/Freeze-Omni. Parameters have the published names,
except that what belongs to a stage of resampling is gathered in `stages`, and weight norm is multiplied in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import Conv, ConvTranspose, in_pieces
from ..core.errors import ModelError
from ._dac import from_descript

__all__ = ["DEFAULTS", "Network", "complete", "from_published"]

# The published model.json, as far as it shapes the network; `encoder_dim` is written into the published code.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 24000,
    "encoder_dim": 32,
    "upsample_rates": [8, 5, 5, 3],
    "upsample_kernel_sizes": [16, 11, 11, 5],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "n_code_groups": 1,
    "residul_layer": 1,
    "n_codes": 1024,
    "global_code_num": 8,
    "global_feature_conv": [128, 64, 128, 3, 1],
    "global_tokens": [473, 975, 419, 219, 565, 121, 550, 616],
}
GROUP = 16  # channels that are normalised together
SLOPE = 0.1
Kernels = Sequence[tuple[int, Sequence[int]]]  # of residual blocks: their width and dilations
UNUSED = ("encoder.linear.",)  # stands in the published checkpoints, but nothing is computed with it


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"TiCodec has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS)}")
    full = {**DEFAULTS, **config}
    for key, default in DEFAULTS.items():
        if isinstance(default, int) and not (isinstance(full[key], int) and full[key] >= 1):
            raise ModelError(f"TiCodec got {key} {full[key]!r}; expected a whole number, at least 1")
        numbers = full[key] if isinstance(full[key], list) else []
        if isinstance(default, list) and key != "resblock_dilation_sizes" and not _whole(numbers):
            raise ModelError(f"TiCodec got {key} {full[key]!r}; expected a list of whole numbers")
    if not all(kernel % 2 for kernel in full["resblock_kernel_sizes"]):
        raise ModelError(f"TiCodec got resblock_kernel_sizes {full['resblock_kernel_sizes']}; expected odd numbers")
    rates, kernels = full["upsample_rates"], full["upsample_kernel_sizes"]
    if len(rates) != len(kernels) or any(not 0 < r <= k or (k - r) % 2 for r, k in zip(rates, kernels, strict=True)):
        raise ModelError(f"TiCodec got upsample_kernel_sizes {kernels}; expected one for each of {rates}, an even number wider")
    dilations = full["resblock_dilation_sizes"]
    blocks = len(full["resblock_kernel_sizes"])
    if not isinstance(dilations, list) or len(dilations) != blocks or not all(map(_whole, dilations)):
        raise ModelError(f"TiCodec got resblock_dilation_sizes {dilations!r}; expected one list for each kernel size")
    _check_codes(full)
    return full


def _check_codes(full: Mapping[str, Any]) -> None:
    tokens, books, size = full["global_tokens"], full["global_code_num"], full["n_codes"]
    if len(tokens) != books or max(tokens) >= size:
        raise ModelError(f"TiCodec got global_tokens {tokens}; expected {books} below {size}")
    voice = full["global_feature_conv"]
    middle = full["encoder_dim"] * 2 ** max(1, len(full["upsample_rates"]) // 2)
    stages = [full["upsample_initial_channel"] >> i + 1 for i in range(len(full["upsample_rates"]))]
    if len(voice) != 5 or voice[0] != middle or voice[2] not in stages or voice[2] % books:
        raise ModelError(
            f"TiCodec got global_feature_conv {voice}; expected 5 numbers: from {middle} channels, over any number, to as many "
            f"as a stage of the decoder has ({stages}), kernel, stride"
        )
    if latent(full) % full["n_code_groups"]:
        raise ModelError(f"TiCodec got n_code_groups {full['n_code_groups']}; expected a divisor of {latent(full)}")


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, list) and bool(numbers) and all(isinstance(n, int) and n >= 0 for n in numbers)


def latent(config: Mapping[str, Any]) -> int:
    """Channels of a latent frame."""
    return int(config["encoder_dim"] * 2 ** len(config["upsample_rates"]))


def leaky(x: Tensor, edge: int = 0, slope: float = SLOPE) -> Tensor:
    """Leaky ReLU of x (B, T, C) -> (B, edge + T + edge, C), zeros at both ends for the convolution that follows."""
    return F.pad(F.leaky_relu(x, slope), (0, 0, edge, edge)) if edge else F.leaky_relu(x, slope)


class Residual(nn.Module):
    """Pairs of convolutions, dilated and plain, each pair with a shortcut."""

    def __init__(self, dim: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        same = kernel // 2
        self.convs1 = nn.ModuleList([Conv(dim, dim, kernel, padding=(kernel - 1) * d // 2, dilation=d) for d in dilations])
        self.convs2 = nn.ModuleList([Conv(dim, dim, kernel, padding=same) for _ in dilations])

    @property
    def pairs(self) -> list[tuple[Conv, Conv]]:
        """In the order in which they are applied."""
        return list(zip(self.convs1, self.convs2, strict=True))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        for dilated, plain in self.pairs:
            x = plain(leaky(dilated(leaky(x, dilated.edge)), plain.edge)).add_(x)
        return x

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """See `core.convs.receptive`."""
        for dilated, plain in reversed(self.pairs):
            first, last = dilated.needs(*plain.needs(first, last))
        return first, last


class Stage(nn.Module):
    """A change of rate, and the mean of several residual blocks; the encoder normalises each partial sum over the clip."""

    def __init__(
        self, resample: Conv | ConvTranspose, dim: int, kernels: Sequence[tuple[int, Sequence[int]]], norm: bool
    ) -> None:
        super().__init__()
        self.resample = resample
        self.blocks = nn.ModuleList([Residual(dim, kernel, dilations) for kernel, dilations in kernels])
        self.norms = nn.ModuleList([nn.GroupNorm(dim // GROUP, dim, eps=1e-6) for _ in kernels if norm])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T', C')."""
        x = self.resample(leaky(x, getattr(self.resample, "edge", 0)))
        total: Tensor | None = None
        for i, block in enumerate(self.blocks):
            total = block(x) if total is None else total.add_(block(x))
            total = normalised(self.norms[i], total) if len(self.norms) else total
        assert total is not None
        return total.div_(len(self.blocks))

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """See `core.convs.receptive`; of a stage that does not normalise."""
        spans = [block.needs(first, last) for block in self.blocks]  # type: ignore[operator]
        return self.resample.needs(min(span[0] for span in spans), max(span[1] for span in spans))


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """x (B, T, C) -> (B, T, C), over time and groups of channels."""
    return norm(x.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)


class GlobalTokenEncoder(nn.Module):
    """The mean over a clip of what says who speaks."""

    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        sizes, pad = [(inputs, hidden), (hidden, hidden), (hidden, outputs)], (kernel - stride) // 2
        convs = [nn.Conv1d(*size, kernel, stride, pad, bias=False) for size in sizes]
        self.conv = nn.Sequential(*(layer for conv in convs for layer in (conv, nn.LeakyReLU(SLOPE))))
        self.fn = nn.Sequential(nn.Linear(outputs, outputs), nn.LeakyReLU(SLOPE), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, C')."""
        return self.fn(self.conv(x.transpose(1, 2)).mean(2))


class Encoder(nn.Module):
    """Sound to latent frames, and to one vector a clip."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, kernels = config["encoder_dim"], list(zip(*_blocks(config), strict=True))[::-1]
        self.conv_pre = Conv(1, dim, 7, padding=3)
        stages = []
        for rate, kernel in zip(config["upsample_rates"][::-1], config["upsample_kernel_sizes"][::-1], strict=True):
            down = Conv(dim, 2 * dim, kernel, rate, padding=(kernel - rate) // 2)
            stages.append(Stage(down, 2 * dim, kernels, norm=True))
            dim *= 2
        self.stages = nn.ModuleList(stages)
        self.conv_post = Conv(dim, dim, 3, padding=1)
        self.GlobalTokenEncoder = GlobalTokenEncoder(*config["global_feature_conv"])
        self.middle = max(1, len(stages) // 2)  # stages before the vector is taken

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> latent frames (B, T / hop, C)."""
        x = self._half(wav)
        for stage in self.stages[self.middle :]:
            x = stage(x)
        return self.conv_post(leaky(x, self.conv_post.edge, 0.01))

    def voice(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, C)."""
        return self.GlobalTokenEncoder(self._half(wav))

    def _half(self, wav: Tensor) -> Tensor:
        x = self.conv_pre(F.pad(wav[:, :, None], (0, 0, self.conv_pre.edge, self.conv_pre.edge)))
        for stage in self.stages[: self.middle]:
            x = stage(x)
        return x


class Post(nn.Module):
    """The generator's last convolution, and tanh."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, 1)."""
        return self.conv(leaky(x, self.conv.edge)).tanh_()


class Generator(nn.Module):
    """Latent frames and a voice to sound."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim, kernels = config["upsample_initial_channel"], list(zip(*_blocks(config), strict=True))
        self.conv_pre = Conv(latent(config), dim, 7, padding=3)
        stages = []
        for rate, kernel in zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True):
            up = ConvTranspose(dim, dim // 2, kernel, rate, (kernel - rate) // 2)
            stages.append(Stage(up, dim // 2, kernels, norm=False))
            dim //= 2
        self.stages = nn.ModuleList(stages)
        self.post = Post(Conv(dim, 1, 7, padding=3))
        channels = [config["upsample_initial_channel"] >> i + 1 for i in range(len(stages))]
        self.voiced = 1 + channels.index(config["global_feature_conv"][2])  # stages before the voice is added
        self.rate = math.prod(config["upsample_rates"][self.voiced :])
        self.channels = dim

    def forward(self, x: Tensor, voice: Tensor) -> Tensor:
        """x (B, N, C), voice (B, C') -> wav (B, N hop)."""
        x = self.conv_pre(F.pad(x, (0, 0, self.conv_pre.edge, self.conv_pre.edge)))
        for stage in self.stages[: self.voiced]:
            x = stage(x)
        rest = [*self.stages[self.voiced :], self.post]
        return in_pieces(rest, x.add_(voice[:, None]), Fraction(self.rate), self.rate * self.channels)[:, :, 0]

    @property
    def layers(self) -> list[nn.Module]:
        """For `core.convs.receptive`."""
        return [self.conv_pre, *self.stages, self.post.conv]


def _blocks(config: Mapping[str, Any]) -> tuple[list[int], list[list[int]]]:
    return config["resblock_kernel_sizes"], config["resblock_dilation_sizes"]


class Codebook(nn.Module):
    """V codewords of D channels. The search repeats the published arithmetic, so that near ties fall alike."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, dim)

    def search(self, x: Tensor) -> Tensor:
        """x (M, D) -> code of the nearest codeword (M,)."""
        words = self.embedding.weight
        distance = (x.pow(2).sum(1, keepdim=True) + words.pow(2).sum(1)).sub_(x @ words.T, alpha=2)
        return distance.argmin(1)


class Quantizer(nn.Module):
    """Codes of frames, a stream for each group of channels of one residual layer after another; and of a voice."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, groups, layers = config["n_codes"], config["n_code_groups"], config["residul_layer"]
        self.names = ["quantizer_modules", *(f"quantizer_modules{i + 2}" for i in range(layers - 1))]
        for name in self.names:
            setattr(self, name, nn.ModuleList([Codebook(size, latent(config) // groups) for _ in range(groups)]))
        books, width = config["global_code_num"], config["global_feature_conv"][2]
        self.quantizer_modules_globaltokens = nn.ModuleList([Codebook(size, width // books) for _ in range(books)])

    @property
    def layers(self) -> list[nn.ModuleList]:
        """Of the residual."""
        return [getattr(self, name) for name in self.names]

    def encode(self, x: Tensor, streams: int) -> list[Tensor]:
        """Latent frames x (B, N, C) -> the first `streams` streams of codes, each (B, N)."""
        batch, frames, dim = x.shape
        codes: list[Tensor] = []
        with torch.autocast(x.device.type, enabled=False):
            left = x.float().reshape(-1, dim)
            for books in self.layers:
                parts = left.split(dim // len(books), 1)
                found = [book.search(part) for book, part in zip(books, parts, strict=True)]  # type: ignore[operator]
                words = torch.cat([book.embedding(code) for book, code in zip(books, found, strict=True)], 1)  # type: ignore
                left = left - (left + (words - left))  # the published way to subtract them
                codes += found
        return [code.view(batch, frames) for code in codes[:streams]]

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """The first streams, each (B, N) -> (B, N, C); a group that is not given adds nothing."""
        books = [book for layer in self.layers for book in layer]
        words = [book.embedding(code) for book, code in zip(books, codes, strict=False)]  # type: ignore[operator]
        groups = len(self.layers[0])
        words += [torch.zeros_like(words[0])] * (-len(words) % groups)
        layers = [torch.cat(words[i : i + groups], 2) for i in range(0, len(words), groups)]
        return torch.stack(layers).sum(0)

    def find_voice(self, x: Tensor) -> Tensor:
        """x (B, C) -> codes (B, books)."""
        books = self.quantizer_modules_globaltokens
        parts = x.split(x.shape[1] // len(books), 1)
        return torch.stack([book.search(part) for book, part in zip(books, parts, strict=True)], 1)  # type: ignore[operator]

    def voice(self, codes: Tensor) -> Tensor:
        """codes (books,) -> (C,)."""
        words = zip(self.quantizer_modules_globaltokens, codes, strict=True)
        return torch.cat([book.embedding(code) for book, code in words])  # type: ignore[operator]


class Network(nn.Module):
    """`core.convs.fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.quantizer = Quantizer(config)
        self.generator = Generator(config)


def from_published(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names, `blocks` residual blocks to a stage, weight norm multiplied in."""
    used = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
    return {_ours(key, blocks): value for key, value in from_descript(used).items()}


def _ours(key: str, blocks: int) -> str:
    key = re.sub(r"^generator\.conv_post\.", "generator.post.conv.", key)
    key = re.sub(r"^(encoder|generator)\.ups\.(\d+)\.", r"\1.stages.\2.resample.", key)
    found = re.match(r"(encoder|generator)\.(resblocks|normalize)\.(\d+)\.(.*)", key)
    if not found:
        return key
    stage, block = divmod(int(found[3]), blocks)
    return f"{found[1]}.stages.{stage}.{'blocks' if found[2] == 'resblocks' else 'norms'}.{block}.{found[4]}"
