"""Agreement of codes: the share of frames that keep their code.

Re-encoding, slicing, streaming, batching, precision and engines (`stability.py`) and transforms of the sound that keep its time
(`robustness.py`) are all measured by this one function.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import TokensError
from ..core.tokens import Tokens
from .attempts import commonest, reasons

__all__ = ["DEFINITION", "Agreement", "Codes", "agreement", "agreement_of_clips", "clip_codes"]

Codes = Sequence[np.ndarray]  # one clip: one integer array (N_k,) per stream

DEFINITION = (
    "share of frames that have the same code, from 0 to 1, over the frames that both have, counted from the start "
    "(`difference` of them only one has); of several streams, the share of all their codes"
)


@dataclass(frozen=True)
class Agreement:
    """Counts of a comparison, per stream.

    Attributes:
        equal: frames with the same code.
        frames: frames compared: those that both have.
        difference: frames of the second less frames of the first, summed over clips without sign.
    """

    equal: tuple[int, ...]
    frames: tuple[int, ...]
    difference: tuple[int, ...]

    @property
    def streams(self) -> list[float | None]:
        """Share of equal frames of each stream, 0 to 1; None where no frame was compared."""
        return [e / n if n else None for e, n in zip(self.equal, self.frames, strict=True)]

    @property
    def share(self) -> float | None:
        """Share of equal codes of all streams together."""
        return sum(self.equal) / sum(self.frames) if sum(self.frames) else None

    @staticmethod
    def total(parts: Iterable[Agreement]) -> Agreement:
        """Counts of several comparisons, added up. Raises `TokensError` for none, or for unequal numbers of streams."""
        parts = list(parts)
        if len({len(part.frames) for part in parts}) != 1:
            raise TokensError(f"cannot add up {len(parts)} comparisons; expected some, all of the same number of streams")
        sums = (
            tuple(map(sum, zip(*(getattr(p, name) for p in parts), strict=True))) for name in ("equal", "frames", "difference")
        )
        return Agreement(*sums)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: `share`, and per stream `streams`, `frames` and `difference`."""
        return {
            "share": self.share,
            "streams": self.streams,
            "frames": list(self.frames),
            "difference": list(self.difference),
        }


def clip_codes(tokens: Tokens) -> list[list[np.ndarray]]:
    """Codes of each clip, one array (N_k,) per stream, without padding."""
    tokens = tokens.numpy()
    return [[c[i, :n] for c, n in zip(tokens.codes, frames, strict=True)] for i, frames in enumerate(tokens.frames)]


def agreement(a: Tokens | Codes, b: Tokens | Codes) -> Agreement:
    """Frames of `a` and `b` with the same code, stream by stream; streams may run at unequal rates.

    Args:
        a: tokens of any number of clips, or the codes of one clip: K integer arrays (N_k,).
        b: the same; frames are compared from the start, as many as both have.

    Raises:
        TokensError: unequal numbers of clips or streams, or no streams.
    """
    first, second = _clips(a), _clips(b)
    if len(first) != len(second) or any(len(x) != len(y) for x, y in zip(first, second, strict=False)):
        raise TokensError(f"cannot compare {_shape(first)} with {_shape(second)}: expected the same clips and streams")
    return Agreement.total(_compare(x, y) for x, y in zip(first, second, strict=True))


def agreement_of_clips(results: Sequence[Agreement | str]) -> dict[str, Any]:
    """JSON-able sum over clips, each an agreement or the reason why it has none: `clips`, `failed` by reason and what
    `Agreement.to_dict` gives, or `{"missing": reason}`."""
    parts = [result for result in results if not isinstance(result, str)]
    failed = reasons(results)
    if not parts:
        return {"missing": commonest(failed)}
    return {"clips": len(parts), "failed": failed, **Agreement.total(parts).to_dict()}


def _compare(a: Codes, b: Codes) -> Agreement:
    frames = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]
    equal = [int(np.count_nonzero(x[:n] == y[:n])) for x, y, n in zip(a, b, frames, strict=True)]
    return Agreement(tuple(equal), tuple(frames), tuple(abs(len(y) - len(x)) for x, y in zip(a, b, strict=True)))


def _clips(codes: Tokens | Codes) -> list[Any]:
    return list(clip_codes(codes)) if isinstance(codes, Tokens) else [[np.asarray(c) for c in codes]]


def _shape(clips: Sequence[Codes]) -> str:
    return f"{len(clips)} clip(s) of {len(clips[0]) if clips else 0} stream(s)"
