"""Backbones of self-supervised speech models, HuBERT, wav2vec 2.0 and WavLM, built from a configuration.

The networks are those of `transformers`, which is imported when one is built and not before. Of a published configuration
only what shapes the network is kept; dropout, masking and the heads of other tasks are left out.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from .errors import MissingExtraError, ModelError
from .wavlm_attention import with_lean_attention

__all__ = ["architecture", "backbone", "first_layers", "without_weight_norm"]

# What shapes a network, with the defaults of `transformers`: those of the base models.
_COMMON: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [512] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
}
# model_type -> names in `transformers` and settings of its own
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hubert": ("Hubert", {"feat_proj_layer_norm": True, "conv_pos_batch_norm": False}),
    "wav2vec2": ("Wav2Vec2", {}),
    "wavlm": ("WavLM", {"num_buckets": 320, "max_bucket_distance": 800}),
}
_NORMS = {"weight_g": "weight_v", "parametrizations.weight.original0": "parametrizations.weight.original1"}


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `config.json` of `transformers`, what shapes the network: JSON-able and with every default filled in.

    Raises `ModelError` for a model of another kind.
    """
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if kind not in _KINDS:
        raise ModelError(f"no speech backbone is of model_type {kind!r}; expected one of {', '.join(_KINDS)}")
    defaults = {**_COMMON, **_KINDS[kind][1]}
    found = {key: config.get(key, default) for key, default in defaults.items()}
    return {"model_type": kind, **{key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}}


def backbone(config: Mapping[str, Any]) -> nn.Module:
    """The network of a configuration, with random weights and without weight norm.

    Its `forward(wav, output_hidden_states=True).hidden_states` are those of every layer, each (B, N, D).

    Raises:
        MissingExtraError: `transformers` is not installed.
        ModelError: no network has this configuration.
    """
    settings = architecture(config)
    kind = settings.pop("model_type")
    name = _KINDS[kind][0]
    with _torchaudio_or_none():
        try:
            configuration = importlib.import_module(f"transformers.models.{kind}.configuration_{kind}")
            modeling = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        except ModuleNotFoundError:
            raise MissingExtraError("transformers", "ssl") from None
    try:
        # no masking, whose embedding is of use in training alone
        config_ = getattr(configuration, f"{name}Config")(**settings, mask_time_prob=0.0, mask_feature_prob=0.0)
        network: nn.Module = getattr(modeling, f"{name}Model")(config_)
    except Exception as error:  # the checks there raise many kinds
        raise ModelError(f"no {name} has this configuration: {str(error)[:200]}") from None
    for module in network.modules():
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return network


def first_layers(config: Mapping[str, Any], layers: int) -> nn.Module:
    """The network as in `backbone` up to a layer: its `last_hidden_state` is what `hidden_states[layers]` is of the whole one.

    Where the norm comes first in a layer, one more follows the last; the network has it only when all layers are asked for.
    Raises `ModelError` for more layers than there are.
    """
    settings = architecture(config)
    most = settings["num_hidden_layers"]
    if not isinstance(most, int) or not 0 <= layers <= most:
        raise ModelError(f"layer {layers} of a backbone of {most}; expected 0, the input of the first, to {most}")
    network = backbone({**settings, "num_hidden_layers": layers})
    encoder = cast(nn.Module, network.encoder)
    if settings["do_stable_layer_norm"] and layers < most:
        encoder.layer_norm = nn.Identity()
    if settings["model_type"] == "wavlm":
        with_lean_attention(encoder)
    return network


def without_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with weight norm multiplied in, under the names of today (`parametrizations`) or the old ones (`weight_g`)."""
    plain = {}
    for key, value in state.items():
        gain = next((gain for gain in _NORMS if key.endswith(f".{gain}")), None)
        stem = key.removesuffix(gain) if gain else ""
        direction = state.get(stem + _NORMS[gain]) if gain else None
        if direction is not None:
            plain[f"{stem}weight"] = torch._weight_norm(direction, value, _normed_axis(value, direction))
        elif not key.endswith(tuple(f".{norm}" for norm in _NORMS.values())):
            plain[key] = value
    return plain


def _normed_axis(gain: Tensor, direction: Tensor) -> int:
    """The axis along which each slice has a gain of its own: the first, but the last in the backbones' convolution."""
    wanted = [[size if i == axis else 1 for i, size in enumerate(direction.shape)] for axis in range(direction.ndim)]
    return wanted.index(list(gain.shape)) if list(gain.shape) in wanted else 0


@contextmanager
def _torchaudio_or_none() -> Iterator[None]:
    """While `transformers` is imported: it imports torchaudio wherever that is installed, even where its libraries do not
    fit torch's and it fails. None of the networks here needs it."""
    try:
        importlib.import_module("torchaudio")
    except Exception:  # of many kinds: missing, libraries of another build, another version of torch
        if importlib.util.find_spec("torchaudio") is None:
            yield
            return
    else:
        yield
        return
    stand_in = ModuleType("torchaudio")
    stand_in.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
