"""Training `vox-s3-16k`: the run, its step, and the loop around it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.audio import Audio
from ..core.errors import CorpusError, ModelError, UnknownModelError, VoxzooError
from ..core.files import replacing
from ..core.loading import check_device, load
from ..core.registry import entry
from ..tokenizers._vox_s3 import VoxS3Config
from .augment import HARD, LIGHT, Augmenter, Hardness
from .checkpoint import export_weights, load_checkpoint, parameter_groups, round_half
from .ctc_data import Batch, Spoken, Store, batches, held_out_speakers, label_set, read_spoken
from .ctc_model import CTCTraining, CTCWeights, token_lengths
from .ctc_scores import Scores, score
from .curves import require_matplotlib
from .data import Clips, prepare, read_manifest
from .run import PRECISIONS, pick_precision
from .schedule import Budget, rate_factor
from .trainer import loop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CTCRecipe:
    """Everything a run needs beside the data, the seed and the time it may take."""

    model: str = "vox-s3-16k"
    weights: CTCWeights = field(default_factory=CTCWeights)
    light: Hardness = LIGHT
    hard: Hardness = HARD
    seconds: float = 300.0  # of sound in a step, padding included; each clip is heard twice
    longest: float = 20.0  # seconds of a clip; longer ones are left out
    stretch: tuple[float, float] = (0.85, 1.2)  # of time, drawn for each step
    learning_rate: float = 1.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.03
    warmup_steps: int = 200
    decay_from: float = 0.4  # share of the run after which the learning rate falls, in a straight line, to zero
    settle: float = 0.15  # share of the run over which the agreement of the views gains its weight
    smooth: float = 0.5  # share of clips whose scalars are not rounded, at the start; falls to none while the run settles
    clip: float = 2.0  # gradient norm
    drop: float = 0.1
    jitter: float = 0.3
    repeats: dict[str, int] = field(default_factory=dict)  # how often an epoch has the clips whose name holds the key
    minutes: float = 60.0
    valid_every: int = 500  # steps
    valid_seconds: float = 600.0  # of held-out sound that is scored


RECIPES = {"vox-s3-16k": CTCRecipe(repeats={"aishell": 2})}


class CTCRun:
    """Model, optimiser, step and history of one run."""

    def __init__(
        self,
        recipe: CTCRecipe,
        config: dict[str, Any],
        clips: Clips,
        spoken: Sequence[Spoken],
        device: str,
        seed: int,
        precision: str,
        noises: Sequence[np.ndarray] = (),
        rooms: Sequence[np.ndarray] = (),
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.config, self.device, self.seed = recipe, config, device, seed
        self.precision = pick_precision(precision, device)
        c = VoxS3Config.from_dict(config)
        self.labels = label_set(spoken)
        if len(self.labels) < 3:
            raise CorpusError("the manifests name no phones; wanted `phones` or `labels` in their rows")
        self.store = Store(clips, spoken, self.labels, c.sample_rate, device)
        train, self.valid = held_out_speakers(spoken)
        train = train[clips.lengths[train] <= recipe.longest * c.sample_rate]
        names = [clips.names[i] for i in train]
        counts = [next((n for key, n in recipe.repeats.items() if key in name), 1) for name in names]
        self.train_clips = np.repeat(train, counts)
        self.samples = int(recipe.seconds * c.sample_rate)
        self.model = CTCTraining(c, len(self.labels), recipe.weights, recipe.drop, recipe.jitter).to(device)
        front = self.model.tokenizer.front
        self.augmenter = Augmenter(noises, rooms, c.sample_rate, front.size, c.mels, device)
        groups = parameter_groups(self.model, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
        # at scale 1 this only passes over a step whose gradients are not finite, without asking the device about it
        self.scaler = torch.amp.GradScaler(torch.device(device).type, init_scale=1.0, growth_interval=10**9)
        self.step, self.minutes, self.waited = 0, 0.0, 0.0
        self.history: list[dict[str, Any]] = []
        self.batches = batches(clips.lengths, self.train_clips, self.samples, seed)

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss, on the device."""
        r = self.recipe
        factor = rate_factor(self.step, done, r.warmup_steps, r.decay_from)
        for group in self.optimizer.param_groups:
            group["lr"] = r.learning_rate * factor
        began = time.monotonic()
        rng = np.random.default_rng((self.seed, self.step, 2))
        batch = self.store.batch(next(self.batches))
        self.waited += time.monotonic() - began
        total, terms = self.losses(batch, rng, min(1.0, done / max(r.settle, 1e-9)))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        terms["gradient"] = torch.nn.utils.clip_grad_norm_(self.model.parameters(), r.clip, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    def losses(self, batch: Batch, rng: np.random.Generator, settled: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its terms; both views of a clip are heard at one tempo."""
        r, model = self.recipe, self.model
        hop = round(model.config.hop * rng.uniform(*r.stretch))
        views = []
        for hard in (r.light, r.hard):
            wav = self.augmenter.waves(batch.wav, batch.level, hard, rng)
            views.append(model.features(wav, hop, self.augmenter, hard, rng))
        tokens = views[0].shape[1] * model.config.block
        lengths = self.store.to(np.array(token_lengths(batch.lengths, hop)))
        valid = (torch.arange(tokens, device=lengths.device) < lengths[:, None]).float()
        smooth = self.store.to((rng.random(len(batch.lengths)) < r.smooth * (1 - settled)).astype(np.float32))
        dtype = PRECISIONS[self.precision]
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32):
            light, hard_view = (model(mel, valid, smooth) for mel in views)
        terms = model.recognition(light, batch, hop)
        for name, value in model.recognition(hard_view, batch, hop).items():
            terms[name] = (terms[name] + value) / 2
        terms |= model.agreement(light, hard_view, valid)
        weights = asdict(r.weights) | {"same": settled * r.weights.same}
        total = sum((weights[name] * value for name, value in terms.items()), torch.zeros((), device=self.device))
        return total, terms

    def pace(self) -> Callable[[], dict[str, float]]:
        """Since the last call: the share of the time spent waiting for batches, and steps per second."""
        last = [time.monotonic(), self.waited, float(self.step)]

        def since() -> dict[str, float]:
            now = [time.monotonic(), self.waited, float(self.step)]
            seconds, waited, steps = (b - a for a, b in zip(last, now, strict=True))
            last[:] = now
            return {"wait": waited / seconds, "rate": steps / seconds}

        return since

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Scores over held-out speakers, as the tokenizer would be used, and of the same in noise and at another pitch."""
        self.model.eval()
        scores = Scores()
        samples = int(self.recipe.valid_seconds * self.model.config.sample_rate)
        plan = batches(self.store.lengths, self.valid, self.samples, self.seed + 1)
        seen = 0
        for number, clips in enumerate(plan):
            batch = self.store.batch(clips)
            seen += int(batch.lengths.sum())
            score(self.model, batch, self.augmenter, np.random.default_rng((self.seed, number, 3)), scores)
            if seen >= min(samples, int(self.store.lengths[self.valid].sum())):
                break
        self.model.train()
        return scores.summary(self.labels)

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds, beside the random states."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "name": self.recipe.model,
            "config": self.config,
            "labels": self.labels,
            "step": self.step,
            "minutes": self.minutes,
            "seed": self.seed,
            "history": self.history,
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Takes over a checkpoint's state; refuses one of another architecture, seed or set of labels."""
        mine = (self.config, self.seed, self.labels)
        if (content["config"], content["seed"], content.get("labels")) != mine:
            raise VoxzooError(
                f"{path} was made with another configuration, seed or set of labels; choose a new folder or the same ones"
            )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        self.step, self.minutes, self.history = content["step"], content["minutes"], content["history"]
        self.batches = batches(self.store.lengths, self.train_clips, self.samples, self.seed, self.step)


def train(
    recipe: str | CTCRecipe,
    data: Sequence[str | Path],
    out: str | Path,
    resume: bool = True,
    device: str = "cpu",
    max_steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    batch: float | None = None,
    precision: str = "auto",
    checkpoint_minutes: float = 4.0,
    cache: str | Path | None = None,
    noise: str | Path | None = None,
    rooms: str | Path | None = None,
    config: dict[str, Any] | None = None,
    stop: int | None = None,
    start_from: str | Path | None = None,
) -> Path:
    """Trains the tokenizer on labelled speech; leaves `config.json` and `model.safetensors` in `out`, which it returns.

    Beside them lie `recognizer.safetensors` and `labels.json`: the part that names phones, for error rates.

    Args:
        recipe: name of a recipe, or one of your own.
        data: manifests, JSON lines with `path` and the labels that `ctc_data` describes.
        batch: seconds of sound in a step, instead of the recipe's.
        cache: where the decoded clips are kept (default: `out`/cache).
        noise, rooms: manifests of noises and of rooms' responses, for sound made harder; without them noise is made.
        config: of the model, where it is not the registry's.
        stop: leave off after this step, of a run planned longer; taken up again, it ends as if it had not been left.
        start_from: registry name or folder of a trained tokenizer to start from; its recognizer is learnt anew.

    The other arguments are those of `trainer.train`.
    """
    require_matplotlib()
    check_device(device)
    chosen = find_recipe(recipe) if isinstance(recipe, str) else recipe
    if batch is not None:
        chosen = replace(chosen, seconds=float(batch))
    config = dict(config or entry(chosen.model).config)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    manifests = [Path(path) for path in data]
    rate = config["sample_rate"]
    place = Path(cache) if cache else folder / "cache"
    clips = prepare(manifests, place, rate)
    spoken_of = read_spoken(manifests)
    spoken = [spoken_of[path] for path in paths_of(place)]
    sounds = [read_sounds(Path(path), rate) if path else [] for path in (noise, rooms)]
    torch.set_float32_matmul_precision("high")
    run = CTCRun(chosen, config, clips, spoken, device, seed, precision, *sounds)
    path = folder / "checkpoint.pt"
    if resume and path.exists():
        run.restore(load_checkpoint(path), path)
        log.info("resumed at step %d", run.step)
    elif start_from is not None:
        start_weights(run, start_from)
    if max_steps is None and max_minutes is None:
        max_minutes = chosen.minutes
    run.model.train()
    budget = Budget(max_steps, max_minutes)
    loop(run, budget, folder, checkpoint_minutes, valid_every=chosen.valid_every, stop=stop, figures=run.pace())
    export(run, folder)
    return folder


def start_weights(run: CTCRun, start_from: str | Path) -> None:
    """Copy a trained tokenizer's weights into the run. Raises `ModelError` when it is built otherwise."""
    source = load(start_from)
    if source.config != run.config:
        raise ModelError(f"cannot start from {str(start_from)!r}: its configuration is not that of the model to be trained")
    run.model.take(source.network.state_dict())


def find_recipe(name: str) -> CTCRecipe:
    """The recipe of this name, or an error that lists them."""
    if name not in RECIPES:
        raise UnknownModelError(f"no recipe named {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def paths_of(cache: Path) -> list[str]:
    """Paths of the clips in a cache, in its order."""
    return [clip["path"] for clip in json.loads((cache / "clips.json").read_text())["clips"]]


def read_sounds(manifest: Path, sample_rate: int) -> list[np.ndarray]:
    """Sounds of a manifest, whole."""
    return [Audio.read(row["path"], sample_rate).samples for row in read_manifest(manifest)]


def export(run: CTCRun, folder: Path) -> None:
    """The tokenizer as a weight folder; the recognizer and its labels beside it."""
    export_weights(run.recipe.model, run.config, run.model.shipped(), folder)
    with replacing(folder / "recognizer.safetensors") as temporary:
        save_file(round_half(run.model.recognizer.state_dict()), temporary)
    with replacing(folder / "labels.json") as temporary:
        Path(temporary).write_text(json.dumps(run.labels) + "\n", encoding="utf-8")
