"""CSM's rows: the streams of a frame and a column for text, of which a row uses one or the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .layout import Form, Packed, SequenceLayout, Utterance, check_ids

__all__ = ["Csm"]


@dataclass(frozen=True, kw_only=True)
class Csm(SequenceLayout):
    """CSM (github.com/SesameAILabs/csm): rows of text, rows of speech, then one of zeros that ends the speech.

    "mask" is 1 where a row uses a column, without which a text id 0, a frame of zeros and the end would be the same. CSM looks
    a code up at `code + k * 2051` in one table for all streams, which it adds itself; `embedding_stride` records it.
    """

    name: ClassVar[str] = "csm"
    about: ClassVar[str] = "CSM: rows of 32 streams and text with a mask, text first, a row of zeros at the end"
    takes_text: ClassVar[Literal["", "ids", "words"]] = "ids"
    template: ClassVar[str] = "[0]{text}"
    text_specials: ClassVar[bool] = True

    text_vocabulary: int = 128256
    embedding_stride: int = 2051

    def _suits(self) -> None:
        super()._suits()
        good = max(self.sizes) <= self.embedding_stride
        self._want(good, f"has {self.embedding_stride} ids for a stream (set embedding_stride=)")

    def _forms(self) -> dict[str, Form]:
        width = len(self.sizes) + 1
        return {"ids": Form(max(self.text_vocabulary, *self.sizes), width), "mask": Form(2, width)}

    def _pack(self, said: Utterance) -> Packed:
        check_ids(said.text, self.text_vocabulary, "text id")
        text, frames = len(said.text), len(said.codes[0])
        ids = np.zeros((text + frames + 1, len(self.sizes) + 1), np.int64)
        mask = np.zeros_like(ids)
        ids[:text, -1], mask[:text, -1] = said.text, 1
        ids[text:-1, :-1], mask[text:, :-1] = np.stack(said.codes, axis=1), 1
        return {"ids": ids, "mask": mask}

    def _unpack(self, packed: Packed) -> Utterance:
        ids, is_text = packed["ids"], packed["mask"][:, -1] == 1
        return Utterance(tuple(ids[~is_text][:-1, :-1].T), ids[is_text, -1])
