"""The recipes `voxzoo train` knows, by the name of the model each one makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.decoders import decoder_entry
from ..core.errors import UnknownModelError
from ..core.registry import entry
from .losses import SIZES, LossWeights, Sizes


@dataclass(frozen=True)
class Start:
    """The model a run starts from. Its codebooks are not taken over: those are made anew, by k-means.

    Attributes:
        model: a registry name or a model folder.
        layers: name of a list of residual layers -> those of them that are kept, in their order; others are kept whole.
        latent: names of the linear maps into the latent and out of it, which may be made narrower.
    """

    model: str
    layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    latent: tuple[str, str] | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs beside the data, the seed and the time it may take."""

    model: str  # registry name; its family builds the network, and the trained folder carries it
    config: Mapping[str, Any]  # the family's; of a codec, `codebook_dim` in it is the width of the latent
    trainee: str = "codec"  # or "vocoder"; codebooks, streams and the model to start from are a codec's alone
    weights: LossWeights = field(default_factory=LossWeights)
    start_from: Start | None = None  # None: random weights
    resolutions: Sizes = SIZES
    frames: int = 64  # per segment, at the rate of the latent or of the mel
    batch: int = 6  # segments per step; batch x frames is the number of vectors the codebooks see
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay_from: float = 0.45  # share of the run after which the learning rate falls, in a straight line, to zero
    clip: float = 5.0  # gradient norm
    codebook_decay: float = 0.98  # of the codebooks' moving averages, at the rate of the latent
    dead_code: float = 0.2  # x the mean count per code and step: codes below are replaced
    kmeans_batches: int = 24  # batches the codebooks start from
    keep: tuple[tuple[int, float], ...] = ((1, 0.05), (2, 0.07), (4, 0.13), (8, 0.75))  # (streams, probability)
    unquantized: float = 0.25  # share of segments that reach the decoder unquantised; falls with the learning rate
    boost: dict[str, float] = field(default_factory=dict)  # sampling weight of clips whose name holds the key
    minutes: float = 96.0  # default length of a run
    adversarial: bool = False  # small discriminators in the last stretch; pays off on a GPU only
    critic_periods: tuple[int, ...] = ()  # beside the spectra: in samples, how the wave is folded
    adversarial_from: float = 0.5  # share of the run after which it acts
    adversarial_weight: float = 0.1
    matching_weight: float = 0.5

    @property
    def sample_rate(self) -> int:
        """Hz."""
        rate: int = {**self.config.get("mel", {}), **self.config}["sample_rate"]
        return rate


# What each recipe changes, by the name of its model; the configuration is the registry's.
RECIPES: dict[str, dict[str, Any]] = {
    "vox-rvq-16k": {"boost": {"librispeech": 4.0}},
    "vox-snac-16k": {
        "boost": {"librispeech": 4.0},
        "start_from": Start(
            "vox-rvq-16k", {"encoder.blocks": (0, 1, 3), "decoder.blocks": (0, 1, 4)}, ("encoder.out", "decoder.embed")
        ),
        "weights": LossWeights(commitment=0.01),  # a narrower latent is of three times the size
        "codebook_decay": 0.995,
        "kmeans_batches": 176,
        "keep": ((1, 0.07), (2, 0.13), (3, 0.8)),
        "minutes": 80.0,
    },
    "vox-hifigan-16k": {
        "trainee": "vocoder",
        "boost": {"librispeech": 4.0},
        # phases cannot be told from a mel; short windows see instead how the harmonics' phases go together
        "weights": LossWeights(magnitude=1.0, complex=0.0),
        "resolutions": (
            (2048, 512, 128),
            (1024, 256, 80),
            (512, 128, 64),
            (256, 64, 32),
            (128, 32, 16),
            (64, 16, 8),
        ),
        "frames": 48,
        "batch": 32,
        "betas": (0.8, 0.99),
        "decay_from": 0.5,
        "adversarial": True,
        "adversarial_weight": 0.2,
        "matching_weight": 2.0,
        "critic_periods": (2, 3, 5, 7, 11),
        "minutes": 8.0,
    },
    "soundstream-16k": {"boost": {"librispeech": 4.0}, "learning_rate": 3e-4, "minutes": 600.0},
}


def find_recipe(name: str, start_from: str | None = None) -> Recipe:
    """The recipe of this name, or an error that lists them. start_from: another model to start from than the recipe's."""
    if name not in RECIPES:
        raise UnknownModelError(f"no recipe named {name!r}; there are: {', '.join(sorted(RECIPES))}")
    find = decoder_entry if RECIPES[name].get("trainee") == "vocoder" else entry
    recipe = Recipe(name, dict(find(name).config), **RECIPES[name])
    if start_from is None:
        return recipe
    return replace(recipe, start_from=replace(recipe.start_from or Start(start_from), model=start_from))
