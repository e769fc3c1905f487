"""What encoding and decoding is made of on every engine: which clips share a batch, and what tokens must be like.

Nothing here needs torch, so that an exported bundle is played by the same rules as the model it was made of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .errors import ModelError, TokensError, WrongModelError
from .facts import Facts
from .tokens import Tokens

__all__ = ["Checked", "chain", "check_fingerprint", "check_frames", "fit", "groups", "time_slices"]

PADDED = 1.25  # times the shortest clip of a batch, the most that a clip of it may have on a CPU, where padding costs as sound


def groups(sizes: Mapping[int, int], batching: str, free: bool) -> list[list[int]]:
    """Indices that share a batch, by their padded size. `free`: padding costs next to nothing, as on a GPU."""
    if batching == "pad" and free:
        return [list(sizes)] if sizes else []
    most = PADDED if batching == "pad" else 1.0
    found: list[list[int]] = []
    for i in sorted(sizes, key=lambda i: sizes[i]):
        if found and sizes[i] <= most * sizes[found[-1][0]]:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def check_fingerprint(tokens: Any, facts: Facts, fingerprint: str) -> None:
    """Raise `WrongModelError` unless `tokens` were made by the model of this fingerprint, `TokensError` for no tokens."""
    if not isinstance(tokens, Tokens):
        raise TokensError(f"cannot decode a {type(tokens).__name__}; expected Tokens: read a file with Tokens.load(path)")
    if tokens.fingerprint != fingerprint:
        raise WrongModelError(
            f"these tokens were made by {tokens.facts.name} (fingerprint {tokens.fingerprint[:16]}), this model is "
            f"{facts.name} (fingerprint {fingerprint[:16]}): decode them with the weights that made them"
        )


def check_frames(tokens: Tokens, law: Callable[[int], tuple[int, ...]]) -> None:
    """Raise `TokensError` unless each clip has the frames that the length law gives its samples."""
    for i, (length, found) in enumerate(zip(tokens.lengths, tokens.frames, strict=True)):
        wanted = law(int(length))[: len(found)]
        if tuple(found) != tuple(wanted):
            raise TokensError(
                f"clip {i} has {tuple(map(int, found))} frames; {length} samples make {wanted}: the tokens are damaged"
            )


class Checked(ABC):
    """What a model of any engine asks of what it is to decode."""

    facts: Facts
    fingerprint: str

    @abstractmethod
    def frames(self, samples: int) -> tuple[int, ...]:
        """Length law: frames of each stream for `samples` samples."""

    def check_fingerprint(self, tokens: Tokens) -> None:
        """Raise `WrongModelError` unless `tokens` were made by this very model."""
        check_fingerprint(tokens, self.facts, self.fingerprint)

    def check(self, tokens: Tokens) -> None:
        """Raise unless `tokens` were made by this very model and obey its length law."""
        self.check_fingerprint(tokens)
        check_frames(tokens, self.frames)

    def _check_voice(self, voice: Any) -> None:
        if voice is not None:
            raise ModelError(f"{self.facts.name} has no use for a voice: its tokens carry it; leave out voice=")


def chain(head: list[np.ndarray], rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks of `head`, which is emptied, then the rest."""
    while head:
        yield head.pop(0)
    yield from rest


def fit(wav: np.ndarray, length: int) -> np.ndarray:
    """Cut to `length`, or zero-pad a decoder that gives a few samples too few."""
    return wav[:length].copy() if len(wav) >= length else np.pad(wav, (0, length - len(wav)))


def time_slices(clip: Tokens, facts: Facts, window: float) -> Iterator[Tokens]:
    """A clip cut into parts of about `window` seconds at whole frames of the slowest stream of its model."""
    base = min(facts.frame_rates)
    ratios = [int(rate / base) for rate in facts.frame_rates]
    hop = int(facts.sample_rate / base)
    step = max(1, int(window * base))
    total, length = clip.codes[0].shape[1] // ratios[0], int(clip.lengths[0])
    for i in range(0, total, step):
        end = min(i + step, total)
        codes = [c[:, i * r : end * r] for c, r in zip(clip.codes, ratios, strict=False)]
        extras = {key: value[:, i * ratios[0] : end * ratios[0]] for key, value in clip.extras.items()}
        samples = length - i * hop if end == total else (end - i) * hop
        yield replace(clip, codes=codes, lengths=np.array([samples]), extras=extras)
