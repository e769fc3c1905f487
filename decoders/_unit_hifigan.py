"""The unit HiFi-GAN's network: an embedding of discrete units, each for as long as it lasts, and HiFi-GAN's generator on that.

Polyak et al. 2021, arXiv:2104.00355; durations: Lee et al. 2022, arXiv:2107.05604.
Published at github.com/facebookresearch/fairseq and /speech-resynthesis (MIT). Parameters have the published names.
Letters: N units, D channels, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._hifigan import Generator
from ._hifigan_config import GeneratorConfig

__all__ = ["CodeGenerator", "UnitConfig"]


@dataclass(frozen=True)
class UnitConfig(GeneratorConfig):
    """Every size of the network; plain JSON values only."""

    sample_rate: int = 16000
    units: int = 1000
    embedding: int = 128
    duration_dim: int = 0  # channels of the duration predictor; 0: there is none
    duration_kernel: int = 3
    speakers: int = 0  # that are known by number; 0: none
    speaker_vector: int = 0  # or the width of a vector that tells the speaker


class DurationPredictor(nn.Module):
    """Two convolutions with ReLU and layer norm, and a linear map: the logarithm of frames plus one, for each unit."""

    def __init__(self, inputs: int, dim: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(inputs, dim, kernel, padding=(kernel - 1) // 2), nn.ReLU())
        self.ln1 = nn.LayerNorm(dim)
        self.conv2 = nn.Sequential(nn.Conv1d(dim, dim, kernel, padding=1), nn.ReLU())  # 1 whatever the kernel, as published
        self.ln2 = nn.LayerNorm(dim)
        self.proj = nn.Linear(dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D, N) -> (B, N)."""
        x = self.ln1(self.conv1(x).transpose(1, 2)).transpose(1, 2)
        return self.proj(self.ln2(self.conv2(x).transpose(1, 2)))[..., 0]


class CodeGenerator(Generator):
    """Units to sound."""

    def __init__(self, config: UnitConfig) -> None:
        spoken = config.embedding if config.speakers or config.speaker_vector else 0
        super().__init__(config, config.embedding + spoken)
        self.dict = nn.Embedding(config.units, config.embedding)
        if config.speaker_vector:
            self.spkr: nn.Module = nn.Linear(config.speaker_vector, config.embedding)
        elif config.speakers:
            self.spkr = nn.Embedding(config.speakers, config.embedding)
        if config.duration_dim:
            self.dur_predictor = DurationPredictor(config.embedding, config.duration_dim, config.duration_kernel)

    def durations(self, units: Tensor) -> Tensor:
        """units (N,) -> frames for each, at least one."""
        predicted = self.dur_predictor(self.dict(units).T[None])[0]
        return (predicted.exp() - 1).round().long().clamp(min=1)

    def frames(self, units: Tensor, durations: Tensor | None, speaker: Tensor | None) -> Tensor:
        """units (N,), durations (N,) in frames or None for one each, speaker () or (S,) -> the generator's input (1, D, F)."""
        if durations is not None:
            units = units.repeat_interleave(durations)
        x = self.dict(units).T[None]
        if speaker is None:
            return x
        return torch.cat([x, self.spkr(speaker)[None, :, None].expand(-1, -1, x.shape[2])], 1)
