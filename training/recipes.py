"""The recipes `voxzoo train` knows, by the name of the model each one makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..codecs.rvq import RVQConfig
from ..core.errors import UnknownModelError
from .losses import LossWeights


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs beside the data, the seed and the time it may take."""

    config: RVQConfig
    weights: LossWeights = field(default_factory=LossWeights)
    frames: int = 64  # per segment (20 ms each)
    batch: int = 6  # segments per step; batch x frames is the number of vectors the codebooks see
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay_from: float = 0.45  # share of the run after which the learning rate falls, in a straight line, to zero
    clip: float = 5.0  # gradient norm
    codebook_decay: float = 0.98  # of the codebooks' moving averages
    dead_code: float = 0.2  # x the mean count per code and step: codes below are replaced
    kmeans_batches: int = 24  # batches the codebooks start from
    keep: tuple[tuple[int, float], ...] = ((1, 0.05), (2, 0.07), (4, 0.13), (8, 0.75))  # (streams, probability)
    unquantized: float = 0.25  # share of segments that reach the decoder unquantised; falls with the learning rate
    boost: dict[str, float] = field(default_factory=dict)  # sampling weight of clips whose name holds the key
    minutes: float = 96.0  # default length of a run
    adversarial: bool = False  # a small multi-scale STFT discriminator in the last stretch; pays off on a GPU only
    adversarial_from: float = 0.5  # share of the run after which it acts
    adversarial_weight: float = 0.1
    matching_weight: float = 0.5


RECIPES: dict[str, Recipe] = {
    "vox-rvq-16k": Recipe(RVQConfig(), boost={"librispeech": 4.0}),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name, or an error that lists them."""
    if name not in RECIPES:
        raise UnknownModelError(f"no recipe named {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]
