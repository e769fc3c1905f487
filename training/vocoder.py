"""A vocoder as it is trained: log-mel in, sound out, compared where it can be known, that is, but for the phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.decoder import decoder_class
from ..core.decoders import decoder_entry
from ..core.vocoder import Vocoder
from .losses import CodecLoss
from .recipes import Recipe
from .trainee import Batches, Trainee

START_BATCHES = 8  # that the mean and the spread of the mel are taken from


class VocoderTraining(Trainee):
    """A network from log-mel (B, M, F) to wav (B, hop F), and its losses."""

    def __init__(self, family: type[Vocoder], recipe: Recipe) -> None:
        super().__init__()
        self.network = family.build(recipe.config)
        self.mel = family.front_end(recipe.config)
        self.hop = self.mel.hop
        self.loss = CodecLoss(recipe.weights, self.mel.sample_rate, recipe.resolutions)

    @classmethod
    def of(cls, recipe: Recipe) -> VocoderTraining:
        """Of the family whose registry entry the recipe names."""
        return cls(_family(recipe.model), recipe)

    @property
    def trained(self) -> nn.Module:
        """The vocoder's network."""
        return self.network

    @torch.no_grad()
    def start(self, batches: Batches) -> None:
        """Mean and spread of each band of the mel, for a network that has them."""
        tensors = dict(self.network.named_buffers())
        if "mean" not in tensors:
            return
        mel = torch.cat([self.mel(batches(i)) for i in range(START_BATCHES)]).transpose(0, 1).flatten(1)
        tensors["mean"].copy_(mel.mean(1))
        tensors["scale"].copy_(mel.std(1))

    def attempt(self, wav: Tensor, rng: np.random.Generator, factor: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The sound of the clip's own log-mel."""
        with torch.autocast(wav.device.type, enabled=False):
            mel = self.mel(wav)
        return self.network(mel), {}

    def losses(self, wav: Tensor, level: Tensor, got: Tensor, own: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction."""
        return self.loss(got.float(), wav, level)

    def validate(self, wav: Tensor, level: Tensor) -> dict[str, Tensor]:
        """As in training: the network is shipped as it is."""
        terms: dict[str, Tensor] = self.loss(self.network(self.mel(wav)), wav, level)[1]
        return terms

    def shipped(self) -> nn.Module:
        """The vocoder's network."""
        return self.network

    @classmethod
    def exported(cls, name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
        """The vocoder's network."""
        network = _family(name).build(config)
        network.load_state_dict({key.removeprefix("network."): value for key, value in state.items()})
        return network


def _family(name: str) -> type[Vocoder]:
    family = decoder_class(decoder_entry(name))
    assert issubclass(family, Vocoder), name  # the recipes name no other
    return family
