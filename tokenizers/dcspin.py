"""DC-Spin: tokens that say what is said and little of who says it, from two codebooks trained side by side.

Chang et al. 2024, "DC-Spin: A Speaker-invariant Speech Tokenizer for Spoken Language Models", arXiv:2410.24177, for which
neither code nor weights are published; after Spin, Chang, Liu and Glass 2023, arXiv:2305.11072. The frames of an encoder are
clustered so that a clip and the same clip in another voice get the same codeword. A large auxiliary codebook shapes the
encoder, a small primary one makes the tokens; only the second is here, for only it is used once training is over.

Two forms: `VoxDCSpin` is our own small streaming encoder, in blocks of bounded context, for which streaming equals offline;
`DCSpinUnits` is any backbone of `units` (HuBERT, WavLM, ...), trained by `voxzoo train dcspin`. Both stream in chunks of other
sizes without being trained anew, see `chunked`: how far such tokens agree with those of whole clips is measured by
`benchmarks/speaker_invariance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..core.errors import ModelError
from ..core.model import Model
from ..core.streaming import Encoded, EncoderCore
from ._block_stream import BlockEncoder
from ._dcspin import DCSpin, DCSpinConfig
from .units import Units

__all__ = ["DCSpinUnits", "VoxDCSpin"]


class VoxDCSpin(Model):
    """Our own encoder behind Voxzoo's interface. Frames: ceil(T / 320)."""

    network: DCSpin
    decodes = False
    undecodable = "that would need a flow trained on its tokens: `voxzoo train vox-flow-16k --tokenizer` makes one"

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        c = DCSpinConfig.from_dict(config)
        e = c.encoder
        return {
            "sample_rate": e.sample_rate,
            "frame_rates": (Fraction(e.sample_rate, c.step),),
            "codebook_sizes": (c.codebook_size,),
            "latency": (e.block_samples + e.ahead) / e.sample_rate,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> DCSpin:
        """The network with random weights; the first ones are large, or any sound would be the same token."""
        network = DCSpin(DCSpinConfig.from_dict(config))
        with torch.no_grad():
            for layer in (network.encoder.front.first, network.encoder.front.second, network.encoder.front.out):
                layer.weight.mul_(4.0)
        return network

    def chunked(self, seconds: float) -> Self:
        """A model of the same weights that works in blocks of so many seconds: sooner heard, and other tokens near their ends.

        Raises `ModelError` for less than a frame.
        """
        config = self.network.config.chunked(seconds).to_dict()
        network = self.build(config)
        network.load_state_dict(self.network.state_dict())
        return type(self)(self.facts, config, network, str(self.device), str(self.dtype).removeprefix("torch."))

    def frames(self, samples: int) -> tuple[int, ...]:
        """One token for each 320 samples begun."""
        return (-(-samples // self.network.config.step),)

    @property
    def pad_multiple(self) -> int:
        """Samples of a block."""
        return self.network.config.encoder.block_samples

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([self.network.encode(wav)])

    def _open_encoder(self, streams: int) -> EncoderCore:
        return BlockEncoder(self.network, self.network.config.encoder, self.network.config.step)


class DCSpinUnits(Units):
    """A backbone of `units` under a primary codebook; lengths, long clips and batches as in units.py."""

    undecodable: ClassVar[str] = "that would need a unit vocoder or a flow trained on these very tokens"

    def chunked(self, seconds: float) -> Self:
        """A model of the same weights that streams in chunks of so many seconds, with context on both sides.

        Raises `ModelError` for less than a frame.
        """
        if seconds * self.facts.sample_rate < self.network.backbone.hop:
            raise ModelError(f"chunks of {seconds} s; expected at least a frame")
        config = {**self.config, "window": seconds + 2 * self.config["context"]}
        network = self.build(config)
        network.load_state_dict(self.network.state_dict())
        return type(self)(self.facts, config, network, str(self.device), str(self.dtype).removeprefix("torch."))
