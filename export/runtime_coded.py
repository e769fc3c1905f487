"""Codes on their way between the graphs of a bundle and the user, and what a streaming form of a graph does.

Letters: B clips, T samples, K streams, N_k frames of stream k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..core.tokens import PADDING, Tokens

__all__ = ["Coded", "DecoderCore", "EncoderCore", "collated", "padded_rows"]


@dataclass
class Coded:
    """Codes of a padded batch, K arrays int64 (B, N_k), and extras float32 (B, N_0)."""

    codes: list[np.ndarray]
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, outputs: Mapping[str, Any], streams: int) -> Coded:
        """The first `streams` streams and the extras among an encoder's outputs."""
        extras = {name: np.asarray(value) for name, value in outputs.items() if not name.startswith("codes_")}
        return cls([np.asarray(outputs[f"codes_{k}"]) for k in range(streams)], extras)

    @property
    def named(self) -> dict[str, np.ndarray]:
        """As a decoder's inputs."""
        extras = {name: np.asarray(value, dtype=np.float32) for name, value in self.extras.items()}
        return {**{f"codes_{k}": np.ascontiguousarray(stream) for k, stream in enumerate(self.codes)}, **extras}

    def parted(self, counts: Sequence[int]) -> tuple[Coded, Coded]:
        """The first so many frames of each stream, and the others."""
        before = [stream[:, :n] for stream, n in zip(self.codes, counts, strict=False)]
        after = [stream[:, n:] for stream, n in zip(self.codes, counts, strict=False)]
        first = {key: value[:, : counts[0]] for key, value in self.extras.items()}
        return Coded(before, first), Coded(after, {key: value[:, counts[0] :] for key, value in self.extras.items()})

    @classmethod
    def none(cls, streams: int) -> Coded:
        """No frames yet."""
        return cls([np.zeros((1, 0), np.int64) for _ in range(streams)])

    @classmethod
    def joined(cls, parts: Sequence[Coded], streams: int) -> Coded:
        """Parts one after another in time."""
        parts = [part for part in parts if part.codes[0].shape[1]] or [cls.none(streams)]
        codes = [np.concatenate([part.codes[k] for part in parts], 1) for k in range(streams)]
        return cls(codes, {key: np.concatenate([part.extras[key] for part in parts], 1) for key in parts[0].extras})


class EncoderCore(Protocol):
    """Sound in, codes out."""

    def push(self, wav: np.ndarray) -> Coded:
        """wav (1, T), any T >= 0 -> the frames that are now certain."""

    def finish(self) -> Coded:
        """The frames still held back."""


class DecoderCore(Protocol):
    """Codes in, sound out."""

    def push(self, coded: Coded) -> np.ndarray:
        """Any number of frames, streams in their fixed ratio -> the samples (1, T) that are now certain."""

    def finish(self) -> np.ndarray:
        """The samples still held back."""


def collated(clips: list[Tokens], batched: bool) -> Tokens:
    """Tokens of single clips as one batch."""
    if len(clips) == 1:
        return replace(clips[0], batched=batched)
    codes = [padded_rows([c.codes[k] for c in clips], PADDING) for k in range(len(clips[0].codes))]
    extras = {key: padded_rows([c.extras[key] for c in clips], 0) for key in clips[0].extras}
    return replace(clips[0], codes=codes, lengths=np.concatenate([c.lengths for c in clips]), extras=extras, batched=True)


def padded_rows(rows: Sequence[np.ndarray], value: float) -> np.ndarray:
    """Rows (1, n_i) -> (B, max n_i), padded on the right."""
    longest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=value) for row in rows])
