"""HiFi-GAN (Kong et al. 2020, arXiv:2010.05646): log-mel frames to sound by transposed convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..core.decoder import Vocoder
from ..core.mel import LogMel
from ._hifigan import Generator, HiFiGANConfig

__all__ = ["HiFiGAN"]


class HiFiGAN(Vocoder):
    """HiFi-GAN's generator behind the interface of vocoders."""

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return Generator(HiFiGANConfig.from_dict(config))

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return HiFiGANConfig.from_dict(config).front

    @classmethod
    def reach(cls, config: Mapping[str, Any]) -> tuple[int, int]:
        """By walking the convolutions backwards."""
        return HiFiGANConfig.from_dict(config).reach
