"""NISQA v2, five dimensions of speech quality, from the weights its authors publish (`nisqa.tar`).

G. Mittag et al., "NISQA: a deep CNN-self-attention model for multidimensional speech quality prediction with crowdsourced
datasets", Interspeech 2021; weights/nisqa.tar of github.com/gabrielmittag/NISQA (weights CC BY-NC-SA 4.0).

A mel spectrogram is cut into overlapping windows; a small CNN turns each into a vector, self-attention relates them, and five
attention pools read one score each. Parameters are kept under the published names and the sizes come from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.slaney_mel import mel_spectrogram
from .listening import check_audible
from .metric import MetricError

__all__ = ["Nisqa", "nisqa", "read_nisqa"]

SCORES = 5


@dataclass(frozen=True, eq=False)
class Nisqa:
    """The network in eval mode, and the settings that were stored with it."""

    network: nn.ModuleDict
    settings: Mapping[str, Any]


def nisqa(model: Nisqa, samples: np.ndarray, rate: int) -> tuple[float, ...]:
    """(MOS, noisiness, discontinuity, coloration, loudness), each about 1 to 5, in the order of the network's outputs.

    It is `torchmetrics.functional.audio.nisqa.non_intrusive_speech_quality_assessment` with the same weights.

    Args:
        model: see `read_nisqa`.
        samples: float (T,) in [-1, 1].
        rate: Hz; the network hears up to 20 kHz where there is something.

    Raises `MetricError` for sound that is not finite, silent, under 0.25 s, or longer than the network's windows reach (52 s).
    """
    check_audible(samples, rate)
    windows = _windows(samples, rate, model.settings)
    parts: Any = model.network
    with torch.inference_mode():
        features = _convolve(parts["cnn"]["model"], windows, model.settings)
        hidden = _attend(parts["time_dependency"]["model"], features)
        scores = torch.cat([_pool(pool["model"], hidden) for pool in parts["pool_layers"]])
    if not bool(scores.isfinite().all()):
        raise MetricError("the network gives a number that is not finite")
    return tuple(scores.tolist())


def read_nisqa(path: str) -> Nisqa:
    """The network of a `nisqa.tar`. Only tensors and plain values are read from it, so it cannot run code.

    Raises `MetricError` when the file is missing or not of that form; a missing or surplus parameter is named.
    """
    if not Path(path).is_file():
        raise MetricError(f"there is no file {path!r}: give the path of nisqa.tar, or of an ONNX model (.onnx)")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        settings, state = checkpoint["args"], checkpoint["model_state_dict"]
        network = _build(settings)
        network.load_state_dict(state)
    except Exception as error:  # torch.load raises many kinds
        raise MetricError(f"{path!r} is not a NISQA v2 checkpoint: {type(error).__name__}: {error}") from None
    return Nisqa(network.eval().requires_grad_(False), settings)


def _build(s: Mapping[str, Any]) -> nn.ModuleDict:
    kernel = tuple(s["cnn_kernel_size"])
    sizes = [1, s["cnn_c_out_1"], s["cnn_c_out_2"], *[s["cnn_c_out_3"]] * 4]
    cnn: dict[str, nn.Module] = {}
    for i in range(1, 7):
        last = i == 6  # it spans the width that is left
        shape, pad = ((kernel[0], s["cnn_pool_3"][1]), (1, 0)) if last else (kernel, (1, 0) if kernel[0] == 1 else (1, 1))
        cnn[f"conv{i}"] = nn.Conv2d(sizes[i - 1], sizes[i], shape, padding=pad)
        cnn[f"bn{i}"] = nn.BatchNorm2d(sizes[i])
    width = s["td_sa_d_model"]
    attention = nn.ModuleDict({
        "norm1": nn.LayerNorm(width),
        "linear": nn.Linear(s["cnn_c_out_3"] * s["cnn_pool_3"][0], width),
        "layers": nn.ModuleList(_layer(s, width) for _ in range(s["td_sa_num_layers"])),
    })  # fmt: skip
    pools = [
        {"linear1": nn.Linear(width, s["pool_att_h"]), "linear2": nn.Linear(s["pool_att_h"], 1), "linear3": nn.Linear(width, 1)}
        for _ in range(SCORES)
    ]
    return nn.ModuleDict({
        "cnn": nn.ModuleDict({"model": nn.ModuleDict(cnn)}),
        "time_dependency": nn.ModuleDict({"model": attention}),
        "pool_layers": nn.ModuleList(nn.ModuleDict({"model": nn.ModuleDict(pool)}) for pool in pools),
    })  # fmt: skip


def _layer(s: Mapping[str, Any], width: int) -> nn.ModuleDict:
    return nn.ModuleDict({
        "self_attn": nn.MultiheadAttention(width, s["td_sa_nhead"]),
        "linear1": nn.Linear(width, s["td_sa_h"]), "linear2": nn.Linear(s["td_sa_h"], width),
        "norm1": nn.LayerNorm(width), "norm2": nn.LayerNorm(width),
    })  # fmt: skip


def _windows(samples: np.ndarray, rate: int, s: Mapping[str, Any]) -> Tensor:
    """Overlapping pieces of the mel spectrogram in dB, no more than 80 dB below its peak: (W, 1, mels, frames of a window)."""
    mel = mel_spectrogram(
        samples, rate, s["ms_n_fft"], int(rate * s["ms_hop_length"]), s["ms_n_mels"], power=1.0,
        win=int(rate * s["ms_win_length"]), fmax=s["ms_fmax"], reflect=True,
    )  # fmt: skip
    level = 20.0 * np.log10(np.maximum(1e-4, mel))
    level = np.maximum(level, level.max() - 80.0)
    length, hop = s["ms_seg_length"], s["ms_seg_hop_length"]
    if level.shape[1] < length:
        raise MetricError("the sound is too short for NISQA")
    pieces = np.lib.stride_tricks.sliding_window_view(level, length, axis=1)[:, ::hop].transpose(1, 0, 2)
    if len(pieces) > s["ms_max_segments"]:
        raise MetricError("the sound is longer than NISQA reaches")
    return torch.from_numpy(np.ascontiguousarray(pieces))[:, None]


def _convolve(cnn: Any, x: Tensor, s: Mapping[str, Any]) -> Tensor:
    """(W, 1, mels, frames) -> (W, features)."""
    for i in range(1, 7):
        x = F.relu(cnn[f"bn{i}"](cnn[f"conv{i}"](x)))
        pool = {1: "cnn_pool_1", 2: "cnn_pool_2", 4: "cnn_pool_3"}.get(i)
        if pool:
            x = F.adaptive_max_pool2d(x, list(s[pool]))
    return x.flatten(1)


def _attend(attention: Any, x: Tensor) -> Tensor:
    """(W, features) -> (W, width)."""
    x = attention["norm1"](attention["linear"](x))
    for layer in attention["layers"]:
        x = layer["norm1"](x + layer["self_attn"](x, x, x, need_weights=False)[0])
        x = layer["norm2"](x + layer["linear2"](F.relu(layer["linear1"](x))))
    return x


def _pool(pool: Any, x: Tensor) -> Tensor:
    """(W, width) -> (1,): a mean over windows weighted by attention, read linearly."""
    weights = pool["linear2"](F.relu(pool["linear1"](x))).softmax(dim=0)
    return pool["linear3"]((weights * x).sum(dim=0))
