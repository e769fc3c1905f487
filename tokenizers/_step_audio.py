"""The linguistic half of Step-Audio's tokenizer: Kaldi's filterbank, Paraformer's encoder, the nearest of 1024 centres.

Huang et al. 2025, "Step-Audio", arXiv:2502.11946. Frames of 10 ms are stacked by seven, one stack every six, and normalised by
constants: 60 ms a token. Four tokens make a chunk of 240 ms, which no sound after it can change.

How a clip ends is as in FunASR's streaming front end. Its last chunk may hold 1 to 4 tokens; a stack that lacks frames takes
the last one again; fewer than 880 samples (4 frames) beyond the last whole chunk make no token. A clip of fewer than 880
samples, which would have none, is completed with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.kaldi_fbank import fbank_frames
from . import _paraformer
from ._funasr import HOP, STACK, STEP, stacks
from ._paraformer import CHUNK, ChunkEncoder, State

__all__ = ["BEFORE", "CHUNK_SAMPLES", "DEFAULTS", "LEAST", "Linguistic", "complete", "tokens", "used"]

CHUNK_SAMPLES = CHUNK * HOP
BEFORE = STACK // 2 * 160  # samples before a chunk whose frames its first stack holds
LEAST = 880  # samples of four frames
DEFAULTS: dict[str, Any] = {
    "mels": 80,
    "clusters": 1024,
    **{key: value for key, value in _paraformer.DEFAULTS.items() if key != "input_size"},
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of this half."""
    if unknown := set(config) - set(DEFAULTS):
        names = ", ".join(DEFAULTS)
        raise ModelError(f"Step-Audio's linguistic half has no configuration {sorted(unknown)[0]!r}; it has {names}")
    full = {**DEFAULTS, **config}
    for key in ("mels", "clusters"):
        if not isinstance(full[key], int) or isinstance(full[key], bool) or not 1 <= full[key] < 2**31:
            raise ModelError(f"Step-Audio's linguistic half got {key} {full[key]!r}; expected a whole number, at least 1")
    _paraformer.complete(_encoder(full))
    return full


def _encoder(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of the encoder alone."""
    return {**{key: config[key] for key in _paraformer.DEFAULTS if key in config}, "input_size": STACK * config["mels"]}


def used(samples: int) -> int:
    """Samples of a clip that make tokens; more than it has where it is completed."""
    whole, rest = divmod(max(samples, LEAST), CHUNK_SAMPLES)
    return whole * CHUNK_SAMPLES + (rest if rest >= LEAST else 0)


def tokens(samples: int) -> int:
    """Length law."""
    return -(-fbank_frames(used(samples)) // STEP)


class Linguistic(nn.Module):
    """Sound to tokens."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        encoder = _encoder(config)
        self.mels = config["mels"]
        self.register_buffer("shift", torch.zeros(encoder["input_size"]))
        self.register_buffer("scale", torch.ones(encoder["input_size"]))
        self.encoder = ChunkEncoder(_paraformer.complete(encoder))
        self.centres = nn.Parameter(torch.randn(config["clusters"], encoder["output_size"]))

    def features(self, wav: Tensor, first: bool, last: bool) -> Tensor:
        """Stacks (1, N, I) of a part of a clip.

        Args:
            wav: (1, T): whole chunks, or more where it is the last part; but for the first part, with 480 samples before them.
            first, last: whether the part begins or ends the clip.
        """
        return (stacks(wav, self.mels, first, last) + self.shift) * self.scale

    def whole(self, wav: Tensor) -> Tensor:
        """wav (1, T) of a clip -> its stacks (1, `tokens(T)`, I)."""
        kept = used(wav.shape[1])
        wav = nn.functional.pad(wav[:, :kept], (0, max(0, kept - wav.shape[1])))
        return self.features(wav, first=True, last=True)

    def forward(self, features: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Stacks (B, N, I), how many of them each clip has (B,) -> codes (B, N), and the encoder's state after them."""
        vectors, state = self.encoder(features, lengths, state)
        return self.nearest(vectors), state

    def nearest(self, vectors: Tensor) -> Tensor:
        """(B, N, D) -> codes (B, N): of equally near centres the first."""
        with torch.autocast(vectors.device.type, enabled=False):
            products = vectors.float() @ self.centres.T
            return (self.centres.pow(2).sum(1) - 2 * products).argmin(-1)
