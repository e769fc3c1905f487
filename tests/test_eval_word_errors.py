"""Error rates against a plain edit distance, and the normal form of transcripts against written-out answers."""

import random

import pytest

from voxzoo.core.errors import VoxzooError
from voxzoo.eval.word_errors import Errors, character_errors, is_english, is_unspaced, normalise, spell, word_errors

pytest.importorskip("jiwer")


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's, by its definition."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_errors_are_edits_over_the_reference() -> None:
    rng = random.Random(0)
    for _ in range(50):
        a, b = (" ".join(rng.choices(["the", "a", "cat", "sat", "on", "mat"], k=rng.randint(1, 12))) for _ in range(2))
        assert word_errors(a, b) == Errors(distance(a.split(), b.split()), len(a.split()))
        assert character_errors(a, b) == Errors(distance(list(a), list(b)), len(a))
    assert word_errors("the cat sat", "the cat sat").rate == 0
    assert word_errors("one two three four", "one too three").rate == 0.5
    assert word_errors("one", "one two three").rate == 2.0
    assert word_errors("one two", "") == Errors(2, 2)
    assert character_errors("ab c", "") == Errors(4, 4)


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(VoxzooError, match="no words"):
        word_errors("  ", "anything")
    with pytest.raises(VoxzooError, match="no characters"):
        character_errors("", "anything")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Hello, World!", None, "hello world"),
        ("Don\u2019t \u2018quote\u2019 rock 'n' roll", "en", "don't quote rock n roll"),
        ("well-known e.g. A&B 50%", "en", "well known e g a and b fifty percent"),
        ("In 1815, 1,250 men, 3.5 tons, the 21st", "en-GB",
         "in one thousand eight hundred fifteen one thousand two hundred fifty men three point five tons the twenty first"),
        ("4ever b2b", "en", "four ever b two b"),
        ("Über 20 Straßen", "de", "über 20 straßen"),
        ("\uff26\uff55\uff4c\uff4c\u3000width", None, "full width"),
        ("Cafe\u0301", "fr", "caf\u00e9"),
        ("质疑最多 的,还是 其续航。", "zh", "质疑最多的还是其续航"),
        ("第3名", None, "第3名"),
        ("नमस्ते दुनिया", "hi", "नमस्ते दुनिया"),
        ("?!...", "en", ""),
    ],
)  # fmt: skip
def test_the_normal_form(text: str, language: str | None, expected: str) -> None:
    assert normalise(text, language) == expected
    assert normalise(expected, language) == expected


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "zero"), ("13", "thirteen"), ("40", "forty"), ("99", "ninety nine"), ("100", "one hundred"),
        ("101", "one hundred one"), ("1000000", "one million"),
        ("12,345,678", "twelve million three hundred forty five thousand six hundred seventy eight"),
        ("2.05", "two point zero five"), ("007", "zero zero seven"), ("1st", "first"),
        ("12th", "twelfth"), ("20th", "twentieth"), ("33rd", "thirty third"), ("100th", "one hundredth"), ("8th", "eighth"),
        ("5th", "fifth"), ("1" * 18, " ".join(["one"] * 18)),
    ],
)  # fmt: skip
def test_numbers_are_spelled(digits: str, words: str) -> None:
    assert spell(digits) == words


def test_languages_and_scripts() -> None:
    assert all(map(is_english, ("en", "EN-us", "en_GB", "eng", "English")))
    assert not any(map(is_english, (None, "de", "enm", "zh-en", "")))
    assert is_unspaced("今天天气 ok")
    assert is_unspaced("สวัสดี")
    assert not is_unspaced("the 天 was")
    assert not is_unspaced("안녕하세요 여러분")
    assert not is_unspaced("")
