"""Progress of a run on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress"]

EVERY = 10.0  # seconds between log lines


class Progress:
    """Counts clips and seconds of sound of one run.

    Args:
        total: clips of the source.
        quiet: show nothing.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.total, self.quiet = total, quiet
        self.clips = 0  # done, now or in an earlier run
        self.fresh = 0  # done in this run
        self.seconds = 0.0  # of sound, in this run
        self.began = self.told = time.monotonic()
        self.bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit="clip", dynamic_ncols=True, leave=False)

    @property
    def elapsed(self) -> float:
        """Seconds since the model was ready."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Seconds of sound per second."""
        return self.seconds / max(self.elapsed, 1e-9)

    def skip(self, clips: int) -> None:
        """Clips that an earlier run has done."""
        self.clips += clips
        if self.bar:
            self.bar.initial += clips
            self.bar.update(clips)

    def advance(self, clips: int, seconds: float) -> None:
        """Clips done now, with the sound they hold."""
        self.clips += clips
        self.fresh += clips
        self.seconds += seconds
        if self.bar:
            self.bar.update(clips)
            self.bar.set_postfix_str(f"{self.speed:.3g}x real time", refresh=False)
        elif not self.quiet and time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            left = (self.total - self.clips) * self.elapsed / self.fresh
            text = f"{self.clips}/{self.total} clips, {self.seconds / 3600:.2f} h of sound, {self.speed:.3g}x real time"
            print(f"{text}, {_clock(left)} left", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
