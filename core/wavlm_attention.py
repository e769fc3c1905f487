"""WavLM's attention in memory that grows with the length of a clip, where that of `transformers` grows with its square.

Chen et al. 2022, "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", arXiv:2110.13900. Queries
are taken some at a time, and the bias of a distance is looked up once for each distance and not for each pair of frames.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["WavLMAttention", "with_lean_attention"]

SCORES = (1 << 22, 1 << 27)  # attention scores held at once, on a CPU, in whose cache they stay, and elsewhere


class WavLMAttention(nn.Module):
    """In place of the one of `transformers`, with its parameters; the position bias handed on is (H, 2 N - 1)."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        for name, module in theirs.named_children():
            self.add_module(name, module)
        self.gru_rel_pos_const = cast(nn.Parameter, theirs.gru_rel_pos_const)
        self.heads = cast(int, theirs.num_heads)
        self.distance = cast(int, theirs.max_distance)

    def forward(
        self, hidden_states: Tensor, attention_mask: None = None, position_bias: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None, Tensor]:
        """hidden_states (B, N, D) -> the same shape, nothing, and the bias for the layers that follow."""
        x = hidden_states
        bias = self._biases(x.shape[1]) if position_bias is None else position_bias
        q, k, v = (self._heads(name, x) for name in ("q_proj", "k_proj", "v_proj"))
        # Queries go last to first: then the biases of one after another are `bias` shifted by one, which is a view.
        query, gate, shifted = q.flip(2), self._gate(x).flip(2), bias.unfold(1, x.shape[1], 1)
        most = SCORES[0] if x.device.type == "cpu" else SCORES[1]
        rows = max(1, most // (len(x) * self.heads * x.shape[1]))
        parts = []
        for i in range(0, x.shape[1], rows):
            mask = (gate[:, :, i : i + rows] * shifted[:, i : i + rows]).to(query.dtype)
            parts.append(F.scaled_dot_product_attention(query[:, :, i : i + rows], k, v, attn_mask=mask))
        y = self.get_submodule("out_proj")(torch.cat(parts, 2).flip(2).transpose(1, 2).flatten(2))
        return y, None, bias

    def _heads(self, name: str, x: Tensor) -> Tensor:
        """x (B, N, D) through one matrix, as (B, H, N, D / H)."""
        return self.get_submodule(name)(x).unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _gate(self, x: Tensor) -> Tensor:
        """What each query (B, H, N, 1) multiplies the biases by."""
        each = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        one, other = self.get_submodule("gru_rel_pos_linear")(each).unflatten(3, (2, 4)).sum(4).sigmoid().chunk(2, 3)
        return cast(Tensor, one * (other * self.gru_rel_pos_const - 1.0) + 2.0)

    def _biases(self, frames: int) -> Tensor:
        """Of the distances 1 - N to N - 1: (H, 2 N - 1)."""
        table = cast(nn.Embedding, self.get_submodule("rel_attn_embed"))
        half = table.num_embeddings // 2
        exact = half // 2
        ahead = torch.arange(1 - frames, frames, device=table.weight.device)
        distance = ahead.abs()
        far = (distance.clamp(min=1).float() / exact).log() / math.log(self.distance / exact) * (half - exact) + exact
        bucket = torch.where(distance < exact, distance, far.long().clamp(max=half - 1)) + half * (ahead > 0)
        return table(bucket).t().contiguous()


def with_lean_attention(encoder: nn.Module) -> None:
    """Every attention of a WavLM encoder of `transformers` replaced, its parameters kept."""
    for layer in cast(nn.ModuleList, encoder.layers):
        layer.attention = WavLMAttention(cast(nn.Module, layer.attention))
