"""Where the phones of a clip are: from TextGrid, CTM and .phn files or a manifest's column, or aligned with its text here."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import CorpusError, MissingExtraError
from .metric import MetricError
from .phonetic import Phone
from .word_errors import normalise

__all__ = ["align", "phones_of_column", "read_ctm", "read_phn", "read_textgrid"]

TIERS = ("phones", "phone", "phonemes", "phoneme", "segments", "phn", "mau")  # names of tiers of phones, the last word counts
MARKS = re.compile(r'"(?:[^"]|"")*"|<exists>|<absent>|(?<![\w\[.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w\]])')
ALIGN_RATE = 16000
FRAME = 0.01  # seconds, of pocketsphinx


def read_textgrid(path: str | os.PathLike[str], tier: str | None = None) -> list[Phone]:
    """Intervals of a Praat TextGrid, in its long or short text form, UTF-8 or UTF-16.

    Args:
        path: the file.
        tier: name of the interval tier; by default the first that is called phones, phonemes, segments or the like.

    Raises `CorpusError`, naming file and line, for what is no such file or holds no such tier.
    """
    marks = _Marks(os.fspath(path), _text(path))
    if [marks.string(), marks.string()] != ["ooTextFile", "TextGrid"]:
        raise marks.error("not a TextGrid: it does not begin with ooTextFile and TextGrid")
    marks.number(), marks.number()
    names = []
    if marks.next() == "<exists>":
        for _ in range(int(marks.number())):
            kind, name = marks.string(), marks.string()
            marks.number(), marks.number()
            wanted = name == tier if tier is not None else bool(re.split(r"[\s_-]+", name.strip().lower())[-1] in TIERS)
            rows = [marks.row(kind) for _ in range(int(marks.number()))]
            if wanted and kind == "IntervalTier":
                return [phone for phone in rows if phone is not None]
            names.append(name)
    wish = repr(tier) if tier is not None else "phones"
    raise CorpusError(f"{marks.path!r}: no interval tier called {wish}; there are {', '.join(map(repr, names)) or 'none'}")


def read_ctm(path: str | os.PathLike[str]) -> dict[str, list[Phone]]:
    """Phones of each recording of a CTM file: lines of `recording channel start duration phone [confidence]`, in seconds.

    Raises `CorpusError`, naming file and line.
    """
    out: dict[str, list[Phone]] = {}
    for number, line in _lines(path):
        cells = line.split()
        if cells[0].startswith(";;"):
            continue
        where = f"{os.fspath(path)}:{number}"
        if len(cells) not in (5, 6):
            raise CorpusError(
                f"{where!r}: {len(cells)} cells; a CTM line is: recording channel start duration phone [confidence]"
            )
        start = _seconds(cells[2], where)
        out.setdefault(cells[0], []).append(_phone(start, start + _seconds(cells[3], where), cells[4], where))
    return {name: sorted(phones) for name, phones in out.items()}


def read_phn(path: str | os.PathLike[str], rate: int = 16000) -> list[Phone]:
    """Phones of a TIMIT .phn file: lines of `first-sample end-sample phone`, samples counted at `rate` Hz.

    Raises `CorpusError`, naming file and line.
    """
    out = []
    for number, line in _lines(path):
        cells = line.split()
        where = f"{os.fspath(path)}:{number}"
        if len(cells) != 3:
            raise CorpusError(f"{where!r}: {len(cells)} cells; a .phn line is: first sample, end sample, phone")
        out.append(_phone(_seconds(cells[0], where) / rate, _seconds(cells[1], where) / rate, cells[2], where))
    return sorted(out)


def phones_of_column(value: Any, id: str) -> list[Phone]:
    """Phones of clip `id` from a manifest's column `phones`.

    The value is [[start, end, phone], ...] in seconds, the same as JSON text (in a table), or the path of a .TextGrid, .ctm or
    .phn file. Raises `CorpusError`, naming the clip, or the file and line.
    """
    where = f"phones of {id}"
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return _read(value, id)
    try:
        rows = json.loads(value) if isinstance(value, str) else list(value)
        phones = [_phone(float(start), float(end), str(label), where) for start, end, label in rows]
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{where}: expected [[start, end, phone], ...] in seconds: {error}") from None
    return sorted(phones)


def align(audio: Audio, text: str) -> list[Phone]:
    """Phones of an English clip whose words are known: forced alignment by pocketsphinx with the model in its wheel.

    Phones are those of CMU's dictionary without stress, silence is "SIL"; times are in steps of 10 ms. Two passes, words and
    then phones; about 0.1 s for each second of sound. Numbers are spelled.

    Raises:
        MetricError: no words, words that are not in the dictionary (named), or sound that does not fit the words.
        MissingExtraError: pocketsphinx is not installed.
    """
    decoder = _decoder()
    words = normalise(text, "en").split()
    unknown = sorted({word for word in words if decoder.lookup_word(word) is None})
    if not words:
        raise MetricError("the text holds no words to align")
    if unknown:
        raise MetricError(f"words that are not in pocketsphinx's English dictionary: {', '.join(unknown[:5])}")
    samples = np.clip(audio.resample(ALIGN_RATE).samples, -1.0, 1.0)
    raw = np.round(samples * 32767).astype("<i2").tobytes()
    try:
        decoder.reinit_feat()
        decoder.set_align_text(" ".join(words))
        _pass(decoder, raw)
        decoder.set_alignment()
        _pass(decoder, raw)
        found = [phone for word in decoder.get_alignment() for phone in word]
    except RuntimeError:
        _decoder.cache_clear()  # what failed may not be used again
        raise MetricError("pocketsphinx cannot align the sound with its text") from None
    return [Phone(p.start * FRAME, (p.start + p.duration) * FRAME, p.name) for p in found if p.duration > 0]


# ---------------------------------------------------------------------- parts
class _Marks:
    """The strings, numbers and flags of a TextGrid in order, whatever words its long form puts between them."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text, self.line = path, text, 1
        self.found = ((match.group(), match.start()) for match in MARKS.finditer(text))

    def next(self) -> str:
        mark, at = next(self.found, ("", len(self.text)))
        self.line = self.text.count("\n", 0, at) + 1 if mark else self.text.count("\n") + 1
        return mark

    def string(self) -> str:
        mark = self.next()
        if not mark.startswith('"'):
            raise self.error(f"{mark or 'the end'} where a quoted text was expected")
        return mark[1:-1].replace('""', '"')

    def number(self) -> float:
        mark = self.next()
        try:
            return float(mark)
        except ValueError:
            raise self.error(f"{mark or 'the end'} where a number was expected") from None

    def row(self, kind: str) -> Phone | None:
        """An interval; None for a point."""
        start = self.number()
        if kind != "IntervalTier":
            self.string()
            return None
        return _phone(start, self.number(), self.string(), f"{self.path}:{self.line}")

    def error(self, reason: str) -> CorpusError:
        return CorpusError(f"{f'{self.path}:{self.line}'!r}: {reason}")


def _phone(start: float, end: float, label: str, where: str) -> Phone:
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise CorpusError(f"{where!r}: phone {label!r} from {start:g} to {end:g} s; expected 0 <= start < end")
    return Phone(start, end, label)


def _seconds(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise CorpusError(f"{where!r}: {cell!r} where a number was expected") from None


def _read(path: str, id: str) -> list[Phone]:
    kind = os.path.splitext(path)[1].lower()
    if kind == ".textgrid":
        return read_textgrid(path)
    if kind == ".phn":
        return read_phn(path)
    if kind != ".ctm":
        raise CorpusError(f"phones of {id}: {path!r} is no .TextGrid, .ctm or .phn file, nor [[start, end, phone], ...]")
    phones = read_ctm(path)
    if id not in phones:
        raise CorpusError(f"{path!r} has no recording {id!r}; the first of {len(phones)} is {next(iter(phones), None)!r}")
    return phones[id]


def _text(path: str | os.PathLike[str]) -> str:
    try:
        data = Path(path).read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{os.fspath(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip())


def _pass(decoder: Any, raw: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(raw, full_utt=True)
    decoder.end_utt()


@cache
def _decoder() -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise MissingExtraError("pocketsphinx", "eval") from None
    return Decoder(lm=None, samprate=ALIGN_RATE, loglevel="FATAL")
