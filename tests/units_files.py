"""Published files of units, made of random weights: models of transformers, and their tensors as others name them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}  # as the large models are
AT_25HZ = {"conv_dim": [8] * 8, "conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2], "conv_stride": [5] + [2] * 7}


def model(kind: str = "Hubert", **changes: Any) -> nn.Module:
    """Of transformers, weights large enough that frames differ."""
    import transformers

    torch.manual_seed(0)
    wavlm = {"num_buckets": 16, "max_bucket_distance": 40} if kind == "WavLM" else {}
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **wavlm, **changes})
    made: nn.Module = getattr(transformers, f"{kind}Model")(config).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if parameter.ndim > 1 and "parametrizations" not in name:
            parameter.mul_(3.0)
        elif "gru_rel_pos_const" in name or name.endswith("bias"):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def fairseq_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back, written out part by part: names of transformers to those of fairseq and of WavLM's own code."""
    words = {
        "attention.gru_rel_pos_linear": "self_attn.grep_linear", "attention.gru_rel_pos_const": "self_attn.grep_a",
        "attention.rel_attn_embed": "self_attn.relative_attention_bias", "attention.": "self_attn.",
        "feed_forward.intermediate_dense": "fc1", "feed_forward.output_dense": "fc2",
    }  # fmt: skip
    norm = "2.1" if "feature_extractor.conv_layers.1.layer_norm.weight" in state else "2"
    out = {}
    for key, value in state.items():
        name = key
        if name.startswith("feature_extractor"):
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", f".{norm}.")
        elif name.startswith("feature_projection.layer_norm"):
            name = name.removeprefix("feature_projection.")
        elif name.startswith("feature_projection.projection"):
            name = name.replace("feature_projection.projection", "post_extract_proj")
        elif ".pos_conv_embed." in name:
            name = name.replace("pos_conv_embed.conv.", "pos_conv.0.")
            for i, letter in enumerate("gv"):
                name = name.replace(f"parametrizations.weight.original{i}", f"weight_{letter}")
        elif name.startswith("encoder.layers."):
            if not name.split(".")[3].startswith("final"):
                name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
            for theirs, word in words.items():
                if theirs in name:
                    name = name.replace(theirs, word)
                    break
        elif name == "masked_spec_embed":
            name = "mask_emb"
        out[name] = value
    return out


def settings(network: nn.Module) -> dict[str, Any]:
    """fairseq's settings of a model, those that tell its shape."""
    c: Any = network.config
    layers = " + ".join(f"[({d}, {k}, {s})]" for d, k, s in zip(c.conv_dim, c.conv_kernel, c.conv_stride, strict=True))
    return {
        "conv_feature_layers": layers, "encoder_layers": c.num_hidden_layers, "encoder_embed_dim": c.hidden_size,
        "encoder_ffn_embed_dim": c.intermediate_size, "encoder_attention_heads": c.num_attention_heads,
        "layer_norm_first": c.do_stable_layer_norm, "conv_bias": c.conv_bias, "conv_pos": c.num_conv_pos_embeddings,
        "conv_pos_groups": c.num_conv_pos_embedding_groups, "activation_fn": "gelu",
        "extractor_mode": "layer_norm" if c.feat_extract_norm == "layer" else "default",
        **({"num_buckets": c.num_buckets, "max_distance": c.max_bucket_distance} if hasattr(c, "num_buckets") else {}),
    }  # fmt: skip


def save_fairseq(network: nn.Module, path: Path, normalize: bool = False, old: bool = False) -> None:
    """As fairseq writes a checkpoint: with settings, and an object of a class of its own that is not there when it is read."""
    module: Any = ModuleType("fairseq.data.dictionary")

    class Dictionary:
        def __init__(self) -> None:
            self.symbols, self.indices = ["<s>", "0"], {"<s>": 0}

    Dictionary.__module__, Dictionary.__qualname__ = "fairseq.data.dictionary", "Dictionary"
    module.Dictionary = Dictionary
    sys.modules |= {"fairseq": ModuleType("fairseq"), "fairseq.data": ModuleType("fairseq.data"), module.__name__: module}
    state = fairseq_names(network.state_dict())
    state |= {"final_proj.weight": torch.zeros(4, 4), "label_embs_concat": torch.zeros(4, 4), "mask_emb": torch.zeros(24)}
    try:
        torch.save(
            {
                "args": argparse.Namespace(arch="hubert"),
                "cfg": {"model": settings(network), "task": {"normalize": normalize}},
                "model": state,
                "task_state": {"dictionaries": [Dictionary()]},
                "optimizer_history": [{"num_updates": 3}],
            },
            path,
            _use_new_zipfile_serialization=not old,
        )
    finally:
        for name in ("fairseq", "fairseq.data", module.__name__):
            del sys.modules[name]


def fitted(features: Tensor, clusters: int = 12) -> MiniBatchKMeans:
    """On frames (N, D)."""
    return MiniBatchKMeans(clusters, n_init=1, random_state=0, batch_size=256).fit(features.numpy().astype(np.float32))


def save_kmeans(estimator: MiniBatchKMeans, path: Path, **settings: Any) -> None:
    joblib.dump(estimator, path, **settings)
