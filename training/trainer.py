"""One trainer for the small models we ship: resumable exactly, seeded, by steps or by minutes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import VoxzooError
from .checkpoint import export_weights, load_checkpoint, parameter_groups, save_checkpoint
from .codec import CodecTraining
from .curves import draw_curves, require_matplotlib, write_history
from .data import Segments, SegmentSettings, prepare
from .recipes import Recipe, find_recipe
from .schedule import Budget, rate_factor

log = logging.getLogger(__name__)
REPORT_EVERY = 50  # steps
VALID_EVERY = 1000  # steps
VALID_BATCHES = 4
VALID_FIRST = 10**9  # index of the first validation batch: out of reach of any run, so never trained on in that cut
KMEANS_FIRST = 2 * 10**9


class Run:
    """One training run: everything a checkpoint holds, and a step."""

    def __init__(self, recipe: Recipe, segments: Segments, device: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.segments, self.device, self.seed = recipe, segments, device, seed
        dead = recipe.dead_code * recipe.batch * recipe.frames / recipe.config.codebook_size
        self.model = CodecTraining(recipe.config, recipe.weights, recipe.codebook_decay, dead).to(device)
        groups = parameter_groups(self.model.codec, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
        self.step = 0
        self.minutes = 0.0
        self.history: list[dict[str, Any]] = []

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        wav, level = self.segments.batch(index)
        return torch.from_numpy(wav).to(self.device), torch.from_numpy(level).to(self.device)

    def start(self) -> None:
        """Codebooks by k-means on the first latents."""
        first = [self.batch(KMEANS_FIRST + i)[0] for i in range(self.recipe.kmeans_batches)]
        self.model.start_codebooks(torch.cat(first))

    def keep(self) -> Tensor:
        """Streams kept for each clip of this step (B,)."""
        streams, chances = zip(*self.recipe.keep, strict=True)
        rng = np.random.default_rng((self.seed, self.step, 1))
        return torch.from_numpy(rng.choice(streams, self.recipe.batch, p=chances)).to(self.device)

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss."""
        r = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = r.learning_rate * rate_factor(self.step, done, r.warmup_steps, r.decay_from)
        wav, level = self.batch(self.step)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            got, commitment = self.model(wav, self.keep())
        total, terms = self.model.losses(wav, level, got, commitment)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.codec.parameters(), r.clip, error_if_nonfinite=False)
        if torch.isfinite(norm):  # a bad batch is passed over, not learnt from
            self.optimizer.step()
        self.step += 1
        return {**terms, "gradient": norm.detach()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean terms over fixed segments, by the codec as it would be shipped (own quantiser, all streams)."""
        codec = self.model.sync().eval()
        sums: dict[str, float] = {}
        for i in range(VALID_BATCHES):
            wav, level = self.batch(VALID_FIRST + i)
            got = codec.decode(codec.encode(wav))
            for name, value in self.model.loss(got, wav, level)[1].items():
                sums[name] = sums.get(name, 0.0) + float(value) / VALID_BATCHES
        self.model.train()
        return sums

    def content(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": self.recipe.config.to_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "seed": self.seed,
            "history": self.history,
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Takes over a checkpoint's state; refuses one of another architecture or seed."""
        if content["config"] != self.recipe.config.to_dict() or content["seed"] != self.seed:
            raise VoxzooError(f"{path} was made with another configuration or seed; choose a new folder or the same ones")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.minutes, self.history = content["step"], content["minutes"], content["history"]


def train(
    recipe: str | Recipe,
    data: Sequence[str | Path],
    out: str | Path,
    resume: bool = True,
    device: str = "cpu",
    max_steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 4.0,
    cache: str | Path | None = None,
) -> Path:
    """Trains a recipe on the clips of manifests and leaves `config.json` + `model.safetensors` in `out`, which it returns.

    The run lasts `max_steps` steps or `max_minutes`, whichever ends first (default: the recipe's minutes); the learning
    rate falls to zero by then. With `resume`, a checkpoint in `out` is taken up where it was left.
    """
    require_matplotlib()
    chosen = find_recipe(recipe) if isinstance(recipe, str) else recipe
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    clips = prepare([Path(path) for path in data], Path(cache) if cache else folder / "cache", chosen.config.sample_rate)
    settings = SegmentSettings(chosen.frames * chosen.config.hop, chosen.batch)
    run = Run(chosen, Segments(clips, settings, chosen.boost, seed), device, seed)
    path = folder / "checkpoint.pt"
    if resume and path.exists():
        run.restore(load_checkpoint(path, device), path)
        log.info("resumed at step %d", run.step)
    else:
        run.start()
    if max_steps is None and max_minutes is None:
        max_minutes = chosen.minutes
    loop(run, Budget(max_steps, max_minutes), folder, checkpoint_minutes)
    export_weights(run.model.sync(), folder)
    return folder


def loop(run: Run, budget: Budget, folder: Path, checkpoint_minutes: float) -> None:
    """Steps until the budget is spent, with reports, validation and checkpoints on the way."""
    path = folder / "checkpoint.pt"
    began, saved = time.monotonic() - 60 * run.minutes, time.monotonic()
    sums: dict[str, Tensor] = {}
    bar = progress(budget, run.step)
    while not budget.spent(run.step, run.minutes):
        terms = run.train_step(budget.done(run.step, run.minutes))
        run.minutes = (time.monotonic() - began) / 60
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        bar.update(1) if bar is not None else None
        if run.step % REPORT_EVERY == 0:
            report(run, "train", {name: float(value) / REPORT_EVERY for name, value in sums.items()}, bar is None)
            sums = {}
        if run.step % VALID_EVERY == 0:
            report(run, "valid", run.validate(), bar is None)
        if time.monotonic() - saved > 60 * checkpoint_minutes:
            save(run, path, folder)
            saved = time.monotonic()
    report(run, "valid", run.validate(), bar is None)
    save(run, path, folder)
    draw_curves(folder, run.history)


def save(run: Run, path: Path, folder: Path) -> None:
    save_checkpoint(path, run.content())
    write_history(folder, run.history)


def report(run: Run, name: str, values: dict[str, float], plain: bool) -> None:
    """Adds a row to the history, and a log line where there is no progress bar."""
    run.history.append({"step": run.step, "minutes": round(run.minutes, 3), "set": name, **values})
    if plain:
        figures = " ".join(f"{key} {value:.4f}" for key, value in values.items())
        log.info("%s step %d (%.1f min): %s", name, run.step, run.minutes, figures)


def progress(budget: Budget, step: int) -> Any:
    """A tqdm bar on a terminal, else None."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=budget.steps, initial=step, unit="step", dynamic_ncols=True)
