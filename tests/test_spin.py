"""Spin and R-Spin against a plain implementation over transformers' models, from checkpoints in the published layout."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conformance import sound
from test_conformance import tiny
from torch import nn
from torch.nn import functional as F
from units_files import fairseq_names, model

import voxzoo
from voxzoo import Audio, WeightsError
from voxzoo.core.ssl import architecture
from voxzoo.tokenizers._units import complete
from voxzoo.tokenizers.spin import _published

pytestmark = pytest.mark.usefixtures("transformers")
WAV = (0.3 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)


def checkpoint(path: Path, network: nn.Module, rspin: bool = False, size: int = 16) -> dict[str, torch.Tensor]:
    """Lightning's file, with settings of a class that is not there when it is read and an optimiser's state; or R-Spin's."""
    torch.manual_seed(1)
    head = {"weight": torch.randn(10, 24), "bias": torch.randn(10)}
    codebook = torch.randn(size, 10)
    names = fairseq_names(network.state_dict())
    if rspin:
        state = {f"encoder.{key}": value for key, value in names.items()} | {"codebook.weight": codebook}
        state |= {f"pred_head.{key}": value for key, value in head.items()}
        torch.save({"cfg": {"codebook_dim": 10, "codebook_size": size}, "state_dict": state}, path)
        return {**head, "codebook": codebook}
    state = {f"encoder.model.{key}": value for key, value in names.items()} | {"loss_module.codebook.weight": codebook}
    state |= {f"pred_head.layers.0.{key}": value for key, value in head.items()}
    module: Any = ModuleType("pytorch_lightning.utilities.parsing")

    class AttributeDict(dict):  # type: ignore[type-arg]
        pass

    AttributeDict.__module__, AttributeDict.__qualname__ = module.__name__, "AttributeDict"
    module.AttributeDict = AttributeDict
    parents = {name: ModuleType(name) for name in ("pytorch_lightning", "pytorch_lightning.utilities")}
    sys.modules |= {**parents, module.__name__: module}
    try:
        told = AttributeDict(config={"model": {"normalize": False}})
        torch.save(
            {
                "epoch": 1, "pytorch-lightning_version": "1.9", "state_dict": state, "hyper_parameters": told,
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}],
                "callbacks": {"ModelCheckpoint": {"best_model_score": None}},
            },
            path,
        )  # fmt: skip
    finally:
        for name in [*parents, module.__name__]:
            del sys.modules[name]
    return {**head, "codebook": codebook}


def config_of(network: Any, kind: str) -> dict[str, Any]:
    backbone = architecture({**network.config.to_dict(), "model_type": kind})
    return complete({"backbone": backbone, "layer": 3, "quantizer": "cosine", "codebook_size": 16, "hidden": [10]})


@pytest.mark.parametrize(("kind", "rspin"), [("Hubert", False), ("WavLM", False), ("WavLM", True)])
def test_units_are_those_of_a_plain_implementation(kind: str, rspin: bool, tmp_path: Path) -> None:
    network = model(kind)
    parts = checkpoint(tmp_path / ("wavlm_rspin_16-40k.pt" if rspin else "spin.ckpt"), network, rspin)
    config, state = _published(tmp_path, config_of(network, kind.lower()))
    ours = _built(config, state)
    with torch.no_grad():
        hidden = network(torch.from_numpy(WAV)[None], output_hidden_states=True).hidden_states[3][0]
        z = F.normalize(hidden @ parts["weight"].T + parts["bias"], dim=-1)
        wanted = (z @ parts["codebook"].T).argmax(-1)
        found = ours.encode(torch.from_numpy(WAV)[None])[0]
    assert torch.equal(found, wanted)
    assert len(wanted.unique()) > 3


def _built(config: dict[str, Any], state: dict[str, torch.Tensor]) -> Any:
    from voxzoo.tokenizers.spin import Spin

    network = Spin.build(config).eval()
    network.load_state_dict(state, strict=True)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spin-hubert-256", "spin-wavlm-512"])
def test_at_real_size(name: str, tmp_path: Path) -> None:
    import transformers

    item = voxzoo.entry(name)
    kind = "WavLM" if "wavlm" in name else "Hubert"
    torch.manual_seed(0)
    network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")()).eval().requires_grad_(False)
    head, codebook = (
        nn.Linear(768, 256).requires_grad_(False),
        F.normalize(torch.randn(item.facts.codebook_sizes[0], 256), dim=1),
    )
    state = {f"encoder.model.{key}": value for key, value in fairseq_names(network.state_dict()).items()}
    state |= {f"pred_head.layers.0.{key}": value for key, value in head.state_dict().items()}
    torch.save({"state_dict": {**state, "loss_module.codebook.weight": codebook}}, tmp_path / "spin.ckpt")
    spin = voxzoo.load(name, weights=tmp_path)
    assert spin.facts.params == item.facts.params
    hidden = network(torch.from_numpy(WAV)[None], output_hidden_states=True).hidden_states[12][0]
    wanted = (F.normalize(head(hidden), dim=-1) @ codebook.T).argmax(-1)
    assert (spin.encode(WAV, 16000).codes[0][0] == wanted).float().mean() >= 0.99


def test_there_is_an_entry_for_each_published_checkpoint() -> None:
    names = [name for name in voxzoo.models() if name.startswith(("spin-", "rspin-"))]
    sizes = {name: voxzoo.entry(name).facts.codebook_sizes[0] for name in names}
    assert {name for name in names if name.startswith("spin-")} == {
        f"spin-{kind}-{size}" for kind in ("hubert", "wavlm") for size in (128, 256, 512, 1024, 2048)
    }
    assert all(name.endswith(f"-{size}") for name, size in sizes.items())
    assert all(voxzoo.entry(name).facts.kind == "speaker-invariant" for name in names)


def test_what_is_no_spin(tmp_path: Path) -> None:
    network = model()
    config = config_of(network, "hubert")
    with pytest.raises(WeightsError, match="must hold one checkpoint of Spin"):
        _published(tmp_path, config)
    path = tmp_path / "spin.ckpt"
    for content, message in (
        ({"model": {}}, "no state_dict"),
        ({"state_dict": {"encoder.model.x": torch.zeros(1)}}, r"no loss_module\.codebook\.weight"),
        ({"state_dict": {"loss_module.codebook.weight": torch.zeros(4, 10)}}, "has 4 codewords, expected 16"),
    ):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=message):
            _published(tmp_path, config)
    checkpoint(path, network)
    with pytest.raises(WeightsError, match="has 16 codewords, expected 256: it is another Spin"):
        voxzoo.load("spin-hubert-256", weights=tmp_path)


def test_units_do_not_hang_on_loudness_alone() -> None:
    """The features are normalised before the codewords; and a unit of tiny Spin is no constant."""
    spin = tiny("spin-hubert-128")
    clip = sound(spin, 3000)
    codes = spin.encode(clip).codes[0][0]
    assert len(codes.unique()) > 1
    other = spin.encode(Audio(clip.samples * 0.5, clip.sample_rate)).codes[0][0]
    assert (codes == other).float().mean() > 0.5
