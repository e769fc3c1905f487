"""Long clips in overlapping windows at fixed places, for encoders that look at all they are given and have a ragged last frame.

A clip that fits in one window is run whole. Of a longer one every window is of one size and keeps its inner part: it starts
`context` frames before the first frame that it has to give, and gives all but its last `context`; the last window is moved back
so that it ends with the clip and is as long as the others. Where windows lie follows from the clip alone, so that the result
does not depend on how it is pushed; every frame of the length law is given once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .streaming import Encoded

__all__ = ["FixedWindows"]


class FixedWindows:
    """An `EncoderCore` over one stream."""

    def __init__(self, encode: Callable[[Tensor], Tensor], size: int, context: int, hop: int, device: torch.device) -> None:
        """encode: wav (1, T) -> codes (1, N), frame i starting at sample i hop. size, context: in frames, size > 2 context."""
        self.encode, self.size, self.context, self.hop = encode, size, context, hop
        self.device = device
        self.parts: list[Tensor] = []  # the buffer, joined when a window is whole
        self.samples = 0  # in the buffer
        self.first = 0  # frame at which it starts
        self.given = 0  # frames given out

    def push(self, wav: Tensor) -> Encoded:
        """The inner frames of the windows that are now whole and not the last."""
        self.parts.append(wav)
        self.samples += wav.shape[1]
        done = [self._none()]
        while self.first * self.hop + self.samples > (self._start() + self.size) * self.hop:
            start = self._start()
            keep = start + self.size - self.context
            done.append(self._run(start, start + self.size)[:, self.given - start : keep - start])
            self.given = keep
            self._drop()
        return Encoded([torch.cat(done, 1)])

    def finish(self) -> Encoded:
        """The rest, from the last window."""
        if not self.samples:
            return Encoded([self._none()])
        end = self._end()
        start = max(self.first, end - self.size)
        return Encoded([self._run(start, end)[:, self.given - start :]])

    def _start(self) -> int:
        """Frame at which the next window starts."""
        return max(0, self.given - self.context)

    def _end(self) -> int:
        """Frame at which the buffer ends, the last one completed."""
        return self.first - (-self.samples // self.hop)

    def _run(self, start: int, end: int) -> Tensor:
        return self.encode(self._joined()[:, (start - self.first) * self.hop : (end - self.first) * self.hop])

    def _joined(self) -> Tensor:
        self.parts = [torch.cat(self.parts, 1)]
        return self.parts[0]

    def _drop(self) -> None:
        """Forget what neither the next window nor the last can need."""
        keep = max(self.first, min(self._start(), self._end() - self.size))
        left = self._joined()[:, (keep - self.first) * self.hop :].clone()
        self.parts, self.samples, self.first = [left], left.shape[1], keep

    def _none(self) -> Tensor:
        return torch.zeros(1, 0, dtype=torch.int64, device=self.device)
