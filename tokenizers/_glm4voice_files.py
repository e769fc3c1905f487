"""GLM-4-Voice's tokenizer as it is published: config.json, preprocessor_config.json, and tensors under two layouts of names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import WeightsError
from ..core.weights import read_json
from ._glm4voice import DEFAULTS, complete

__all__ = ["from_published", "own_names"]

PREFIX, DECODER = "model.encoder.", ("model.decoder.", "proj_out.")  # of files that hold a whole Whisper
# Of the training's moving averages, and of what followed the codes in training.
UNUSED = ("ema_count", "ema_weight", "layer_norm.weight", "layer_norm.bias")
# What the published code can be set to, and the weights of GLM-4-Voice are for.
FIXED = {
    "activation_function": "gelu",
    "encoder_causal_convolution": True,
    "encoder_causal_attention": False,
    "quantize_causal_encoder": False,
    "pooling_type": "avg",
}


def from_published(published: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The published config.json, and preprocessor_config.json where it lies beside it, as ours. Raises `WeightsError`."""
    fixed = {**FIXED, "pooling_position": published.get("quantize_position")}
    for key, wanted in fixed.items():
        if published.get(key, wanted) != wanted:
            raise WeightsError(f"config.json has {key} {published[key]!r}; GLM-4-Voice has {wanted!r}")
    known = {key: published[key] for key in DEFAULTS if key in published}
    if (folder / "preprocessor_config.json").is_file():
        front = read_json(folder / "preprocessor_config.json")
        known |= {key: front[key] for key in ("sampling_rate", "n_fft", "hop_length") if key in front}
        mels = known.get("num_mel_bins", DEFAULTS["num_mel_bins"])
        if front.get("feature_size", mels) != mels:
            raise WeightsError(f"preprocessor_config.json has feature_size {front['feature_size']!r}, config.json {mels!r}")
    return complete(known)


def own_names(state: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Published tensors, of the tokenizer alone or under the names of a whole Whisper, without those of no use here."""
    whole = any(key.startswith(PREFIX) for key in state)
    kept = {}
    for key, value in state.items():
        if whole and key.startswith(DECODER):
            continue
        name = key.removeprefix(PREFIX)
        layer = re.match(r"layers\.(\d+)\.", name)
        if name not in UNUSED and (layer is None or int(layer[1]) < layers):
            kept[name] = value.float()
    return kept
