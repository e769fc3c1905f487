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

from collections.abc import Callable

import torch
from torch import Tensor

from .blocks import Blocks, Windows
from .errors import TokensError
from .streaming import Encoded

__all__ = ["Blocks", "WindowedDecoder", "WindowedEncoder"]


class WindowedEncoder:
    """An `EncoderCore`: `encode` maps wav (1, whole blocks) to codes."""

    def __init__(self, encode: Callable[[Tensor], Encoded], blocks: Blocks) -> None:
        self.encode, self.blocks = encode, blocks
        self.windows = Windows(blocks)
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
        self.windows = Windows(blocks)
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
