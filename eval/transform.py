"""What a transform of the robustness analysis is: a named, defined and repeatable disturbance of sound."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError
from .metric import MetricError

__all__ = ["Change", "Transform", "too_short"]

# (samples float32 (T,), Hz, random generator) -> samples (T',); raises MetricError where it has no meaning for this sound.
Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


@dataclass(frozen=True, eq=False)
class Transform:
    """A disturbance that leaves the spoken content as it is.

    Attributes:
        name: key in the results, as "noise_white_20dB".
        definition: what exactly is done: levels, filters, library.
        function: does it.
        keeps_time: whether frame n afterwards is of the same moment as frame n before, so that frames can be compared one by
            one; otherwise only edit distances make sense.
        draws: transforms of the same `draws` draw the same at random from a clip, as one noise at several levels.
    """

    name: str
    definition: str
    function: Change
    keeps_time: bool = True
    draws: str = ""

    def __call__(self, audio: Audio, seed: int = 0) -> Audio:
        """The disturbed sound. What is random in it follows from `seed`, `draws` and the samples alone.

        Samples beyond [-1, 1] are left as they are, not clipped, unless the definition says otherwise.

        Raises:
            AudioError: an empty clip, or a result that is no sound.
            MetricError: a clip for which the transform has no meaning (silence has no signal-to-noise ratio).
        """
        if not len(audio):
            raise AudioError("the clip holds no samples")
        keys = [seed, zlib.crc32(self.draws.encode()), zlib.crc32(audio.samples.tobytes())]
        changed = self.function(audio.samples, audio.sample_rate, np.random.default_rng(keys))
        return Audio(np.asarray(changed, np.float32), audio.sample_rate)


def too_short(samples: np.ndarray, least: int, what: str) -> None:
    """Raise `MetricError` unless there are at least `least` samples for `what`."""
    if len(samples) < least:
        raise MetricError(f"the clip is too short: {what} needs at least {least} samples")
