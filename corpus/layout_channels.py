"""Text and speech side by side, a row of channels per step: Moshi's seventeen and Mini-Omni's eight.

Text without times runs ahead of the speech from the first step on, and rows of padding follow where speech is shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..core.errors import TokensError
from .layout import Form, Packed, SequenceLayout, Utterance, check_ids, none
from .layout_parallel import delayed, undelayed
from .layout_tree import TreeLayout, from_slots, to_slots

__all__ = ["MiniOmni", "Moshi"]


@dataclass(frozen=True, kw_only=True)
class Moshi(SequenceLayout):
    """Moshi (arXiv 2410.00037): text, own streams, the other speaker's streams; all but the first of each late.

    `aligned` text has one id per frame, padding included; other text runs from frame 0, and must not hold the padding.
    Moshi itself drops the last `acoustic_delay` steps of a row; here they are kept, so that nothing is lost.
    """

    name: ClassVar[str] = "moshi"
    about: ClassVar[str] = "Moshi: rows of text, own streams and the other's streams, the acoustic ones a step late"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    takes_other: ClassVar[bool] = True

    acoustic_delay: int = 1
    aligned: bool = False
    first: bool = False
    text_vocabulary: int = 32000
    text_padding: int = 3
    text_initial: int = 32000
    audio_initial: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio_initial", max(self.sizes) if self.audio_initial < 0 else self.audio_initial)
        super().__post_init__()

    def _suits(self) -> None:
        super()._suits()
        self._want(self.acoustic_delay >= 0, "needs an acoustic_delay of at least 0")
        self._want(self.audio_initial >= max(self.sizes), "needs an audio_initial that is no code")

    def _forms(self) -> dict[str, Form]:
        high = max(self.text_vocabulary, self.text_initial + 1, self.audio_initial + 1, self.text_padding + 1)
        return {"ids": Form(high, 1 + 2 * len(self.sizes))}

    @property
    def _delays(self) -> list[int]:
        return [0] + 2 * [0, *[self.acoustic_delay] * (len(self.sizes) - 1)]

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        own, other = len(said.codes[0]), len(said.other[0]) if said.other else 0
        if self.aligned and len(said.text) != own:
            raise TokensError(f"aligned text has {len(said.text)} ids; expected one for each of {own} frames")
        if not self.aligned and (said.text == self.text_padding).any():
            raise TokensError(f"text holds the padding {self.text_padding}; text with padding in it is aligned=true")
        partner = said.other or (none(),) * len(self.sizes)
        fill = [self.text_padding] + [self.audio_initial] * (2 * len(self.sizes))
        late = self.acoustic_delay if len(self.sizes) > 1 else 0
        steps = max(own, other, len(said.text)) + late
        rows = delayed([said.text, *said.codes, *partner], self._delays, fill, steps)
        return {"ids": np.vstack([[[self.text_initial, *fill[1:]]], rows]) if self.first else rows}

    def _unpack(self, packed: Packed) -> Utterance:
        rows = packed["ids"][int(self.first) :]
        count, delays = len(self.sizes), self._delays
        sides = []
        for start in (1, 1 + count):
            frames = int((rows[:, start] != self.audio_initial).sum())
            sides.append(undelayed(rows[:, start : start + count], delays[start : start + count], frames))
        text = rows[: len(sides[0][0]), 0] if self.aligned else rows[rows[:, 0] != self.text_padding, 0]
        return Utterance(sides[0], text, sides[1] if len(sides[1][0]) else ())


@dataclass(frozen=True, kw_only=True)
class MiniOmni(TreeLayout):
    """Mini-Omni (arXiv 2408.16725): the slots of SNAC's tree as parallel streams, slot j late by j + 1 steps, then text.

    Each slot ends with end-of-audio, text with end-of-text; the rest is padding. With `shift`, slot j has ids of its own from
    `audio_offset` + j * `stride` on, as the input has; without, all count from 0, as the output heads do. S = N + slots + 1, or
    M + 1 if that is more.
    """

    name: ClassVar[str] = "mini-omni"
    about: ClassVar[str] = "Mini-Omni: rows of SNAC's slots, each a step later than the one before, and text, which runs ahead"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"

    text_vocabulary: int = 151936
    end_of_text: int = 151936
    text_padding: int = 151937
    audio_offset: int = 152000
    stride: int = 4160
    end_of_audio: int = 4096
    audio_padding: int = 4097
    shift: bool = True

    def _suits(self) -> None:
        super()._suits()
        good = max(self.sizes) <= self.end_of_audio < self.audio_padding < self.stride
        self._want(good, f"has {self.end_of_audio} codes and specials up to {self.stride - 1} in a slot")
        apart = self.text_vocabulary <= min(self.end_of_text, self.text_padding) and self.end_of_text != self.text_padding
        self._want(apart, "needs an end_of_text and a text_padding that are no text and not the same")

    def _forms(self) -> dict[str, Form]:
        high = self.audio_offset + self.slots * self.stride if self.shift else max(self.text_padding + 1, self.stride)
        return {"ids": Form(high, self.slots + 1)}

    @property
    def _late(self) -> list[int]:
        return [*range(1, self.slots + 1), 0]

    def _shifts(self) -> np.ndarray:
        slots = self.audio_offset + self.stride * np.arange(self.slots)
        return np.append(slots if self.shift else np.zeros_like(slots), 0)

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        slots = to_slots(said.codes)
        streams = [*(np.append(slot, self.end_of_audio) for slot in slots.T), np.append(said.text, self.end_of_text)]
        fill = [self.audio_padding] * self.slots + [self.text_padding]
        steps = max(len(slots) + self.slots + 1, len(said.text) + 1)
        return {"ids": delayed(streams, self._late, fill, steps) + self._shifts()}

    def _unpack(self, packed: Packed) -> Utterance:
        rows = packed["ids"] - self._shifts()
        frames = int(np.flatnonzero(rows[:, 0] == self.end_of_audio)[0]) - 1
        text = rows[: int(np.flatnonzero(rows[:, -1] == self.end_of_text)[0]), -1]
        slots = np.stack(undelayed(rows[:, :-1], self._late[:-1], frames), axis=1)
        return Utterance(from_slots(slots, len(self.sizes)), text)
