"""The acoustic codec as it is trained: the codec, its codebooks' moving averages, and its losses in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from ..codecs.rvq import RVQCodec, RVQConfig
from .losses import CodecLoss, LossWeights


class CodecTraining(nn.Module):
    """`RVQCodec` plus a `ResidualVQ` (k-means start, moving averages, dead codes replaced) that learns its codebooks."""

    def __init__(self, config: RVQConfig, weights: LossWeights, decay: float, dead_code: float) -> None:
        """decay: of the moving averages; dead_code: count per batch below which a code is replaced."""
        super().__init__()
        self.codec = RVQCodec(config)
        self.quantizer = ResidualVQ(
            dim=config.codebook_dim,
            num_quantizers=config.streams,
            codebook_size=config.codebook_size,
            kmeans_init=True,
            decay=decay,
            threshold_ema_dead_code=dead_code,
            rotation_trick=False,
        )
        self.loss = CodecLoss(weights, config.sample_rate)

    @torch.no_grad()
    def start_codebooks(self, wav: Tensor) -> None:
        """k-means of all codebooks on the latents of wav (B, T); wants several frames per code."""
        self.quantizer(self.codec.encoder(wav)[0])

    @torch.no_grad()
    def sync(self) -> RVQCodec:
        """The codec with the codebooks as learnt so far."""
        self.codec.codebooks.copy_(self.quantizer.codebooks)
        return self.codec

    def forward(self, wav: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """wav (B, 320 N), keep (B,) streams to keep per clip -> sound (B, 320 N), commitment loss.

        All codebooks learn from all clips; only the decoder's input is cut to `keep` streams (quantizer dropout). 0 hands
        it the latent itself: what is still below the quantiser's error gets a gradient only that way (as in Mimi).
        """
        latent, _ = self.codec.encoder(wav)
        with torch.autocast(wav.device.type, enabled=False):
            latent = latent.float()
            _, _, commitment, words = self.quantizer(latent, return_all_codes=True)
            kept = torch.arange(len(words), device=wav.device)[:, None] < keep
            chosen = (words * kept[:, :, None, None]).sum(0)
            rounding = (chosen - latent).detach()  # added without a gradient: straight-through estimator
            passed = latent + rounding * (keep > 0)[:, None, None]
        return self.codec.synthesize(passed), commitment.mean()

    def losses(self, wav: Tensor, level: Tensor, got: Tensor, commitment: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum and each term, in float32."""
        total, terms = self.loss(got.float(), wav, level)
        terms["commitment"] = commitment.detach()
        return total + self.loss.weights.commitment * commitment, terms
