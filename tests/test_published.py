"""Folders and repositories of published checkpoints: recognised by their configs, fetched with what they need, nothing run."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import voxzoo
from voxzoo import MissingExtraError, ModelError, WeightsError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.published import nearest, pinned, recognise
from voxzoo.core.registry import entry, model_class


def tiny(name: str) -> Model:
    item = entry(name)
    return random_model(item, {**item.config, **item.tiny})


def published(name: str, folder: Path) -> Model:
    """A small SNAC as its publisher would store it."""
    model = tiny(name)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in model.config.items() if k != "latent_dim"}))
    torch.save(model.network.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, Path]], list[Any]]:
    """Stands for huggingface_hub: repositories are folders. Gives the list of what was asked for."""

    def install(repos: dict[str, Path]) -> list[Any]:
        asked: list[Any] = []

        class HfApi:
            def model_info(self, repo: str, revision: str | None, files_metadata: bool) -> Any:
                files = [path for path in sorted(repos[repo].rglob("*")) if path.is_file()]
                listed = [
                    types.SimpleNamespace(rfilename=str(path.relative_to(repos[repo])), size=path.stat().st_size)
                    for path in files
                ]
                return types.SimpleNamespace(siblings=listed, sha="f" * 40)

        def snapshot_download(repo: str, revision: str, allow_patterns: list[str]) -> str:
            asked.append((repo, revision, allow_patterns))
            target = tmp_path / "cache" / repo
            for name in allow_patterns:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repos[repo] / name, target / name)
            return str(target)

        module: Any = types.ModuleType("huggingface_hub")
        module.HfApi, module.snapshot_download = HfApi, snapshot_download
        utils: Any = types.ModuleType("huggingface_hub.utils")
        utils.logging = types.SimpleNamespace(set_verbosity_error=lambda: None)
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
        return asked

    return install


def test_a_published_folder_needs_no_name(tmp_path: Path) -> None:
    model = published("snac-24k", tmp_path / "mine")
    again = voxzoo.load(tmp_path / "mine")
    assert again.fingerprint == model.fingerprint
    assert again.facts.name == "snac-24k"
    assert again.facts.weights_licence.startswith("not known")


def test_a_repository_is_fetched_without_what_it_does_not_need(tmp_path: Path, hub: Any) -> None:
    repo = tmp_path / "repo"
    model = published("snac-24k", repo / "small")
    (repo / "small" / "README.md").write_text("no weights")
    (repo / "large.bin").write_bytes(b"\0" * 100)
    asked = hub({"someone/theirs": repo})
    assert voxzoo.load("hf:someone/theirs/small@v1").fingerprint == model.fingerprint
    assert asked == [("someone/theirs", "f" * 40, ["small/config.json", "small/pytorch_model.bin"])]


def test_safetensors_are_preferred(tmp_path: Path, hub: Any) -> None:
    from safetensors.torch import save_file

    model = published("snac-24k", tmp_path / "repo")
    save_file({k: v.contiguous() for k, v in model.network.state_dict().items()}, tmp_path / "repo" / "model.safetensors")
    asked = hub({"someone/theirs": tmp_path / "repo"})
    assert voxzoo.load("hf:someone/theirs").fingerprint == model.fingerprint
    assert asked[0][2] == ["config.json", "model.safetensors"]


def test_a_repository_of_the_registry_is_pinned() -> None:
    item = pinned("hf:kyutai/mimi")
    assert item is not None
    assert item.name == "mimi"
    assert item.weights is not None
    assert pinned(f"hf:kyutai/mimi@{item.weights.revision}") is item
    assert pinned("hf:kyutai/mimi@main") is None
    assert pinned("hf:someone/mimi") is None


@pytest.mark.parametrize("name", ["hf:mimi", "hf:", "hf:a/b/../c", "hf:a/b c", "hf:/a/b"])
def test_what_names_no_repository_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="names no repository; expected hf:OWNER/REPO"):
        voxzoo.load(name)


def test_a_repository_that_is_no_codec_is_refused(tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = tmp_path / "repo"
    published("snac-24k", repo)
    hub({"someone/theirs": repo})
    (repo / "config.json").write_text('{"model_type": "llama", "auto_map": {"AutoModel": "evil.Model"}}')
    with pytest.raises(ModelError, match="in a form that is known"):
        voxzoo.load("hf:someone/theirs")
    monkeypatch.setattr("voxzoo.core.published.LARGEST", 10)
    with pytest.raises(WeightsError, match="too many for a codec"):
        voxzoo.load("hf:someone/theirs")
    (repo / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsError, match="holds no weights"):
        voxzoo.load("hf:someone/theirs")
    with pytest.raises(WeightsError, match="cannot fetch hf:someone/else"):
        voxzoo.load("hf:someone/else")
    with pytest.raises(ModelError, match="leave out weights="):
        voxzoo.load("hf:someone/theirs", weights=repo)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"voxzoo\[hub\]"):
        voxzoo.load("hf:someone/theirs")


def test_a_folder_that_two_families_claim_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published("snac-24k", tmp_path / "mine")
    monkeypatch.setattr(model_class(entry("mimi")), "recognises", classmethod(lambda cls, folder: True))
    with pytest.raises(ModelError, match=r"may be of .*snac-24k or .*mimi"):
        recognise(tmp_path / "mine")


@pytest.mark.parametrize("name", voxzoo.models())
def test_our_own_form_is_no_familys_published_form(name: str, tmp_path: Path) -> None:
    tiny(name).save(tmp_path / "own")
    (tmp_path / "empty").mkdir()
    assert not any(
        model_class(entry(other)).recognises(tmp_path / folder) for other in voxzoo.models() for folder in ("own", "empty")
    )


@pytest.mark.parametrize("name", voxzoo.models())
def test_the_nearest_entry_is_that_of_the_same_shape(name: str) -> None:
    item = entry(name)
    assert nearest(model_class(item), dict(item.config)).facts.frame_rates == item.facts.frame_rates
    assert nearest(model_class(item), dict(item.config)).facts.sample_rate == item.facts.sample_rate
