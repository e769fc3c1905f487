"""What the trainer asks of a network with all that trains it: codec, vocoder, or whatever else turns sound into sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from .recipes import Recipe

Batches = Callable[[int], Tensor]


class Trainee(nn.Module, ABC):
    """A network, its losses, and whatever else a checkpoint must hold of it.

    Attributes:
        hop: samples of one of the frames that a recipe counts segments in.
    """

    hop: int

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The part that learns by gradient."""

    @abstractmethod
    def start(self, batches: Batches) -> None:
        """Before the first step; batches(i) is wav (B, T), no step's own."""

    @abstractmethod
    def attempt(self, wav: Tensor, rng: np.random.Generator, factor: float) -> tuple[Tensor, dict[str, Tensor]]:
        """wav (B, T) -> sound of that length, and losses of the trainee's own. factor: of the learning rate, 0 to 1."""

    @abstractmethod
    def losses(self, wav: Tensor, level: Tensor, got: Tensor, own: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum and each term, in float32, of what `attempt` gave; level (B,) is the RMS of active speech."""

    @abstractmethod
    def validate(self, wav: Tensor, level: Tensor) -> dict[str, Tensor]:
        """Terms of the loss with the network as it would be shipped, in eval mode and without gradients."""

    @abstractmethod
    def shipped(self) -> nn.Module:
        """The network whose weights are exported, brought up to date."""

    @classmethod
    @abstractmethod
    def of(cls, recipe: Recipe) -> Trainee:
        """As the recipe says, with random weights."""

    @classmethod
    @abstractmethod
    def exported(cls, name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
        """The network to export, out of a checkpoint's state dict of the trainee."""
