"""The transforms that the robustness of a tokenizer is measured under."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.audio import Audio
from .additive_noise import coloured_noise_at, recorded_noise_at
from .degradations import bit_depth, codec, gain, low_pass, resampling
from .reverberation import measured_reverberation, synthetic_reverberation
from .time_pitch import pitch, shift, tempo
from .transform import Transform

__all__ = ["Transform", "default_transforms"]

RATIOS = (20, 10, 5)  # dB


def default_transforms(noise: Sequence[Audio] = (), rir: Sequence[Audio] = ()) -> list[Transform]:
    """Every transform, from noise to codecs.

    Args:
        noise: recordings for real noise; without them it has no value, and says so when it is applied.
        rir: measured room responses; the same.
    """
    return [
        *(coloured_noise_at(colour, ratio) for colour in ("white", "pink", "brown") for ratio in RATIOS),
        *(recorded_noise_at(noise, ratio) for ratio in RATIOS),
        *(synthetic_reverberation(t60) for t60 in (0.3, 0.8)),
        measured_reverberation(rir),
        *(gain(decibels) for decibels in (6, -6, -20)),
        shift(0.002),
        *(tempo(factor) for factor in (0.9, 1.1)),
        *(pitch(semitones) for semitones in (-4, -2, 2, 4)),
        low_pass(4000),
        *(bit_depth(bits) for bits in (14, 12, 10, 8)),
        *(resampling(rate) for rate in (8000, 44100)),
        *(codec(name) for name in ("opus:12", "gsm")),
    ]
