"""Backbones of units: what makes frames of features of sound, up to the layer that is quantised.

HuBERT, wav2vec 2.0 and WavLM from `core/ssl.py`; the encoders of Whisper (Radford et al. 2022, arXiv:2212.04356) and of
SenseVoice, which make no tokens of their own; and, without weights, mel-frequency cepstra and log-mel spectra, the baselines of
the field.

Letters: B batch, T samples, N frames, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError
from ..core.slaney_mel import mel_filters
from ..core.ssl import architecture, first_layers
from ..core.whisper import STRIDE, Layer, sinusoids
from ..core.whisper_mel import whisper_mel
from ._units_backbone import Backbone, check_layer
from ._units_sensevoice import DEFAULTS as SENSEVOICE
from ._units_sensevoice import HOP as SENSEVOICE_HOP
from ._units_sensevoice import SenseVoice

__all__ = ["SPECTRA", "backbone", "described", "hop"]

FLOOR = 1e-10  # of a band's energy
WHISPER: dict[str, Any] = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "max_source_positions": 1500,
    "n_fft": 400,
    "hop_length": 160,
}
SPECTRA: dict[str, dict[str, Any]] = {
    "mfcc": {"hop": 320, "n_fft": 400, "mels": 40, "coefficients": 13, "deltas": 2},
    "logmel": {"hop": 320, "n_fft": 400, "mels": 80},
}


class SelfSupervised(Backbone):
    """HuBERT, wav2vec 2.0 or WavLM up to a layer, with the parameters of `transformers` under `network`."""

    def __init__(self, config: Mapping[str, Any], layer: int, rate: int) -> None:
        super().__init__()
        self.network = first_layers(config, layer)
        kernels, strides = config["conv_kernel"], config["conv_stride"]
        self.hop = math.prod(strides)
        self.span = 1 + sum((kernel - 1) * math.prod(strides[:i]) for i, kernel in enumerate(kernels))
        self.dim = config["hidden_size"]

    def forward(self, wav: Tensor) -> Tensor:
        wav = F.pad(wav, (0, max(0, self.span - wav.shape[1])))
        return cast(Tensor, self.network(wav).last_hidden_state)


class WhisperEncoder(Backbone):
    """Whisper's encoder up to a layer; sound is completed with zeros to the 30 s it was trained on, whose last frames are cut.

    After its last layer, and only there, follows a norm, as published.
    """

    def __init__(self, config: Mapping[str, Any], layer: int, rate: int) -> None:
        super().__init__()
        c = self.c = dict(config)
        check_layer(layer, c["encoder_layers"])
        self.rate, self.dim = rate, c["d_model"]
        self.hop = self.span = STRIDE * c["hop_length"]
        self.longest = c["max_source_positions"] * self.hop
        self.conv1 = nn.Conv1d(c["num_mel_bins"], self.dim, 3, padding=1)
        self.conv2 = nn.Conv1d(self.dim, self.dim, 3, STRIDE, padding=1)
        self.embed_positions = nn.Embedding(c["max_source_positions"], self.dim)
        with torch.no_grad():
            self.embed_positions.weight.copy_(sinusoids(*self.embed_positions.weight.shape))
        self.layers = nn.ModuleList(Layer(self.dim, c["encoder_attention_heads"], c["encoder_ffn_dim"]) for _ in range(layer))
        if layer == c["encoder_layers"]:
            self.layer_norm = nn.LayerNorm(self.dim)

    def frames(self, samples: int) -> int:
        """ceil(T / 320)."""
        return -(-samples // self.hop)

    def forward(self, wav: Tensor) -> Tensor:
        frames = self.frames(wav.shape[1])
        whole = F.pad(wav, (0, cast(int, self.longest) - wav.shape[1]))
        mel = whisper_mel(whole, self.c["num_mel_bins"], self.rate, self.c["n_fft"], self.c["hop_length"])
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.embed_positions.weight
        for layer in self.layers:
            x = layer(x)
        return (self.layer_norm(x) if hasattr(self, "layer_norm") else x)[:, :frames]


class Spectrum(Backbone):
    """Log-mel spectra, or their first cepstral coefficients with slopes over five frames; nothing is learnt.

    Frame i is under a Hann window about the middle of samples i hop to (i + 1) hop.
    """

    filters: Tensor
    window: Tensor
    basis: Tensor

    def __init__(self, config: Mapping[str, Any], layer: int, rate: int) -> None:
        super().__init__()
        check_layer(layer, 0)
        self.hop = self.span = config["hop"]
        self.n_fft, mels, self.deltas = config["n_fft"], config["mels"], config.get("deltas", 0)
        kept = config.get("coefficients", mels)
        if self.n_fft < self.hop or kept > mels:
            raise ModelError(f"n_fft {self.n_fft} and {kept} coefficients; expected at least hop {self.hop}, at most {mels}")
        self.dim = kept * (1 + self.deltas)
        self.register_buffer("window", torch.hann_window(self.n_fft, device="cpu"), persistent=False)
        filters = torch.from_numpy(mel_filters(rate, self.n_fft, mels, rate / 2)).float().T.contiguous()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("basis", _cosines(mels, kept) if "coefficients" in config else torch.eye(mels), persistent=False)

    def frames(self, samples: int) -> int:
        """ceil(T / hop)."""
        return -(-samples // self.hop)

    def forward(self, wav: Tensor) -> Tensor:
        before, frames = (self.n_fft - self.hop) // 2, self.frames(wav.shape[1])
        padded = F.pad(wav, (before, frames * self.hop + self.n_fft - before - wav.shape[1]))
        cut = padded.unfold(1, self.n_fft, self.hop)[:, :frames]
        power = torch.fft.rfft(cut * self.window).abs().square()
        parts = [(power @ self.filters).clamp(min=FLOOR).log() @ self.basis]
        for _ in range(self.deltas):
            parts.append(_slopes(parts[-1]))
        return torch.cat(parts, 2)


def _slopes(x: Tensor) -> Tensor:
    """Regression over two frames on each side, (B, N, D) -> the same shape; the clip's ends are repeated."""
    ends = torch.cat([x[:, :1], x[:, :1], x, x[:, -1:], x[:, -1:]], 1)
    n = x.shape[1]
    return (2 * (ends[:, 4:] - ends[:, :n]) + ends[:, 3 : n + 3] - ends[:, 1 : n + 1]) / 10


def _cosines(inputs: int, outputs: int) -> Tensor:
    """The orthonormal cosine transform (inputs, outputs)."""
    angles = math.pi / inputs * (torch.arange(inputs)[:, None] + 0.5) * torch.arange(outputs)
    scale = torch.full((outputs,), math.sqrt(2 / inputs))
    scale[:1] = math.sqrt(1 / inputs)
    return angles.cos() * scale


def described(config: Any) -> dict[str, Any]:
    """What shapes a backbone, of a `config.json` of `transformers` or of our own, with every default filled in.

    Raises `ModelError` for a backbone of another kind, and for sizes that are none.
    """
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    defaults = {"whisper": WHISPER, "sensevoice": SENSEVOICE, **SPECTRA}.get(str(kind))
    if defaults is None:
        found = architecture(config)
        lists = [found[key] for key in ("conv_dim", "conv_stride", "conv_kernel")]
        if not all(isinstance(one, list) and one and all(type(n) is int and n > 0 for n in one) for one in lists):
            raise ModelError("the backbone's conv_dim, conv_stride and conv_kernel must be lists of whole numbers")
        if len({len(one) for one in lists}) > 1:
            raise ModelError("the backbone's conv_dim, conv_stride and conv_kernel must be of one length")
        return found
    assert isinstance(config, Mapping)
    found = {key: config.get(key, default) for key, default in defaults.items()}
    for key, value in found.items():
        if type(value) is not int or value < (0 if key in ("deltas", "tp_blocks") else 1):
            raise ModelError(f"the backbone has {key} {value!r}; expected a whole number above 0")
    return {"model_type": kind, **found}


def backbone(config: Mapping[str, Any], layer: int, rate: int) -> Backbone:
    """The network of what `described` gives, up to a layer, with random weights. Raises `ModelError`, `MissingExtraError`."""
    if config["model_type"] == "whisper":
        return WhisperEncoder(config, layer, rate)
    if config["model_type"] == "sensevoice":
        return SenseVoice(config, layer, rate)
    if config["model_type"] in SPECTRA:
        return Spectrum(config, layer, rate)
    return SelfSupervised(config, layer, rate)


def hop(config: Mapping[str, Any]) -> int:
    """Samples from one frame to the next, of what `described` gives."""
    if config["model_type"] == "whisper":
        return STRIDE * int(config["hop_length"])
    if config["model_type"] == "sensevoice":
        return SENSEVOICE_HOP
    return int(config["hop"]) if config["model_type"] in SPECTRA else math.prod(config["conv_stride"])
