"""Two kinds of ids that take turns in one list: text and speech, or two speech streams.

glm-4-voice   13 text, 26 speech, until text ends; then the rest of the speech           arXiv 2412.02612
cosyvoice2    sos, (5 text, 15 speech)*, rest of text, task, rest of speech, with targets   arXiv 2412.10117
step-audio    2 linguistic, 3 semantic                                                   arXiv 2502.11946
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .layout import Form, Packed, SequenceLayout, Utterance, check_ids

__all__ = ["CosyVoice2", "CosyVoice3", "Glm4Voice", "MinMo", "StepAudio", "take_turns"]


def take_turns(first: np.ndarray, second: np.ndarray, turns: tuple[int, int], whole: bool = False) -> np.ndarray:
    """`turns[0]` of the first, `turns[1]` of the second, and so on to the end of both.

    With `whole` only whole groups take turns; of what is left, the first comes before the second.
    """
    a, b = turns
    groups = min(len(first) // a, len(second) // b)
    count = groups if whole else max(-(-len(first) // a), -(-len(second) // b))
    parts = [part for i in range(count) for part in (first[a * i : a * (i + 1)], second[b * i : b * (i + 1)])]
    return np.concatenate([*parts, first[a * count :], second[b * count :]])


@dataclass(frozen=True, kw_only=True)
class Glm4Voice(SequenceLayout):
    """GLM-4-Voice: id = `audio_offset` + code, the id of `<|audio_0|>` in the text tokenizer, below which text lies."""

    name: ClassVar[str] = "glm-4-voice"
    about: ClassVar[str] = "GLM-4-Voice: 13 text ids, 26 of speech, until text ends; then speech"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    from_tokenizer: ClassVar[Mapping[str, str]] = {"audio_offset": "<|audio_0|>"}

    text_turn: int = 13
    speech_turn: int = 26
    audio_offset: int = 152353

    def _suits(self) -> None:
        self._want(len(self.sizes) == 1, "needs a single stream")
        self._want(min(self.text_turn, self.speech_turn) >= 1, "needs turns of at least 1")

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.audio_offset + self.sizes[0])}

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.audio_offset, "text id")
        turns = self.text_turn, self.speech_turn
        return {"ids": take_turns(said.text, said.codes[0] + self.audio_offset, turns)}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"]
        speech = ids >= self.audio_offset
        return Utterance((ids[speech] - self.audio_offset,), ids[~speech])


@dataclass(frozen=True, kw_only=True)
class CosyVoice2(SequenceLayout):
    """CosyVoice 2 as it streams: while there is text, 15 speech ids follow each 5 of text.

    Speech lies from `speech_offset` on in "ids", its specials after its codes. "targets" are what the model is to say at each
    step, counted from 0: the last text id of a group predicts its first code, its last code predicts `fill`, which calls for
    more text; `ignore` where nothing is to be learned. Where there is too little speech for the groups, or with `stream` off:
    sos, all text, task, all speech.
    """

    name: ClassVar[str] = "cosyvoice2"
    about: ClassVar[str] = "CosyVoice 2: 5 text ids, 15 of speech, with targets and the fill id that asks for more text"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"

    text_turn: int = 5
    speech_turn: int = 15
    stream: bool = True
    text_vocabulary: int = 151936
    speech_offset: int = 151936
    end: int = -1
    fill: int = -1
    sos: int = -1
    task: int = -1
    ignore: int = -1

    # places of the specials after the codes: end and fill as in the speech table; sos and task, which have a table of their
    # own there, behind them
    places: ClassVar[Mapping[str, int]] = {"end": 0, "fill": 2, "sos": 3, "task": 4}

    def __post_init__(self) -> None:
        for key, place in self.places.items():
            if getattr(self, key) < 0:
                object.__setattr__(self, key, self.sizes[0] + place)
        super().__post_init__()

    def _suits(self) -> None:
        self._want(len(self.sizes) == 1, "needs a single stream")
        self._want(min(self.text_turn, self.speech_turn) >= 1, "needs turns of at least 1")
        specials = [self.end, self.fill, self.sos, self.task]
        good = len(set(specials)) == 4 and min(specials) >= self.sizes[0] and self.text_vocabulary <= self.speech_offset
        self._want(good, "needs four specials that are no codes, and speech after the text")

    def _forms(self) -> dict[str, Form]:
        most = max(self.end, self.fill, self.sos, self.task)
        return {"ids": Form(self.speech_offset + most + 1), "targets": Form(most + 1, low=self.ignore)}

    def _groups(self, text: int, speech: int) -> int:
        if not self.stream or speech * self.text_turn <= text * self.speech_turn:
            return 0
        return text // self.text_turn

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        text, codes = said.text, said.codes[0]
        a, b = self.text_turn, self.speech_turn
        groups = self._groups(len(text), len(codes))
        ids, targets = [np.array([self.sos + self.speech_offset])], [np.array([self.ignore])]
        for i in range(groups):
            spoken = codes[b * i : b * (i + 1)]
            ids += [text[a * i : a * (i + 1)], spoken + self.speech_offset]
            targets += [np.full(a - 1, self.ignore), spoken, np.array([self.fill])]
        rest, spoken = text[a * groups :], codes[b * groups :]
        ids += [rest, np.array([self.task + self.speech_offset]), spoken + self.speech_offset]
        targets += [np.full(len(rest), self.ignore), spoken, np.array([self.end])]
        return {"ids": np.concatenate(ids), "targets": np.concatenate(targets)}

    def _unpack(self, packed: Packed) -> Utterance:
        ids = packed["ids"]
        codes = ids - self.speech_offset
        return Utterance((codes[(codes >= 0) & (codes < self.sizes[0])],), ids[codes < 0])


@dataclass(frozen=True, kw_only=True)
class MinMo(CosyVoice2):
    """MinMo (arXiv 2501.06282), whose voice decoder takes turns as CosyVoice 2 does, over the same speech tokens."""

    name: ClassVar[str] = "minmo"
    about: ClassVar[str] = "MinMo: 5 text ids, 15 of speech, as CosyVoice 2"


@dataclass(frozen=True, kw_only=True)
class CosyVoice3(CosyVoice2):
    """CosyVoice 3 (arXiv 2505.17589): the same, but all four specials are in the speech table, in another order."""

    name: ClassVar[str] = "cosyvoice3"
    about: ClassVar[str] = "CosyVoice 3: as CosyVoice 2, its specials in another order"
    places: ClassVar[Mapping[str, int]] = {"sos": 0, "end": 1, "task": 2, "fill": 3}


@dataclass(frozen=True, kw_only=True)
class StepAudio(SequenceLayout):
    """Step-Audio: groups of 2 linguistic and 3 semantic ids, 120 ms; semantic ids lie after the linguistic ones.

    What is left after the last whole group, which Step-Audio drops, follows here, linguistic ids first.
    """

    name: ClassVar[str] = "step-audio"
    about: ClassVar[str] = "Step-Audio: 2 linguistic ids, 3 semantic"

    turns: tuple[int, int] = (2, 3)
    offset: int = 65536

    def _suits(self) -> None:
        good = len(self.sizes) == 2 and self.rates[0] * self.turns[1] == self.rates[1] * self.turns[0]
        self._want(good, f"needs two streams whose frame rates are as {self.turns[0]} to {self.turns[1]}")

    def _check_lengths(self, lengths: object) -> None:
        """Any: each stream is windowed by itself."""

    def _forms(self) -> dict[str, Form]:
        return {"ids": Form(self.offset + sum(self.sizes))}

    def _pack(self, said: Utterance) -> Packed:
        first, second = said.codes[0] + self.offset, said.codes[1] + self.offset + self.sizes[0]
        return {"ids": take_turns(first, second, self.turns, whole=True)}

    def _unpack(self, packed: Packed) -> Utterance:
        codes = packed["ids"] - self.offset
        semantic = codes >= self.sizes[0]
        return Utterance((codes[~semantic], codes[semantic] - self.sizes[0]))
