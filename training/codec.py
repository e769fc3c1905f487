"""An acoustic codec as it is trained: its network, its codebooks' moving averages, and its losses in one module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ..core.model import Model
from .losses import CodecLoss
from .quantizer import ResidualQuantizer
from .recipes import Recipe

LATENTS = 64  # clips whose latents are taken at a time


class Trainable(Protocol):
    """What the trainer asks of a codec's network beside `nn.Module`; `Model.build` gives it, `Model.shape` its streams.

    Streams at unequal rates are residual stages at unequal time scales, the highest rate being that of the latent.
    """

    def latent(self, wav: Tensor) -> Tensor:
        """wav (B, whole frames) -> latent (B, N, C), with a gradient."""

    def synthesize(self, latent: Tensor) -> Tensor:
        """latent (B, N, C) -> wav in step with the input, with a gradient."""

    def set_codebooks(self, books: Sequence[Tensor]) -> None:
        """Take over K codebooks (V, C)."""

    def encode(self, wav: Tensor) -> Any:
        """As shipped: wav -> codes."""

    def decode(self, codes: Any) -> Tensor:
        """As shipped: codes -> wav in step with the input."""


class CodecTraining(nn.Module):
    """A `Trainable` network plus the `ResidualQuantizer` that learns its codebooks."""

    def __init__(self, family: type[Model], recipe: Recipe) -> None:
        super().__init__()
        self.codec = family.build(recipe.config)
        shape = family.shape(recipe.config)
        rates = shape["frame_rates"]
        self.quantizer = ResidualQuantizer(
            dim=recipe.config["codebook_dim"],
            sizes=shape["codebook_sizes"],
            steps=[int(max(rates) / rate) for rate in rates],
            vectors=recipe.batch * recipe.frames,
            decay=recipe.codebook_decay,
            dead_code=recipe.dead_code,
        )
        self.loss = CodecLoss(recipe.weights, shape["sample_rate"])

    @property
    def network(self) -> Trainable:
        """The codec, as the trainer sees it."""
        return cast(Trainable, self.codec)

    @torch.no_grad()
    def start_codebooks(self, wav: Tensor) -> None:
        """k-means of all codebooks on the latents of wav (B, T); wants several frames per code."""
        self.quantizer.start(torch.cat([self.network.latent(part) for part in wav.split(LATENTS)]))

    @torch.no_grad()
    def sync(self) -> Trainable:
        """The codec with the codebooks as learnt so far."""
        self.network.set_codebooks(self.quantizer.codebooks)
        return self.network

    def forward(self, wav: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """wav (B, whole frames), keep (B,) streams to keep per clip -> sound of that length, commitment loss.

        All codebooks learn from all clips; only the decoder's input is cut to `keep` streams (quantizer dropout). 0 hands
        it the latent itself: what is still below the quantiser's error gets a gradient only that way (as in Mimi).
        """
        latent = self.network.latent(wav)
        with torch.autocast(wav.device.type, enabled=False):
            latent = latent.float()
            words, commitment = self.quantizer(latent)
            kept = torch.arange(len(words), device=wav.device)[:, None] < keep
            chosen = (words * kept[:, :, None, None]).sum(0)
            rounding = (chosen - latent).detach()  # added without a gradient: straight-through estimator
            passed = latent + rounding * (keep > 0)[:, None, None]
        return self.network.synthesize(passed), commitment

    def losses(self, wav: Tensor, level: Tensor, got: Tensor, commitment: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum and each term, in float32."""
        total, terms = self.loss(got.float(), wav, level)
        terms["commitment"] = commitment.detach()
        return total + self.loss.weights.commitment * commitment, terms
