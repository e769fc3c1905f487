"""A layout: how the tokens of one utterance, with its text, lie in the sequence that a language model reads.

A layout is a frozen dataclass whose fields are its data: sizes and rates of the streams, offsets into the vocabulary, special
ids, delays. It is stored as it is (`to_dict`) beside what it packed, so that nothing about the ids is left to memory.

    layout = make_layout("orpheus", facts)      # see layouts.py
    packed = layout.pack(Utterance(codes, text))
    layout.unpack(packed)                       # the utterance again, exactly

Letters: N_k frames of stream k, M text ids, S steps of a sequence, W columns of a step.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from ..core.errors import CorpusError, TokensError

__all__ = ["Form", "Packed", "SequenceLayout", "Utterance", "check_ids", "none", "row"]

Packed = Mapping[str, Any]  # name of a sequence -> int64 (S,) or (S, W), or text


def row(values: Any) -> np.ndarray:
    """Whole numbers as int64 (N,)."""
    return np.asarray(values, np.int64).reshape(-1)


def none() -> np.ndarray:
    """No ids."""
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Utterance:
    """What is said in one clip.

    Attributes:
        codes: int64 (N_k,) of each stream.
        text: int64 (M,), ids of a text tokenizer; empty where there is no text.
        other: codes of who speaks at the same time, in dialogue; () where nobody does.
        other_text: their text ids.
        words: the text as it is written, for layouts that are text themselves.
    """

    codes: tuple[np.ndarray, ...]
    text: np.ndarray = field(default_factory=none)
    other: tuple[np.ndarray, ...] = ()
    other_text: np.ndarray = field(default_factory=none)
    words: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Utterance):
            return NotImplemented
        return self.words == other.words and all(
            len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
            for a, b in (
                (self.codes, other.codes),
                (self.other, other.other),
                ((self.text, self.other_text), (other.text, other.other_text)),
            )
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Form:
    """One sequence of a layout: `width` columns (1: a plain list), ids from `low` to `high` - 1; or text."""

    high: int = 0
    width: int = 1
    low: int = 0
    is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class SequenceLayout(ABC):
    """Base of all layouts.

    Attributes:
        name, about: its name, and one line on what it is.
        takes_text: "ids" where it places text ids, "words" where text as written.
        takes_other, takes_other_text: whether it has a place for a second speaker, and for what is said there.
        sizes, rates: of the streams that it lays out.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    takes_text: ClassVar[Literal["", "ids", "words"]] = ""
    takes_other: ClassVar[bool] = False
    takes_other_text: ClassVar[bool] = False
    template: ClassVar[str] = "{text}"  # what is given to the text tokenizer, from the columns of a row
    text_specials: ClassVar[bool] = False  # whether the text tokenizer adds its own begin and end
    from_tokenizer: ClassVar[Mapping[str, str]] = {}  # field -> the token of a text tokenizer whose id it is

    sizes: tuple[int, ...]
    rates: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            if "offset" in each.name and getattr(self, each.name) < 0:
                raise CorpusError(f"{each.name}={getattr(self, each.name)} of the layout {self.name}; expected at least 0")
        self._suits()

    # ------------------------------------------------------------------ what a layout implements
    def _suits(self) -> None:
        """Raise `CorpusError` unless the streams and the parameters suit the layout."""
        self._want_equal_rates()

    @abstractmethod
    def _forms(self) -> dict[str, Form]: ...

    @abstractmethod
    def _pack(self, said: Utterance) -> Packed: ...

    @abstractmethod
    def _unpack(self, packed: Packed) -> Utterance: ...

    # ------------------------------------------------------------------ use
    @property
    def sequences(self) -> dict[str, Form]:
        """The sequences that an utterance becomes; "ids", or text, comes first."""
        return self._forms()

    @property
    def text_kind(self) -> str:
        """What text this very layout places: "ids", "words" or "" for none."""
        return self.takes_text

    def pack(self, said: Utterance) -> Packed:
        """The sequences of an utterance.

        Raises `TokensError` for codes that are none, other streams than the layout's, streams whose lengths do not belong
        together, and text ids outside the text's part of the vocabulary.
        """
        self._check_said(said)
        forms = self.sequences
        return {name: value.reshape(-1) if forms[name].width == 1 and not forms[name].is_text else value
                for name, value in self._pack(said).items()}  # fmt: skip

    def unpack(self, packed: Packed) -> Utterance:
        """The inverse of `pack`. Raises `TokensError` for sequences that `pack` does not make."""
        forms = self.sequences
        if missing := [name for name in forms if name not in packed]:
            raise TokensError(f"{self.name} needs the sequence {missing[0]!r}; got {', '.join(packed) or 'none'}")
        given = {name: packed[name] if form.is_text else _shaped(packed[name], form, name) for name, form in forms.items()}
        try:
            said = self._unpack(given)
            again = self.pack(said)
        except (IndexError, ValueError) as error:
            raise TokensError(f"this is no sequence of the layout {self.name}: {error}") from None
        for name, value in given.items():
            same = value == again[name] if forms[name].is_text else np.array_equal(value, again[name])
            if not same:
                raise TokensError(f"this is no sequence of the layout {self.name}: {_difference(name, value, again[name])}")
        return said

    def to_dict(self) -> dict[str, Any]:
        """All that it takes to unpack, JSON-able."""
        data = {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()}
        return {"name": self.name, **data, "rates": [str(rate) for rate in self.rates]}

    # ------------------------------------------------------------------ checks
    def _want(self, good: bool, what: str) -> None:
        if not good:
            streams = ", ".join(f"{size} at {rate} Hz" for size, rate in zip(self.sizes, self.rates, strict=True))
            raise CorpusError(f"the layout {self.name} {what}; the tokens have {len(self.sizes)} (codes: {streams})")

    def _want_equal_rates(self) -> None:
        self._want(len(set(self.rates)) == 1, "needs streams of one frame rate")

    def _check_said(self, said: Utterance) -> None:
        self._check_codes(said.codes)
        for given, place, what in (
            (len(said.text), self.text_kind == "ids", "text ids"),
            (len(said.words), self.text_kind == "words", "words"),
            (len(said.other), self.takes_other, "a second speaker"),
            (len(said.other_text), self.takes_other_text, "the other speaker's text"),
        ):
            if given and not place:
                raise TokensError(f"the layout {self.name}, as it is set, has no place for {what}")
        if said.other:
            self._check_codes(said.other)

    def _check_codes(self, codes: Sequence[np.ndarray]) -> None:
        if len(codes) != len(self.sizes):
            raise TokensError(f"the layout {self.name} is for {len(self.sizes)} streams; got {len(codes)}")
        for k, (stream, size) in enumerate(zip(codes, self.sizes, strict=True)):
            check_ids(stream, size, f"code of stream {k}")
        self._check_lengths([len(stream) for stream in codes])

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        if len(set(lengths)) > 1:
            raise TokensError(f"the layout {self.name} needs streams of one length; got {list(lengths)} frames")


def check_ids(ids: np.ndarray, size: int, what: str) -> None:
    """Raise `TokensError` unless all `ids` are from 0 to `size` - 1."""
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        wrong = ids[(ids < 0) | (ids >= size)][0]
        raise TokensError(f"{what} {int(wrong)} is outside the vocabulary; expected 0 to {size - 1}")


def _shaped(value: Any, form: Form, name: str) -> np.ndarray:
    array = np.asarray(value, np.int64)
    wanted = array.reshape(-1) if form.width == 1 else array.reshape(-1, form.width) if not array.size else array
    if wanted.ndim != (1 if form.width == 1 else 2) or (wanted.ndim == 2 and wanted.shape[1] != form.width):
        raise TokensError(f"the sequence {name!r} has shape {array.shape}; expected (S, {form.width})")
    return wanted


def _difference(name: str, given: Any, made: Any) -> str:
    if len(given) != len(made):
        return f"{name!r} has {len(given)} steps where {len(made)} were expected"
    place = next(i for i in range(len(given)) if not np.array_equal(given[i], made[i]))
    return f"{name!r} holds {given[place]} at step {place} where {made[place]} was expected"
