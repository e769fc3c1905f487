"""`vox-s3-16k`: our own semantic tokenizer, 16 kHz, 25 tokens/s, one codebook of 729, in CosyVoice's way.

An encoder is trained to recognise phones through a quantiser in its middle (Du et al. 2024, CosyVoice; the quantiser is the
finite scalar one of CosyVoice 2), so that its tokens carry what was said and little of who said it, how loud, or where. Unlike
those tokenizers it needs nothing of the whole clip: levels are relative to the last seconds, attention goes by blocks of 640 ms
with bounded context, so that streaming equals offline and any length runs in bounded memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..core.model import Model
from ..core.streaming import Encoded, EncoderCore
from ._vox_s3 import State, VoxS3, VoxS3Config

__all__ = ["VoxS3Tokenizer"]


class VoxS3Tokenizer(Model):
    """The tokenizer behind Voxzoo's interface. Frames: ceil(T / 640)."""

    network: VoxS3
    decodes = False
    undecodable = "that would need its flow, vox-flow-16k, and the vocoder vox-hifigan-16k"

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        c = VoxS3Config.from_dict(config)
        return {
            "sample_rate": c.sample_rate,
            "frame_rates": (Fraction(c.sample_rate, 4 * c.hop),),
            "codebook_sizes": (c.codes,),
            "latency": (c.block_samples + c.ahead) / c.sample_rate,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> VoxS3:
        """The network with random weights."""
        return VoxS3(VoxS3Config.from_dict(config))

    def frames(self, samples: int) -> tuple[int, ...]:
        """One token for each 640 samples begun."""
        return (-(-samples // (4 * self.network.config.hop)),)

    @property
    def pad_multiple(self) -> int:
        """Samples of a block."""
        return self.network.config.block_samples

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([self.network.encode(wav)])

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Encoder(self.network)


class _Encoder:
    """Holds back the samples of blocks that are not whole, or of which the samples ahead are missing."""

    def __init__(self, network: VoxS3) -> None:
        self.network = network
        self.state: State | None = None
        self.wav = next(network.parameters()).new_zeros(1, network.config.left)

    def push(self, wav: Tensor) -> Encoded:
        c = self.network.config
        self.wav = torch.cat([self.wav, wav], 1)
        blocks = max(0, self.wav.shape[1] - c.left - c.ahead) // c.block_samples
        if not blocks:
            return Encoded([wav.new_zeros(1, 0, dtype=torch.int64)])
        done = blocks * c.block_samples
        state = self.state or State.empty(c, self.wav)
        codes, self.state = self.network.encode_step(self.wav[:, : c.left + done + c.ahead], state)
        self.wav = self.wav[:, done:].clone()
        return Encoded([codes])

    def finish(self) -> Encoded:
        """The last block is completed with zeros, as offline; its tokens past the end of the sound are dropped."""
        c = self.network.config
        rest = self.wav.shape[1] - c.left
        frames = -(-rest // (4 * c.hop))
        codes = self.push(self.wav.new_zeros(1, -rest % c.block_samples + c.ahead)).codes[0]
        return Encoded([codes[:, :frames]])
