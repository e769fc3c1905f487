"""The graph of `vox-s3-16k` and its kin: the network as it is, for whole clips and for streams."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..core.model import Model
from ..tokenizers._vox_s3 import Layer, VoxS3, bounded, index
from ..tokenizers.vox_s3 import VoxS3Tokenizer
from .plan import Function, Plan, State

__all__ = ["plan"]

QUIET = -1e30  # in place of minus infinity, which JSON has not: no level is as low


class EncodeStream(nn.Module):
    """wav (B, P block + ahead), states -> codes (B, P block), states.

    States: the samples before wav, blocks so far, the loudest of the last blocks, and of each layer keys, values and the
    convolution's tail.
    """

    def __init__(self, network: VoxS3) -> None:
        super().__init__()
        self.network = network

    def forward(self, wav: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        net, c = self.network, self.network.config
        before, blocks, maxima, rest = states[0], states[1], states[2], states[3:]
        seen = torch.cat([before, wav], 1)
        mel, maxima = net.front.relative(net.front.log_mel(seen), maxima)
        x = net.front(mel)
        count = mel.shape[1]
        place, slot = torch.arange(count, device=wav.device), torch.arange(c.context + 1, device=wav.device)
        mask = slot >= c.context - blocks[:, :, None] - place[:, None]
        kept: list[Tensor] = []
        for i, layer in enumerate(net.layers):
            x, after = cast(Layer, layer)(x, rest[3 * i : 3 * i + 3], mask.repeat_interleave(c.block, 2))
            kept += after
        codes = index(bounded(net.project(net.norm(x)), c.levels), c.levels)
        end = seen.shape[1] - c.ahead
        return codes, seen[:, end - c.left : end], blocks + count, maxima, *kept


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network = cast(VoxS3Tokenizer, model).network
    c, made = network.config, Plan.of(model)
    made.encoder(Function(network.encode, network), frames=3 * c.block)
    blocks = c.layers * c.context + max(c.reference, -(-c.left // c.block_samples))
    made.windows("encoder", blocks * c.block_samples, c.ahead)
    if streaming:
        size = State([c.context * c.block, c.dim])
        states = [State([c.left]), State([1], 0, torch.int64), State([c.reference], QUIET)]
        states += [size, size, State([c.kernel - 1, c.dim])] * c.layers
        made.streams("encoder", EncodeStream(network), states, {"multiple": c.block_samples, "ahead": c.ahead})
    return made
