"""The part of `tokenize` that holds the model: clips in, tokens or reasons out. Runs in a process of its own (see `pool.py`).

Sound is decoded by threads while the model works on what came before. Clips are gathered in windows, sorted by length and
batched within a bound on audio-seconds (padding included), so little is spent on padding; what shares a batch follows from the
task alone. Clips longer than the model's window go through its streaming form, in bounded memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.audio import Audio, read_blocks
from ..core.errors import AudioError
from ..core.loading import is_bundle, load
from ..core.resampling import SOXR
from .clips import Clip, Row
from .shards import Info, code_type

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
        model, weights, device, resampler: as `voxzoo.load` takes them.
        streams: only the first so many streams; None for all.
        batch_seconds: of sound in a batch, padding included; a single clip may be longer.
        readers: threads that decode sound.
    """

    model: str
    weights: str | None = None
    device: str = "cpu"
    resampler: str = SOXR
    streams: int | None = None
    batch_seconds: float = 0.0
    readers: int = 1

    @property
    def torch(self) -> bool:
        """Whether the model needs it; a bundle does not."""
        return not is_bundle(self.model)

    def start(self) -> Worker:
        """What a worker process does first."""
        return Worker(self)


class Worker:
    """A loaded model that tokenizes tasks. Raises what `voxzoo.load` raises."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model: Model = load(settings.model, weights=settings.weights, device=settings.device, resampler=settings.resampler)
        probe = self.model.encode(np.zeros(PROBE, np.float32), self.model.facts.sample_rate, streams=settings.streams)
        self.info = Info(self.model.facts, self.model.fingerprint, probe.resampler, tuple(sorted(probe.extras)))
        self.code = code_type(self.model.facts)

    def run(self, clips: Sequence[Clip]) -> list[Row | str]:
        """Tokens of each clip, or the reason why there are none. Never raises for what a clip holds."""
        done: dict[int, Row | str] = {}
        window: dict[int, Audio] = {}
        seconds = 0.0
        for i, sound in enumerate(self._decoded(clips)):
            if isinstance(sound, str):
                done[i] = sound
            elif sound is None:
                done[i] = self._long(clips[i])
            else:
                window[i] = sound
                seconds += sound.duration
            if seconds >= WINDOW_BATCHES * self.settings.batch_seconds or len(window) >= WINDOW_CLIPS:
                done |= self._window(window)
                window, seconds = {}, 0.0
        done |= self._window(window)
        return [done[i] for i in range(len(clips))]

    def _decoded(self, clips: Sequence[Clip]) -> Iterator[Audio | str | None]:
        """Sound of each clip, in order, decoded a little ahead by threads."""
        ahead: deque[Future[Audio | str | None]] = deque()
        with ThreadPoolExecutor(self.settings.readers) as readers:
            for clip in clips:
                ahead.append(readers.submit(self._read, clip))
                if len(ahead) > 4 * self.settings.readers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _read(self, clip: Clip) -> Audio | str | None:
        """The sound at the model's rate, the reason why there is none, or None for a clip too long to hold."""
        if clip.problem is not None:
            return clip.problem
        rate = self.model.facts.sample_rate
        try:
            blocks, _ = read_blocks(clip.open(), rate, self.settings.resampler)
            parts: list[np.ndarray] = []
            for block in blocks:
                parts.append(block)
                if sum(map(len, parts)) > self.model.window * rate:
                    return None
            return Audio(np.concatenate(parts), rate)
        except Exception as error:  # a file can make a decoder raise anything; it must cost this clip alone
            return _reason(error)

    def _long(self, clip: Clip) -> Row | str:
        try:
            return self._rows(self.model.encode(clip.open(), streams=self.settings.streams))[0]
        except Exception as error:
            return _reason(error)

    def _window(self, window: dict[int, Audio]) -> dict[int, Row | str]:
        done: dict[int, Row | str] = {}
        limit = self.settings.batch_seconds * self.model.facts.sample_rate
        batch: list[int] = []
        for i in sorted(window, key=lambda i: (len(window[i]), i)):
            if batch and ((len(batch) + 1) * len(window[i]) > limit or len(batch) >= BATCH_CLIPS):
                done |= zip(batch, self._batch([window[j] for j in batch]), strict=True)
                batch = []
            batch.append(i)
        if batch:
            done |= zip(batch, self._batch([window[j] for j in batch]), strict=True)
        return done

    def _batch(self, batch: list[Audio]) -> list[Row | str]:
        try:
            return list(self._rows(self.model.encode(batch, streams=self.settings.streams)))
        except Exception as error:
            if len(batch) == 1:
                return [_reason(error)]
            return [outcome for audio in batch for outcome in self._batch([audio])]  # find the one clip that does it

    def _rows(self, tokens: Tokens) -> list[Row]:
        tokens = tokens.numpy()
        rows = []
        for i, (length, frames) in enumerate(zip(tokens.lengths.tolist(), tokens.frames.tolist(), strict=True)):
            codes = tuple(c[i, :n].astype(self.code) for c, n in zip(tokens.codes, frames, strict=True))
            extras = {name: np.array(value[i, : frames[0]], np.float32) for name, value in tokens.extras.items()}
            rows.append(Row(length, codes, extras))
        return rows


def _reason(error: Exception) -> str:
    if isinstance(error, AudioError):
        return str(error)
    return f"{type(error).__name__}: {error}"
