"""What every backbone of units is."""

from __future__ import annotations

from torch import Tensor, nn

from ..core.errors import ModelError

__all__ = ["Backbone", "check_layer"]


class Backbone(nn.Module):
    """Sound to features.

    Attributes:
        hop: samples from one frame to the next.
        span: samples a frame is made of; a shorter clip is completed with zeros.
        dim: D.
        longest: samples it takes at once; None where there is no bound of its own.
    """

    hop: int
    span: int
    dim: int
    longest: int | None = None

    def frames(self, samples: int) -> int:
        """Frames of so many samples: those that fit whole, but at least one."""
        return max(0, samples - self.span) // self.hop + 1

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, frames(T), D)."""
        raise NotImplementedError


def check_layer(layer: int, most: int) -> None:
    if not 0 <= layer <= most:
        raise ModelError(f"layer {layer} of a backbone of {most}; expected 0, the input of the first, to {most}")
