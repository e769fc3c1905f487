"""Streams of one rate side by side, flattened, delayed against each other, or the coarse one first.

The patterns of audiocraft (MusicGen, arXiv 2306.05284): a step holds one code of each stream, or the special id where a stream
has none; with `first` the sequence begins with a step of nothing but the special id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..core.errors import TokensError
from .layout import Form, Packed, SequenceLayout, Utterance, check_ids

__all__ = ["CoarseFirst", "Delay", "Flat", "Parallel", "Valle", "delayed", "undelayed"]


def delayed(streams: Sequence[np.ndarray], delays: Sequence[int], fill: Sequence[int], steps: int) -> np.ndarray:
    """(steps, K): frame t of stream k lies at step t + delays[k], `fill[k]` where there is none."""
    rows = np.tile(np.asarray(fill, np.int64), (steps, 1))
    for k, (stream, delay) in enumerate(zip(streams, delays, strict=True)):
        rows[delay : delay + len(stream), k] = stream
    return rows


def undelayed(rows: np.ndarray, delays: Sequence[int], frames: int) -> tuple[np.ndarray, ...]:
    """The inverse: `frames` frames of each stream."""
    return tuple(rows[delay : delay + frames, k] for k, delay in enumerate(delays))


@dataclass(frozen=True, kw_only=True)
class Flat(SequenceLayout):
    """Frame by frame, the streams one after the other: id = offset + k * stride + code.

    `stride` -1 gives each stream ids of its own, as many as the largest codebook has codes; 0 lets them share.
    """

    name: ClassVar[str] = "flat"
    about: ClassVar[str] = "frame by frame in one list, each stream with ids of its own; for one stream, its codes"

    offset: int = 0
    stride: int = -1

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.offset + self._step * (len(self.sizes) - 1) + max(self.sizes))}

    def _pack(self, said: Utterance) -> Packed:
        return {"ids": (np.stack(said.codes, axis=1) + self._offsets()).reshape(-1)}

    def _unpack(self, packed: Packed) -> Utterance:
        rows = packed["ids"].reshape(-1, len(self.sizes)) - self._offsets()
        return Utterance(tuple(rows.T))

    @property
    def _step(self) -> int:
        return max(self.sizes) if self.stride < 0 else self.stride

    def _offsets(self) -> np.ndarray:
        return self.offset + self._step * np.arange(len(self.sizes))


@dataclass(frozen=True, kw_only=True)
class Delay(SequenceLayout):
    """MusicGen's delay pattern: stream k is `delays[k]` steps late (k by default). S = N + max(delays) + 1."""

    name: ClassVar[str] = "delay"
    about: ClassVar[str] = "MusicGen: a row of all streams per step, stream k late by k steps"

    delays: tuple[int, ...] = ()
    special: int = -1
    first: bool = True

    def __post_init__(self) -> None:
        delays = self.delays or tuple(range(len(self.sizes)))
        object.__setattr__(self, "delays", tuple(int(delay) for delay in delays))
        object.__setattr__(self, "special", max(self.sizes) if self.special < 0 else self.special)
        super().__post_init__()

    def _suits(self) -> None:
        super()._suits()
        good = len(self.delays) == len(self.sizes) and min(self.delays) >= 0
        self._want(good, f"needs one delay of at least 0 for each stream (got {list(self.delays)})")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(max(self.special + 1, *self.sizes), len(self.sizes))}

    @property
    def _late(self) -> list[int]:
        return [delay + self.first for delay in self.delays]

    def _pack(self, said: Utterance) -> Packed:
        steps = len(said.codes[0]) + max(self._late)
        return {"ids": delayed(said.codes, self._late, [self.special] * len(self.sizes), steps)}

    def _unpack(self, packed: Packed) -> Utterance:
        rows = packed["ids"].reshape(-1, len(self.sizes))
        frames = len(rows) - max(self._late)
        if frames < 0:
            raise TokensError(f"{len(rows)} steps are fewer than the delays alone ({max(self._late)})")
        return Utterance(undelayed(rows, self._late, frames))


@dataclass(frozen=True, kw_only=True)
class Parallel(Delay):
    """All streams of a frame at one step, none late, no first step."""

    name: ClassVar[str] = "parallel"
    about: ClassVar[str] = "a row of all streams per frame"

    first: bool = False

    def __post_init__(self) -> None:
        if not self.delays:
            object.__setattr__(self, "delays", (0,) * len(self.sizes))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class CoarseFirst(SequenceLayout):
    """All of stream 0, then the others side by side, stream k + 1 late by `delays[k]`. S = 2 N + max(delays) + 1."""

    name: ClassVar[str] = "coarse-first"
    about: ClassVar[str] = "all of the coarse stream, then rows of the others"

    delays: tuple[int, ...] = ()
    special: int = -1
    first: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "delays", tuple(self.delays or (0,) * (len(self.sizes) - 1)))
        object.__setattr__(self, "special", max(self.sizes) if self.special < 0 else self.special)
        super().__post_init__()

    def _suits(self) -> None:
        super()._suits()
        self._want(len(self.sizes) > 1, "needs at least two streams")
        good = len(self.delays) == len(self.sizes) - 1 and min(self.delays) >= 0
        self._want(good, f"needs one delay of at least 0 for each stream but the first (got {list(self.delays)})")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(max(self.special + 1, *self.sizes), len(self.sizes))}

    def _late(self, frames: int) -> list[int]:
        return [int(self.first), *(delay + frames + self.first for delay in self.delays)]

    def _pack(self, said: Utterance) -> Packed:
        frames = len(said.codes[0])
        late = self._late(frames)
        return {"ids": delayed(said.codes, late, [self.special] * len(self.sizes), frames + max(late))}

    def _unpack(self, packed: Packed) -> Utterance:
        rows = packed["ids"]
        frames = max(0, (len(rows) - max(self.delays) - self.first) // 2)
        return Utterance(undelayed(rows, self._late(frames), frames))


@dataclass(frozen=True, kw_only=True)
class Valle(SequenceLayout):
    """VALL-E (arXiv 2301.02111): stream 0 for the autoregressive model, with its end; the rest for the other, as rows.

    Text ids (phonemes, in the paper) are a sequence of their own: text and streams have embeddings of their own.
    """

    name: ClassVar[str] = "valle"
    about: ClassVar[str] = "VALL-E: stream 0 with its end for the AR model, rows of the others for the NAR model, text apart"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"

    end: int = -1
    text_vocabulary: int = 1 << 31

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.sizes[0] if self.end < 0 else self.end)
        super().__post_init__()

    def _suits(self) -> None:
        super()._suits()
        self._want(len(self.sizes) > 1, "needs at least two streams")
        self._want(self.end >= self.sizes[0], f"needs an end that is no code (got {self.end})")

    def _forms(self) -> dict[str, Form]:
        return {
            "ids": Form(self.end + 1),
            "nar_ids": Form(max(self.sizes[1:]), len(self.sizes) - 1),
            "text_ids": Form(self.text_vocabulary),
        }

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        rest = np.stack(said.codes[1:], axis=1)
        return {"ids": np.append(said.codes[0], self.end), "nar_ids": rest, "text_ids": said.text}

    def _unpack(self, packed: Packed) -> Utterance:
        rest = packed["nar_ids"].reshape(-1, len(self.sizes) - 1)
        return Utterance((packed["ids"][:-1], *rest.T), packed["text_ids"])
