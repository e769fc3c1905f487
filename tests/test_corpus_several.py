"""Several models in one pass: the shards of each are those of a run of its own, the sound is read once, and each resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import voxzoo
from voxzoo import CorpusError
from voxzoo.cli.main import main
from voxzoo.core.loading import random_model
from voxzoo.core.weights import save_folder
from voxzoo.corpus import engine, sounds
from voxzoo.corpus.engine import Options, tokenize, tokenize_all
from voxzoo.corpus.shards import open_dataset


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two models of different rates and windows."""
    made = []
    for name, seed in (("encodec-24k", 0), ("ticodec", 1)):
        item, folder = voxzoo.entry(name), tmp_path_factory.mktemp("models") / name
        model = random_model(item, {**item.config, **item.tiny}, seed=seed)
        save_folder(folder, name, model.config, model.network.state_dict())
        made.append(str(folder))
    assert len({voxzoo.load(folder).facts.sample_rate for folder in made}) == 2
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten clips, one of them broken, one too long to hold."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for i in range(10):
        seconds = 25 if i == 6 else 0.1 + i / 10
        soundfile.write(root / f"{i}.wav", 0.1 * rng.standard_normal(round(seconds * 3000)), 3000)
    (root / "3.wav").write_text("no sound")
    return str(root)


def options(corpus: str, output: Path, models: list[str], **more: Any) -> Options:
    return Options(corpus, str(output), models[0], more=tuple(models[1:]), workers=0, shard_clips=4, quiet=True, **more)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_each_has_the_shards_of_a_run_of_its_own(
    corpus: str, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in models:
        tokenize(options(corpus, tmp_path / "alone" / Path(model).name, [model]))
    read, real = [0], sounds.read_blocks

    def counted(*given: Any) -> Any:
        read[0] += 1
        return real(*given)

    monkeypatch.setattr(sounds, "read_blocks", counted)
    summaries = tokenize_all(options(corpus, tmp_path / "both", models))
    assert tree(tmp_path / "both") == tree(tmp_path / "alone")
    assert read[0] == 10
    assert [(s.clips, s.rejected, s.shards) for s in summaries] == [(9, 1, 3)] * 2
    assert len(open_dataset(tmp_path / "both/ticodec")) == 9


def test_what_one_model_has_is_not_made_again(
    corpus: str, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(corpus, tmp_path / "out", models)
    tokenize_all(asked)
    whole = tree(tmp_path / "out")
    (tmp_path / "out/ticodec/part-00001.parquet").unlink()
    (tmp_path / "out/encodec-24k/part-00002.parquet").unlink()
    made, real = [], engine.Shard.finish

    def told(shard: Any) -> Any:
        made.append((shard.temporary.parent.parent.name, shard.number))
        return real(shard)

    monkeypatch.setattr(engine.Shard, "finish", told)
    tokenize_all(replace(asked, workers=1))
    assert tree(tmp_path / "out") == whole
    assert made == [("ticodec", 1), ("encodec-24k", 2)]


def test_one_model_can_go_on_alone(corpus: str, models: list[str], tmp_path: Path) -> None:
    tokenize_all(options(corpus, tmp_path / "out", models))
    summary = tokenize(options(corpus, tmp_path / "out/ticodec", [models[1]]))
    assert summary.resumed_clips == 10


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"more": ("encodec-24k", "encodec-24k")}, "two models would write into"),
        ({"weights": "somewhere"}, "VOXZOO_WEIGHTS"),
        ({"engine": "spark"}, "expected one of local, ray"),
        ({"more": ("encodec-25k",)}, "encodec-25k"),
    ],
)
def test_what_is_refused(corpus: str, models: list[str], tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(voxzoo.VoxzooError, match=message):
        tokenize_all(replace(options(corpus, tmp_path / "out", models), **more))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_one_model_is_not_filled_with_several(corpus: str, models: list[str], tmp_path: Path) -> None:
    tokenize(options(corpus, tmp_path / "out", models[:1], limit=1))
    with pytest.raises(CorpusError, match="holds tokens of one model"):
        tokenize_all(options(corpus, tmp_path / "out", models, limit=1))


def test_the_verb_and_its_profile(corpus: str, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tokenize", corpus, "-m", models[0], "-m", models[1], "-o", str(tmp_path / "out"), "--workers", "0"]
    assert main([*command, "--profile", "--json"]) == 3
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert (first["output"], second["output"]) == (f"{tmp_path}/out/encodec-24k", f"{tmp_path}/out/ticodec")
    assert {"read", "decode", "resample", "model", "write"} <= set(first["profile"])
    assert all(seconds >= 0 for seconds in first["profile"].values())
    assert first["profile"]["model"] <= first["elapsed"]
    assert "the model" in err
    assert "what limits:" in err
    assert main(command) == 3
    assert "all were there already" in capsys.readouterr().out
