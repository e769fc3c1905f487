"""The graph of `vox-s3-16k` and its kin: the network as it is."""

from __future__ import annotations

from typing import cast

from ..core.model import Model
from ..tokenizers.vox_s3 import VoxS3Tokenizer
from .plan import Function, Plan

__all__ = ["plan"]


def plan(model: Model) -> Plan:
    """See `graphs.plan_of`."""
    network = cast(VoxS3Tokenizer, model).network
    c, made = network.config, Plan.of(model)
    made.encoder(Function(network.encode, network), frames=3 * c.block)
    blocks = c.layers * c.context + max(c.reference, -(-c.left // c.block_samples))
    made.windows("encoder", blocks * c.block_samples, c.ahead)
    return made
