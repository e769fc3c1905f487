"""An acoustic codec as it is trained: its network, its codebooks' moving averages, and its losses in one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import VoxzooError
from ..core.model import Model
from ..core.registry import entry, model_class
from .losses import CodecLoss
from .quantizer import ResidualQuantizer
from .recipes import Recipe
from .start import start_weights
from .trainee import Batches, Trainee

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


class CodecTraining(Trainee):
    """A `Trainable` network plus the `ResidualQuantizer` that learns its codebooks."""

    def __init__(self, family: type[Model], recipe: Recipe) -> None:
        super().__init__()
        self.codec = family.build(recipe.config)
        shape = family.shape(recipe.config)
        rates = shape["frame_rates"]
        self.recipe = recipe
        self.hop = int(shape["sample_rate"] / max(rates))
        self.quantizer = ResidualQuantizer(
            dim=recipe.config["codebook_dim"],
            sizes=shape["codebook_sizes"],
            steps=[int(max(rates) / rate) for rate in rates],
            vectors=recipe.batch * recipe.frames,
            decay=recipe.codebook_decay,
            dead_code=recipe.dead_code,
        )
        self.loss = CodecLoss(recipe.weights, shape["sample_rate"])

    @classmethod
    def of(cls, recipe: Recipe) -> CodecTraining:
        """Of the family whose registry entry the recipe names."""
        return cls(model_class(entry(recipe.model)), recipe)

    @property
    def trained(self) -> nn.Module:
        """The codec."""
        return self.codec

    @property
    def network(self) -> Trainable:
        """The codec, as the trainer sees it."""
        return cast(Trainable, self.codec)

    def start(self, batches: Batches) -> None:
        """Weights of the model to start from, if any; codebooks by k-means on the first latents, several frames per code."""
        r = self.recipe
        if r.start_from is not None:
            start_weights(self.codec, r.start_from)
        frames = r.frames * r.batch * r.kmeans_batches
        for size, step in zip(self.quantizer.sizes, self.quantizer.steps, strict=True):
            if frames < size * step:
                raise VoxzooError(f"{frames // step} vectors are too few to start {size} codes from")
        self.start_codebooks(torch.cat([batches(i) for i in range(r.kmeans_batches)]))

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

    def keep(self, rng: np.random.Generator, clips: int, unquantized: float) -> Tensor:
        """Streams kept for each clip (B,); 0, with the probability `unquantized`, is the latent unquantised."""
        streams, chances = zip(*self.recipe.keep, strict=True)
        kept = rng.choice(streams, clips, p=chances)
        kept[rng.random(clips) < unquantized] = 0
        return torch.from_numpy(kept)

    def attempt(self, wav: Tensor, rng: np.random.Generator, factor: float) -> tuple[Tensor, dict[str, Tensor]]:
        """With as many streams for each clip as chance has it."""
        keep = self.keep(rng, len(wav), self.recipe.unquantized * factor)
        got, commitment = self(wav, keep.to(wav.device))
        return got, {"commitment": commitment}

    def losses(self, wav: Tensor, level: Tensor, got: Tensor, own: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and commitment."""
        total, terms = self.loss(got.float(), wav, level)
        return total + self.loss.weights.commitment * own["commitment"], {**terms, **own}

    def validate(self, wav: Tensor, level: Tensor) -> dict[str, Tensor]:
        """With all streams."""
        codec = self.sync()
        terms: dict[str, Tensor] = self.loss(codec.decode(codec.encode(wav)), wav, level)[1]
        return terms

    def shipped(self) -> nn.Module:
        """The codec with the codebooks as learnt so far."""
        self.sync()
        return self.codec

    @classmethod
    def exported(cls, name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
        """The codec with its codebooks, without the rest of what trained it."""
        family = model_class(entry(name))
        codec = family.build(config)
        codec.load_state_dict({key.removeprefix("codec."): value for key, value in state.items() if key.startswith("codec.")})
        streams = len(family.shape(config)["codebook_sizes"])
        cast(Trainable, codec).set_codebooks([state[f"quantizer.layers.{k}._codebook.embed"][0] for k in range(streams)])
        return codec
