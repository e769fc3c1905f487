"""Recipes of speaker-invariant tokens: the stages, one after another, and what each is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..core.errors import ModelError, UnknownModelError
from .augment import Hardness
from .perturb import Strength

QUIET = Hardness(noise=0.0, snr=(0.0, 0.0), room=0.0, shift=0.0, semitones=0.0, channel=0.0, masks=0)
SOME_NOISE = replace(QUIET, noise=0.5, snr=(5.0, 30.0), room=0.2)
NOISE = replace(QUIET, noise=0.7, snr=(5.0, 30.0), room=0.3)


@dataclass(frozen=True)
class Stage:
    """What every stage is told.

    Attributes:
        name: of its folder.
        share: of the run's time or steps.
        learning_rate: falls in a straight line to zero from `decay_from` of the stage on.
        noise: what a clip is heard in.
        drop: of dropout.
    """

    name: str
    share: float
    learning_rate: float
    warmup_steps: int = 100
    decay_from: float = 0.4
    weight_decay: float = 0.01
    clip: float = 5.0  # gradient norm
    noise: Hardness = SOME_NOISE
    drop: float = 0.1


@dataclass(frozen=True)
class MaskedStage(Stage):
    """Masked prediction (Hsu et al. 2021, HuBERT): sound is hidden, and what stood there is to be named.

    Attributes:
        targets: "cepstra", clusters of k-means on these, or "codes", the codewords of the stage before (Chang et al. 2024).
        clusters: of cepstra.
        span: frames hidden at once.
        begin: chance of a frame to begin a span.
        seen: weight of naming the frames that are not hidden, from which short trainings learn the more.
    """

    targets: str = "cepstra"
    clusters: int = 200
    span: int = 10
    begin: float = 0.06
    seen: float = 1.0


@dataclass(frozen=True)
class PhonesStage(Stage):
    """Recognition of phones: connectionist temporal classification, and frames where the times of phones are known.

    Attributes:
        ctc, frames: weights.
        span, begin: of hidden sound, as for masked prediction.
    """

    ctc: float = 1.0
    frames: float = 1.0
    span: int = 10
    begin: float = 0.02


@dataclass(frozen=True)
class SpinStage(Stage):
    """Speaker-invariant clustering.

    Attributes:
        codebooks: sizes; of the first the tokens are made, the others shape the encoder (DC-Spin has one of them).
        hidden: channels of the projections.
        frozen: layers that do not learn, and all below them.
        voice: how far the second hearing's voice is changed; None leaves the voice as it is.
        beside: whether k-means of as many clusters is learnt on the encoder as it came, to compare with.
        phones: weight of still naming the phones of frames, in both hearings, so that they are not forgotten for the sake of
            what is alike; 0 for Spin's objective alone, as published.
    """

    codebooks: tuple[int, ...] = (500, 2048)
    hidden: int = 256
    frozen: int = 3
    voice: Strength | None = field(default_factory=Strength)
    beside: bool = True
    phones: float = 0.0


@dataclass(frozen=True)
class SpinRecipe:
    """Everything a run needs beside the data, the seed and the time it may take."""

    model: str
    stages: tuple[Stage, ...]
    seconds: float = 60.0  # of sound in a step, padding included: what two CPU cores take
    gpu_seconds: float = 240.0  # the same on a GPU
    longest: float = 20.0  # seconds of a clip; longer ones are left out
    minutes: float = 120.0
    valid_every: int = 500  # steps
    valid_seconds: float = 300.0  # of held-out sound that is scored


RECIPES = {
    "vox-dcspin-16k": SpinRecipe(
        "vox-dcspin-16k",
        (
            MaskedStage("cepstra", 0.14, 1.5e-3),
            SpinStage("first", 0.07, 1e-3, codebooks=(256,), frozen=0, beside=False, noise=NOISE),
            MaskedStage("codes", 0.15, 1e-3, targets="codes"),
            PhonesStage("phones", 0.36, 1e-3),
            SpinStage("spin", 0.28, 5e-4, noise=NOISE, frozen=5, phones=1.0),
        ),
    ),
    "dcspin": SpinRecipe(
        "dcspin",
        (
            PhonesStage("phones", 0.4, 1e-4, begin=0.0, warmup_steps=1000),
            SpinStage("spin", 0.6, 1e-4, codebooks=(500, 4096), frozen=10, warmup_steps=2500, noise=QUIET),
        ),
        minutes=600.0,
    ),
}


def find_recipe(name: str) -> SpinRecipe:
    """The recipe of this name, or an error that lists them."""
    if name not in RECIPES:
        raise UnknownModelError(f"no recipe named {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def with_stages(recipe: SpinRecipe, names: list[str]) -> SpinRecipe:
    """Only these stages, their shares made to sum to one; without that of phones Spin's asks for none of them either.

    Raises `ModelError` for a name that is not there.
    """
    known = [stage.name for stage in recipe.stages]
    if not names or set(names) - set(known):
        raise ModelError(f"stages {', '.join(names) or 'none'}; {recipe.model} has {', '.join(known)}, of which some or all")
    kept = [stage for stage in recipe.stages if stage.name in names]
    if not any(isinstance(stage, PhonesStage) for stage in kept):
        kept = [replace(stage, phones=0.0) if isinstance(stage, SpinStage) else stage for stage in kept]
    whole = sum(stage.share for stage in kept)
    return replace(recipe, stages=tuple(replace(stage, share=stage.share / whole) for stage in kept))


def with_spin(recipe: SpinRecipe, *, single: bool = False, voice: bool = True, size: int | None = None) -> SpinRecipe:
    """The last stage with one codebook instead of two, without another voice, or with a primary codebook of another size."""
    stages = list(recipe.stages)
    last = stages[-1]
    if not isinstance(last, SpinStage):
        raise ModelError(f"the last stage is {last.name!r}; codebooks and voices belong to one of Spin's")
    books = (size or last.codebooks[0], *(() if single else last.codebooks[1:]))
    stages[-1] = replace(last, codebooks=books, voice=last.voice if voice else None)
    return replace(recipe, stages=tuple(stages))
