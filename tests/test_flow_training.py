"""The recipe of `vox-flow-16k`: its data, its loss, its runs; synthetic sound and tiny sizes only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from voxzoo.cli.main import main
from voxzoo.codecs.rvq import RVQ, RVQConfig
from voxzoo.core.errors import ModelError, VoxzooError, WeightsError
from voxzoo.core.loading import load
from voxzoo.core.weights import save_folder
from voxzoo.decoders._flow_vox import FlowConfig, FlowNetwork
from voxzoo.training import flow_run, trainer
from voxzoo.training.curves import draw_curves
from voxzoo.training.flow_data import Bank, Cuts, read_speakers
from voxzoo.training.flow_run import FlowRecipe, train_flow

SMALL = FlowConfig(embedding=8, encoder_dim=16, encoder_layers=1, dim=16, layers=2, expansion=2, speaker_dim=8)
RECIPE = FlowRecipe(SMALL, tokens=16, reference=(0.2, 0.4), batch=4, warmup_steps=2, learning_rate=3e-3, average=0.9)


def save_tokenizer(folder: Path, **changes: int) -> Path:
    """One stream of codes at 50 Hz."""
    width = {"encoder_dim": 16, "decoder_dim": 16, "fine_dim": 16, "codebook_dim": 8, "codebook_size": 16}
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "fine_layers": 1, "streams": 1}
    config = RVQConfig(**{**width, **sizes, **changes}).to_dict()
    torch.manual_seed(0)
    save_folder(folder, "vox-rvq-16k", config, RVQ.build(config).state_dict())
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are drawn by one test, and one batch is enough to validate on."""
    monkeypatch.setattr(trainer, "draw_curves", lambda folder, history: None)
    monkeypatch.setattr(flow_run, "VALID_BATCHES", 1)
    monkeypatch.setattr(flow_run, "VOICES", 1)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return save_tokenizer(tmp_path / "tokenizer")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six clips of voice-like sound: two of each of two speakers, and two of nobody known."""
    rows = []
    for i in range(6):
        t = np.arange(16000 + 1500 * i) / 16000
        wav = sum(np.sin(2 * np.pi * f * (110 + 20 * i) * t) / f for f in range(1, 12)) * (0.02 + 0.1 * np.sin(9 * t) ** 2)
        soundfile.write(tmp_path / f"{i}.wav", wav, 16000)
        rows.append({"path": f"{i}.wav", "speaker": f"s{i % 2}" if i < 4 else (None, "some-unlabelled")[i % 2]})
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def bank(counts: list[int], rate: int = 2) -> Bank:
    """Codes that name their clip, mels that name their frame."""
    codes = torch.cat([torch.full((n,), i, dtype=torch.int32) for i, n in enumerate(counts)])
    mel = torch.arange(rate * sum(counts), dtype=torch.float16)[:, None].repeat(1, 3)
    return Bank(codes, mel, np.concatenate([[0], np.cumsum(counts)[:-1]]), np.array(counts), rate)


def test_cuts_come_with_another_stretch_of_the_same_voice() -> None:
    held = bank([40, 30, 50, 300, 6])
    speakers = ["a", "b", "a", "c", "a"]
    cuts = Cuts(held, speakers, np.full(5, 0.2), tokens=20, batch=64, reference=(10, 40), seed=0)
    seen = set()
    for index in range(20):
        batch = cuts.batch(index)
        lengths = (batch.codes >= 0).sum(1)
        for codes, mel, reference, length, count in zip(
            batch.codes, batch.mel, batch.reference, lengths, batch.reference_lengths, strict=True
        ):
            clip = int(codes[0])
            first = int(mel[0, 0])
            assert (codes[:length] == clip).all()
            assert length == min(20, held.counts[clip])
            assert torch.equal(mel[: 2 * length, 0], torch.arange(first, first + 2 * length, dtype=torch.float32))
            assert 2 * held.starts[clip] <= first <= 2 * (held.starts[clip] + held.counts[clip] - length)
            frames = reference[:count, 0]
            mate = int(held.codes[int(frames[0]) // 2])
            assert mate == int(held.codes[int(frames[-1]) // 2])
            assert speakers[mate] == speakers[clip]
            assert (mate == clip) == (speakers[clip] in "bc")
            if clip == 3:  # the clip is long enough for a stretch that does not overlap
                assert frames[-1] < first or frames[0] >= first + 2 * length
            seen.add((clip, mate))
    assert len(seen) == 8


def test_batches_depend_on_seed_and_index_alone() -> None:
    cuts = [Cuts(bank([40, 30]), ["a", "b"], np.full(2, 0.5), 20, 8, (10, 40), seed) for seed in (0, 0, 1)]
    first, again, other = (c.batch(3) for c in cuts)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.mel, other.mel)
    assert not torch.equal(first.mel, cuts[0].batch(4).mel)


def test_a_run_learns_and_leaves_a_folder(
    manifest: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 5)
    monkeypatch.setattr(trainer, "draw_curves", draw_curves)
    folder = train_flow([manifest], tmp_path / "run", tokenizer, max_steps=30, recipe=RECIPE, precision="fp32")
    config = json.loads((folder / "config.json").read_text())
    model = load(tokenizer)
    assert config["model"] == "vox-flow-16k"
    assert config["config"]["tokenizer"] == "vox-rvq-16k"
    assert config["config"]["fingerprint"] == model.fingerprint
    assert config["config"]["codebook_size"] == 16
    assert config["config"]["frames_per_token"] == 1
    network = FlowNetwork(FlowConfig.from_dict(config["config"]))
    state = load_file(folder / "model.safetensors")
    assert all(value.dtype == torch.float16 for value in state.values())
    network.load_state_dict(state)
    assert network.voice.norm() == pytest.approx(8**0.5, rel=0.01)
    history = json.loads((folder / "history.json").read_text())
    first, last = (next(row for row in rows if row["set"] == "train") for rows in (history, history[::-1]))
    assert (first["step"], last["step"]) == (5, 30)
    assert last["flow"] < 0.95 * first["flow"]
    assert last["guess"] < 0.9 * first["guess"]
    assert (folder / "curves.png").stat().st_size > 1000
    assert read_speakers([manifest], folder / "cache") == ["s0", "s1", "s0", "s1", "clip 4", "clip 5"]


def test_a_killed_run_goes_on_exactly(manifest: Path, tokenizer: Path, tmp_path: Path) -> None:
    settings = {"recipe": RECIPE, "precision": "fp32", "cache": tmp_path / "cache"}
    whole = train_flow([manifest], tmp_path / "whole", tokenizer, max_steps=8, **settings)

    class Killed(Exception):
        pass

    def stop(run: flow_run.FlowRun, done: float, step: object = flow_run.FlowRun.train_step) -> dict[str, torch.Tensor]:
        if run.step == 5:
            raise Killed
        terms: dict[str, torch.Tensor] = step(run, done)  # type: ignore[operator]
        return terms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_run.FlowRun, "train_step", stop)
        with pytest.raises(Killed):
            train_flow([manifest], tmp_path / "part", tokenizer, max_steps=8, checkpoint_minutes=0.0, **settings)
    part = train_flow([manifest], tmp_path / "part", tokenizer, max_steps=8, **settings)
    midway = flow_run.export_flow(part / "checkpoint.pt", tmp_path / "midway")
    one, two, three = (load_file(folder / "model.safetensors") for folder in (whole, part, midway))
    assert all(torch.equal(one[key], two[key]) and torch.equal(one[key], three[key]) for key in one)
    with pytest.raises(VoxzooError, match="another configuration, tokenizer or seed"):
        train_flow([manifest], tmp_path / "part", tokenizer, max_steps=9, seed=1, **settings)
    with pytest.raises(VoxzooError, match="another configuration, tokenizer or seed"):
        train_flow([manifest], tmp_path / "part", save_tokenizer(tmp_path / "other", codebook_dim=4), max_steps=9, **settings)


def test_tokens_are_made_once(manifest: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"recipe": RECIPE, "precision": "fp32", "cache": tmp_path / "cache"}
    train_flow([manifest], tmp_path / "one", tokenizer, max_steps=1, **settings)
    monkeypatch.setattr(RVQ, "encode", None)
    train_flow([manifest], tmp_path / "two", tokenizer, max_steps=1, **settings)


def test_tokens_that_are_not_of_one_rate(manifest: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"streams": 2}, "2 streams"),
        ({"hop": 400, "analysis_window": 800, "synthesis_window": 800}, "no whole number"),
    ):
        tokenizer = save_tokenizer(tmp_path / words, **changes)
        with pytest.raises(ModelError, match=words):
            train_flow([manifest], tmp_path / "run", tokenizer, max_steps=1, cache=tmp_path / "cache", recipe=RECIPE)


def test_float16_is_refused(manifest: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxzooError, match="bf16 or fp32"):
        train_flow([manifest], tmp_path / "run", tokenizer, max_steps=1, recipe=RECIPE, precision="fp16")


def test_a_damaged_checkpoint_is_told(manifest: Path, tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not one")
    with pytest.raises(WeightsError, match="delete it"):
        train_flow([manifest], tmp_path / "run", tokenizer, max_steps=1, recipe=RECIPE)


def test_the_verb(
    manifest: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flow_run, "FlowRecipe", lambda: replace(RECIPE, batch=2))
    line = f"train vox-flow-16k --data {manifest} -o {tmp_path / 'run'} --tokenizer {tokenizer} --steps 2 --precision fp32"
    assert main(line.split()) == 0
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert main(f"train vox-rvq-16k --data {manifest} -o {tmp_path / 'other'} --tokenizer {tokenizer}".split()) == 2
    assert "--tokenizer" in capsys.readouterr().err
