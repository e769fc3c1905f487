"""Training a vocoder: it learns, resumes exactly, with discriminators too, and leaves a folder that loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from voxzoo import Audio, load_decoder
from voxzoo.core.decoders import decoder_entry
from voxzoo.core.vocoder import Vocoder
from voxzoo.training import trainer
from voxzoo.training.checkpoint import export_checkpoint, load_checkpoint
from voxzoo.training.discriminator import Discriminator, PeriodDiscriminator
from voxzoo.training.losses import CodecLoss, LossWeights
from voxzoo.training.recipes import find_recipe
from voxzoo.training.run import Ahead, Run
from voxzoo.training.vocoder import VocoderTraining

ITEM = decoder_entry("vox-hifigan-16k")
RECIPE = replace(
    find_recipe("vox-hifigan-16k"),
    config={**ITEM.config, **ITEM.tiny},
    frames=20,
    batch=2,
    warmup_steps=2,
    learning_rate=3e-3,
    adversarial=False,
    resolutions=((1024, 256, 40), (512, 128, 20), (64, 16, 8)),
)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four clips of voice-like sound."""
    t = np.arange(16000) / 16000
    for i in range(4):
        wav = sum(np.sin(2 * np.pi * f * (110 + 20 * i) * t) / f for f in range(1, 12)) * (0.02 + 0.1 * np.sin(9 * t) ** 2)
        Audio(np.asarray(wav, np.float32), 16000).write(tmp_path / f"{i}.wav")
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps({"path": f"{i}.wav"}) + "\n" for i in range(4)))
    return path


def test_a_run_learns_and_leaves_a_vocoder(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 10)
    folder = trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=60)
    train = [row for row in json.loads((folder / "history.json").read_text()) if row["set"] == "train"]
    assert train[-1]["mel"] < 0.7 * train[0]["mel"]
    assert "complex" not in train[0]
    vocoder = load_decoder(folder)
    assert isinstance(vocoder, Vocoder)
    mel = vocoder.mel(tmp_path / "0.wav")
    assert len(vocoder.synthesize(mel)) == 16000
    assert float(vocoder.network.scale.min()) > 0.5  # of the data, in nepers
    assert float(vocoder.network.mean.max()) < 0
    export_checkpoint(folder / "checkpoint.pt", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_adversarial_runs_resume_bit_for_bit(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 1)
    recipe = replace(RECIPE, adversarial=True, adversarial_from=0.3)
    whole = trainer.train(recipe, [manifest], tmp_path / "whole", max_steps=6)

    class Killed(Exception):
        pass

    save = trainer.save

    def killed(run: Run, folder: Path) -> None:
        save(run, folder)
        if run.step == 3:
            raise Killed

    monkeypatch.setattr(trainer, "save", killed)
    with pytest.raises(Killed):
        trainer.train(recipe, [manifest], tmp_path / "parts", max_steps=6, checkpoint_minutes=0)
    parts = trainer.train(recipe, [manifest], tmp_path / "parts", max_steps=6)
    one, two = (load_checkpoint(folder / "checkpoint.pt") for folder in (whole, parts))
    for part in ("model", "critic"):
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())
    last = [row for row in one["history"] if row["set"] == "train"][-1]
    assert {"critic", "adversarial", "matching"} <= set(last)


def test_what_has_no_weight_is_not_computed() -> None:
    wav = 0.1 * torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    level = torch.full((2,), 0.1)
    loss = CodecLoss(LossWeights(complex=0.0, loudness=0.0), sizes=((1024, 256, 40), (64, 16, 8)))
    _, terms = loss(wav.flip(1), wav, level)
    assert set(terms) == {"mel", "magnitude"}


@pytest.mark.parametrize("samples", [1999, 2000])
def test_waves_are_folded_by_periods(samples: int) -> None:
    critic = PeriodDiscriminator(5, 4)
    scores, maps = critic(torch.randn(2, samples))
    assert scores.shape[0] == 2
    assert all(layer.shape[3] == 5 for layer in (scores, *maps))
    both = Discriminator(filters=2, sizes=(256,), periods=(2, 3))
    got = torch.randn(2, samples, requires_grad=True)
    adversarial, matching = both.generator_loss(got, torch.randn(2, samples))
    (adversarial + matching).backward()
    assert got.grad is not None
    assert float(got.grad.abs().sum()) > 0
    assert len(both(torch.randn(1, samples))) == 3


def test_batches_are_made_ahead_in_order() -> None:
    seen: list[int] = []

    def make(index: int) -> tuple[Tensor, Tensor]:
        seen.append(index)
        return torch.tensor(index), torch.tensor(0)

    ahead = Ahead(make, depth=3, threads=1)
    assert [int(ahead(i)[0]) for i in (0, 1, 2, 3)] == [0, 1, 2, 3]
    assert int(ahead(10)[0]) == 10
    assert sorted(set(seen)) == sorted(seen)  # none twice
    assert {0, 1, 2, 3, 4, 5, 10} <= set(seen)


def test_the_means_are_of_the_data() -> None:
    torch.manual_seed(0)
    model = VocoderTraining.of(RECIPE)
    waves: Sequence[Tensor] = [0.1 * torch.randn(2, 6400) for _ in range(8)]
    model.start(lambda i: waves[i])
    mel = model.mel(torch.cat(list(waves)))
    state = model.network.state_dict()
    torch.testing.assert_close(state["mean"], mel.mean((0, 2)))
    torch.testing.assert_close(state["scale"], mel.transpose(0, 1).flatten(1).std(1))
