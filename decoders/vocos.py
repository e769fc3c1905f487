"""Vocos (Siuzdak 2023, arXiv:2306.00814): mel frames or EnCodec's codes to sound, an inverse Fourier transform a frame."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.code_decoder import CodeDecoder
from ..core.convs import fold
from ..core.decoders import DecoderFacts
from ..core.errors import TokensError
from ..core.mel import LogMel
from ..core.vocoder import Vocoder, windowed
from ..core.weights import peek_config
from ._vocos import CodesNetwork, VocosConfig, VocosNetwork, published_config, published_state

__all__ = ["Vocos", "VocosCodes"]


class Vocos(Vocoder):
    """The variant that takes mel."""

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        super().__init__(facts, config, network, device)
        fold(self.network)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return VocosNetwork(VocosConfig.from_dict(config))

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return VocosConfig.from_dict(config).front

    @classmethod
    def reach(cls, config: Mapping[str, Any]) -> tuple[int, int]:
        """Three frames a layer, and those that overlap."""
        return VocosConfig.from_dict(config).reach

    @classmethod
    def trim(cls, config: Mapping[str, Any]) -> int:
        """Half a hop where the transform is centred."""
        c = VocosConfig.from_dict(config)
        return c.hop // 2 if c.centred else 0

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the class that the published configuration names."""
        return _names(folder, "MelSpectrogramFeatures")

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Our own form and the published one."""
        if "format" in peek_config(folder):
            return super().read(folder)
        return published_config(folder), published_state(folder)


class VocosCodes(CodeDecoder):
    """The variant that takes the codes of EnCodec at 24 kHz, in 2, 4, 8 or 16 streams."""

    network: CodesNetwork

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        super().__init__(facts, config, network, device)
        fold(self.network)

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return CodesNetwork(VocosConfig.from_dict(config))

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        c = VocosConfig.from_dict(config)
        return {"sample_rate": c.sample_rate, "frame_rate": Fraction(c.sample_rate, c.hop), "context": c.reach}

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Of all streams."""
        c = VocosConfig.from_dict(config)
        return (c.codes,) * c.streams

    def _sound(self, codes: Tensor, **how: Any) -> Tensor:
        c = VocosConfig.from_dict(self.config)
        if c.conditions and len(codes) not in c.counts:
            counts = ", ".join(map(str, c.counts))
            raise TokensError(f"{len(codes)} streams; {self.facts.name} was trained for {counts} of them")
        if c.conditions:
            self.network.condition(c.counts.index(len(codes)))
        return windowed(self.network, self.network.features(codes), c.hop, c.reach)[0]

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the class that the published configuration names."""
        return _names(folder, "EncodecFeatures")

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Our own form and the published one."""
        if "format" in peek_config(folder):
            return super().read(folder)
        return published_config(folder), published_state(folder)


def _names(folder: Path, what: str) -> bool:
    try:
        return f"vocos.feature_extractors.{what}" in (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
