"""The graph of GLM-4-Voice's tokenizer: segments of at most 30 s, attention by blocks as a mask."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ExportError
from ..core.model import Model
from ..tokenizers._glm4voice import Network
from ..tokenizers.glm4voice import Glm4Voice
from .plain_mel import PlainLogMel
from .plan import Plan

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), whole tokens; lengths (B,) -> codes (B, N)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.mel = PlainLogMel(network.mels, network.rate, network.n_fft, network.hop)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        net = self.network
        whole = (lengths + net.token - 1) // net.token * net.token
        x = net.stem(self.mel(wav, whole, whole // net.hop), None)
        place = torch.arange(x.shape[1], device=x.device)
        x = x + net.embed_positions(place)
        stop = (place // net.block + 1) * net.block
        held = (lengths + 2 * net.hop - 1) // (2 * net.hop)
        mask = (place < stop[:, None]) & (place < held[:, None])[:, None]
        attend = partial(F.scaled_dot_product_attention, attn_mask=mask[:, None])
        for layer in net.layers:
            x = layer(x, attend)
        pooled = x.unflatten(1, (-1, net.pool)).mean(2)
        distance = net.energy + pooled.pow(2).sum(2, keepdim=True) - 2 * (pooled @ net.codebook.weight.T)
        return distance.argmin(2)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`. Raises `ExportError` for levels that run with the clip."""
    tokenizer = cast(Glm4Voice, model)
    if tokenizer.normalisation != "segment":
        raise ExportError(f"{model.facts.name} exports with normalisation='segment' only, as published")
    made = Plan.of(model)
    made.padding = {"multiple": tokenizer.network.token, "span": 1, "more": 0}
    made.encoder(Encode(tokenizer.network), lengths=True)
    made.long["encoder"] = {"kind": "cuts", "samples": tokenizer.segment}
    return made
