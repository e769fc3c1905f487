"""`vox-snac-16k`: our own streaming codec with residual codebooks at unequal rates (SNAC, Siuzdak et al. 2024, 2410.14411).

The network is that of `vox-rvq-16k` (`rvq.py`). Its quantizer's stages work at different time scales: each averages what
the stages before it left, over its own number of frames, codes the mean, and takes the codeword from all of them. Three
streams at 12.5, 25 and 50 Hz hold slow, middle and fast change; at 12 bits a code they come to 1.05 kbit/s.

The encoder is causal to the frame and the tokens to the slowest stream's code (80 ms), since each code waits for the frames
it stands for. Streaming equals offline exactly both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..core.errors import ModelError
from .rvq import RVQ, RVQConfig


@dataclass(frozen=True)
class MultiScaleConfig(RVQConfig):
    """`RVQConfig`, and the time scale of each stream."""

    streams: int = 3
    codebook_size: int = 4096
    strides: tuple[int, ...] = (4, 2, 1)  # frames that one code of each stream stands for; each divides the greatest

    def __post_init__(self) -> None:
        """Raise `ModelError` for strides that do not fit together."""
        strides = self.strides
        whole = all(isinstance(s, int) and s > 0 for s in strides)
        if not whole or len(strides) != self.streams or any(max(strides) % s for s in strides):
            raise ModelError(f"strides={list(strides)!r}; expected {self.streams} whole numbers, each dividing the greatest")

    @property
    def steps(self) -> tuple[int, ...]:
        """Frames that one code of each stream stands for."""
        return self.strides

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return {**super().to_dict(), "strides": list(self.strides)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        return super().from_dict({**data, "strides": tuple(data["strides"])} if "strides" in data else data)


class MultiScale(RVQ):
    """The codec behind Voxzoo's interface. Frames: ceil(T / 1280) x (1, 2, 4) for strides (4, 2, 1)."""

    configuration = MultiScaleConfig
