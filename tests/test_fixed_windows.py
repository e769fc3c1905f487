"""Windows at fixed places: every frame once, for every length, and the same however the clip is pushed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxzoo.core.fixed_windows import FixedWindows

HOP, SPAN = 4, 5  # as HuBERT's 320 and 400
SIZE, CONTEXT = 12, 2


class Encoder:
    """Gives each frame the place of its first sample, and remembers where it was run."""

    def __init__(self) -> None:
        self.windows: list[tuple[int, int]] = []

    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        self.windows.append((int(wav[0, 0]), wav.shape[1]))
        return wav[:, : frames(wav.shape[1]) * HOP : HOP].long()


def frames(samples: int) -> int:
    return max(0, samples - SPAN) // HOP + 1


def run(samples: int, cuts: list[int]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    encoder, clip = Encoder(), torch.arange(samples)[None].float()
    windows = FixedWindows(encoder, SIZE, CONTEXT, HOP, torch.device("cpu"))
    ends = sorted({min(cut, samples) for cut in cuts} | {samples})
    parts = [windows.push(clip[:, a:b]).codes[0] for a, b in zip([0, *ends], ends, strict=False)]
    return torch.cat([*parts, windows.finish().codes[0]], 1), encoder.windows


@pytest.mark.parametrize("samples", range(1, 6 * SIZE * HOP))
def test_no_frame_is_lost_and_none_twice(samples: int) -> None:
    found, windows = run(samples, [])
    assert found.tolist() == [[i * HOP for i in range(frames(samples))]]
    assert all(length == SIZE * HOP for _, length in windows[:-1])
    if samples <= SIZE * HOP:
        assert windows == [(0, samples)]
    else:
        assert (SIZE - 1) * HOP < windows[-1][1] <= SIZE * HOP
        assert sum(windows[-1]) == samples


@given(st.integers(1, 400), st.lists(st.integers(0, 400), max_size=12))
def test_however_the_clip_is_pushed(samples: int, cuts: list[int]) -> None:
    assert str(run(samples, cuts)) == str(run(samples, []))


def test_inner_frames_have_their_context() -> None:
    _, windows = run(500, [])
    starts = [start // HOP for start, _ in windows]
    assert starts == [*range(0, (SIZE - 2 * CONTEXT) * (len(starts) - 1), SIZE - 2 * CONTEXT), 125 - SIZE]


def test_a_long_clip_is_not_held() -> None:
    windows = FixedWindows(Encoder(), SIZE, CONTEXT, HOP, torch.device("cpu"))
    for _ in range(1000):
        windows.push(torch.zeros(1, 7))
        assert windows.samples <= 2 * SIZE * HOP + 7


def test_nothing_was_pushed() -> None:
    windows = FixedWindows(Encoder(), SIZE, CONTEXT, HOP, torch.device("cpu"))
    assert windows.push(torch.zeros(1, 0)).codes[0].shape == (1, 0)
    assert windows.finish().codes[0].shape == (1, 0)
