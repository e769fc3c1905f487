"""The multi-scale codec: residual codebooks at unequal rates over the network of `vox-rvq-16k`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import voxzoo
from voxzoo.codecs.multiscale import MultiScale, MultiScaleConfig
from voxzoo.codecs.rvq import RVQCodec, nearest, pooled, repeated
from voxzoo.core.errors import ModelError, TokensError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.streaming import Encoded

SMALL = MultiScaleConfig(
    encoder_dim=16, encoder_layers=2, decoder_dim=16, decoder_layers=2, fine_dim=16, fine_layers=1, codebook_dim=8,
    codebook_size=32,
)  # fmt: skip


@pytest.fixture
def codec() -> RVQCodec:
    torch.manual_seed(0)
    return MultiScale.build(SMALL.to_dict()).eval()


@pytest.fixture
def model() -> Model:
    return random_model(voxzoo.entry("vox-snac-16k"), SMALL.to_dict())


def noise(frames: float, clips: int = 2) -> Tensor:
    return torch.randn(clips, int(320 * frames), generator=torch.Generator().manual_seed(1)) * 0.1


def test_a_config_comes_back_and_says_what_is_wrong() -> None:
    assert MultiScaleConfig.from_dict(SMALL.to_dict()) == SMALL
    assert SMALL.to_dict()["strides"] == [4, 2, 1]
    assert SMALL.block == 1280
    for strides in ([4, 2], [4, 3, 1], [0, 2, 1], [4, 2, 1.5]):
        with pytest.raises(ModelError, match="expected 3 whole numbers, each dividing the greatest"):
            MultiScaleConfig.from_dict({**SMALL.to_dict(), "strides": strides})
    with pytest.raises(ModelError, match="unknown keys: stride"):
        MultiScaleConfig.from_dict({"stride": [4, 2, 1]})


@pytest.mark.parametrize("samples", [1, 1279, 1280, 1281, 16001])
def test_frames_are_whole_blocks(model: Model, samples: int) -> None:
    blocks = -(-samples // 1280)
    wav = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    tokens = model.encode(wav, 16000)
    assert [c.shape[1] for c in tokens.codes] == [blocks, 2 * blocks, 4 * blocks] == list(model.frames(samples))
    assert len(model.decode(tokens)) == samples


@torch.no_grad()
def test_each_stage_codes_the_mean_of_what_is_left(codec: RVQCodec) -> None:
    latent = torch.randn(2, 8, 8)
    left, wanted = latent.clone(), []
    for k, step in enumerate((4, 2, 1)):
        means = left.reshape(2, 8 // step, step, 8).mean(2)
        distance = (means[:, :, None] - codec.codebooks[k]).square().sum(-1)
        wanted.append(distance.argmin(-1))
        left = left - codec.codebooks[k][wanted[-1]].repeat_interleave(step, 1)
    codes = codec.quantize(latent)
    assert all(torch.equal(a, b) for a, b in zip(codes, wanted, strict=True))
    torch.testing.assert_close(codec.lookup(codes), latent - left, rtol=0, atol=1e-5)


def test_pooling_is_the_same_in_any_company() -> None:
    latent = torch.randn(3, 64, 8)
    for step in (1, 2, 4):
        whole = pooled(latent, step)
        assert torch.equal(pooled(latent[1:2, :4], step), whole[1:2, : 4 // step])
        torch.testing.assert_close(pooled(repeated(whole, step), step), whole)


def test_few_rows_are_searched_as_many_are() -> None:
    torch.manual_seed(0)
    latent, book = torch.randn(1, 100, 32), torch.randn(64, 32)
    assert torch.equal(torch.cat([nearest(row, book) for row in latent.split(1, dim=1)], dim=1), nearest(latent, book))


@torch.no_grad()
def test_sound_waits_for_its_block_and_two_frames(codec: RVQCodec) -> None:
    """The latency on the entry: a block's last frames are certain when the next block has come."""
    codes = codec.encode(noise(16))
    changed = [c.clone() for c in codes]
    for stream, step in zip(changed, SMALL.strides, strict=True):
        stream[:, 8 // step :] = (stream[:, 8 // step :] + 1) % 32
    before, after = codec.decode(codes), codec.decode(changed)
    assert torch.equal(after[:, : 320 * 6], before[:, : 320 * 6])
    assert not torch.allclose(after[:, 320 * 6 : 320 * 7], before[:, 320 * 6 : 320 * 7])
    shape = MultiScale.shape(SMALL.to_dict())
    assert shape["latency"] == (1280 + 2 * 320) / 16000


def test_streams_out_of_step_are_refused(model: Model) -> None:
    tokens = model.encode(noise(12, 1)[0], 16000)
    core = model._open_decoder()
    wrong = Encoded([tokens.codes[0], tokens.codes[1][:, :5]])
    with pytest.raises(TokensError, match=r"pushed \[3, 5\] frames; the streams belong together in the ratio 1:2"):
        core.push(wrong)


def test_only_some_streams_stream_too(model: Model) -> None:
    wav = noise(40, 1)[0]
    tokens = model.encode(wav, 16000, streams=2)
    with model.stream_encoder(streams=2) as stream:
        parts = [stream.push(part) for part in wav.split(3000)] + [stream.finish()]
    with model.stream_decoder() as stream:
        sound = np.concatenate([stream.push(part).samples for part in parts] + [stream.finish().samples])
    np.testing.assert_allclose(sound, model.decode(tokens).samples, atol=1e-6)
