"""Backbones as fairseq, WavLM's own code and torchaudio name them, against transformers' models and torchaudio's mapping."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from units_files import AT_25HZ, LARGE, fairseq_names, model, save_fairseq

from voxzoo import WeightsError
from voxzoo.core.fairseq_names import backbone_state, read_backbone_file, read_inert, told
from voxzoo.core.ssl import architecture, first_layers, without_weight_norm

pytestmark = pytest.mark.usefixtures("transformers")
WAV = 0.3 * torch.randn(1, 6000, generator=torch.Generator().manual_seed(1))
NETWORKS = [("Hubert", {}), ("Hubert", LARGE), ("Hubert", AT_25HZ), ("Wav2Vec2", {}), ("WavLM", {}), ("WavLM", LARGE)]


def hidden(config: dict[str, Any], state: dict[str, torch.Tensor], layer: int) -> torch.Tensor:
    """Of our network, built of published tensors, all of whose layers are there."""
    network = first_layers(config, config["num_hidden_layers"]).eval()
    network.load_state_dict(without_weight_norm(state), strict=True)
    with torch.no_grad():
        states: torch.Tensor = network(WAV, output_hidden_states=True).hidden_states[layer]
    return states


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("kind", "changes"), NETWORKS)
def test_a_checkpoint_of_fairseq_is_the_model_of_transformers(
    kind: str, changes: dict[str, Any], old: bool, tmp_path: Path
) -> None:
    theirs = model(kind, **changes)
    save_fairseq(theirs, tmp_path / "model.pt", normalize=kind == "WavLM", old=old)
    state, settings = read_backbone_file(tmp_path / "model.pt", kind.lower())
    config = architecture(settings["backbone"])
    assert settings["normalize"] is (kind == "WavLM")
    assert config == architecture({**theirs.config.to_dict(), "model_type": kind.lower()})  # type: ignore[operator, union-attr]
    wanted = theirs(WAV, output_hidden_states=True).hidden_states
    for layer in range(1, 4):
        assert (hidden(config, state, layer) - wanted[layer]).abs().max() <= 1e-5
    assert "fairseq" not in sys.modules


@pytest.mark.parametrize(("kind", "changes"), NETWORKS)
def test_the_first_layers_are_those_of_the_whole(kind: str, changes: dict[str, Any]) -> None:
    theirs = model(kind, **changes)
    outputs = theirs(WAV, output_hidden_states=True)
    config = architecture({**theirs.config.to_dict(), "model_type": kind.lower()})  # type: ignore[operator, union-attr]
    state = without_weight_norm(backbone_state(theirs.state_dict()))
    for layer in range(4):
        network = first_layers(config, layer).eval()
        wanted = set(network.state_dict())
        network.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=True)
        with torch.no_grad():
            found = network(WAV).last_hidden_state
        whole = outputs.hidden_states[layer] if layer < 3 else outputs.last_hidden_state
        assert (found - whole).abs().max() <= 1e-5, layer
        assert found.std(1).mean() > 0.01  # frames differ, or this would show nothing


@pytest.fixture
def torchaudio_models() -> Iterator[Any]:
    """Torchaudio's networks and its own conversion of fairseq's names, without its libraries, which may not fit torch's."""
    held = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchaudio"}
    for name in held:
        del sys.modules[name]
    spec = find_spec("torchaudio")
    if spec is None or spec.submodule_search_locations is None:
        sys.modules |= held
        pytest.skip("torchaudio is not installed")
    for name in ("torchaudio", "torchaudio.models"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = [os.path.join(next(iter(spec.submodule_search_locations)), *name.split(".")[1:])]
        sys.modules[name] = module
    import torchaudio.models.wav2vec2.utils.import_fairseq as fairseq
    from torchaudio.models.wav2vec2 import model as networks

    yield networks, fairseq
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules |= held


@pytest.mark.parametrize("changes", [{}, LARGE])
def test_torchaudios_naming_and_its_own_conversion(torchaudio_models: Any, changes: dict[str, Any]) -> None:
    networks, fairseq = torchaudio_models
    theirs = model(**changes)
    c: Any = theirs.config
    network = networks.wav2vec2_model(
        extractor_mode=f"{c.feat_extract_norm}_norm",
        extractor_conv_layer_config=list(zip(c.conv_dim, c.conv_kernel, c.conv_stride, strict=True)),
        extractor_conv_bias=c.conv_bias, encoder_embed_dim=24, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=4, encoder_num_layers=3, encoder_num_heads=2, encoder_attention_dropout=0.0,
        encoder_ff_interm_features=32, encoder_ff_interm_dropout=0.0, encoder_dropout=0.0,
        encoder_layer_norm_first=c.do_stable_layer_norm, encoder_layer_drop=0.0, aux_num_out=None,
    ).eval()  # fmt: skip
    converted = fairseq._convert_state_dict(fairseq_names(theirs.state_dict()))
    missing = network.load_state_dict(converted, strict=False)
    assert all("weight" in key and "pos_conv" in key for key in missing.missing_keys)  # named anew since
    ours = without_weight_norm(backbone_state(converted))
    assert set(ours) == set(without_weight_norm(backbone_state(theirs.state_dict())))
    config = architecture({**c.to_dict(), "model_type": "hubert"})
    with torch.no_grad():
        features = network.extract_features(WAV)[0]
    assert (hidden(config, ours, 2) - features[1]).abs().max() <= 1e-4


def test_torchaudios_wavlm_holds_three_matrices_in_one() -> None:
    theirs = {key: value for key, value in model("WavLM").state_dict().items() if ".layers.0.attention." in key}
    packed = {}
    for end in ("weight", "bias"):
        parts = [theirs[f"encoder.layers.0.attention.{one}_proj.{end}"] for one in "qkv"]
        packed[f"encoder.transformer.layers.0.attention.attention.in_proj_{end}"] = torch.cat(parts)
    packed["encoder.transformer.layers.0.attention.attention.out_proj.weight"] = theirs[
        "encoder.layers.0.attention.out_proj.weight"
    ]
    found = backbone_state(packed)
    assert len(found) == 7
    assert all(torch.equal(value, theirs[key]) for key, value in found.items())


def test_heads_and_what_training_uses_are_left_out() -> None:
    state = model().state_dict()
    plain = backbone_state(state)
    fine_tuned = {f"w2v_encoder.w2v_model.{key}": value for key, value in fairseq_names(state).items()}
    fine_tuned |= {"w2v_encoder.proj.weight": torch.zeros(3, 24)}
    for_ctc = {f"hubert.{key}": value for key, value in state.items()} | {"lm_head.weight": torch.zeros(3, 24)}
    for other in (fine_tuned, for_ctc):
        found = backbone_state(other)
        assert set(without_weight_norm(found)) == set(without_weight_norm(plain))
    with pytest.raises(WeightsError, match=r"'encoder\.layers\.0\.mystery' is no tensor of HuBERT"):
        backbone_state({"encoder.layers.0.mystery": torch.zeros(1)})


# ---------------------------------------------------------------- settings
@pytest.mark.parametrize(
    "content",
    [{"cfg": {"task": {"normalize": True}}}, {"task_cfg": {"normalize": True}}, {"cfg": {"normalize": True}}],
)
def test_what_a_checkpoint_says_of_normalisation(content: dict[str, Any]) -> None:
    assert told(content, "hubert") == {"normalize": True}
    assert told({"cfg": {"task": {"normalize": "yes"}}, "args": None}, "hubert") == {}


@pytest.mark.parametrize("text", ["__import__('os').system('true')", "[(1, 2)]", "[(1, 2, 3.5)]", "3", "[(1,2,3)] * x", "("])
def test_settings_are_not_run(text: str) -> None:
    with pytest.raises(WeightsError, match="conv_feature_layers is"):
        told({"cfg": {"model": {"conv_feature_layers": text}}}, "hubert")


def test_the_base_models_settings() -> None:
    text = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    assert architecture(told({"args": {"conv_feature_layers": text}}, "hubert")["backbone"]) == architecture(
        {"model_type": "hubert"}
    )


# ---------------------------------------------------------------- refusals
class Hostile:
    """What is called when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("old", [False, True])
def test_code_is_refused_and_not_run(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"model": {"x": torch.zeros(1)}, "args": argparse.Namespace(a=1), "task_state": Hostile()}
    torch.save(content, "model.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError, match=r"'model\.pt' holds pickled code, which is refused"):
        read_inert(Path("model.pt"))
    assert not Path("owned").exists()


def test_what_holds_no_backbone(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.pt")
    torch.save({"model": {"a": 1}}, tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04nothing")
    for name, message in (("list", "holds a list"), ("none", "no tensors"), ("bad", "damaged"), ("missing", "does not exist")):
        with pytest.raises(WeightsError, match=message):
            read_backbone_file(tmp_path / f"{name}.pt", "hubert")
