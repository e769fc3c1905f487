"""SNAC's tree as one sequence: a coarse frame, then what it is refined into, depth first.

Each frame of a stream covers two of the next. A coarse frame t with its refinements is 7 slots for three streams,

    c0[t] c1[2t] c2[4t] c2[4t+1] c1[2t+1] c2[4t+2] c2[4t+3]

and 15 for four: in general the pre-order of the binary tree. Mini-Omni (arXiv 2408.16725) reads the slots as parallel streams,
Orpheus (github.com/canopyai/Orpheus-TTS) one after the other, with 4096 ids of their own for each slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..core.errors import TokensError
from .layout import Form, Packed, SequenceLayout, Utterance, check_ids

__all__ = ["Orpheus", "Tree", "from_slots", "slot_levels", "to_slots"]


def slot_levels(streams: int) -> list[tuple[int, int]]:
    """(stream, place within the coarse frame) of each slot."""
    found: list[tuple[int, int]] = []

    def visit(level: int, place: int) -> None:
        found.append((level, place))
        if level + 1 < streams:
            visit(level + 1, 2 * place)
            visit(level + 1, 2 * place + 1)

    visit(0, 0)
    return found


def to_slots(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Streams of N, 2 N, 4 N ... frames -> (N, slots)."""
    columns = [codes[level][place :: 1 << level] for level, place in slot_levels(len(codes))]
    return np.stack(columns, axis=1)


def from_slots(slots: np.ndarray, streams: int) -> tuple[np.ndarray, ...]:
    """The inverse of `to_slots`."""
    codes = [np.zeros(len(slots) << level, np.int64) for level in range(streams)]
    for column, (level, place) in zip(slots.T, slot_levels(streams), strict=True):
        codes[level][place :: 1 << level] = column
    return tuple(codes)


@dataclass(frozen=True, kw_only=True)
class TreeLayout(SequenceLayout):
    """Base of the layouts of SNAC's tree."""

    def _suits(self) -> None:
        doubling = all(b == 2 * a for a, b in zip(self.rates, self.rates[1:], strict=False))
        self._want(
            2 <= len(self.sizes) <= 8 and doubling, "needs 2 to 8 streams, each at twice the frame rate of the one before"
        )

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        if list(lengths) != [lengths[0] << level for level in range(len(lengths))]:
            raise TokensError(f"the layout {self.name} needs streams of N, 2 N, 4 N ... frames; got {list(lengths)}")

    @property
    def slots(self) -> int:
        """Slots of a coarse frame."""
        return (1 << len(self.sizes)) - 1


@dataclass(frozen=True, kw_only=True)
class Tree(TreeLayout):
    """The slots in a row: id = offset + slot * stride + code."""

    name: ClassVar[str] = "snac"
    about: ClassVar[str] = "SNAC's tree flattened depth first: 7 slots for 3 streams, 15 for 4"

    offset: int = 0
    stride: int = 0

    def _suits(self) -> None:
        super()._suits()
        self._want(self.offset >= 0 and self.stride >= 0, "needs an offset and a stride that are not negative")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.offset + self.stride * (self.slots - 1) + max(self.sizes))}

    def _pack(self, said: Utterance) -> Packed:
        return {"ids": (to_slots(said.codes) + self._offsets()).reshape(-1)}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"]
        if len(ids) % self.slots:
            raise TokensError(f"{len(ids)} ids are not whole frames of {self.slots}")
        return Utterance(from_slots(ids.reshape(-1, self.slots) - self._offsets(), len(self.sizes)))

    def _offsets(self) -> np.ndarray:
        return self.offset + self.stride * np.arange(self.slots)


@dataclass(frozen=True, kw_only=True)
class Orpheus(TreeLayout):
    """Orpheus's prompt and answer: what a human says as text, then the AI's speech.

    start-of-human, text, end-of-text, end-of-human, start-of-AI, start-of-speech, slots, end-of-speech, end-of-AI.
    """

    name: ClassVar[str] = "orpheus"
    about: ClassVar[str] = "Orpheus: text as prompt, SNAC's 7 slots flattened, each slot with 4096 ids of its own"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    text_specials: ClassVar[bool] = True

    text_vocabulary: int = 128256
    end_of_text: int = 128009
    start_of_speech: int = 128257
    end_of_speech: int = 128258
    start_of_human: int = 128259
    end_of_human: int = 128260
    start_of_ai: int = 128261
    end_of_ai: int = 128262
    audio_offset: int = 128266
    stride: int = 4096

    def _suits(self) -> None:
        super()._suits()
        self._want(max(self.sizes) <= self.stride, f"has {self.stride} ids for a slot (set stride=)")
        marks = [
            self.start_of_speech,
            self.end_of_speech,
            self.start_of_human,
            self.end_of_human,
            self.start_of_ai,
            self.end_of_ai,
        ]
        apart = self.text_vocabulary <= min(marks) and max(marks) < self.audio_offset and len(set(marks)) == len(marks)
        self._want(apart, "needs six marks between text and audio")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.audio_offset + self.stride * self.slots)}

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        before = [self.end_of_text, self.end_of_human, self.start_of_ai, self.start_of_speech]
        audio = (to_slots(said.codes) + self._offsets()).reshape(-1)
        return {"ids": np.concatenate([[self.start_of_human], said.text, before, audio, [self.end_of_speech, self.end_of_ai]])}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"]
        start = int(np.flatnonzero(ids == self.start_of_speech)[0]) + 1
        audio = ids[start:-2]
        if len(audio) % self.slots:
            raise TokensError(f"{len(audio)} audio ids are not whole frames of {self.slots}")
        return Utterance(from_slots(audio.reshape(-1, self.slots) - self._offsets(), len(self.sizes)), ids[1 : start - 4])

    def _offsets(self) -> np.ndarray:
        return self.audio_offset + self.stride * np.arange(self.slots)
