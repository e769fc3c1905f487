"""The sizes of a HiFi-GAN generator, and what follows from them: its hop, and how far a frame's sound reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ..core.errors import ModelError
from ..core.mel import LogMel

__all__ = ["GeneratorConfig", "HiFiGANConfig"]


@dataclass(frozen=True)
class GeneratorConfig:
    """Every size of the network but those of its input; plain JSON values only."""

    channels: int = 512
    rates: tuple[int, ...] = (8, 8, 2, 2)  # of the transposed convolutions
    kernels: tuple[int, ...] = (16, 16, 4, 4)
    block: int = 1  # 1: pairs of convolutions, 2: single ones
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    normalise: bool = False  # frames less a mean, over a scale, both of them weights
    slope: float = 0.1  # of the leaky ReLUs but the last
    layers: int = 0  # ConvNeXt blocks at the frame rate
    fft: int = 0  # samples of the last transform's frames; 0: the last convolution gives the samples
    split: int = 1  # frames of the last transform for each frame of the last convolution
    last_kernel: int = 7

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        data = asdict(self)
        data["block_dilations"] = [list(row) for row in self.block_dilations]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` for keys it does not know and sizes that do not fit together."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"a HiFi-GAN has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        if "block_dilations" in kept:
            kept["block_dilations"] = tuple(tuple(row) for row in kept["block_dilations"])
        config = cls(**kept)
        if len(config.rates) != len(config.kernels) or len(config.block_kernels) != len(config.block_dilations):
            raise ModelError("a HiFi-GAN wants one kernel for each upsampling, and one list of dilations for each block kernel")
        made = math.prod(config.rates) * config.split
        if config.hop % made or (not config.fft and config.hop != made) or config.hop // made > max(1, config.fft // 2):
            raise ModelError(f"upsampling by {config.rates} makes no hop of {config.hop} samples")
        if config.block not in (1, 2) or config.channels % 2 ** len(config.rates):
            raise ModelError(f"no HiFi-GAN has blocks of kind {config.block} and {config.channels} channels")
        return config

    @property
    def hop(self) -> int:
        """Samples for a frame."""
        return math.prod(self.rates)

    @property
    def step(self) -> int:
        """Samples between the last transform's frames."""
        return self.hop // math.prod(self.rates) // self.split

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and after one that its sound depends on, found by walking the convolutions backwards."""
        first, last = 0, self.hop - 1
        if self.fft:
            cut = (self.fft - self.step) // 2
            first, last = -((self.fft - 1 - cut) // self.step) // self.split, (last + cut) // self.step // self.split
        first, last = first - self.last_kernel // 2, last + self.last_kernel // 2
        widest = max(
            (size - 1) * (sum(dilations) + (len(dilations) if self.block == 1 else 0)) // 2
            for size, dilations in zip(self.block_kernels, self.block_dilations, strict=True)
        )
        for rate, kernel in zip(reversed(self.rates), reversed(self.kernels), strict=True):
            padding = (kernel - rate + (kernel - rate) % 2) // 2
            first, last = first - widest, last + widest
            first, last = -((kernel - 1 - first - padding) // rate), (last + padding) // rate
        more = 3 + 3 * self.layers
        return more - first, last + more


@dataclass(frozen=True)
class HiFiGANConfig(GeneratorConfig):
    """Every size of the network, and the mel it takes."""

    mel: Mapping[str, Any] = field(default_factory=dict)

    @property
    def front(self) -> LogMel:
        """The mel front end."""
        return LogMel.from_dict(self.mel)

    @property
    def hop(self) -> int:
        """The mel's."""
        return self.front.hop
