"""HiFi-GAN (Kong et al. 2020, arXiv:2010.05646): log-mel frames to sound by transposed convolutions.

Reads the published V1, V2 and V3 of github.com/jik876/hifi-gan (MIT) at any rate, in that form whoever trained them, and
transformers' SpeechT5HifiGan.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.mel import LogMel
from ..core.vocoder import Vocoder
from ..core.weights import peek_config
from ._hifigan import Generator
from ._hifigan_config import HiFiGANConfig
from ._published import checkpoint, generator_config, mel_config, published_config, speecht5, speecht5_config

__all__ = ["HiFiGAN"]


class HiFiGAN(Vocoder):
    """HiFi-GAN's generator behind the interface of vocoders: hop samples for a frame, exact in streams."""

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        settings = HiFiGANConfig.from_dict(config)
        return Generator(settings, settings.front.bands)

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return HiFiGANConfig.from_dict(config).front

    @classmethod
    def reach(cls, config: Mapping[str, Any]) -> tuple[int, int]:
        """By walking the convolutions backwards: 13 frames for V1 and V2, 11 for V3."""
        return HiFiGANConfig.from_dict(config).reach

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the upsampling and the mel in `config.json`; a unit vocoder has an embedding as well."""
        data = peek_config(folder)
        return "upsample_rates" in data and ("num_mels" in data or "model_in_dim" in data) and "num_embeddings" not in data

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Our own form, and both published ones."""
        if "upsample_rates" not in (data := peek_config(folder)):
            return super().read(folder)
        data = published_config(folder)
        if "sampling_rate" in data and "num_mels" not in data:
            config = speecht5_config(data)
            return config, speecht5(folder, config["normalise"])
        return {**generator_config(data), "mel": mel_config(data)}, checkpoint(folder)
