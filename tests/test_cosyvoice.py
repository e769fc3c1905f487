"""The flows of CosyVoice and its kin against the published classes (a golden file), their streams, files and bad input."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from voxzoo import Audio, Tokens
from voxzoo.core.decoder import decoder_class, load_decoder, random_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.errors import ModelError, TokensError, WeightsError, WrongModelError
from voxzoo.core.flow import Flow, FlowSettings, Prompt
from voxzoo.core.mel import Mel
from voxzoo.core.pairing import players
from voxzoo.core.registry import entry
from voxzoo.decoders._flow_conformer import Attention, positions
from voxzoo.decoders._flow_cosyvoice import CosyConfig, CosyNetwork
from voxzoo.decoders.cosyvoice import CosyVoice1Flow, CosyVoice2Flow, Glm4VoiceFlow, StepAudioFlow

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["cosyvoice-flow", "cosyvoice-25hz-flow", "cosyvoice2-flow", "glm4voice-flow", "step-audio-flow"]
SMALL = {"hidden": 24, "layers": 1, "heads": 2, "blocks": 1, "middle": 2, "estimator_heads": 2, "head_dim": 6}


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the golden file: its sizes, weights and inputs."""
    spec = importlib.util.spec_from_file_location("make_flow_golden", ROOT / "tools" / "make_flow_golden.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(ROOT / "tests" / "golden" / "flow.safetensors")


def small(maker: ModuleType, kind: str) -> Flow:
    """Of the golden file's sizes and weights."""
    name, cls = {"v1": (NAMES[0], CosyVoice1Flow), "v2": (NAMES[2], CosyVoice2Flow), "glm": (NAMES[3], Glm4VoiceFlow)}[kind]
    ways = {"v1": {}, "v2": {"chunk": maker.BLOCK, "channels": [16]}, "glm": {"block": maker.BLOCK}}[kind]
    config = {**cls.own, **SMALL, "dim": maker.DIM[kind], "codes": maker.CODES[kind], "channels": [16, 16], **ways}
    network = CosyNetwork(CosyConfig.from_dict(config))
    network.load_state_dict({key: maker.weight(key, list(value.shape)) for key, value in network.state_dict().items()})
    return cls(decoder_entry(name).facts, config, network)


def compare(mel: Mel, want: Tensor) -> None:
    frames = mel.frames[0]
    torch.testing.assert_close(frames[:, :: 1 + frames.shape[1] // 30], want, rtol=0, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize("kind", ["v1", "v2", "glm"])
def test_mels_of_the_published_classes(maker: ModuleType, golden: Mapping[str, Tensor], kind: str) -> None:
    flow = small(maker, kind)
    cases = [key for key in golden if key.startswith(f"{kind}.") and key != "v2.part"]
    assert len(cases) == (10 if kind == "v2" else 5)
    assert min(golden[key].std() for key in cases) > 0.1
    for key in cases:
        _, count, prompt, *way = key.split(".")
        settings = FlowSettings(chunked=way == ["chunked"])
        rate = 25 if kind == "v2" else float(flow.facts.frame_rate)
        frames = 2 * int(prompt) if kind == "v2" else int(int(prompt) / rate * 22050 / 256)
        before = (
            Prompt(maker.tokens(int(prompt), maker.CODES[kind]), Mel(maker.features(frames).transpose(1, 2), flow.front))
            if frames
            else None
        )
        codes = maker.tokens(int(count), maker.CODES[kind])
        compare(flow.mel(codes, voice=maker.speaker(), settings=settings, prompt=before), golden[key])


def test_a_part_of_version_2_is_the_published_one(maker: ModuleType, golden: Mapping[str, Tensor]) -> None:
    """Ten tokens, three more looked at: what the published stream gives before the clip's end."""
    flow = small(maker, "v2")
    with flow.stream(voice=maker.speaker()) as stream:
        given = stream.push(maker.tokens(2 * maker.BLOCK + 3, maker.CODES["v2"])[0])
    compare(Mel(given[None], flow.front), golden["v2.part"])


def test_streams_of_version_2_equal_the_whole_in_chunks(maker: ModuleType) -> None:
    flow = small(maker, "v2")
    settings = FlowSettings(steps=4, chunked=True)
    for count, cuts in ((1, [1]), (5, [5]), (8, [3, 5]), (23, [1] * 23), (23, [14, 9])):
        codes = maker.tokens(count, maker.CODES["v2"])[0]
        want = flow.mel(codes, voice=maker.speaker(), settings=settings).frames[0]
        with flow.stream(voice=maker.speaker(), settings=settings) as stream:
            parts = [stream.push(part) for part in codes.split(cuts)]
            parts.append(stream.finish())
        assert [part.shape[1] for part in parts][:-1] == _given(cuts)
        torch.testing.assert_close(torch.cat(parts, 1), want, rtol=0, atol=1e-3)
    whole = flow.mel(codes, voice=maker.speaker(), settings=replace(settings, chunked=False)).frames[0]
    assert (whole - want).abs().max() > 0.01


def _given(cuts: list[int]) -> list[int]:
    """Frames that each push makes certain: chunks of 5 tokens that see 3 more."""
    counts, total, done = [], 0, 0
    for cut in cuts:
        total += cut
        whole = max(0, total - 3) // 5 * 5
        counts.append(2 * (whole - done))
        done = whole
    return counts


def test_relative_positions_written_out() -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(1, 5, 8)
    where = positions(5, 8, torch.device("cpu"))
    q, k, v = (layer(x)[0].view(5, 2, 4) for layer in (attention.linear_q, attention.linear_k, attention.linear_v))
    want = torch.zeros(5, 8)
    for head in range(2):
        for i in range(5):
            scores = []
            for j in range(5):
                p = attention.linear_pos(where[4 - (i - j)]).view(2, 4)[head]
                content = (q[i, head] + attention.pos_bias_u[head]) @ k[j, head]
                scores.append((content + (q[i, head] + attention.pos_bias_v[head]) @ p) / 2)
            want[i, 4 * head : 4 * head + 4] = torch.stack(scores).softmax(0) @ v[:, head]
    torch.testing.assert_close(attention(x, where, None)[0], attention.linear_out(want), rtol=0, atol=1e-5)
    assert torch.equal(where[4], torch.tensor([0.0, 1.0] * 4))  # no distance


def test_clips_of_a_batch_are_as_alone(maker: ModuleType) -> None:
    flow, settings = small(maker, "v1"), FlowSettings(steps=2)
    codes = torch.cat([maker.tokens(9, 60), maker.tokens(9, 60).flip(1)])
    both = flow.mel(codes, settings=settings)
    for row, mel in zip(codes, both, strict=True):
        torch.testing.assert_close(mel.frames, flow.mel(row, settings=settings).frames, rtol=0, atol=1e-4)


def test_guidance_of_zero_is_none(maker: ModuleType) -> None:
    flow = small(maker, "v1")
    codes = maker.tokens(9, 60)
    none, hardly, some = (flow.mel(codes, settings=FlowSettings(3, g)).frames for g in (0.0, 1e-9, 0.7))
    torch.testing.assert_close(none, hardly, rtol=0, atol=1e-4)
    assert (none - some).abs().max() > 0.01


def test_step_audio_takes_two_streams_in_turn() -> None:
    flow = random_decoder(decoder_entry(NAMES[4]), {**StepAudioFlow.own, **decoder_entry(NAMES[4]).tiny})
    assert isinstance(flow, StepAudioFlow)
    first, second = torch.tensor([[1, 2, 3, 4, 9]]), torch.tensor([[10, 11, 12, 13, 14, 15, 16]])
    assert flow._one([first, second]).tolist() == [[1, 2, 1034, 1035, 1036, 3, 4, 1037, 1038, 1039]]
    with pytest.raises(TokensError, match="fewer"):
        flow._one([first, second[:, :2]])
    assert flow.vocabulary(flow.config) == entry("step-audio").facts.codebook_sizes
    assert flow.rates(flow.config) == entry("step-audio").facts.frame_rates


# the published form


@pytest.mark.parametrize("name", NAMES)
def test_the_published_form_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = decoder_entry(name)
    cls: Any = decoder_class(item)
    config = {**cls.own, **item.tiny}
    monkeypatch.setattr(cls, "own", config)
    flow = random_decoder(item, CosyConfig.from_dict(config).to_dict())
    torch.save(flow.network.state_dict(), tmp_path / "flow.pt")
    again = load_decoder(name, weights=tmp_path)
    assert again.fingerprint == flow.fingerprint
    state = flow.network.state_dict()
    lacking = {key: value for key, value in state.items() if key != "encoder_proj.bias"}
    torch.save(lacking, tmp_path / "flow.pt")
    with pytest.raises(WeightsError, match=r"encoder_proj\.bias"):
        load_decoder(name, weights=tmp_path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"decoder.estimator.down_blocks.0.0.block1.block.2.weight": (4,), "input_embedding.weight": (6561, 4)},
            "CosyVoice 2 for 6561",
        ),
        (
            {"decoder.estimator.down_blocks.0.0.block1.block.1.weight": (4,), "input_embedding.weight": (16384, 4)},
            "CosyVoice 1 for 16384",
        ),
        ({"decoder.estimator.transformer_blocks.0.attn.to_q.weight": (4,), "input_embedding.weight": (6561, 4)}, "CosyVoice 3"),
        ({"conv_pre.weight": (4,)}, "no flow"),
    ],
)
def test_another_version_is_told(keys: dict[str, tuple[int, ...]], words: str, tmp_path: Path) -> None:
    torch.save({key: torch.zeros(shape) for key, shape in keys.items()}, tmp_path / "flow.pt")
    with pytest.raises(WeightsError, match=words):
        load_decoder("cosyvoice-flow", weights=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_entries_say_what_is_built(name: str) -> None:
    item = decoder_entry(name)
    with torch.device("meta"):
        network = decoder_class(item).build(item.config)
    assert sum(p.numel() for p in network.parameters()) == item.facts.params
    shape: dict[str, Any] = decoder_class(item).shape(item.config)
    assert all(getattr(item.facts, key) == value for key, value in shape.items())
    for tokenizer in item.plays:
        facts = entry(tokenizer).facts
        cls = decoder_class(item)
        assert isinstance(item.config, dict)
        assert cls.vocabulary(item.config) == facts.codebook_sizes  # type: ignore[attr-defined]
        assert cls.rates(item.config) == facts.frame_rates  # type: ignore[attr-defined]
        assert name in [found.name for found in players(tokenizer)]


def test_tokens_meant_for_another_flow_are_refused(maker: ModuleType) -> None:
    flow = small(maker, "v1")
    facts = entry("glm4voice").facts
    found = Tokens([np.array([[3, 5]])], np.array([2560]), facts, "0" * 64)
    with pytest.raises(WrongModelError, match="made by glm4voice; cosyvoice-flow speaks those of s3-v1 alone"):
        flow.mel(found)


def test_bad_input(maker: ModuleType) -> None:
    flow = small(maker, "v1")
    mel = Mel(torch.zeros(1, 80, 5), small(maker, "v2").front)
    with pytest.raises(ModelError, match="not of cosyvoice-flow's front end"):
        flow.mel([1, 2], prompt=Prompt([1], mel))
    with pytest.raises(ModelError, match="one clip"):
        flow.mel([[1, 2], [1, 2]], prompt=Prompt([1], mel))
    with pytest.raises(ModelError, match="CAM"):
        flow.mel([1, 2], voice=Audio(np.zeros(8000, np.float32), 16000))
    with pytest.raises(ModelError, match="voice of 5 numbers"):
        flow.mel([1, 2], voice=[0.0] * 5)
    with pytest.raises(TokensError, match="out of range"):
        flow.mel([60])
    with pytest.raises(ModelError, match="does not stream"):
        flow.stream()
    with pytest.raises(ModelError, match="no setting colour"):
        CosyConfig.from_dict({"colour": 1})
    with pytest.raises(ModelError, match="version 4"):
        CosyConfig.from_dict({"version": 4})


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:4])
def test_real_size(name: str) -> None:
    flow = random_decoder(decoder_entry(name), decoder_entry(name).config)
    assert isinstance(flow, Flow)
    mel = flow.mel(np.arange(30), settings=FlowSettings(steps=1))
    assert mel.frames.shape[1] == 80
    assert torch.isfinite(mel.frames).all()
