"""HiFTNet as CosyVoice 1 and 2, GLM-4-Voice and Step-Audio publish it: their mels to sound at 22.05 or 24 kHz.

Li et al. 2023, "HiFTNet", arXiv:2309.09493. `hift.pt` is read as it is, in both spellings of weight norm. The published code
draws phases and noise anew at each call; here they are fixed, so that results repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from ..core.errors import WeightsError
from ..core.mel import LogMel
from ..core.ssl import without_weight_norm
from ..core.vocoder import Vocoder
from ..core.weights import read_state
from ._hift import HiFT, HiFTConfig

__all__ = ["HiFT22K", "HiFT24K"]


class HiFTVocoder(Vocoder):
    """What both rates have in common."""

    own: ClassVar[Mapping[str, Any]]  # the configuration of the published weights

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return HiFT(HiFTConfig.from_dict(config))

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return HiFTConfig.from_dict(config).front

    @classmethod
    def reach(cls, config: Mapping[str, Any]) -> None:
        """All frames: the source's phase sums up the pitch since the clip's start."""
        return

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `hift.pt`, or our own."""
        if not (folder / "hift.pt").is_file():
            return super().read(folder)
        state = {key.removeprefix("generator."): value.float() for key, value in read_state(folder / "hift.pt").items()}
        stages = len({key.split(".")[1] for key in state if key.startswith("ups.")})
        config = HiFTConfig.from_dict(cls.own)
        if stages != len(config.rates):
            raise WeightsError(
                f"this hift.pt has {stages} upsamplings, and {cls.__name__} {len(config.rates)}: CosyVoice 1, GLM-4-Voice and "
                "Step-Audio (22.05 kHz) have 2, CosyVoice 2 (24 kHz) has 3"
            )
        return config.to_dict(), _named(without_weight_norm(state))


class HiFT22K(HiFTVocoder):
    """CosyVoice 1, GLM-4-Voice and Step-Audio."""

    own: ClassVar = {"mel": {"sample_rate": 22050, "n_fft": 1024, "hop": 256, "win": 1024}}


class HiFT24K(HiFTVocoder):
    """CosyVoice 2."""

    own: ClassVar = {
        "mel": {"sample_rate": 24000, "n_fft": 1920, "hop": 480, "win": 1920},
        "rates": [8, 5, 3],
        "kernels": [16, 11, 7],
        "source_kernels": [7, 7, 11],
        "by_frame": True,
    }


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the buffers that some versions of the code save, which follow from the sizes."""
    return {key: value for key, value in state.items() if key not in ("stft_window", "window")}
