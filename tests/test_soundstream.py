"""SoundStream's architecture, and that the trainer trains it as it trains our other codecs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import voxzoo
from voxzoo.cli.main import main
from voxzoo.codecs.soundstream import Network, SoundStream, SoundStreamConfig
from voxzoo.core.errors import ModelError, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.training import trainer
from voxzoo.training.checkpoint import export_checkpoint, load_checkpoint
from voxzoo.training.recipes import Recipe, find_recipe

SMALL = SoundStreamConfig(channels=4, strides=(4, 5, 16), dilations=(1, 3), streams=4, codebook_size=16, codebook_dim=8)
RECIPE = Recipe(
    "soundstream-16k", SMALL.to_dict(), frames=16, batch=2, kmeans_batches=2, warmup_steps=2, learning_rate=3e-3,
    keep=((2, 0.2), (4, 0.8)),
)  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four clips of voice-like sound."""
    t = np.arange(9600) / 16000
    for i in range(4):
        wav = sum(np.sin(2 * np.pi * f * (110 + 20 * i) * t) / f for f in range(1, 12)) * (0.02 + 0.1 * np.sin(9 * t) ** 2)
        soundfile.write(tmp_path / f"{i}.wav", wav, 16000)
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps({"path": f"{i}.wav"}) for i in range(4)))
    return path


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(SMALL).eval()


def test_a_config_comes_back_and_says_what_is_wrong() -> None:
    assert SoundStreamConfig.from_dict(SMALL.to_dict()) == SMALL
    assert dict(voxzoo.entry("soundstream-16k").config) == SoundStreamConfig().to_dict()
    assert SoundStreamConfig().hop == 320
    with pytest.raises(ModelError, match="no setting stride"):
        SoundStream.build({"stride": 2})


def test_the_paper_s_layers() -> None:
    with torch.device("meta"):
        full = Network(SoundStreamConfig())
    strided = [layer for layer in full.encoder.layers if getattr(layer, "stride", 1) > 1]
    assert [(layer.stride, layer.width) for layer in strided] == [(2, 4), (4, 8), (5, 10), (8, 16)]
    assert [layer.stride for layer in full.decoder.layers if hasattr(layer, "stride") and layer.stride > 1] == [8, 5, 4, 2]
    for stack, widths in ((full.encoder, [32, 64, 128, 256]), (full.decoder, [256, 128, 64, 32])):
        units = [layer for layer in stack.layers if hasattr(layer, "block")]
        assert [unit.block[1].dilation for unit in units] == [1, 3, 9] * 4
        assert [unit.block[3].conv.product.shape[0] for unit in units[::3]] == widths


@torch.no_grad()
def test_both_directions_are_causal_to_the_frame(network: Network) -> None:
    wav = 0.1 * torch.randn(1, 320 * 12)
    changed = wav.clone()
    changed[:, 320 * 7 :] += 0.3
    latent, other = network.latent(wav), network.latent(changed)
    torch.testing.assert_close(other[:, :7], latent[:, :7])
    assert not torch.allclose(other[:, 7], latent[:, 7])
    sound, again = network.synthesize(latent), network.synthesize(other)
    torch.testing.assert_close(again[:, : 320 * 7], sound[:, : 320 * 7])


def test_gradients_reach_every_weight_and_are_true(network: Network) -> None:
    network.double().train()
    wav = 0.1 * torch.randn(1, 320 * 3, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return network.synthesize(network.latent(wav)).square().mean()

    loss().backward()
    learnt = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in learnt.values())
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == [
        f"quantizer.layers.{k}.codebook.embed" for k in range(4)
    ]
    for name in ("encoder.layers.1.block.1.conv.weight_v", "decoder.layers.2.conv.weight_v"):
        weight = learnt[name]
        place = int(weight.grad.abs().argmax())  # type: ignore[union-attr]
        with torch.no_grad():
            weight.view(-1)[place] += 1e-5
            more = loss()
            weight.view(-1)[place] -= 2e-5
            less = loss()
            weight.view(-1)[place] += 1e-5
        assert float((more - less) / 2e-5) == pytest.approx(float(weight.grad.view(-1)[place]), rel=1e-4)  # type: ignore[union-attr]


@torch.no_grad()
def test_what_is_trained_is_what_is_used(network: Network) -> None:
    wav = 0.1 * torch.randn(1, 960)
    before = network.latent(wav)
    for weight in network.parameters():
        weight.mul_(1.1)
    trained = network.train().latent(wav)
    assert not torch.allclose(trained, before)
    assert torch.equal(network.eval().latent(wav), trained)
    books = [torch.randn(16, 8) for _ in range(4)]
    network.set_codebooks(books)
    assert torch.equal(network.quantizer.decode([torch.tensor([[3]])])[0, 0], books[0][3])
    assert int(network.quantizer.encode(books[0][5][None, None], 1)[0]) == 5


def test_a_run_learns_resumes_and_leaves_a_model(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 10)
    cache = tmp_path / "cache"
    whole = trainer.train(RECIPE, [manifest], tmp_path / "whole", max_steps=40, cache=cache)
    train = [row for row in json.loads((whole / "history.json").read_text()) if row["set"] == "train"]
    assert train[-1]["mel"] < 0.9 * train[0]["mel"]
    model = voxzoo.load(whole)
    assert model.facts.name == "soundstream-16k"
    assert model.facts.codebook_sizes == (16,) * 4
    clip = soundfile.read(tmp_path / "0.wav", dtype="float32")[0]
    assert len(model.decode(model.encode(clip, 16000))) == len(clip)
    content = load_checkpoint(whole / "checkpoint.pt")
    assert content["name"] == "soundstream-16k"
    export_checkpoint(whole / "checkpoint.pt", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

    constant = replace(RECIPE, decay_from=1.0)  # so that the rate does not depend on when a run is to end
    for name, parts in (("unbroken", [6]), ("parts", [2, 6])):
        for steps in parts:
            trainer.train(constant, [manifest], tmp_path / name, max_steps=steps, cache=cache)
    one, two = (tmp_path / name / "model.safetensors" for name in ("unbroken", "parts"))
    assert one.read_bytes() == two.read_bytes()


def test_a_trained_model_can_be_started_from(manifest: Path, tmp_path: Path) -> None:
    first = trainer.train(RECIPE, [manifest], tmp_path / "first", max_steps=2)
    recipe = replace(RECIPE, start_from=find_recipe("soundstream-16k", str(first)).start_from, learning_rate=1e-9)
    second = trainer.train(recipe, [manifest], tmp_path / "second", max_steps=1)
    wav = 0.1 * torch.randn(1, 3200)
    with torch.no_grad():
        torch.testing.assert_close(
            voxzoo.load(second).network.latent(wav), voxzoo.load(first).network.latent(wav), rtol=0, atol=1e-3
        )


def test_there_are_no_weights_and_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError, match=r"^soundstream-16k: no weights are published; train some with `voxzoo train"):
        voxzoo.load("soundstream-16k")
    assert main(["weights", "soundstream-16k"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "weights='random'" in out
    assert main(["weights", "soundstream-16k", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["bundled"] is False
    assert data["unpublished"].startswith("no weights are published")
    assert main(["info", "soundstream-16k"]) == 0
    assert "no weights are published" in " ".join(capsys.readouterr().out.split())


def test_weights_of_ones_own_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = random_model(voxzoo.entry("soundstream-16k"), SMALL.to_dict(), seed=4)
    mine.save(tmp_path / "soundstream-16k")
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(tmp_path))
    assert voxzoo.load("soundstream-16k").fingerprint == mine.fingerprint


@pytest.mark.slow
def test_streams_give_the_very_codes_at_real_size() -> None:
    model = voxzoo.load("soundstream-16k", weights="random")
    wav = (0.1 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)
    tokens = model.encode(wav, 16000)
    for step in (320, 5000):
        with model.stream_encoder() as stream:
            parts = [stream.push(wav[i : i + step]) for i in range(0, len(wav), step)] + [stream.finish()]
        joined = voxzoo.Tokens.concatenate(parts)
        assert all(bool((a == b).all()) for a, b in zip(joined.codes, tokens.codes, strict=True))
