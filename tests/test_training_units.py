"""`voxzoo train units`: k-means on features that never lie in memory at once, and the folder it leaves."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_units import folder, of_transformers
from units_files import LARGE, fitted, model, save_fairseq

import voxzoo
from voxzoo import Audio, CorpusError, MissingExtraError, ModelError, VoxzooError
from voxzoo.cli.main import main
from voxzoo.training import units as recipe
from voxzoo.training.units import Features, KMeansSettings, open_backbone, train_units

pytestmark = pytest.mark.usefixtures("transformers")
FEW = KMeansSettings(clusters=8, frames=100_000, batch=128, passes=20, patience=20, starts=3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six clips of bands of noise, whose spectra change."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(6):
        seconds = 1.0 + 0.3 * i
        t = np.arange(int(16000 * seconds)) / 16000
        wav = 0.2 * np.sin(2 * np.pi * (200 + 300 * i + 900 * np.sin(3 * t)) * t) + 0.02 * rng.standard_normal(len(t))
        Audio(wav.astype(np.float32), 16000).write(tmp_path / f"{i}.wav")
        lines.append(json.dumps({"path": f"{i}.wav"}))
    path = tmp_path / "clips.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_learns_units_that_load(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"train units --backbone mfcc --clusters 10 --data {manifest} -o {tmp_path / 'run'} --seed 3 --batch 200"
    assert main(line.split()) == 0
    assert "voxzoo encode" in capsys.readouterr().out
    units = voxzoo.load(tmp_path / "run")
    assert (units.facts.name, units.facts.codebook_sizes, units.facts.frame_rates) == ("units", (10,), (50,))
    codes = units.encode(tmp_path / "5.wav").codes[0][0]
    assert len(codes.unique()) >= 5
    report = json.loads((tmp_path / "run" / "units-report.json").read_text())
    assert (report["clips"], report["clusters"], report["seed"], report["batch"]) == (6, 10, 3, 200)
    assert report["frames"] == sum(-(-int(16000 * (1 + 0.3 * i)) // 320) for i in range(6))
    assert main(line.split()) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*line.split(), "--resume"]) == 0
    assert voxzoo.load(tmp_path / "run").fingerprint == units.fingerprint


@pytest.mark.parametrize("kind", ["transformers", "fairseq", "units"])
def test_any_backbone_and_layer(kind: str, manifest: Path, tmp_path: Path) -> None:
    network = model(**LARGE)
    wav = Audio.read(tmp_path / "3.wav").samples
    if kind == "fairseq":
        place = tmp_path / "hubert.pt"
        save_fairseq(network, place)
    else:
        place = folder(tmp_path / "x", network, fitted(of_transformers(network, wav, 2)), layer=2, codebook_size=12)
        (place / "km.bin").rename(tmp_path / "km.bin")
    if kind == "units":
        (tmp_path / "km.bin").rename(place / "km.bin")
        loaded = voxzoo.load("units", weights=place)
        place = tmp_path / "own"
        loaded.save(place)
    train_units(place, 2 if kind != "units" else 1, [manifest], tmp_path / "run", FEW)
    units = voxzoo.load(tmp_path / "run")
    centers = units.network.quantizer.codebook.numpy()  # type: ignore[union-attr, operator]
    features = of_transformers(network, wav, 2 if kind != "units" else 1).numpy()
    wanted = ((features[:, None] - centers) ** 2).sum(2).argmin(1)
    assert units.encode(wav, 16000).codes[0][0].tolist() == wanted.tolist()
    assert len(set(wanted.tolist())) >= 3


def test_the_codewords_are_as_good_as_those_of_scikit_learn_alone(manifest: Path, tmp_path: Path) -> None:
    """Mean squared distance against an estimator of all frames in memory, fitted without batches."""
    from sklearn.cluster import KMeans

    train_units("logmel", 0, [manifest], tmp_path / "run", FEW)
    table = np.fromfile(tmp_path / "run/cache/features.f32", np.float32).reshape(-1, 80)
    distance = json.loads((tmp_path / "run/units-report.json").read_text())["distance"]
    best = KMeans(8, n_init=10, random_state=0).fit(table).inertia_ / len(table)
    assert best <= distance * 1.001
    assert distance <= 1.1 * best


def test_seeds_and_choices_of_frames(manifest: Path, tmp_path: Path) -> None:
    prints = []
    for run, seed, frames in (("a", 0, 200), ("b", 0, 200), ("c", 1, 200)):
        settings = KMeansSettings(clusters=4, frames=frames, batch=64, passes=5, starts=1)
        train_units("mfcc", 0, [manifest], tmp_path / run, settings, seed=seed)
        prints.append(voxzoo.load(tmp_path / run).fingerprint)
        assert 140 < json.loads((tmp_path / run / "units-report.json").read_text())["frames"] < 260
    assert prints[0] == prints[1] != prints[2]


def test_features_are_taken_again_only_when_they_are_the_same(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bool] = []
    inner = Features.write
    monkeypatch.setattr(Features, "write", lambda self: (written.append(True), inner(self))[1])
    for resume, layer_settings, calls in ((False, FEW, 1), (True, FEW, 1), (True, KMeansSettings(clusters=8, frames=150), 2)):
        train_units("mfcc", 0, [manifest], tmp_path / "run", layer_settings, resume=resume)
        assert len(written) == calls
    (tmp_path / "run/cache/features.json").write_text("{")
    train_units("mfcc", 0, [manifest], tmp_path / "run", FEW, resume=True)
    assert len(written) == 3


def test_one_clip_is_in_memory_at_a_time(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of a long one a window."""
    seen = []
    inner = recipe.Network.features
    monkeypatch.setattr(recipe.Network, "features", lambda self, wav: (seen.append(tuple(wav.shape)), inner(self, wav))[1])
    monkeypatch.setitem(recipe.__dict__, "complete", lambda c: _short(c))
    train_units("mfcc", 0, [manifest], tmp_path / "run", FEW)
    assert {shape[0] for shape in seen} == {1}
    assert max(shape[1] for shape in seen) == 16000
    report = json.loads((tmp_path / "run" / "units-report.json").read_text())
    assert report["frames"] == sum(-(-int(16000 * (1 + 0.3 * i)) // 320) for i in range(6))


def _short(config: dict[str, Any]) -> dict[str, Any]:
    from voxzoo.tokenizers._units import complete

    return complete({**config, "window": 1.0, "context": 0.1})


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--backbone nosuch", "no backbone 'nosuch'; expected mfcc, logmel"),
        ("--backbone mfcc --layer 3", "layer 3 of a backbone of 0"),
        ("--backbone vox-rvq-16k", "'vox-rvq-16k' has no backbone for units"),
        ("--clusters 5000", "too few for 5000 clusters"),
        ("--steps 3", "'units' has no use for --steps"),
        ("--from x --minutes 3", "'units' has no use for --from, --minutes"),
    ],
)
def test_what_cannot_be_learnt(
    line: str, words: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "units", "--data", str(manifest), "-o", str(tmp_path / "run"), *line.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_options_of_units_are_of_no_use_to_others(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["train", "vox-rvq-16k", "--data", str(manifest), "-o", str(tmp_path / "run"), "--layer", "3"]
    assert main(line) == 2
    assert "'vox-rvq-16k' has no use for --layer" in capsys.readouterr().err


def test_a_backbone_of_other_sizes_is_refused(tmp_path: Path) -> None:
    network = model()
    place = folder(tmp_path / "x", network, fitted(torch.randn(100, 24)), layer=2)
    (place / "km.bin").unlink()
    with pytest.raises(ModelError, match="layer 9 of a backbone of 3"):
        open_backbone(str(place), 9)
    save_file({"feature_projection.projection.weight": torch.zeros(3, 3)}, place / "model.safetensors")
    with pytest.raises(VoxzooError, match="do not fit the backbone"):
        open_backbone(str(place), 2)


def test_without_scikit_learn_the_extra_is_named(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"voxzoo\[train\]"):
        train_units("mfcc", 0, [manifest], tmp_path / "run", FEW)


def test_clips_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no clips"):
        train_units("mfcc", 0, [tmp_path / "none.jsonl"], tmp_path / "run", FEW)
