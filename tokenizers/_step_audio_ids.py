"""Step-Audio's two streams as one sequence of a language model: two linguistic tokens, three semantic ones, and so on.

16 2/3 and 25 tokens a second are 2 : 3, so that five tokens stand for 120 ms. In the language model's vocabulary linguistic
tokens begin at 65536, semantic ones 1024 after them; written as text, `<audio_0>` to `<audio_1023>` are linguistic,
`<audio_1024>` to `<audio_5119>` semantic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..core.errors import TokensError

__all__ = ["OFFSET", "deinterleave", "from_text", "interleave", "to_text"]

LINGUISTIC, SEMANTIC = 1024, 4096  # sizes of the codebooks
PAIR, TRIPLE = 2, 3  # tokens of each in a group
OFFSET = 65536  # of the language model
WORD = re.compile(r"<audio_(\d{1,9})>")


def interleave(linguistic: Sequence[int], semantic: Sequence[int], offset: int = OFFSET, rest: bool = False) -> list[int]:
    """Ids of the language model.

    Args:
        linguistic, semantic: codes of one clip, in order.
        offset: id of linguistic code 0; 0 for the numbers of the text form.
        rest: whether what is left after the last whole group follows, linguistic tokens first, so that nothing is lost; else
            it is dropped, as Step-Audio drops it.

    Raises `TokensError` for a code that is none.
    """
    first = [offset + code for code in _codes(linguistic, LINGUISTIC, "linguistic")]
    second = [offset + LINGUISTIC + code for code in _codes(semantic, SEMANTIC, "semantic")]
    groups = min(len(first) // PAIR, len(second) // TRIPLE)
    ids: list[int] = []
    for i in range(groups):
        ids += first[PAIR * i : PAIR * (i + 1)] + second[TRIPLE * i : TRIPLE * (i + 1)]
    return ids + first[PAIR * groups :] + second[TRIPLE * groups :] if rest else ids


def deinterleave(ids: Iterable[int], offset: int = OFFSET) -> tuple[list[int], list[int]]:
    """Linguistic and semantic codes: the inverse of `interleave`, with a rest or without.

    Raises `TokensError` for an id that is no audio token, and for a sequence that `interleave` does not make.
    """
    streams: tuple[list[int], list[int]] = [], []
    found = [int(i) for i in ids]
    for place, i in enumerate(found):
        code = i - offset
        if not 0 <= code < LINGUISTIC + SEMANTIC:
            last = offset + LINGUISTIC + SEMANTIC - 1
            raise TokensError(f"id {i} at place {place} is no audio token of Step-Audio; expected {offset} to {last}")
        streams[code >= LINGUISTIC].append(code if code < LINGUISTIC else code - LINGUISTIC)
    if interleave(*streams, offset=offset, rest=True) != found:
        raise TokensError(f"these {len(found)} ids are not in groups of {PAIR} linguistic and {TRIPLE} semantic tokens")
    return streams


def to_text(linguistic: Sequence[int], semantic: Sequence[int], rest: bool = False) -> str:
    """The same as text: `<audio_5><audio_7><audio_1030>...`."""
    return "".join(f"<audio_{i}>" for i in interleave(linguistic, semantic, 0, rest))


def from_text(text: str) -> tuple[list[int], list[int]]:
    """The inverse of `to_text`. Raises `TokensError`, also where there is anything else in the text."""
    if WORD.sub("", text):
        raise TokensError(f"expected <audio_0> to <audio_{LINGUISTIC + SEMANTIC - 1}> and nothing between; got {text[:80]!r}")
    return deinterleave((int(number) for number in WORD.findall(text)), 0)


def _codes(codes: Sequence[int], size: int, name: str) -> list[int]:
    found = [int(code) for code in codes]
    if wrong := [code for code in found if not 0 <= code < size]:
        raise TokensError(f"{name} code {wrong[0]} is none; expected 0 to {size - 1}")
    return found
