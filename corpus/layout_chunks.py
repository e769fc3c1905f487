"""Dialogue cut into chunks of equal time, the speakers' parts of a chunk one after the other in one list.

omniflatten   chunks of 10 speech and 2 text ids; four, three or two streams           arXiv 2410.17799
minicpm-o     units of one second: hear, then keep silent or speak                      github.com/OpenBMB/MiniCPM-o
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..core.errors import TokensError
from .layout import Form, Packed, SequenceLayout, Utterance, check_ids

__all__ = ["MiniCpmO", "OmniFlatten", "OmniFlatten2", "OmniFlatten3"]


@dataclass(frozen=True, kw_only=True)
class OmniFlatten(SequenceLayout):
    """OmniFlatten: a chunk of the user's speech, user's text, assistant's text, assistant's speech.

    Later stages leave out the user's text (omniflatten-3), then all text (omniflatten-2). Ids that stand for silence fill what
    is empty at the end; speech lies from `speech_offset` on, silence in speech and in text after its codes.
    """

    name: ClassVar[str] = "omniflatten"
    about: ClassVar[str] = "OmniFlatten: chunks of user's speech and text, assistant's text and speech"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    takes_other: ClassVar[bool] = True
    takes_other_text: ClassVar[bool] = True
    parts: ClassVar[tuple[str, ...]] = ("other", "other_text", "text", "own")

    text_chunk: int = 2
    speech_chunk: int = 10
    text_vocabulary: int = 151936
    speech_offset: int = 151936
    speech_silence: int = -1
    text_silence: int = -1

    def __post_init__(self) -> None:
        for place, key in enumerate(("speech_silence", "text_silence")):
            if getattr(self, key) < 0:
                object.__setattr__(self, key, self.speech_offset + self.sizes[0] + place)
        super().__post_init__()

    def _suits(self) -> None:
        self._want(len(self.sizes) == 1, "needs a single stream")
        self._want(min(self.text_chunk, self.speech_chunk) >= 1, "needs chunks of at least 1")
        codes = range(self.speech_offset, self.speech_offset + self.sizes[0])
        texts = range(self.text_vocabulary)
        good = (
            self.text_vocabulary <= self.speech_offset and self.speech_silence not in codes and self.text_silence not in texts
        )
        self._want(good, "needs speech after the text, and silences that are neither codes nor text")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(max(self.speech_offset + self.sizes[0], self.speech_silence + 1, self.text_silence + 1))}

    def _widths(self) -> list[int]:
        return [self.text_chunk if "text" in part else self.speech_chunk for part in self.parts]

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        check_ids(said.other_text, self.text_vocabulary, "the other speaker's text id")
        speech = {"own": said.codes[0], "other": said.other[0] if said.other else said.codes[0][:0]}
        streams = [speech[p] + self.speech_offset if p in speech else getattr(said, p) for p in self.parts]
        count = max(-(-len(stream) // width) for stream, width in zip(streams, self._widths(), strict=True))
        return {"ids": np.concatenate([self._grid(stream, i, count) for i, stream in enumerate(streams)], axis=1).reshape(-1)}

    def _grid(self, stream: np.ndarray, i: int, count: int) -> np.ndarray:
        width = self._widths()[i]
        silence = self.text_silence if "text" in self.parts[i] else self.speech_silence
        full = np.full(count * width, silence, np.int64)
        full[: len(stream)] = stream
        return full.reshape(count, width)

    def _unpack(self, packed: Packed) -> Utterance:
        widths = self._widths()
        if len(packed["ids"]) % sum(widths):
            raise TokensError(f"{len(packed['ids'])} ids are not whole chunks of {sum(widths)}")
        grid = packed["ids"].reshape(-1, sum(widths))
        found = {}
        for part, cut in zip(self.parts, np.split(grid, np.cumsum(widths)[:-1], axis=1), strict=True):
            silence = self.text_silence if "text" in part else self.speech_silence
            flat = cut.reshape(-1)
            found[part] = flat[flat != silence] - (0 if "text" in part else self.speech_offset)
        none = found["own"][:0]
        other = (found["other"],) if len(found["other"]) else ()
        return Utterance((found["own"],), found.get("text", none), other, found.get("other_text", none))


@dataclass(frozen=True, kw_only=True)
class OmniFlatten3(OmniFlatten):
    """OmniFlatten's second stage: no text of the user."""

    name: ClassVar[str] = "omniflatten-3"
    about: ClassVar[str] = "OmniFlatten, three streams: user's speech, assistant's text and speech"
    takes_other_text: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...]] = ("other", "text", "own")


@dataclass(frozen=True, kw_only=True)
class OmniFlatten2(OmniFlatten):
    """OmniFlatten's third stage: speech alone."""

    name: ClassVar[str] = "omniflatten-2"
    about: ClassVar[str] = "OmniFlatten, two streams: user's and assistant's speech"
    takes_text: ClassVar[Literal["", "ids", "words"]] = ""
    takes_other_text: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...]] = ("other", "own")


@dataclass(frozen=True, kw_only=True)
class MiniCpmO(SequenceLayout):
    """MiniCPM-o's time division, with speech of both sides as ids.

    A unit is what is heard in a chunk, then `listen`, or `speak` with text and its end, and the speech of the chunk:

        unit-start  heard*  listen  unit-end
        unit-start  heard*  speak text* [turn-end] chunk-end  speech*  unit-end

    turn-end is in the last unit that speaks. Text without times is spread evenly over the units that speak. (The model hears
    features, not ids, and a second network speaks; as ids of one list both come into the same order.)
    """

    name: ClassVar[str] = "minicpm-o"
    about: ClassVar[str] = "MiniCPM-o: units of a second, hearing first, then listen or speak"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    takes_other: ClassVar[bool] = True

    chunk: int = -1
    text_vocabulary: int = 151643
    unit_start: int = 151683
    unit_end: int = 151684
    listen: int = 151705
    speak: int = 151706
    turn_end: int = 151717
    chunk_end: int = 151718
    speech_offset: int = 151936

    def __post_init__(self) -> None:
        if self.chunk < 0:
            object.__setattr__(self, "chunk", max(1, round(self.rates[0])))
        super().__post_init__()

    def _suits(self) -> None:
        self._want(len(self.sizes) == 1, "needs a single stream")
        marks = [self.unit_start, self.unit_end, self.listen, self.speak, self.turn_end, self.chunk_end]
        good = (
            self.chunk >= 1 and self.text_vocabulary <= min(marks) and max(marks) < self.speech_offset and len(set(marks)) == 6
        )
        self._want(good, "needs a chunk of at least 1 and six marks between text and speech")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.speech_offset + self.sizes[0])}

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        heard = said.other[0] if said.other else said.codes[0][:0]
        own = said.codes[0]
        speaking = max(-(-len(own) // self.chunk), int(len(said.text) > 0))
        parts: list[np.ndarray | Sequence[int]] = []
        for i in range(max(speaking, -(-len(heard) // self.chunk))):
            cut = slice(self.chunk * i, self.chunk * (i + 1))
            parts += [[self.unit_start], heard[cut] + self.speech_offset]
            if i < speaking:
                text = said.text[len(said.text) * i // speaking : len(said.text) * (i + 1) // speaking]
                last = [self.turn_end] if i == speaking - 1 else []
                parts += [[self.speak], text, last, [self.chunk_end], own[cut] + self.speech_offset]
            else:
                parts += [[self.listen]]
            parts += [[self.unit_end]]
        return {"ids": np.concatenate([said.text[:0], *(np.asarray(part, np.int64) for part in parts)])}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"]
        unit = np.cumsum(ids == self.unit_start)
        closed = np.full(int(unit.max(initial=0)) + 1, len(ids))
        ends = np.flatnonzero(ids == self.chunk_end)
        closed[unit[ends]] = ends
        speech = ids >= self.speech_offset
        own = speech & (np.arange(len(ids)) > closed[unit])  # what is spoken follows the end of its text
        heard = ids[speech & ~own] - self.speech_offset
        text = ids[ids < self.text_vocabulary]
        return Utterance((ids[own] - self.speech_offset,), text, (heard,) if len(heard) else ())
