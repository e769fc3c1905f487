"""Streaming forms of a graph whose state goes in and comes out: each push is one run, and equals the whole clip's.

The states of a file are those its `states` name; the output after `x` is `next_x`. On a GPU they stay there between pushes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import TokensError
from .runtime_coded import Coded

if TYPE_CHECKING:
    from .runtime_parts import Parts

__all__ = ["StateDecoder", "StateEncoder"]


class _States:
    """The graph of a role with the state of one stream."""

    def __init__(self, parts: Parts, role: str) -> None:
        self.graph, file = parts.graph(role), parts.file(role)
        self.begun = False
        self.law = file.stream
        self.multiple = int(self.law.get("multiple", 1))
        self.first = max(self.multiple, int(self.law.get("first", 0)))
        self.values: dict[str, Any] = {state["name"]: _initial(state) for state in file.states}

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """The outputs that are no states; those are kept. What the graph does not take of the feeds is left out."""
        self.begun = True
        keep = [f"next_{name}" for name in self.values]
        given = {**feeds, **self.values}
        out = self.graph.run({name: given[name] for name in self.graph.inputs}, keep)
        self.values = {name: out.pop(f"next_{name}") for name in self.values}
        return out


class StateEncoder:
    """Holds back the samples of an unfinished step, and those ahead that a step needs to see."""

    def __init__(self, parts: Parts, streams: int) -> None:
        self.parts, self.streams = parts, streams
        self.states = _States(parts, "encoder_stream")
        self.ahead = int(self.states.law.get("ahead", 0))
        self.wav = np.zeros((1, 0), np.float32)

    def push(self, wav: np.ndarray) -> Coded:
        """The frames of all whole steps."""
        self.wav = np.concatenate([self.wav, wav], 1)
        return self._take(self.wav.shape[1])

    def finish(self) -> Coded:
        """The last step is completed with zeros, as offline."""
        true = self.wav.shape[1]
        missing = -true % self.states.multiple
        if not self.states.begun:
            missing = max(missing, self.states.first - true)
        self.wav = np.pad(self.wav, ((0, 0), (0, missing + self.ahead)))
        return self._take(true)

    def _take(self, true: int) -> Coded:
        """Run all whole steps, of which so many samples are the clip's own."""
        ready = max(0, self.wav.shape[1] - self.ahead) // self.states.multiple * self.states.multiple
        if ready < (1 if self.states.begun else self.states.first):
            return Coded.none(self.streams)
        given = {"wav": self.wav[:, : ready + self.ahead], "lengths": np.array([min(true, ready + self.ahead)], np.int64)}
        made = Coded.of(self.states.run(given), self.streams)
        self.wav = self.wav[:, ready:].copy()
        return made


class StateDecoder:
    """Drops the lead-in, and flushes at the end what the graph still holds."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.states = _States(parts, "decoder_stream")
        self.lead_in = int(self.states.law.get("lead_in", 0))
        self.held: Coded | None = None

    def push(self, coded: Coded) -> np.ndarray:
        """The samples of all whole steps. Raises `TokensError` when the streams do not belong together."""
        counts, ratios = [c.shape[1] for c in coded.codes], self.parts.manifest.stream_ratios
        if any(n * ratios[0] != counts[0] * ratio for n, ratio in zip(counts, ratios, strict=False)):
            ratio = ":".join(map(str, ratios[: len(counts)]))
            raise TokensError(f"pushed {counts} frames; the streams belong together in the ratio {ratio}")
        coded = self.parts.completed(coded)
        self.held = coded if self.held is None else Coded.joined([self.held, coded], len(coded.codes))
        return self._take(last=False)

    def finish(self) -> np.ndarray:
        """The samples still held back."""
        if self.held is None:
            return np.zeros((1, 0), np.float32)
        if flush := int(self.states.law.get("flush", 0)):
            ratios = self.parts.manifest.stream_ratios
            silent = [np.full((1, flush * ratio // ratios[0]), -1, np.int64) for ratio in ratios]
            extras = {key: np.zeros((1, flush), np.float32) for key in self.held.extras}
            self.held = Coded.joined([self.held, Coded(silent, extras)], len(silent))
        return self._take(last=True)

    def _take(self, last: bool) -> np.ndarray:
        held, ratios = self.held, self.parts.manifest.stream_ratios
        assert held is not None
        frames = held.codes[0].shape[1]
        ready = frames if last else frames // self.states.multiple * self.states.multiple
        if ready < (1 if last or self.states.begun else self.states.first):
            return np.zeros((1, 0), np.float32)
        cuts = [ready * ratio // ratios[0] for ratio in ratios]
        now, self.held = held.parted(cuts)
        wav = np.asarray(self.states.run(now.named)["wav"], dtype=np.float32)
        dropped = min(self.lead_in, wav.shape[1])
        self.lead_in -= dropped
        return wav[:, dropped:]


def _initial(state: dict[str, Any]) -> np.ndarray:
    """The value before the first sample: one clip, nothing yet along an axis that grows."""
    shape = [size if isinstance(size, int) else 1 if size == "batch" else 0 for size in state["shape"]]
    return np.full(shape, state.get("initial", 0), state["type"])
