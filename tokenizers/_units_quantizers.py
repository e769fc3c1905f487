"""Features to units: the nearest codeword of k-means, a classifier with a blank (SpiritLM), the most alike codeword (Spin)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Classifier", "Cosine", "KMeans", "Quantizer", "fill_blanks"]


class Quantizer(nn.Module):
    """Features to units."""

    def forward(self, x: Tensor) -> Tensor:
        """x float32 (B, N, D) -> int64 (B, N)."""
        raise NotImplementedError


class KMeans(Quantizer):
    """The codeword at the smallest Euclidean distance; of several, the first."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(size, dim))

    def forward(self, x: Tensor) -> Tensor:
        middle = self.codebook.mean(0)  # about it, for what all frames have in common is large and would round away the rest
        words = self.codebook - middle
        scores = torch.addmm(words.square().sum(1), (x - middle).flatten(0, 1), words.t(), alpha=-2.0)
        return scores.argmin(1).view(x.shape[:2])


class Classifier(Quantizer):
    """SpiritLM's: three linear layers with leaky ReLU between, the most likely of K classes, of which the last is the blank."""

    def __init__(self, dim: int, hidden: Sequence[int], size: int) -> None:
        super().__init__()
        self.blank = size - 1
        parts: list[nn.Module] = []
        for inputs, outputs in zip([dim, *hidden], [*hidden, size], strict=True):
            parts += [nn.Linear(inputs, outputs), nn.LeakyReLU()]
        self.layers = nn.Sequential(*parts[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return fill_blanks(self.layers(x).argmax(2), self.blank)


def fill_blanks(codes: Tensor, blank: int) -> Tensor:
    """codes (B, N) with each blank replaced by the last other code before it, and those at the start by the first after them.

    A clip of blanks alone keeps them. (The published code gives blanks at the start the clip's last unit, for it goes round.)
    """
    place = torch.arange(codes.shape[1], device=codes.device)
    last = torch.where(codes != blank, place, -1).cummax(1).values
    first = (codes != blank).int().argmax(1, keepdim=True)  # 0 where there is none
    return codes.gather(1, torch.where(last < 0, first, last))


class Cosine(Quantizer):
    """Spin's: a head of linear layers with ReLU between, normalised, and the codeword of the largest product with it."""

    def __init__(self, dim: int, hidden: Sequence[int], size: int) -> None:
        super().__init__()
        self.head = nn.ModuleList(map(nn.Linear, [dim, *hidden[:-1]], hidden))
        self.codebook = nn.Parameter(F.normalize(torch.randn(size, hidden[-1]), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.head):
            x = layer(F.relu(x) if i else x)
        return (F.normalize(x, dim=2) @ self.codebook.t()).argmax(2)
