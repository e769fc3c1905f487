"""The streaming encoder of our own tokenizers, whose networks go by blocks of sound: `vox-s3-16k` and `vox-dcspin-16k`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.streaming import Encoded
from ._vox_s3 import State, VoxS3Config

__all__ = ["BlockEncoder"]


class BlockEncoder:
    """Holds back the samples of blocks that are not whole, or of which the samples ahead are missing."""

    def __init__(self, network: Any, config: VoxS3Config, step: int) -> None:
        """network: has `encode_step`. config: of its blocks. step: samples of a token."""
        self.network, self.config, self.step = network, config, step
        self.state: State | None = None
        self.wav = next(network.parameters()).new_zeros(1, config.left)

    def push(self, wav: Tensor) -> Encoded:
        """wav (1, T) -> tokens of the blocks that are whole now."""
        c = self.config
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
        c = self.config
        rest = self.wav.shape[1] - c.left
        frames = -(-rest // self.step)
        codes = self.push(self.wav.new_zeros(1, -rest % c.block_samples + c.ahead)).codes[0]
        return Encoded([codes[:, :frames]])
