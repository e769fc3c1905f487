"""Windowed streaming, on toy models whose reach is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from voxzoo import TokensError
from voxzoo.core.streaming import Encoded
from voxzoo.core.windows import Blocks, WindowedDecoder, WindowedEncoder

SIZE = 8  # samples of a block: 4 frames of the first stream, 2 of the second
LEFT, RIGHT = 11, 5  # samples that the toy encoder sees beyond a frame's own two


def encode(wav: Tensor) -> Encoded:
    """Weighted sums over the reach of a frame, in whole numbers so that every difference shows."""
    weights = torch.arange(1, LEFT + RIGHT + 3).double() ** 2 % 17
    sums = F.conv1d(F.pad(wav.double(), (LEFT, RIGHT))[:, None], weights[None, None], stride=2)[:, 0].long()
    return Encoded([sums, sums[:, ::2]])


def decode(encoded: Encoded) -> Tensor:
    """Each frame spreads over its two samples and 7 frames on both sides; a second stream adds to it."""
    frames = encoded.codes[0].double()
    if len(encoded.codes) > 1:
        frames = frames + 100 * encoded.codes[1].double().repeat_interleave(2, 1)
    weights = torch.arange(1, 16).double()
    return F.conv1d(F.pad(frames, (7, 7))[:, None], weights[None, None])[:, 0].repeat_interleave(2, 1)


def blocks(left: int = 2, right: int = 1, most: int = 3) -> Blocks:
    return Blocks(SIZE, [4, 2], left, right, most)


def clip(samples: int) -> Tensor:
    return torch.randint(-9, 10, (1, samples), generator=torch.Generator().manual_seed(samples)).float()


def offline(wav: Tensor) -> Encoded:
    return encode(F.pad(wav, (0, -wav.shape[1] % SIZE)))


def pushed(core: WindowedEncoder, wav: Tensor, step: int) -> list[Tensor]:
    parts = [core.push(wav[:, i : i + step]) for i in range(0, wav.shape[1], step)] + [core.finish()]
    return [torch.cat([p.codes[k] for p in parts], 1) for k in range(2)]


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 24, 25, 150])
@pytest.mark.parametrize("step", [1, 5, 8, 64, 1000])
def test_encoder_windows_join_to_the_offline_codes(samples: int, step: int) -> None:
    wav = clip(samples)
    for got, wanted in zip(pushed(WindowedEncoder(encode, blocks()), wav, step), offline(wav).codes, strict=True):
        assert torch.equal(got, wanted)


def test_less_context_than_the_reach_shows() -> None:
    """The comparison above can fail: one block less on either side and the codes differ."""
    wav = clip(150)
    for short in (blocks(left=1), blocks(right=0)):
        assert not torch.equal(pushed(WindowedEncoder(encode, short), wav, 8)[0], offline(wav).codes[0])


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_decoder_windows_join_to_the_offline_sound(streams: int, step: int) -> None:
    codes = offline(clip(150)).codes[:streams]
    core = WindowedDecoder(decode, blocks(left=2, right=2))
    out = []
    for i in range(0, codes[-1].shape[1], step):  # steps of the slowest stream given
        ratio = codes[0].shape[1] // codes[-1].shape[1]
        head = [codes[0][:, i * ratio : (i + step) * ratio], codes[-1][:, i : i + step]]
        out.append(core.push(Encoded(head[:streams])))
    assert torch.equal(torch.cat([*out, core.finish()], 1), decode(Encoded(codes)))


def test_a_push_gives_out_all_that_is_certain() -> None:
    core = WindowedEncoder(encode, blocks())
    counts = [core.push(clip(1)).codes[0].shape[1] for _ in range(40)]
    assert [i for i, n in enumerate(counts) if n] == [15, 23, 31, 39]  # a block, and one more of right context
    assert set(counts) == {0, 4}
    decoder = WindowedDecoder(decode, blocks(left=2, right=2))
    codes = offline(clip(80)).codes
    assert decoder.push(Encoded(codes)).shape[1] == 80 - 2 * SIZE
    assert decoder.finish().shape[1] == 2 * SIZE


def test_windows_are_as_long_as_allowed_and_no_longer() -> None:
    seen: list[int] = []

    def spy(wav: Tensor) -> Encoded:
        seen.append(wav.shape[1] // SIZE)
        return encode(wav)

    core = WindowedEncoder(spy, blocks(most=3))
    core.push(clip(20 * SIZE))
    assert seen == [4, 6, 6, 6, 6, 6, 4]  # 3 kept, 2 before but for the first, 1 after; the last keeps one
    assert core.wav is not None
    assert core.wav.shape[1] == 3 * SIZE  # only context is held on to


@pytest.mark.parametrize("count", [1, 5, 6, 7, 9, 10, 11, 29])
def test_fixed_windows_lie_where_the_clip_says(count: int) -> None:
    """On a model that looks at all it is given: 2 blocks before, 3 kept, 1 after."""
    seen: list[list[int]] = []

    def spy(wav: Tensor) -> Encoded:
        seen.append(wav[0, ::SIZE].int().tolist())
        codes = wav.sum().long() + wav[:, ::2].long()
        return Encoded([codes, codes[:, ::2]])

    samples = (count - 1) * SIZE + 3
    wav = torch.arange(samples)[None].float() // SIZE
    plan = Blocks(SIZE, [4, 2], 2, 1, 3, fixed=True)
    results = []
    for step in (1, 7, 24, 1000):
        core = WindowedEncoder(spy, plan)
        seen.clear()
        results.append(pushed(core, wav, step))
        starts = [window[0] for window in seen]
        assert starts[:-1] == list(range(0, count - 6, 3))  # the first keeps 5, and waits until it cannot be the last
        assert seen[-1] == list(range(max(0, count - 6), count))
        assert all(len(window) == min(count, 6) for window in seen)
    assert results[0][0].shape[1] == 4 * count
    assert all(torch.equal(a, b) for result in results for a, b in zip(result, results[0], strict=True))


def test_memory_does_not_grow_with_the_clip() -> None:
    core = WindowedEncoder(encode, blocks())
    held = []
    for _ in range(50):
        core.push(clip(5 * SIZE + 3))
        assert core.wav is not None
        held.append(core.wav.shape[1])
    assert max(held) < 5 * SIZE


def test_reach_becomes_whole_blocks() -> None:
    plan = Blocks.reaching(SIZE, [4, 2], LEFT, RIGHT, SIZE, 9)
    assert (plan.left, plan.right, plan.most) == (2, 1, 9)
    none = Blocks.reaching(SIZE, [4, 2], 0, -3, SIZE, 9)
    assert (none.left, none.right) == (0, 0)


def test_tokens_that_do_not_belong_together_are_refused() -> None:
    one = torch.zeros(1, 4, dtype=torch.int64)
    core = WindowedDecoder(decode, blocks())
    with pytest.raises(TokensError, match=r"pushed \[4, 4\] frames; streams run at \[4, 2\]"):
        core.push(Encoded([one, one]))
    core.push(Encoded([one, one[:, :2]]))
    with pytest.raises(TokensError, match="pushed 1 streams after 2"):
        core.push(Encoded([one]))


def test_tokens_that_end_inside_a_block_are_refused() -> None:
    core = WindowedDecoder(decode, blocks())
    core.push(Encoded([torch.zeros(1, 6, dtype=torch.int64)]))
    with pytest.raises(TokensError, match="inside a block of 4 frames"):
        core.finish()


def test_nothing_pushed_gives_nothing() -> None:
    assert WindowedDecoder(decode, blocks()).finish().shape == (1, 0)
    assert [c.shape for c in WindowedEncoder(encode, blocks()).push(torch.zeros(1, 0)).codes] == [(1, 0), (1, 0)]
