"""Clips to sound, once for all models of a pass: decoded by threads a little ahead, then brought to each model's rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..core.audio import Audio, read_blocks
from ..core.errors import AudioError
from ..core.resampling import resample_blocks
from .clips import Clip
from .profile import Clock

__all__ = ["Sounds", "Target", "reason_of"]

BEYOND = 1.0  # seconds past the longest window after which no resampler can bring a clip back within it
AHEAD = 4  # clips decoded ahead, for each thread

Heard = dict[int, Audio | None]  # by the model's number; None: too long to hold


@dataclass(frozen=True)
class Target:
    """What a model wants: sound at `rate` Hz, of clips up to `window` seconds."""

    rate: int
    window: float


class Sounds:
    """Decodes clips.

    Args:
        targets: what each model wants.
        resampler: of all models.
        readers: threads.
        clock: counts the stages `read`, `decode`, `resample`.
    """

    def __init__(self, targets: Sequence[Target], resampler: str, readers: int, clock: Clock) -> None:
        self.targets, self.resampler, self.clock = list(targets), resampler, clock
        self.longest = max(target.window for target in targets) + BEYOND
        self.threads = ThreadPoolExecutor(readers)
        self.ahead = AHEAD * readers

    def of(self, clips: Sequence[Clip]) -> Iterator[Heard | str]:
        """The sound of each clip, in order; or the reason why there is none."""
        ahead: deque[Future[Heard | str]] = deque()
        for clip in clips:
            ahead.append(self.threads.submit(self._read, clip))
            if len(ahead) > self.ahead:
                yield self._first(ahead)
        while ahead:
            yield self._first(ahead)

    def _first(self, ahead: deque[Future[Heard | str]]) -> Heard | str:
        with self.clock("starved"):
            return ahead.popleft().result()

    def _read(self, clip: Clip) -> Heard | str:
        if clip.problem is not None:
            return clip.problem
        wanted = range(len(self.targets)) if clip.models is None else clip.models
        try:
            if self.clock.on and isinstance(clip.source, str) and clip.part is None:
                self._warm(clip.source)
            with self.clock("decode"):
                native = self._decode(clip)
            with self.clock("resample"):
                rates = {self.targets[i].rate for i in wanted}
                at = {rate: None if native is None else self._at(native, rate) for rate in rates}
            return {i: self._held(at[self.targets[i].rate], self.targets[i]) for i in wanted}
        except Exception as error:  # a file can make a decoder raise anything; it must cost this clip alone
            return reason_of(error)

    def _warm(self, path: str) -> None:
        """Read a file for its own sake, so that decoding finds it in memory and reading is told apart."""
        try:
            with self.clock("read"), open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
        except OSError:
            return  # opening it will tell

    def _decode(self, clip: Clip) -> tuple[np.ndarray, int] | None:
        """Mono samples and their rate, or None for a clip that is too long for every model."""
        blocks, rate = read_blocks(clip.open())
        parts: list[np.ndarray] = []
        count = 0
        for block in blocks:
            parts.append(block)
            count += len(block)
            if count > self.longest * rate:
                return None
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)), rate

    def _at(self, native: tuple[np.ndarray, int], rate: int) -> np.ndarray:
        samples, own = native
        return samples if own == rate else np.concatenate(list(resample_blocks([samples], own, rate, self.resampler)))

    @staticmethod
    def _held(samples: np.ndarray | None, target: Target) -> Audio | None:
        if samples is None or len(samples) > target.window * target.rate:
            return None
        return Audio(samples, target.rate)


def reason_of(error: Exception) -> str:
    """An error as a line for `rejected.jsonl`."""
    return str(error) if isinstance(error, AudioError) else f"{type(error).__name__}: {error}"
