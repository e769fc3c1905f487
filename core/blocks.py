"""Where the windows of a long clip lie, counted in blocks: plain arithmetic, which every engine shares. See `windows.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Blocks", "Windows"]


@dataclass(frozen=True)
class Blocks:
    """How a clip is cut.

    Attributes:
        samples: samples of a block.
        frames: frames of a block in each stream (K).
        left, right: blocks of context on each side.
        most: blocks a window keeps at most; a window also holds its context.
        fixed: windows lie where the clip alone says, and hold left + most + right blocks each: the first keeps all but its
            right context, the last is the clip's last so many blocks. A clip of no more than one window is run whole.
    """

    samples: int
    frames: Sequence[int]
    left: int
    right: int
    most: int
    fixed: bool = False

    @classmethod
    def reaching(cls, samples: int, frames: Sequence[int], before: int, after: int, unit: int, most: int) -> Blocks:
        """Blocks whose context covers `before` and `after` of something a block has `unit` of (samples, latent frames)."""
        return cls(samples, frames, max(0, -(-before // unit)), max(0, -(-after // unit)), most)


class Windows:
    """Which blocks may be kept, and with which context: counted from the start of the clip."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.span = blocks.left + blocks.most + blocks.right
        self.first = 0  # block at which the buffer starts
        self.end = 0  # block at which it ends
        self.kept = 0  # blocks given out

    def cut(self, held: int, last: bool) -> list[tuple[int, int, int]]:
        """Windows over `held` buffered blocks, each (start, keep from, keep to, in blocks of the buffer); the end of a
        window is its keep-to plus right context, as far as there is any."""
        self.end = self.first + held
        return self._fixed(last) if self.blocks.fixed else self._eager(last)

    def _eager(self, last: bool) -> list[tuple[int, int, int]]:
        """Everything whose context is there."""
        end = self.end - (0 if last else self.blocks.right)
        windows = []
        while self.kept < end:
            windows.append(self._window(max(0, self.kept - self.blocks.left), min(self.kept + self.blocks.most, end)))
        return windows

    def _fixed(self, last: bool) -> list[tuple[int, int, int]]:
        """Whole windows, as long as more than one is there."""
        windows = []
        while self.end - (start := max(0, self.kept - self.blocks.left)) > self.span:
            windows.append(self._window(start, start + self.span - self.blocks.right))
        if last and self.kept < self.end:
            windows.append(self._window(max(0, self.end - self.span), self.end))
        return windows

    def _window(self, start: int, stop: int) -> tuple[int, int, int]:
        window = (start - self.first, self.kept - self.first, stop - self.first)
        self.kept = stop
        return window

    def drop(self) -> int:
        """Blocks at the head of the buffer that no later window needs; the count is taken as dropped."""
        needed = self.end - self.span if self.blocks.fixed else self.kept - self.blocks.left
        done = max(0, needed) - self.first
        self.first += done
        return done
