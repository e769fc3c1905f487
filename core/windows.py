"""Streaming for models that look ahead: the clip is cut into blocks, and each window is run with context on both sides.

A block is the padding unit of a model (or any whole number of them); `left` and `right` are the blocks of context that
make the kept frames independent of everything farther away. A convolution pads its own input with zeros, so the edge of
a window differs from the same place inside a longer clip; context is what keeps that difference out of the kept frames.
Only the clip's own start and its padded end are real edges, and there the window has no context. The joined windows
therefore equal the offline result, in memory bounded by a window, however the clip is pushed.

A model that looks at the whole clip has no such context: with `fixed` windows its result depends on where the windows lie,
but not on how the clip is pushed, and a clip that fits in one window is run whole.

For models without `extras` (scales and the like), whose encoder and decoder are plain functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import TokensError
from .streaming import Encoded

__all__ = ["Blocks", "WindowedDecoder", "WindowedEncoder"]


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


class _Windows:
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


class WindowedEncoder:
    """An `EncoderCore`: `encode` maps wav (1, whole blocks) to codes."""

    def __init__(self, encode: Callable[[Tensor], Encoded], blocks: Blocks) -> None:
        self.encode, self.blocks = encode, blocks
        self.windows = _Windows(blocks)
        self.wav: Tensor | None = None

    def push(self, wav: Tensor) -> Encoded:
        """wav (1, T) -> the frames of the blocks whose right context is now complete."""
        self.wav = wav if self.wav is None else torch.cat([self.wav, wav], 1)
        return self._run(self.wav, last=False)

    def finish(self) -> Encoded:
        """The last block is completed with zeros, as offline."""
        wav = torch.zeros(1, 0) if self.wav is None else self.wav
        return self._run(torch.nn.functional.pad(wav, (0, -wav.shape[1] % self.blocks.samples)), last=True)

    def _run(self, wav: Tensor, last: bool) -> Encoded:
        size, right = self.blocks.samples, self.blocks.right
        parts = [[torch.zeros(1, 0, dtype=torch.int64, device=wav.device)] for _ in self.blocks.frames]
        for start, keep, stop in self.windows.cut(wav.shape[1] // size, last):
            codes = self.encode(wav[:, start * size : (stop + right) * size]).codes
            for part, stream, per in zip(parts, codes, self.blocks.frames, strict=True):
                part.append(stream[:, (keep - start) * per : (stop - start) * per])
        self.wav = wav[:, self.windows.drop() * size :].clone()
        return Encoded([torch.cat(part, 1) for part in parts])


class WindowedDecoder:
    """A `DecoderCore`: `decode` maps codes of whole blocks to wav (1, whole blocks). Takes any prefix of the streams."""

    def __init__(self, decode: Callable[[Encoded], Tensor], blocks: Blocks) -> None:
        self.decode, self.blocks = decode, blocks
        self.windows = _Windows(blocks)
        self.codes: list[Tensor] = []

    def push(self, encoded: Encoded) -> Tensor:
        """Codes, the streams in their ratio -> the samples of the blocks whose right context is now complete.

        Raises `TokensError` when the streams do not belong together.
        """
        counts, frames = [c.shape[1] for c in encoded.codes], self.blocks.frames
        if any(n * frames[0] != counts[0] * per for n, per in zip(counts, frames, strict=False)):
            raise TokensError(f"pushed {counts} frames; streams run at {list(frames)[: len(counts)]}: push them in this ratio")
        if self.codes and len(self.codes) != len(counts):
            raise TokensError(f"pushed {len(counts)} streams after {len(self.codes)}; expected the same number")
        held = self.codes or [c[:, :0] for c in encoded.codes]
        self.codes = [torch.cat(pair, 1) for pair in zip(held, encoded.codes, strict=True)]
        return self._run(last=False)

    def finish(self) -> Tensor:
        """The samples still held back. Raises `TokensError` when the tokens end inside a block."""
        if self.codes and self.codes[0].shape[1] % self.blocks.frames[0]:
            raise TokensError(f"the stream ends inside a block of {self.blocks.frames[0]} frames: its last tokens are missing")
        return self._run(last=True)

    def _run(self, last: bool) -> Tensor:
        if not self.codes:
            return torch.zeros(1, 0)
        size, right, frames = self.blocks.samples, self.blocks.right, self.blocks.frames
        out = [torch.zeros(1, 0, device=self.codes[0].device)]
        for start, keep, stop in self.windows.cut(self.codes[0].shape[1] // frames[0], last):
            end = stop + right
            wav = self.decode(Encoded([c[:, start * n : end * n] for c, n in zip(self.codes, frames, strict=False)]))
            out.append(wav[:, (keep - start) * size : (stop - start) * size])
        done = self.windows.drop()
        self.codes = [c[:, done * n :].clone() for c, n in zip(self.codes, frames, strict=False)]
        return torch.cat(out, 1)
