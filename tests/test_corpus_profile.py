"""What limits a run, told from seconds by stage; devices and settings that follow from options."""

from __future__ import annotations

import pickle
import time

import pytest

from voxzoo.corpus.options import Options
from voxzoo.corpus.profile import STAGES, Clock, Outcomes, describe, limit


@pytest.mark.parametrize(
    ("seconds", "stage"),
    [
        ({"model": 19.0, "decode": 3.0, "starved": 0.5, "write": 1.0}, "model"),
        ({"model": 8.0, "read": 1.0, "decode": 15.0, "starved": 11.0}, "decode"),
        ({"model": 8.0, "read": 15.0, "decode": 2.0, "starved": 11.0}, "read"),
        ({"model": 4.0, "idle": 15.0, "write": 9.0}, "write"),
        ({"model": 4.0, "idle": 15.0, "starved": 1.0}, "idle"),
        ({}, "model"),
    ],
)
def test_what_limits(seconds: dict[str, float], stage: str) -> None:
    assert limit(seconds, 2, 10.0) == stage
    assert f"what limits: {STAGES[stage]}" in describe(seconds, 2, 10.0)


def test_a_clock_counts_what_blocks_take() -> None:
    clock = Clock()
    for _ in range(2):
        with clock("read"):
            time.sleep(0.01)
    with pytest.raises(KeyError), clock("model"):
        raise KeyError
    taken = clock.take()
    assert taken["read"] >= 0.02
    assert set(taken) == {"read", "model"}
    assert clock.take() == {}
    off = Clock(False)
    with off("read"):
        pass
    assert off.take() == {}


def test_outcomes_travel_with_their_seconds() -> None:
    back = pickle.loads(pickle.dumps(Outcomes([1, "x"], {"model": 0.5})))
    assert (back, back.seconds) == ([1, "x"], {"model": 0.5})


def test_devices_and_readers() -> None:
    several = Options("s", "o", "m", device="cuda:0,cuda:1", workers=8)
    assert several.devices() == ["cuda:0", "cuda:1"]
    assert (several.settings().device, several.settings().readers, several.kind) == ("cuda:0", 4, "cuda")
    assert Options("s", "o", "m", device="cuda", workers=8, engine="ray").devices() == ["cuda"]
    assert Options("s", "o", "m", workers=8).settings().readers == 1
