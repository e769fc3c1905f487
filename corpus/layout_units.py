"""Units without their repetitions, as ids or as text, with the durations that give them back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..core.dedup import deduplicate, repeat
from ..core.errors import TokensError
from .layout import Form, Packed, SequenceLayout, Utterance, row

__all__ = ["Dedup", "SpiritLM"]


@dataclass(frozen=True, kw_only=True)
class Dedup(SequenceLayout):
    """Units as GSLM, TWIST and SpeechGPT read them; durations, in frames, are a sequence of their own.

    With `ends`, begin and end are the two ids after the codes, as textlesslib has them.
    """

    name: ClassVar[str] = "dedup"
    about: ClassVar[str] = "units without repetitions, with their durations"

    offset: int = 0
    ends: bool = False

    def _suits(self) -> None:
        self._want(len(self.sizes) == 1, "needs a single stream")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.offset + self.sizes[0] + 2 * self.ends), "durations": Form(1 << 31)}

    def _pack(self, said: Utterance) -> Packed:
        units, durations = deduplicate(said.codes[0])
        ends = [self.sizes[0]], [self.sizes[0] + 1]
        ids = np.concatenate([ends[0], units, ends[1]]) if self.ends else units
        return {"ids": ids + self.offset, "durations": durations}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"][1:-1] if self.ends else packed["ids"]
        return Utterance((row(repeat(ids - self.offset, packed["durations"])),))


MARK = re.compile(r"\[(Hu|Pi|St)(\d+)\]")
SPEECH, TEXT = "[Speech]", "[Text]"


@dataclass(frozen=True, kw_only=True)
class SpiritLM(SequenceLayout):
    """Spirit LM (arXiv 2402.05755): text such as `[Speech][Hu12][Hu7]`.

    One stream: units. Three: units, pitch and style, merged by onset, style before pitch before units where they begin
    together; units and pitch without repetitions. Their durations are kept beside the text. `order` puts the written words
    before or after the speech, behind `[Text]`; "speech" leaves them out.
    """

    name: ClassVar[str] = "spirit-lm"
    about: ClassVar[str] = "Spirit LM: text like [Speech][Hu12][Hu7], with [Pi] and [St] for three streams"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "words"

    order: str = "speech"
    unit_rate: float = 24.99
    pitch_rate: float = 12.5
    style_rate: float = 1.0

    def _suits(self) -> None:
        self._want(len(self.sizes) in (1, 3), "needs one stream (units) or three (units, pitch, style)")
        good = self.order in ("speech", "text-speech", "speech-text")
        self._want(good, f"has the orders speech, text-speech and speech-text (got {self.order!r})")
        self._want(min(self.unit_rate, self.pitch_rate, self.style_rate) > 0, "needs rates above 0")

    @property
    def text_kind(self) -> str:
        """Words, where the order has a place for them."""
        return "" if self.order == "speech" else "words"

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        """Any: each stream has its own rate."""

    def _forms(self) -> dict[str, Form]:
        durations = {"durations": Form(1 << 31), "pitch_durations": Form(1 << 31)}
        return {"string": Form(is_text=True), **dict(list(durations.items())[: 2 if len(self.sizes) == 3 else 1])}

    def _pack(self, said: Utterance) -> Packed:
        if SPEECH in said.words or TEXT in said.words or MARK.search(said.words):
            raise TokensError(f"the text holds marks of the layout spirit-lm itself: {said.words[:80]!r}")
        speech, durations = self._speech(said.codes)
        string = {
            "speech": SPEECH + speech,
            "text-speech": TEXT + said.words + SPEECH + speech,
            "speech-text": SPEECH + speech + TEXT + said.words,
        }[self.order]
        return {"string": string, **durations}

    def _speech(self, codes: Sequence[np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
        units, durations = deduplicate(codes[0])
        kept = {"durations": durations}
        marks = _marks("Hu", units, durations, self.unit_rate)
        if len(codes) == 3:
            pitch, kept["pitch_durations"] = deduplicate(codes[1])
            style = _marks("St", codes[2], np.ones_like(codes[2]), self.style_rate)
            marks = [*style, *_marks("Pi", pitch, kept["pitch_durations"], self.pitch_rate), *marks]
        return "".join(mark for _, mark in sorted(marks, key=lambda mark: mark[0])), kept

    def _unpack(self, packed: Packed) -> Utterance:
        before, _, rest = packed["string"].partition(SPEECH)
        speech, _, after = rest.partition(TEXT)
        found: dict[str, list[int]] = {"Hu": [], "Pi": [], "St": []}
        for kind, number in MARK.findall(speech):
            found[kind].append(int(number))
        codes = [repeat(row(found["Hu"]), packed["durations"])]
        if len(self.sizes) == 3:
            codes += [repeat(row(found["Pi"]), packed["pitch_durations"]), row(found["St"])]
        return Utterance(tuple(row(stream) for stream in codes), words=after or before.removeprefix(TEXT))


def _marks(kind: str, ids: np.ndarray, durations: np.ndarray, rate: float) -> list[tuple[float, str]]:
    onsets = np.cumsum(durations) - durations
    return [(place / rate, f"[{kind}{code}]") for place, code in zip(onsets.tolist(), ids.tolist(), strict=True)]
