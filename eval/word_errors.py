"""Word and character error rates, and the normal form in which transcripts are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from ..core.errors import MissingExtraError, VoxzooError

__all__ = ["NORMALISATION", "Errors", "character_errors", "is_english", "is_unspaced", "normalise", "spell", "word_errors"]

NORMALISATION = (
    "text is NFKC, lower case, without punctuation and symbols (apostrophes inside words stay, hyphens part words); in "
    "English, digits are spelled as cardinals or ordinals and '&', '%' as words"
)
APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\uff07", "'"))
# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
)
NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?:st|nd|rd|th)?\b|\d+(?:\.\d+)?(?:(?:st|nd|rd|th)\b)?")
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = [(10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")]
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


@dataclass(frozen=True)
class Errors:
    """Edits between two sequences.

    Attributes:
        edits: substitutions + deletions + insertions.
        length: words or characters of the reference; what the rate is pooled by.
    """

    edits: int
    length: int

    @property
    def rate(self) -> float:
        """edits / length: 0 and up, above 1 when much is inserted."""
        return self.edits / self.length


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Word edits by jiwer, over words between spaces. Texts are taken as they are: see `normalise`.

    Raises:
        VoxzooError: the reference has no words.
        MissingExtraError: jiwer is not installed.
    """
    jiwer = _jiwer()
    if not reference.split():
        raise VoxzooError("the reference text has no words")
    if not hypothesis.split():
        return Errors(len(reference.split()), len(reference.split()))
    out = jiwer.process_words(reference, hypothesis)
    return Errors(out.substitutions + out.deletions + out.insertions, out.hits + out.substitutions + out.deletions)


def character_errors(reference: str, hypothesis: str) -> Errors:
    """Character edits by jiwer; the space between words is a character. Raises as `word_errors`."""
    jiwer = _jiwer()
    if not reference.strip():
        raise VoxzooError("the reference text has no characters")
    if not hypothesis.strip():
        return Errors(len(reference.strip()), len(reference.strip()))
    out = jiwer.process_characters(reference, hypothesis)
    return Errors(out.substitutions + out.deletions + out.insertions, out.hits + out.substitutions + out.deletions)


def normalise(text: str, language: str | None = None) -> str:
    """The form in which transcripts are compared: words with one space between them; see `NORMALISATION`.

    Digits are spelled when `language` is English, or is None and the text is not in a script without spaces; years are spelled
    as other numbers are ("1815": "one thousand eight hundred fifteen"). Scripts without spaces (`is_unspaced`) lose theirs.
    """
    text = unicodedata.normalize("NFKC", text).translate(APOSTROPHES).lower()
    if is_english(language) or (language is None and not is_unspaced(text)):
        text = NUMBER.sub(lambda m: f" {spell(m[0])} ", text.replace("&", " and ").replace("%", " percent "))
    kept = "".join(c if _is_word(c) else " " for c in text)
    words = [word.strip("'") for word in kept.split()]
    return ("" if is_unspaced(kept) else " ").join(word for word in words if word)


def is_unspaced(text: str) -> bool:
    """Whether most letters are of a script without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    letters = [c for c in text if unicodedata.category(c)[0] == "L"]
    return 2 * sum(bool(UNSPACED.match(c)) for c in letters) > len(letters)


def is_english(language: str | None) -> bool:
    """Whether a language tag or name is English: "en", "en-GB", "en_US", "eng", "English"."""
    return language is not None and re.split(r"[-_ ]", language.strip().lower())[0] in ("en", "eng", "english")


def spell(number: str) -> str:
    """English words of a number in digits: "1,250" -> "one thousand two hundred fifty", "3.5", "21st"; "007" digit by digit."""
    ordinal = number.endswith(("st", "nd", "rd", "th"))
    whole, _, fraction = number.rstrip("stndrh").replace(",", "").partition(".")
    by_digit = (whole.startswith("0") and len(whole) > 1) or len(whole) > 15
    words = _digits(whole) if by_digit else _cardinal(int(whole))
    if fraction:
        words += " point " + _digits(fraction)
    return _ordinal(words) if ordinal else words


def _cardinal(n: int) -> str:
    if n < 20:
        return ONES[n]
    for scale, name in SCALES:
        if n >= scale:
            rest = n % scale
            return f"{_cardinal(n // scale)} {name}" + (f" {_cardinal(rest)}" if rest else "")
    return TENS[n // 10] + (f" {ONES[n % 10]}" if n % 10 else "")


def _digits(digits: str) -> str:
    return " ".join(ONES[int(d)] for d in digits)


def _ordinal(words: str) -> str:
    head, _, last = words.rpartition(" ")
    last = ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last.removesuffix("t") + "th")
    return f"{head} {last}".strip()


def _is_word(c: str) -> bool:
    return c == "'" or unicodedata.category(c)[0] in "LMN"


def _jiwer() -> Any:
    try:
        import jiwer
    except ImportError:
        raise MissingExtraError("jiwer", "eval") from None
    return jiwer
