import hashlib
import json
import os
import pickle
import re
import sys
import types
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import voxzoo
from voxzoo import MissingExtraError, WeightsError, entry
from voxzoo.core import weights
from voxzoo.core.int8_weights import to_int8, unpacked
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.registry import Entry, Weights

BUNDLED = entry("vox-rvq-16k")
HUB = replace(
    BUNDLED,
    facts=replace(BUNDLED.facts, name="from-hub"),
    weights=Weights("someone/model", "0" * 40, {"config.json": None, "model.safetensors": hashlib.sha256(b"good").hexdigest()}),
)


@pytest.fixture(scope="module")
def tiny() -> Model:
    return random_model(BUNDLED, {**BUNDLED.config, **BUNDLED.tiny})


def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.randn(3, 2), "b": torch.arange(4.0)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---------------------------------------------------------------- reading checkpoints


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "best_state"])
@pytest.mark.parametrize("suffix", [".pt", ".th", ".bin"])
def test_torch_checkpoints_are_read(wrap: str | None, suffix: str, tmp_path: Path) -> None:
    content: Any = OrderedDict(state())
    torch.save({wrap: content, "epoch": 3} if wrap else content, tmp_path / f"a{suffix}")
    assert same(weights.read_state(tmp_path / f"a{suffix}"), content)


def test_safetensors_are_read(tmp_path: Path) -> None:
    content = state()
    save_file(content, tmp_path / "a.safetensors")
    assert same(weights.read_state(tmp_path / "a.safetensors"), content)


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("place", ["top", "value", "nested"])
@pytest.mark.parametrize("suffix", [".pt", ".th", ".bin"])
def test_pickled_code_never_runs(form: str, place: str, suffix: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / f"a{suffix}"
    bad = Hostile(mark)
    content: Any = {"top": bad, "value": {**state(), "x": bad}, "nested": {"state_dict": {"x": [bad]}}}[place]
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match="pickled code, which is refused") as caught:
        weights.read_state(path)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="refused"):
        weights.read_state(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_damaged_checkpoints(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(WeightsError, match="does not exist"):
        weights.read_state(path)
    if name == "a.pt":
        torch.save(state(), path)
    else:
        save_file(state(), path)
    data = path.read_bytes()
    for n in range(0, len(data), max(1, len(data) // 25)):
        path.write_bytes(data[:n])
        with pytest.raises(WeightsError, match=name) as caught:
            weights.read_state(path)
        assert "\n" not in str(caught.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(WeightsError, match=name):
        weights.read_state(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"a": 1}, {"state_dict": {"a": "b"}}])
def test_other_content_is_no_state_dict(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="state dict"):
        weights.read_state(tmp_path / "a.pt")


# ---------------------------------------------------------------- into the network


def test_keys_that_do_not_fit_are_named() -> None:
    network = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.Linear(3, 1)))
    good = network.state_dict()
    weights.load_strict(network, good, "net")
    for change, words in (
        ({"a.weight": None}, "a.weight"),
        ({"c": torch.zeros(1)}, '"c"'),
        ({"b.bias": torch.zeros(2)}, "b.bias"),
        ({"b.bias": torch.tensor([float("nan")])}, "NaN or infinity in 'b.bias'"),
        ({"b.bias": torch.tensor([float("inf")])}, "'b.bias'"),
    ):
        bad = {key: value for key, value in {**good, **change}.items() if value is not None}
        with pytest.raises(WeightsError, match=words) as caught:
            weights.load_strict(network, bad, "net")
        assert "\n" not in str(caught.value)
        assert "net" in str(caught.value)


def test_fingerprint_tells_weights_and_config_apart() -> None:
    network = nn.Linear(2, 2)
    first = weights.fingerprint({"a": 1, "b": 2}, network)
    assert first == weights.fingerprint({"b": 2, "a": 1}, network)
    assert first != weights.fingerprint({"a": 1, "b": 3}, network)
    with torch.no_grad():
        network.weight[0, 0] += 1e-6
    assert first != weights.fingerprint({"a": 1, "b": 2}, network)
    assert len(first) == 64


# ---------------------------------------------------------------- model folders


def test_a_saved_model_loads_again(tiny: Model, tmp_path: Path) -> None:
    tiny.save(tmp_path / "mine")
    again = voxzoo.load(tmp_path / "mine")
    assert again.fingerprint == tiny.fingerprint
    assert voxzoo.load("vox-rvq-16k", weights=tmp_path / "mine").fingerprint == tiny.fingerprint


def test_folders_that_are_no_models(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "m"
    for make, words in (
        (lambda: None, "config.json"),
        (lambda: (folder / "config.json").write_text("{"), "not a readable JSON"),
        (lambda: (folder / "config.json").write_text("[]"), "expected an object"),
        (lambda: (folder / "config.json").write_text("{}"), "format 1"),
        (lambda: tiny.save(folder) or (folder / "model.safetensors").unlink(), "does not exist"),
        (lambda: (folder / "model.safetensors").write_bytes(b"x"), "damaged"),
    ):
        folder.mkdir(exist_ok=True)
        make()
        with pytest.raises(voxzoo.ModelError, match=words) as caught:
            voxzoo.load("vox-rvq-16k", weights=folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"does not exist; `voxzoo weights vox-rvq-16k`"):
        voxzoo.load("vox-rvq-16k", weights=tmp_path / "none")
    with pytest.raises(voxzoo.ModelError, match=r"no such folder"):
        voxzoo.load("./none")
    with pytest.raises(voxzoo.UnknownModelError):
        voxzoo.load("none")


def test_weights_of_another_size_are_refused(tiny: Model, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    data["config"]["codebook_size"] *= 2
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(WeightsError, match="do not fit vox-rvq-16k"):
        voxzoo.load(tmp_path)


# ---------------------------------------------------------------- finding them


def test_order_by_hand_then_environment_then_bundle(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand, home = tmp_path / "hand", tmp_path / "home"
    tiny.save(hand)
    tiny.save(home / "vox-rvq-16k")
    monkeypatch.setattr(weights, "_BUNDLED", tmp_path / "bundle")
    with pytest.raises(WeightsError, match="reinstall"):
        weights.find(BUNDLED, None)
    tiny.save(tmp_path / "bundle" / "vox-rvq-16k")
    assert weights.find(BUNDLED, None) == tmp_path / "bundle" / "vox-rvq-16k"
    monkeypatch.setenv("VOXZOO_WEIGHTS", str(home))
    assert weights.find(BUNDLED, None) == home / "vox-rvq-16k"
    assert weights.find(BUNDLED, hand) == hand
    assert weights.find(BUNDLED, home) == home / "vox-rvq-16k"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub in a folder."""
    module, utils = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.utils")
    utils.logging = types.SimpleNamespace(set_verbosity_error=lambda: None)  # type: ignore[attr-defined]

    def download(repo: str, file: str, revision: str) -> str:
        assert (repo, revision) == ("someone/model", "0" * 40)
        if not (tmp_path / file).exists():
            raise ConnectionError("no\nnetwork")
        return str(tmp_path / file)

    module.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
    monkeypatch.delenv("VOXZOO_WEIGHTS", raising=False)
    return tmp_path


def test_the_hub_is_checked(hub: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json of someone/model \(ConnectionError\).*`voxzoo weights from-hub`"):
        weights.find(HUB, None)
    (hub / "config.json").write_text("{}")
    (hub / "model.safetensors").write_bytes(b"good")
    assert weights.find(HUB, None) == hub
    (hub / "model.safetensors").write_bytes(b"bad")
    with pytest.raises(WeightsError, match=f"sha256 {hashlib.sha256(b'bad').hexdigest()}, expected"):
        weights.find(HUB, None)


def test_without_the_hub_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delenv("VOXZOO_WEIGHTS", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'voxzoo\[hub\]'"):
        weights.find(HUB, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "quantum"}, "cpu"),
        ({"device": "meta"}, "cpu"),
        ({"engine": "steam"}, "'auto'"),
        ({"dtype": "int3"}, "float32"),
    ],
)
def test_settings_that_do_not_exist(settings: dict[str, str], words: str) -> None:
    with pytest.raises(voxzoo.ModelError, match=words):
        voxzoo.load("vox-rvq-16k", weights="random", **settings)  # type: ignore[arg-type]


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    first = random_model(BUNDLED, {**BUNDLED.config, **BUNDLED.tiny})
    assert torch.equal(torch.rand(1), want)
    assert first.fingerprint == random_model(BUNDLED, {**BUNDLED.config, **BUNDLED.tiny}).fingerprint


def test_every_entry_with_published_weights_is_pinned() -> None:
    items: list[Entry] = [entry(name) for name in voxzoo.models()]
    for item in items:
        if item.weights:
            at_addresses = item.weights.urls or item.weights.gated
            assert re.fullmatch("" if at_addresses else "[0-9a-f]{40}|main", item.weights.revision)
            assert all(digest is None or len(digest) == 64 for digest in item.weights.files.values())


def test_a_published_checkpoint_folder_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"sampling_rate": 24000}')
    with pytest.raises(voxzoo.ModelError, match=r"in a form that is known.*load\(NAME, weights=FOLDER\)"):
        voxzoo.load(tmp_path)
    with pytest.raises(voxzoo.ModelError, match="leave out weights="):
        voxzoo.load(tmp_path, weights=tmp_path)


def test_weights_in_eight_bits(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {"matrix": torch.randn(64, 3, 16, generator=generator), "bias": torch.randn(64, generator=generator)}
    state["matrix"][5] = 0
    stored = to_int8(state)
    assert stored["matrix"].dtype == torch.int8
    found = unpacked(stored)
    step = stored["matrix:step"].float()[:, None, None]
    assert ((found["matrix"] - state["matrix"]).abs() <= 0.51 * step).all()
    assert not found["matrix"][5].any()
    assert torch.equal(found["bias"], state["bias"].half())
    assert unpacked(state).keys() == state.keys()
    save_file({"bias": state["bias"], "matrix:step": stored["matrix:step"]}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="'matrix:step' is of no int8 tensor with"):
        weights.read_state(tmp_path / "model.safetensors")
