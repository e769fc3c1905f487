"""Spin's objective: each hearing of a clip predicts the codewords that the other one is given, all of them used alike.

Chang, Liu and Glass 2023, arXiv:2305.11072, after SwAV (Caron et al. 2020, arXiv:2006.09882). With one codebook it is Spin's,
with two DC-Spin's. Targets are computed in float32 whatever the network runs in: exp(1/0.02) is beyond half precision.

Letters: B batch, N frames, K codewords.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..tokenizers._units_quantizers import Cosine
from .ssl_clusters import means

EPSILON = 0.02  # of the transport's entropy
ROUNDS = 3  # of Sinkhorn and Knopp
TEMPERATURE = 0.1  # of the predictions
TINY = 1e-30
PER_WORD = 64  # frames that a codeword begins with, on average
START_ROUNDS = 10  # of k-means


class Codebook(Cosine):
    """A projection and its codewords in training; its state is that of the quantiser that is shipped."""

    def logits(self, x: Tensor) -> Tensor:
        """Features (B, N, D) -> cosines with the codewords float32 (B, N, K)."""
        x = self.head[0](x)
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(x.float(), dim=2) @ F.normalize(self.codebook, dim=1).t()

    @torch.no_grad()
    def start(self, x: Tensor, seed: int) -> None:
        """Begin where k-means ends on frames (n, D), without what all of them have in common: steps are not spent on that."""
        head = cast(nn.Linear, self.head[0])
        head.bias.copy_(-(head.weight @ x.float().mean(0)))
        z = F.normalize(head(x[: PER_WORD * len(self.codebook)].float()), dim=1)
        self.codebook.copy_(F.normalize(means(z, len(self.codebook), seed, START_ROUNDS), dim=1))

    @torch.no_grad()
    def normalise(self) -> None:
        """Codewords back to length 1, after a step."""
        self.codebook.copy_(F.normalize(self.codebook, dim=1))


@torch.no_grad()
def sinkhorn(logits: Tensor, valid: Tensor, epsilon: float = EPSILON, rounds: int = ROUNDS) -> Tensor:
    """Targets float32 (B, N, K) of cosines (B, N, K): every frame's sum to 1, and every codeword has about as many as another.

    valid (B, N): 1 for frames of sound; the others take no part and get nothing.
    """
    with torch.autocast(logits.device.type, enabled=False):
        cosines, weight = logits.float(), valid.float()[..., None]
        share = torch.exp((cosines - cosines.amax()) / epsilon) * weight
        share = share / share.sum()
        words, frames = share.shape[2], weight.sum()
        for _ in range(rounds):
            share = share / (share.sum((0, 1), keepdim=True) * words).clamp(min=TINY)
            share = share / (share.sum(2, keepdim=True) * frames).clamp(min=TINY)
        return share * frames


def swapped(first: Tensor, second: Tensor, valid: Tensor) -> Tensor:
    """The loss of two hearings' cosines (B, N, K): the mean over frames of sound, and over both directions."""
    weight = valid.float() / valid.sum().clamp(min=1)
    total = first.new_zeros(())
    for told, asked in ((first, second), (second, first)):
        each = -(sinkhorn(told, valid) * (asked / TEMPERATURE).log_softmax(2)).sum(2)
        total = total + 0.5 * (each * weight).sum()
    return total
