"""A residual quantizer as it is trained: k-means start, moving averages, dead codes replaced; each at its own time scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from ..codecs.rvq import pooled, repeated


class ResidualQuantizer(nn.Module):
    """K codebooks that learn from what they quantize (Zeghidour et al. 2021; time scales: Siuzdak et al. 2024, SNAC).

    Stage k averages what the stages before it left over its `steps[k]` frames, codes the mean, and takes the codeword from
    all of these frames. A stage with fewer vectors per training step remembers as many more steps.
    """

    def __init__(
        self, dim: int, sizes: Sequence[int], steps: Sequence[int], vectors: int, decay: float, dead_code: float
    ) -> None:
        """vectors: frames per training step; decay: of the moving averages of a stage that codes every frame; dead_code: share
        of the mean count per code below which a code is replaced."""
        super().__init__()
        self.sizes, self.steps = tuple(sizes), tuple(steps)
        self.layers = nn.ModuleList(
            VectorQuantize(
                dim=dim,
                codebook_size=size,
                kmeans_init=True,
                decay=decay ** (1 / step),
                threshold_ema_dead_code=dead_code * vectors / (size * step),
                rotation_trick=False,
            )
            for size, step in zip(sizes, steps, strict=True)
        )

    @property
    def codebooks(self) -> list[Tensor]:
        """K codebooks (V, C)."""
        return [layer.codebook for layer in self.layers]  # type: ignore[misc]

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        """k-means of all codebooks on latent (B, N, C); every stage on about as many vectors as the slowest one has."""
        left = latent
        for layer, step in zip(self.layers, self.steps, strict=True):
            left = left[: max(1, len(latent) * step // max(self.steps))]
            left = left - repeated(layer(pooled(left, step))[0], step)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """latent (B, N, C) -> the codewords of each stage at the frame rate (K, B, N, C), without gradient; the mean
        commitment loss."""
        words, losses = [], []
        left = latent
        for layer, step in zip(self.layers, self.steps, strict=True):
            word, codes, loss = layer(pooled(left, step))
            left = left - repeated(word.detach(), step)
            words.append(repeated(F.embedding(codes, layer.codebook), step))  # type: ignore[arg-type]
            losses.append(loss.mean())
        return torch.stack(words).detach(), torch.stack(losses).mean()
