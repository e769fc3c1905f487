"""Paraformer's encoder against FunASR's own (a golden file), in chunks and whole; its chunks; and Kaldi's filterbank."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from voxzoo import ModelError
from voxzoo.core.kaldi_fbank import fbank_frames, kaldi_fbank
from voxzoo.tokenizers._funasr import stacks
from voxzoo.tokenizers._paraformer import CHUNK, CONTEXT, LOOK_BACK, ChunkEncoder, Layer, State, complete, positions

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = load_file(ROOT / "tests" / "golden" / "paraformer.safetensors")
SMALL = {"input_size": 14, "output_size": 12, "attention_heads": 2, "linear_units": 20, "num_blocks": 4, "kernel_size": 11}


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file: its configuration, weights and features."""
    spec = importlib.util.spec_from_file_location("make_paraformer_golden", ROOT / "tools" / "make_paraformer_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden(maker: ModuleType) -> Any:
    network = ChunkEncoder(complete(maker.ENCODER)).eval()
    state = {key: maker.weight(f"encoder.{key}", list(value.shape)) for key, value in network.state_dict().items()}
    network.load_state_dict(state, strict=True)
    return network


def small(**changes: int) -> ChunkEncoder:
    torch.manual_seed(0)
    return ChunkEncoder(complete({**SMALL, **changes})).eval()


def run(network: ChunkEncoder, features: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    with torch.no_grad():
        return network(features, torch.full((len(features),), features.shape[1]), state)


# ---------------------------------------------------------------- against FunASR
def test_chunks_are_funasrs(maker: ModuleType) -> None:
    network = golden(maker)
    for frames in maker.FRAMES:
        wanted = GOLDEN[f"chunks.{frames}"]
        assert wanted.shape == (frames, 32)
        assert wanted.std() > 0.5
        assert (run(network, maker.features(frames))[0][0] - wanted).abs().max() <= 1e-5, frames


def test_the_encoder_has_the_published_size() -> None:
    with torch.device("meta"):
        network = ChunkEncoder(complete({}))
    layer = 512 * 1536 + 1536 + 512 * 512 + 512 + 512 * 11 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512
    first = layer + 48 * 1536 + 2 * 48  # of 560 channels
    assert sum(p.numel() for p in network.parameters()) == first + 49 * layer + 2 * 512
    assert not list(network.buffers())


# ---------------------------------------------------------------- chunks
def test_a_stream_gives_what_the_whole_clip_gives_to_the_last_bit() -> None:
    network, features = small(), torch.randn(1, 75, 14)
    whole, _ = run(network, features)
    for sizes in ([4] * 18 + [3], [8, 4, 20, 36, 7], [72, 3]):
        state: State | None = None
        parts = []
        for part in features.split(sizes, 1):
            vectors, state = run(network, part, state)
            parts.append(vectors)
        assert torch.equal(torch.cat(parts, 1), whole), sizes


def test_clips_of_a_batch_do_not_know_of_each_other() -> None:
    network = small()
    clips = [torch.randn(1, frames, 14) for frames in (1, 4, 6, 33)]
    batch = torch.nn.utils.rnn.pad_sequence([clip[0] for clip in clips], batch_first=True, padding_value=9.0)
    with torch.no_grad():
        together, _ = network(batch, torch.tensor([1, 4, 6, 33]))
    for row, clip in zip(together, clips, strict=True):
        assert torch.equal(row[: clip.shape[1]], run(network, clip)[0][0])


def test_a_chunk_knows_nothing_after_it_and_everything_within_it() -> None:
    network, features = small(), torch.randn(1, 40, 14)
    whole, _ = run(network, features)
    for frame in (17, 19):
        changed = features.clone()
        changed[:, frame] += 1.0
        moved = (run(network, changed)[0] - whole).abs().amax((0, 2)) > 0
        assert not moved[:16].any()
        assert moved[16:].any()
        assert moved[16:20].all()


def test_how_far_back_a_chunk_sees() -> None:
    """With one layer: 16 keys before the 5 frames of its window."""
    network, features = small(num_blocks=1), torch.randn(1, 60, 14)
    whole, _ = run(network, features)
    first = 40 - CONTEXT - LOOK_BACK * CHUNK  # that the chunk of frames 40 to 43 sees
    for frame, seen in ((first - 1, False), (first, True)):
        changed = features.clone()
        changed[:, frame] += 1.0
        assert bool((run(network, changed)[0][:, 40:44] - whole[:, 40:44]).abs().max() > 0) == seen


def test_positions_begin_at_one_and_go_on() -> None:
    table = positions(0, 9, 14)
    assert table.shape == (9, 14)
    assert torch.allclose(table[:, 0], torch.arange(1, 10).float().sin())
    assert torch.allclose(table[:, -1], (torch.arange(1, 10) / 10000).cos())
    assert torch.equal(positions(4, 5, 14), table[4:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "no configuration 'width'"),
        ({"num_blocks": 0}, "num_blocks 0"),
        ({"num_blocks": True}, "num_blocks True"),
        ({"attention_heads": 5}, "for 5 heads"),
        ({"input_size": 13}, "input_size 13"),
        ({"kernel_size": 4}, "kernel_size 4"),
    ],
)
def test_configurations_that_make_no_encoder_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small(**change)


# ---------------------------------------------------------------- whole clips: Paraformer and SenseVoice
def layers(maker: ModuleType, eps: float) -> list[Layer]:
    """Those of a Paraformer, and those above of a SenseVoice."""
    c = maker.ENCODER
    names = ["encoders0.0", *(f"encoders.{i}" for i in range(3)), *(f"tp_encoders.{i}" for i in range(maker.TOP))]
    found = [Layer(c["output_size" if i else "input_size"], c, eps).eval() for i in range(len(names))]
    for name, layer in zip(names, found, strict=True):
        state = layer.state_dict()
        layer.load_state_dict({key: maker.weight(f"encoder.{name}.{key}", list(v.shape)) for key, v in state.items()})
    return found


def norm(maker: ModuleType, name: str, x: Tensor, eps: float) -> Tensor:
    return torch.layer_norm(x, [32], *(maker.weight(f"encoder.{name}.{part}", [32]) for part in ("weight", "bias")), eps)


def embedded(x: Tensor) -> Tensor:
    return x * 32**0.5 + positions(0, x.shape[1], 560)


def test_whole_clips_are_funasrs_alone_and_in_a_batch(maker: ModuleType) -> None:
    batch = torch.nn.functional.pad(embedded(maker.features(27)), (0, 0, 0, 6)).repeat(2, 1, 1)
    inside = torch.arange(33) < torch.tensor([27, 33])[:, None]
    alone = embedded(maker.features(27))
    with torch.no_grad():
        for layer in layers(maker, 1e-12)[:4]:
            alone, batch = layer(alone), layer(batch, inside[..., None].float(), inside[:, None, None])
    for x in (alone[0], batch[0, :27]):
        assert (norm(maker, "after_norm", x, 1e-12) - GOLDEN["paraformer.4"]).abs().max() <= 1e-5


def test_layers_of_sense_voice_are_funasrs(maker: ModuleType) -> None:
    wav = torch.from_numpy(maker.sound(maker.FBANK))[None]
    x = (stacks(wav, 80) + maker.weight("shift", [560])) * maker.weight("scale", [560])
    assert (x[0] - GOLDEN[f"stacks.{maker.FBANK}"]).abs().max() <= 1e-5
    x = embedded(torch.cat([maker.weight("embed.weight", [16, 560])[None, [0, 1, 2, 15]], x], 1))
    compared = 0
    for i, layer in enumerate(layers(maker, 1e-5), 1):
        with torch.no_grad():
            x = layer(x)
        x = norm(maker, "after_norm", x, 1e-5) if i == 4 else norm(maker, "tp_norm", x, 1e-5) if i == 6 else x
        if f"sense_voice.{i}" in GOLDEN:
            wanted, compared = GOLDEN[f"sense_voice.{i}"], compared + 1
            assert wanted.std() > 0.3
            assert (x[0, 4:] - wanted).abs().max() <= 1e-5, i
    assert compared == 5


# ---------------------------------------------------------------- Kaldi's filterbank
@pytest.mark.parametrize(("window", "mels"), [("hamming", 80), ("povey", 23)])
def test_the_filterbank_is_torchaudios(maker: ModuleType, window: str, mels: int) -> None:
    wav = torch.from_numpy(maker.sound(maker.FBANK))[None] * 32768
    wanted = GOLDEN[f"fbank.{window}.{mels}"]
    found = kaldi_fbank(torch.cat([wav, 0.1 * wav]), mels, 16000, window)
    assert wanted.shape == (fbank_frames(maker.FBANK), mels)
    assert (found[0] - wanted).abs().max() <= 1e-5
    assert (found[1] - found[0] - 2 * np.log(0.1)).abs().max() <= 1e-2


def test_the_filterbank_at_its_ends() -> None:
    assert [fbank_frames(n) for n in (0, 1, 399, 400, 559, 560)] == [0, 0, 0, 1, 1, 2]
    assert kaldi_fbank(torch.zeros(3, 399)).shape == (3, 0, 80)
    silence = kaldi_fbank(torch.zeros(1, 800))
    assert silence.shape == (1, 3, 80)
    assert torch.allclose(silence, torch.full_like(silence, float(np.log(np.finfo(np.float32).eps))))
    assert kaldi_fbank(torch.randn(1, 400), 40, 8000, high=-200.0).shape == (1, 3, 40)
    with pytest.raises(ModelError, match="no window 'hann'"):
        kaldi_fbank(torch.zeros(1, 800), window="hann")
    with pytest.raises(ModelError, match="from 20 to 9000 Hz"):
        kaldi_fbank(torch.zeros(1, 800), high=9000.0)
