"""Training `vox-flow-16k`: from a tokenizer's tokens and a voice to log-mel frames, by conditional flow matching.

The steps never wait for the device: terms of the loss are summed there, and read once in fifty steps.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.decoders import decoder_entry
from ..core.errors import VoxzooError
from ..core.loading import check_device, load
from ..core.mel import LogMel
from ..core.model import Model
from ..decoders._flow_ode import cosine, straight_path
from ..decoders._flow_sampling import sample
from ..decoders._flow_vox import Condition, FlowConfig, FlowNetwork
from .checkpoint import export_weights, load_checkpoint, parameter_groups
from .curves import require_matplotlib
from .data import held_out, prepare
from .flow_data import Bank, Batch, Cuts, check_tokenizer, fill, read_speakers, tokenize
from .run import PRECISIONS, pick_precision
from .schedule import Budget, rate_factor
from .trainer import loop

__all__ = ["FlowRecipe", "FlowRun", "export_flow", "train_flow"]

log = logging.getLogger(__name__)
NAME = "vox-flow-16k"
VOCODER = "vox-hifigan-16k"  # whose mel is learnt
FRAME = 0.02  # seconds of a frame, in which several of a finer mel lie side by side
VALID_BATCHES = 4
VOICES = 8  # batches of voices among which the one is chosen that speaks where nobody is named


@dataclass(frozen=True)
class FlowRecipe:
    """Everything a run needs beside the data, the tokenizer, the seed and the time it may take."""

    config: FlowConfig = field(default_factory=FlowConfig)
    tokens: int = 80  # of a cut
    reference: tuple[float, float] = (1.5, 4.0)  # fewest and most seconds that tell the voice
    batch: int = 16
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 200
    decay_from: float = 0.4  # share of the run after which the learning rate falls, in a straight line, to zero
    clip: float = 1.0  # gradient norm
    average: float = 0.999  # of the weights that are kept, a moving average
    guess_weight: float = 1.0  # of the encoder's first guess
    unconditional: float = 0.2  # share of cuts of which the estimator is told nothing
    hidden_tokens: float = 0.05  # share of tokens that the encoder is not shown
    chunks: tuple[tuple[int, float], ...] = ((0, 0.4), (8, 0.15), (16, 0.3), (32, 0.15))  # (tokens, probability); 0: the whole
    boost: dict[str, float] = field(default_factory=lambda: {"librispeech": 6.0})  # sampling weight by part of the name
    minutes: float = 60.0  # default length of a run


class FlowRun:
    """Network, its moving average, optimiser, step and history of one run."""

    def __init__(
        self, recipe: FlowRecipe, bank: Bank, speakers: Sequence[str], weights: tuple[np.ndarray, np.ndarray, np.ndarray],
        device: str, seed: int, precision: str = "auto",
    ) -> None:  # fmt: skip
        """weights: probabilities of the clips for training, for validation, and for the default voice."""
        torch.manual_seed(seed)
        self.recipe, self.device, self.seed = recipe, device, seed
        self.precision = _precision(precision, device)
        rate = LogMel.from_dict(recipe.config.mel).rate / recipe.config.stack
        sizes = (round(recipe.reference[0] * rate), round(recipe.reference[1] * rate))
        self.cuts, self.valid, self.voices = (
            Cuts(bank, speakers, chances, recipe.tokens, recipe.batch, sizes, seed + i) for i, chances in enumerate(weights)
        )
        self.network = FlowNetwork(recipe.config).to(device)
        mean, deviation = bank.statistics()
        self.network.mean.copy_(mean.half())  # as they will be stored
        self.network.deviation.copy_(deviation.half())
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        groups = parameter_groups(self.network, recipe.weight_decay)
        fused = torch.device(device).type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=fused)
        self.step = 0
        self.minutes = 0.0
        self.history: list[dict[str, Any]] = []

    def losses(
        self, network: FlowNetwork, batch: Batch, t: Tensor, noise: Tensor, chunk: int, dropped: Tensor | None
    ) -> dict[str, Tensor]:
        """Mean squared errors of the velocity and of the encoder's guess; dropped (B,): cuts told nothing."""
        r = self.recipe
        data = network.normalise(batch.mel)
        mask = (batch.codes >= 0).repeat_interleave(r.config.frames_per_token, 1)[..., None].to(data.dtype)
        at, wanted = straight_path(data, noise, t[:, None, None])
        hidden = None if dropped is None else torch.rand(batch.codes.shape, device=t.device) < r.hidden_tokens
        dtype = PRECISIONS[self.precision]
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32):
            speaker = network.embed(batch.reference, batch.reference_lengths)
            guess, frames = network.encoder(batch.codes, speaker, hidden)
            known = Condition(guess, frames, speaker)
            velocity = network.estimator(at, t, known if dropped is None else known.without(dropped), mask, chunk)
        total = mask.sum() * data.shape[2]
        return {
            "flow": ((velocity.float() - wanted).square() * mask).sum() / total,
            "guess": ((guess.float() - data).square() * mask).sum() / total,
        }

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss, on the device."""
        r = self.recipe
        rate = r.learning_rate * rate_factor(self.step, done, r.warmup_steps, r.decay_from)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.cuts.batch(self.step)
        rng = np.random.default_rng((self.seed, self.step, 1))
        sizes, chances = zip(*r.chunks, strict=True)
        chunk = r.config.frames_per_token * int(rng.choice(sizes, p=chances))
        even = torch.arange(r.batch, device=self.device) + torch.rand(r.batch, device=self.device)
        dropped = torch.rand(r.batch, device=self.device) < r.unconditional
        terms = self.losses(self.network, batch, cosine(even / r.batch), torch.randn_like(batch.mel), chunk, dropped)
        self.optimizer.zero_grad(set_to_none=True)
        (terms["flow"] + r.guess_weight * terms["guess"]).backward()
        terms["gradient"] = torch.nn.utils.clip_grad_norm_(self.network.parameters(), r.clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        return {name: value.detach() for name, value in terms.items()}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean terms over fixed cuts of held-out clips by the averaged weights; `mel`: how far sampled log-mels are off."""
        sums: dict[str, Tensor] = {}
        generator = torch.Generator(self.device).manual_seed(self.seed)
        for i in range(VALID_BATCHES):
            batch = self.valid.batch(i)
            t = cosine((torch.arange(self.recipe.batch, device=self.device) + 0.5) / self.recipe.batch)
            noise = torch.randn(batch.mel.shape, generator=generator, device=self.device)
            terms = self.losses(self.average, batch, t, noise, self.recipe.config.chunk, None)
            speaker = self.average.embed(batch.reference, batch.reference_lengths)
            mask = (batch.codes >= 0).repeat_interleave(self.recipe.config.frames_per_token, 1)[..., None]
            far = (sample(self.average, batch.codes, speaker) - batch.mel).abs() * mask
            terms["mel"] = far.sum() / mask.sum() / batch.mel.shape[2]
            sums = {name: sums.get(name, 0) + value / VALID_BATCHES for name, value in terms.items()}
        return {name: float(value) for name, value in sums.items()}

    @torch.no_grad()
    def finished(self) -> FlowNetwork:
        """The averaged network; where nobody is named, the voice speaks that is nearest to the mean of all."""
        batches = [self.voices.batch(i) for i in range(VOICES)]
        speakers = torch.cat([self.average.embed(b.reference, b.reference_lengths) for b in batches])
        self.average.voice.copy_(speakers[(speakers @ speakers.mean(0)).argmax()])
        return self.average

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds, beside the random states."""
        return {
            "model": self.network.state_dict(),
            "average": self.finished().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "name": NAME,
            "config": self.recipe.config.to_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "seed": self.seed,
            "history": self.history,
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Takes over a checkpoint's state; refuses one of another architecture, tokenizer or seed."""
        if content["config"] != self.recipe.config.to_dict() or content["seed"] != self.seed:
            raise VoxzooError(
                f"{path} was made with another configuration, tokenizer or seed; choose a new folder or the same ones"
            )
        self.network.load_state_dict(content["model"])
        self.average.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.minutes, self.history = content["step"], content["minutes"], content["history"]


def train_flow(
    data: Sequence[str | Path],
    out: str | Path,
    tokenizer: str | Path,
    resume: bool = True,
    device: str = "cpu",
    max_steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    batch: int | None = None,
    precision: str = "auto",
    checkpoint_minutes: float = 4.0,
    cache: str | Path | None = None,
    recipe: FlowRecipe | None = None,
) -> Path:
    """Trains the flow on the tokens of `tokenizer`; leaves `config.json` and `model.safetensors` in `out`, which it returns.

    Args:
        data: manifests, JSON lines with `path` (or `audio_filepath`) relative to the manifest, and `speaker` where it is known.
        tokenizer: a registry name or a model folder; of one stream, whose tokens last a whole number of mel frames.
        batch: cuts per step, instead of the recipe's; a GPU takes 128 or more.
        others: as in `trainer.train`.
    """
    require_matplotlib()
    check_device(device)
    recipe = recipe or FlowRecipe()
    recipe = replace(recipe, batch=batch or recipe.batch)
    folder, manifests = Path(out), [Path(item) for item in data]
    folder.mkdir(parents=True, exist_ok=True)
    kept = Path(cache) if cache else folder / "cache"
    front = LogMel.from_dict(decoder_entry(VOCODER).config["mel"])
    clips = prepare(manifests, kept, front.sample_rate)
    model = load(str(tokenizer), device=device)
    recipe = replace(recipe, config=fitted(recipe.config, model, front))
    tokens = tokenize(clips, front.sample_rate, model, kept)
    del model
    bank = fill(clips, tokens, front, recipe.config.stack, recipe.config.frames_per_token, device)
    train, valid = held_out(clips, recipe.boost)
    boosted = np.array([any(key in name for key in recipe.boost) for name in clips.names])
    voices = train * boosted if (train * boosted).any() else train
    run = FlowRun(recipe, bank, read_speakers(manifests, kept), (train, valid, voices), device, seed, precision)
    path = folder / "checkpoint.pt"
    if resume and path.exists():
        run.restore(load_checkpoint(path), path)
        log.info("resumed at step %d", run.step)
    if max_steps is None and max_minutes is None:
        max_minutes = recipe.minutes
    loop(run, Budget(max_steps, max_minutes), folder, checkpoint_minutes)
    export_weights(NAME, recipe.config.to_dict(), run.finished(), folder)
    return folder


def export_flow(checkpoint: str | Path, folder: str | Path) -> Path:
    """The weight folder of a run as far as its checkpoint goes."""
    content = load_checkpoint(Path(checkpoint))
    network = FlowNetwork(FlowConfig.from_dict(content["config"]))
    network.load_state_dict(content["average"])
    export_weights(NAME, content["config"], network, Path(folder))
    return Path(folder)


def fitted(config: FlowConfig, tokenizer: Model, front: LogMel) -> FlowConfig:
    """The configuration of a flow for this tokenizer's tokens and this front end's mels."""
    facts, stack = tokenizer.facts, max(1, round(FRAME * front.rate))
    return replace(
        config,
        codebook_size=facts.codebook_sizes[0],
        tokenizer=facts.name,
        fingerprint=tokenizer.fingerprint,
        mel=front.to_dict(),
        bands=front.bands,
        stack=stack,
        frames_per_token=check_tokenizer(tokenizer, front.sample_rate, front.hop * stack),
    )


def _precision(precision: str, device: str) -> str:
    """As `pick_precision`, but float32 where that says float16: a velocity needs no scaler then."""
    if precision == "fp16":
        raise VoxzooError("this flow trains in bf16 or fp32; leave out --precision fp16")
    chosen = pick_precision(precision, device)
    return "fp32" if chosen == "fp16" else chosen
