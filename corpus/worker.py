"""The part of `tokenize` that holds the models: clips in, tokens or reasons out. Runs in a process of its own (see `pool.py`).

Sound is decoded by threads while a model works on what came before (`sounds.py`). Clips are gathered in windows, sorted by
length and batched within a bound on audio-seconds (padding included), so little is spent on padding; what shares a batch
follows from the task alone. Clips longer than a model's window go through its streaming form, in bounded memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio
from ..core.loading import is_bundle, load
from ..core.resampling import SOXR
from .clips import Clip, Row
from .profile import Clock, Outcomes
from .shards import Info, code_type
from .sounds import Sounds, Target, reason_of

if TYPE_CHECKING:
    from ..core.model import Model
    from ..core.tokens import Tokens

__all__ = ["Settings", "Worker"]

WINDOW_BATCHES = 16  # batches' worth of sound that is sorted by length at a time
WINDOW_CLIPS = 2048
BATCH_CLIPS = 256
PROBE = 1000  # samples of silence that a new model encodes first


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know.

    Attributes:
        model, weights, device, resampler, dtype: as `voxzoo.load` takes them.
        streams: only the first so many streams; None for all.
        batch_seconds: of sound in a batch, padding included; a single clip may be longer.
        readers: threads that decode sound.
        more: further models, which take the same sound.
        profile: whether to count where the time goes.
    """

    model: str
    weights: str | None = None
    device: str = "cpu"
    resampler: str = SOXR
    streams: int | None = None
    batch_seconds: float = 0.0
    readers: int = 1
    dtype: str = "float32"
    more: tuple[str, ...] = ()
    profile: bool = False

    @property
    def torch(self) -> bool:
        """Whether a model needs it; bundles do not."""
        return not all(map(is_bundle, (self.model, *self.more)))

    def start(self) -> Worker:
        """What a worker process does first."""
        return Worker(self)


class Worker:
    """Loaded models that tokenize tasks. Raises what `voxzoo.load` raises.

    `info` is of the model, or a tuple of these where there are several; outcomes are then tuples too, with None for a model
    that was not to take the clip.
    """

    def __init__(self, settings: Settings) -> None:
        self.clock = Clock(settings.profile)
        self.tokenizers = [_Tokenizer(settings, name, self.clock) for name in (settings.model, *settings.more)]
        infos = tuple(tokenizer.info for tokenizer in self.tokenizers)
        self.info: Info | tuple[Info, ...] = infos if settings.more else infos[0]
        targets = [Target(t.model.facts.sample_rate, t.model.window) for t in self.tokenizers]
        self.sounds = Sounds(targets, settings.resampler, settings.readers, self.clock)
        self.ended = time.perf_counter()

    @property
    def model(self) -> Model:
        """The (first) model."""
        return self.tokenizers[0].model

    def run(self, clips: Sequence[Clip]) -> Outcomes:
        """Tokens of each clip, or the reason why there are none. Never raises for what a clip holds."""
        self.clock.add({"idle": time.perf_counter() - self.ended})
        failed: dict[int, str] = {}
        for i, heard in enumerate(self.sounds.of(clips)):
            if isinstance(heard, str):
                failed[i] = heard
            else:
                for number, audio in heard.items():
                    self.tokenizers[number].take(i, clips[i], audio)
        done = [tokenizer.finish() for tokenizer in self.tokenizers]
        outcomes = [failed[i] if i in failed else self._outcome(done, i) for i in range(len(clips))]
        self.ended = time.perf_counter()
        return Outcomes(outcomes, self.clock.take())

    def _outcome(self, done: Sequence[dict[int, Row | str]], i: int) -> Any:
        return done[0][i] if len(done) == 1 else tuple(of_model.get(i) for of_model in done)


class _Tokenizer:
    """One model, and the clips that wait for it."""

    def __init__(self, settings: Settings, name: str, clock: Clock) -> None:
        self.clock, self.streams = clock, settings.streams
        self.model: Model = load(name, weights=settings.weights, device=settings.device, dtype=settings.dtype,
                                 resampler=settings.resampler)  # fmt: skip
        self.facts = self.model.facts
        probe = self.model.encode(np.zeros(PROBE, np.float32), self.facts.sample_rate, streams=self.streams)
        self.info = Info(self.facts, self.model.fingerprint, probe.resampler, tuple(sorted(probe.extras)))
        self.code = code_type(self.facts)
        self.batch_seconds = settings.batch_seconds
        self.done: dict[int, Row | str] = {}
        self.waiting: dict[int, Audio] = {}
        self.seconds = 0.0

    def take(self, i: int, clip: Clip, audio: Audio | None) -> None:
        """Tokenize clip number `i` of the task, now or with others; without `audio` it is too long to hold."""
        if audio is None:
            self.done[i] = self._long(clip)
            return
        self.waiting[i] = audio
        self.seconds += audio.duration
        if self.seconds >= WINDOW_BATCHES * self.batch_seconds or len(self.waiting) >= WINDOW_CLIPS:
            self._window()

    def finish(self) -> dict[int, Row | str]:
        """What has become of the clips of the task, by their numbers."""
        self._window()
        done, self.done = self.done, {}
        return done

    def _long(self, clip: Clip) -> Row | str:
        try:
            with self.clock("model"):
                return self._rows(self.model.encode(clip.open(), streams=self.streams))[0]
        except Exception as error:
            return reason_of(error)

    def _window(self) -> None:
        limit = self.batch_seconds * self.facts.sample_rate
        batch: list[int] = []
        for i in sorted(self.waiting, key=lambda i: (len(self.waiting[i]), i)):
            if batch and ((len(batch) + 1) * len(self.waiting[i]) > limit or len(batch) >= BATCH_CLIPS):
                self._run(batch)
                batch = []
            batch.append(i)
        if batch:
            self._run(batch)
        self.waiting, self.seconds = {}, 0.0

    def _run(self, batch: list[int]) -> None:
        with self.clock("model"):
            self.done |= zip(batch, self._batch([self.waiting[i] for i in batch]), strict=True)

    def _batch(self, batch: list[Audio]) -> list[Row | str]:
        try:
            return list(self._rows(self.model.encode(batch, streams=self.streams)))
        except Exception as error:
            if len(batch) == 1:
                return [reason_of(error)]
            return [outcome for audio in batch for outcome in self._batch([audio])]  # find the one clip that does it

    def _rows(self, tokens: Tokens) -> list[Row]:
        tokens = tokens.numpy()
        rows = []
        for i, (length, frames) in enumerate(zip(tokens.lengths.tolist(), tokens.frames.tolist(), strict=True)):
            codes = tuple(c[i, :n].astype(self.code) for c, n in zip(tokens.codes, frames, strict=True))
            extras = {name: np.array(value[i, : frames[0]], np.float32) for name, value in tokens.extras.items()}
            rows.append(Row(length, codes, extras))
        return rows
