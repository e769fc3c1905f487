"""The labelled speech other tests stand on: phones without gaps, and sound where the phones say it is."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np


def test_labels(espeak: ModuleType) -> None:
    clips = espeak.corpus()
    assert len(clips) == 320
    assert {u.speaker for u in clips} == set(espeak.VOICES)
    for u in clips:
        starts, ends, names = zip(*u.phones, strict=True)
        assert starts[0] == 0
        assert starts[1:] == ends[:-1]
        assert abs(ends[-1] - len(u.samples) / espeak.RATE) < 1e-3
        assert all(end > start for start, end in zip(starts, ends, strict=True))
        assert not any(a == b == "_" for a, b in itertools.pairwise(names))
        assert np.abs(u.samples).max() <= 1
    assert espeak.corpus(2, 3) == tuple(u for u in clips if u.speaker in espeak.VOICES[:2] and u.sentence < 3)


def test_labels_are_where_the_sound_is(espeak: ModuleType) -> None:
    """/s/ is bright and /m/ is dark: the boundaries are those of the sound."""
    centres: dict[str, list[float]] = {"s": [], "m": []}
    for u in espeak.corpus(4, 10):
        for start, end, name in u.phones:
            if name in centres:
                power = np.abs(np.fft.rfft(u.samples[int(start * espeak.RATE) : int(end * espeak.RATE)])) ** 2
                centres[name].append(float((power * np.linspace(0, 8000, len(power))).sum() / power.sum()))
    assert min(centres["s"]) > 2500 > 1200 > max(centres["m"])
