"""The network of units: a backbone up to one layer, and what makes units of its features; and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ._units_backbones import backbone, described
from ._units_quantizers import Classifier, Cosine, KMeans, Quantizer

__all__ = ["DEFAULTS", "Network", "complete"]

DEFAULTS: dict[str, Any] = {
    "sample_rate": 16000,  # Hz
    "backbone": {"model_type": "hubert"},
    "layer": 6,  # whose output is quantised; 0 is the input of the first
    "normalize": False,  # whether the backbone takes sound of zero mean and unit variance
    "window": 100.0,  # seconds: longer clips are encoded in windows of this length
    "context": 5.0,  # seconds of a window, on each inner side, that are not kept
    "quantizer": "kmeans",  # or "classifier", whose last class is the blank, or "cosine"
    "codebook_size": 100,
    "hidden": [],  # widths of the linear layers before the codewords or classes
}
AT_ONCE = 100.0  # seconds of sound of a batch that are run at once, so that memory does not grow with the batch


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting, defaults filled in. Raises `ModelError` for one that is not known, or that makes no network."""
    if unknown := set(config) - set(DEFAULTS):
        raise ModelError(f"units have no setting {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(DEFAULTS)}")
    c = {**DEFAULTS, **config}
    c["backbone"] = described(c["backbone"])
    for key, least in (("sample_rate", 1), ("layer", 0), ("codebook_size", 1)):
        if type(c[key]) is not int or c[key] < least:
            raise ModelError(f"units got {key} {c[key]!r}; expected a whole number, at least {least}")
    if not isinstance(c["normalize"], bool):
        raise ModelError(f"units got normalize {c['normalize']!r}; expected true or false")
    hidden = c["hidden"] = list(c["hidden"]) if isinstance(c["hidden"], (list, tuple)) else c["hidden"]
    if not isinstance(hidden, list) or not all(type(n) is int and n > 0 for n in hidden):
        raise ModelError(f"units got hidden {hidden!r}; expected a list of widths")
    if c["quantizer"] not in ("kmeans", "classifier", "cosine") or (c["quantizer"] == "kmeans") != (not hidden):
        raise ModelError(
            f"units got quantizer {c['quantizer']!r} with hidden {hidden}; expected 'kmeans' without, 'classifier' or 'cosine' "
            "with hidden layers"
        )
    for key in ("window", "context"):
        if not isinstance(c[key], (int, float)) or isinstance(c[key], bool) or not 0 < c[key] < 1e6:
            raise ModelError(f"units got {key} {c[key]!r}; expected seconds")
        c[key] = float(c[key])
    return c


class Network(nn.Module):
    """Sound to units."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        c = self.config = complete(config)
        self.backbone = backbone(c["backbone"], c["layer"], c["sample_rate"])
        self.quantizer = _quantizer(c, self.backbone.dim)
        rate, hop = c["sample_rate"], self.backbone.hop
        self.size, self.context = int(c["window"] * rate) // hop, int(c["context"] * rate) // hop  # of a window, in frames
        if self.context * hop < self.backbone.span - hop or self.size <= 2 * self.context:
            raise ModelError(
                f"a window of {c['window']} s cannot be kept without {c['context']} s on each side; take a longer one"
            )
        if self.backbone.longest is not None and self.size * hop > self.backbone.longest:
            raise ModelError(f"a window of {c['window']} s; this backbone takes {self.backbone.longest / rate} s at most")

    def features(self, wav: Tensor) -> Tensor:
        """wav (B, T), T at most a window -> float32 (B, N, D), the output of the layer."""
        if self.config["normalize"]:
            wav = F.layer_norm(wav, wav.shape[1:])
        return self.backbone(wav).float()

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T), T at most a window -> units (B, N), the batch in parts of bounded size."""
        rows = max(1, int(AT_ONCE * self.config["sample_rate"]) // wav.shape[1])
        return torch.cat([self._encode(part) for part in wav.split(rows)])

    def _encode(self, wav: Tensor) -> Tensor:
        x = self.features(wav)
        with torch.autocast(x.device.type, enabled=False):
            units: Tensor = self.quantizer(x)
        return units


def _quantizer(c: Mapping[str, Any], dim: int) -> Quantizer:
    if c["quantizer"] == "kmeans":
        return KMeans(dim, c["codebook_size"])
    kind = Classifier if c["quantizer"] == "classifier" else Cosine
    return kind(dim, c["hidden"], c["codebook_size"])
