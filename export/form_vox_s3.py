"""The graphs of `vox-s3-16k` and `vox-dcspin-16k`, which share an encoder: the network as it is, whole clips and streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ..core.model import Model
from ..tokenizers._dcspin import Encoder
from ..tokenizers._vox_s3 import Layer, VoxS3, VoxS3Config, bounded, index
from ..tokenizers.dcspin import VoxDCSpin
from ..tokenizers.vox_s3 import VoxS3Tokenizer
from . import form_units
from .plan import Function, Plan, State

__all__ = ["plan"]

QUIET = -1e30  # in place of minus infinity, which JSON has not: no level is as low


class EncodeStream(nn.Module):
    """wav (B, P block + ahead), states -> codes (B, P block), states.

    States: the samples before wav, blocks so far, the loudest of the last blocks, and of each layer keys, values and the
    convolution's tail.
    """

    def __init__(self, encoder: VoxS3 | Encoder, config: VoxS3Config, choose: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder, self.config, self.choose = encoder, config, choose

    def forward(self, wav: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        net, c = self.encoder, self.config
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
        end = seen.shape[1] - c.ahead
        return self.choose(net.norm(x)), seen[:, end - c.left : end], blocks + count, maxima, *kept


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    if isinstance(model, VoxDCSpin):
        spin = model.network
        return _plan(model, spin.encoder, spin.config.encoder, spin.encode, spin.quantizer, streaming)
    if not isinstance(model, VoxS3Tokenizer):  # units under the codebook of one
        return form_units.plan(model, streaming)
    network = model.network
    c = network.config
    return _plan(model, network, c, network.encode, lambda x: index(bounded(network.project(x), c.levels), c.levels), streaming)


def _plan(
    model: Model,
    encoder: VoxS3 | Encoder,
    c: VoxS3Config,
    encode: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor], Tensor],
    streaming: bool,
) -> Plan:
    """choose: normed features (B, N, D) -> codes (B, N)."""
    made = Plan.of(model)
    made.encoder(Function(encode, model.network), frames=3 * c.block)
    blocks = c.layers * c.context + max(c.reference, -(-c.left // c.block_samples))
    made.windows("encoder", blocks * c.block_samples, c.ahead)
    if streaming:
        size = State([c.context * c.block, c.dim])
        states = [State([c.left]), State([1], 0, torch.int64), State([c.reference], QUIET)]
        states += [size, size, State([c.kernel - 1, c.dim])] * c.layers
        law = {"multiple": c.block_samples, "ahead": c.ahead}
        made.streams("encoder", EncodeStream(encoder, c, choose), states, law)
    return made
