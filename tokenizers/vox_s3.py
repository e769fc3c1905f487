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

from torch import Tensor

from ..core.model import Model
from ..core.streaming import Encoded, EncoderCore
from ._block_stream import BlockEncoder
from ._vox_s3 import VoxS3, VoxS3Config

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
        return BlockEncoder(self.network, self.network.config, 4 * self.network.config.hop)
