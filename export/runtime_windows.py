"""Streaming forms of a graph that keeps no state: windows with context, as the model has them in torch (`core/windows.py`,
`core/fixed_windows.py`), in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.blocks import Blocks, Windows
from ..core.errors import ModelError, TokensError
from .runtime_coded import Coded, DecoderCore, EncoderCore

__all__ = ["decoder_core", "encoder_core"]


Span = tuple[int, int]  # spectrogram frames to keep, from the first to before the second
Encode = Callable[..., Coded]  # wav (1, T), perhaps a Span -> codes
Decode = Callable[[Coded], np.ndarray]  # codes -> wav (1, T)


def encoder_core(law: Mapping[str, Any], encode: Encode, streams: int) -> EncoderCore:
    """The core that a bundle's law of windows names. Raises `ModelError` for one that is not known."""
    kind = law["kind"]
    if kind == "blocks":
        return _WindowedEncoder(encode, _blocks(law, streams))
    if kind == "frames":
        return _FixedWindows(encode, law["size"], law["context"], law["hop"])
    if kind == "spectrogram":
        return _SpectrogramWindows(encode, *(int(law[name]) for name in ("hop", "size", "step", "lead", "margin", "per")))
    if kind == "cuts":
        return _Cuts(encode, law["samples"], streams)
    if kind == "whole":
        return _Whole(encode, streams)
    raise ModelError(f"this bundle cuts long clips by {kind!r}, which this version does not know; export it again")


def decoder_core(law: Mapping[str, Any], decode: Decode) -> DecoderCore:
    """The same for the way back."""
    if law["kind"] == "blocks":
        return _WindowedDecoder(decode, _blocks(law, len(law["frames"])))
    if law["kind"] == "whole":
        return _WholeDecoder(decode)
    raise ModelError(f"this bundle cuts long clips by {law['kind']!r}, which this version does not know; export it again")


def _blocks(law: Mapping[str, Any], streams: int) -> Blocks:
    sizes = {name: int(law[name]) for name in ("samples", "left", "right", "most")}
    return Blocks(frames=law["frames"][:streams], fixed=bool(law.get("fixed")), **sizes)


class _WindowedEncoder:
    def __init__(self, encode: Encode, blocks: Blocks) -> None:
        self.encode, self.blocks = encode, blocks
        self.windows = Windows(blocks)
        self.wav = np.zeros((1, 0), np.float32)

    def push(self, wav: np.ndarray) -> Coded:
        self.wav = np.concatenate([self.wav, wav], 1)
        return self._run(last=False)

    def finish(self) -> Coded:
        """The last block is completed with zeros, as offline."""
        self.wav = np.pad(self.wav, ((0, 0), (0, -self.wav.shape[1] % self.blocks.samples)))
        return self._run(last=True)

    def _run(self, last: bool) -> Coded:
        size, right, frames = self.blocks.samples, self.blocks.right, self.blocks.frames
        parts = []
        for start, keep, stop in self.windows.cut(self.wav.shape[1] // size, last):
            codes = self.encode(self.wav[:, start * size : (stop + right) * size]).codes
            inner = [c[:, (keep - start) * per : (stop - start) * per] for c, per in zip(codes, frames, strict=True)]
            parts.append(Coded(inner))
        self.wav = self.wav[:, self.windows.drop() * size :].copy()
        return Coded.joined(parts, len(frames))


class _WindowedDecoder:
    """Takes any prefix of the streams."""

    def __init__(self, decode: Decode, blocks: Blocks) -> None:
        self.decode, self.blocks = decode, blocks
        self.windows = Windows(blocks)
        self.codes: list[np.ndarray] = []

    def push(self, coded: Coded) -> np.ndarray:
        """Raises `TokensError` when the streams do not belong together."""
        counts, frames = [c.shape[1] for c in coded.codes], self.blocks.frames
        if any(n * frames[0] != counts[0] * per for n, per in zip(counts, frames, strict=False)):
            raise TokensError(f"pushed {counts} frames; streams run at {list(frames)[: len(counts)]}: push them in this ratio")
        self.codes = _appended(self.codes, coded.codes)
        return self._run(last=False)

    def finish(self) -> np.ndarray:
        """Raises `TokensError` when the tokens end inside a block."""
        if self.codes and self.codes[0].shape[1] % self.blocks.frames[0]:
            raise TokensError(f"the stream ends inside a block of {self.blocks.frames[0]} frames: its last tokens are missing")
        return self._run(last=True)

    def _run(self, last: bool) -> np.ndarray:
        if not self.codes:
            return np.zeros((1, 0), np.float32)
        size, right, frames = self.blocks.samples, self.blocks.right, self.blocks.frames
        out = [np.zeros((1, 0), np.float32)]
        for start, keep, stop in self.windows.cut(self.codes[0].shape[1] // frames[0], last):
            end = stop + right
            wav = self.decode(Coded([c[:, start * n : end * n] for c, n in zip(self.codes, frames, strict=False)]))
            out.append(wav[:, (keep - start) * size : (stop - start) * size])
        done = self.windows.drop()
        self.codes = [c[:, done * n :].copy() for c, n in zip(self.codes, frames, strict=False)]
        return np.concatenate(out, 1)


class _FixedWindows:
    """Windows of `size` frames that keep all but `context` on each side; the last is as long, and ends with the clip."""

    def __init__(self, encode: Encode, size: int, context: int, hop: int) -> None:
        self.encode, self.size, self.context, self.hop = encode, size, context, hop
        self.wav = np.zeros((1, 0), np.float32)
        self.first = self.given = 0  # frame at which the buffer starts; frames given out

    def push(self, wav: np.ndarray) -> Coded:
        """The inner frames of the windows that are now whole and not the last."""
        self.wav = np.concatenate([self.wav, wav], 1)
        parts = []
        while self.first * self.hop + self.wav.shape[1] > ((start := self._start()) + self.size) * self.hop:
            keep = start + self.size - self.context
            codes = self._run(start, start + self.size).codes[0]
            parts.append(Coded([codes[:, self.given - start : keep - start]]))
            self.given = keep
            first = max(self.first, min(self._start(), self._end() - self.size))  # no later window needs what is before
            self.wav, self.first = self.wav[:, (first - self.first) * self.hop :].copy(), first
        return Coded.joined(parts, 1)

    def finish(self) -> Coded:
        """The rest, from the last window."""
        if not self.wav.shape[1]:
            return Coded.none(1)
        start = max(self.first, self._end() - self.size)
        return Coded([self._run(start, self._end()).codes[0][:, self.given - start :]])

    def _start(self) -> int:
        return max(0, self.given - self.context)

    def _end(self) -> int:
        """Frame at which the buffer ends, the last one completed."""
        return self.first - (-self.wav.shape[1] // self.hop)

    def _run(self, start: int, end: int) -> Coded:
        return self.encode(self.wav[:, (start - self.first) * self.hop : (end - self.first) * self.hop])


class _SpectrogramWindows:
    """Windows of the spectrogram, where what comes after it looks at all it is given: each of `size` frames, `step` apart, of
    which `margin` codes are left out at inner edges. The sound of a window begins `lead` frames before it, so that its first
    frames see what came before them; a code is of `per` frames.
    """

    def __init__(self, encode: Encode, hop: int, size: int, step: int, lead: int, margin: int, per: int) -> None:
        self.encode, self.hop, self.size, self.step, self.margin, self.per = encode, hop, size, step, margin, per
        self.wav, self.most = np.zeros((1, 0), np.float32), lead
        self.lead = 0  # frames held before the next window; none before the first

    def push(self, wav: np.ndarray) -> Coded:
        """The inner codes of the windows beyond which there is sound."""
        self.wav = np.concatenate([self.wav, wav], 1)
        parts = []
        while self.wav.shape[1] >= (whole := (self.lead + self.size + 1) * self.hop):
            parts.append(self._window(whole, self.size).parted([self.size // self.per - self.margin - self._before])[0])
            self.wav = self.wav[:, (self.lead + self.step - self.most) * self.hop :].copy()
            self.lead = self.most
        return Coded.joined(parts, 1)

    def finish(self) -> Coded:
        """The rest, from the last window."""
        if not self.wav.shape[1]:
            return Coded.none(1)
        return self._window(self.wav.shape[1], max(1, self.wav.shape[1] // self.hop) - self.lead)

    @property
    def _before(self) -> int:
        """Codes left out at the start of a window."""
        return self.margin if self.lead else 0

    def _window(self, samples: int, frames: int) -> Coded:
        """The codes of a window of so many frames, without those before its own."""
        made = self.encode(self.wav[:, :samples], (self.lead, self.lead + frames))
        return made.parted([-(-frames // self.per)])[0].parted([self._before])[1]


class _Cuts:
    """Segments that know nothing of each other, each run as soon as it is whole; the last is what is left."""

    def __init__(self, encode: Encode, samples: int, streams: int) -> None:
        self.encode, self.samples, self.streams = encode, samples, streams
        self.wav = np.zeros((1, 0), np.float32)

    def push(self, wav: np.ndarray) -> Coded:
        self.wav = np.concatenate([self.wav, wav], 1)
        parts = []
        while self.wav.shape[1] >= self.samples:
            parts.append(self.encode(self.wav[:, : self.samples]))
            self.wav = self.wav[:, self.samples :].copy()
        return Coded.joined(parts, self.streams)

    def finish(self) -> Coded:
        return self.encode(self.wav) if self.wav.shape[1] else Coded.none(self.streams)


class _Whole:
    """For what has no other form: nothing is certain before the end."""

    def __init__(self, encode: Encode, streams: int) -> None:
        self.encode, self.streams = encode, streams
        self.parts: list[np.ndarray] = []

    def push(self, wav: np.ndarray) -> Coded:
        self.parts.append(wav)
        return Coded.none(self.streams)

    def finish(self) -> Coded:
        return self.encode(np.concatenate(self.parts, 1))


class _WholeDecoder:
    def __init__(self, decode: Decode) -> None:
        self.decode = decode
        self.parts: list[Coded] = []

    def push(self, coded: Coded) -> np.ndarray:
        self.parts.append(coded)
        return np.zeros((1, 0), np.float32)

    def finish(self) -> np.ndarray:
        if not self.parts:
            return np.zeros((1, 0), np.float32)
        return self.decode(Coded.joined(self.parts, len(self.parts[0].codes)))


def _appended(held: list[np.ndarray], codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes after those held. Raises `TokensError` where there are more or fewer streams than before."""
    if held and len(held) != len(codes):
        raise TokensError(f"pushed {len(codes)} streams after {len(held)}; expected the same number")
    return [np.concatenate(pair, 1) for pair in zip(held, codes, strict=True)] if held else list(codes)
