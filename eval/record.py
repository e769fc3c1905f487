"""A tokenized clip with all that is known about it: what the probes and analyzers of content work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio
from ..core.facts import Facts
from .attempts import attempt
from .metric import MetricError

if TYPE_CHECKING:
    from .phonetic import Phone

__all__ = ["ALIGNED", "GIVEN", "Record"]

GIVEN, ALIGNED = "the column `phones`", "aligned here with pocketsphinx"  # where phones come from


@dataclass(frozen=True, eq=False)
class Record:
    """One clip.

    Attributes:
        id: of the clip in its source.
        audio: as read, mono, at the source's own rate; None where only tokens are known (shards).
        codes: one integer array (N_k,) per stream, without padding; fewer than `facts.streams` when only the first were kept.
        facts: of the model that made the codes.
        columns: what the manifest says: `speaker`, `gender`, `text`, `lang`, `phones`, ...; empty where it says nothing.
    """

    id: str
    audio: Audio | None
    codes: list[np.ndarray]
    facts: Facts
    columns: Mapping[str, Any] = field(default_factory=dict)

    def given(self, column: str) -> str:
        """The text of a column, "" where there is none; NaN is how tables say that."""
        value = self.columns.get(column)
        return "" if value is None or value != value else str(value).strip()

    @cached_property
    def phones(self) -> tuple[list[Phone], str] | str:
        """Phones of the clip and where they come from, or the reason why there are none; aligned once, since that costs."""
        return attempt(self._phones)

    def _phones(self) -> tuple[list[Phone], str]:
        from .alignments import align, phones_of_column
        from .word_errors import is_english, is_unspaced

        if self.given("phones"):
            return phones_of_column(self.columns["phones"], self.id), GIVEN
        text, language = self.given("text"), self.given("lang") or self.given("language")
        if not text:
            raise MetricError("neither a column `phones` nor `text`")
        if (language and not is_english(language)) or is_unspaced(text):
            raise MetricError("no column `phones`, and the aligner is for English")
        if self.audio is None:
            raise MetricError("no column `phones`, and no sound to align the text with")
        return align(self.audio, text), ALIGNED
