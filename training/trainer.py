"""One trainer for the small models we ship: resumable exactly, seeded, by steps or by minutes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..core.loading import check_device
from .checkpoint import export_weights, load_checkpoint, save_checkpoint
from .curves import draw_curves, require_matplotlib, write_history
from .data import prepare
from .recipes import Recipe, find_recipe
from .run import Run
from .schedule import Budget

log = logging.getLogger(__name__)
REPORT_EVERY = 50  # steps
VALID_EVERY = 1000  # steps


def train(
    recipe: str | Recipe,
    data: Sequence[str | Path],
    out: str | Path,
    resume: bool = True,
    device: str = "cpu",
    max_steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    batch: int | None = None,
    precision: str = "auto",
    checkpoint_minutes: float = 4.0,
    cache: str | Path | None = None,
    start_from: str | Path | None = None,
) -> Path:
    """Trains a recipe on the clips of manifests; leaves `config.json` and `model.safetensors` in `out`, which it returns.

    The run lasts `max_steps` steps or `max_minutes`, whichever ends first (default: the recipe's minutes); the learning
    rate falls to zero by then. With `resume`, a checkpoint in `out` is taken up where it was left.

    Args:
        recipe: name of a recipe, or one of your own.
        data: manifests, JSON lines with `path` (or `audio_filepath`) relative to the manifest.
        batch: segments per step, instead of the recipe's; a GPU takes 64 or more.
        precision: "auto", "bf16", "fp16" or "fp32" for the network; losses and quantiser stay in float32.
        cache: where the decoded clips are kept (default: `out`/cache); runs on the same data may share one.
        start_from: registry name or folder of the model to start from, instead of what the recipe says.
    """
    require_matplotlib()
    check_device(device)
    chosen = find_recipe(recipe, None if start_from is None else str(start_from)) if isinstance(recipe, str) else recipe
    if batch is not None:
        chosen = replace(chosen, batch=batch)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    clips = prepare([Path(path) for path in data], Path(cache) if cache else folder / "cache", chosen.sample_rate)
    run = Run(chosen, clips, device, seed, precision)
    path = folder / "checkpoint.pt"
    if resume and path.exists():
        run.restore(load_checkpoint(path), path)
        log.info("resumed at step %d", run.step)
    else:
        run.start()
    if max_steps is None and max_minutes is None:
        max_minutes = chosen.minutes
    loop(run, Budget(max_steps, max_minutes), folder, checkpoint_minutes)
    export_weights(chosen.model, chosen.config, run.model.shipped(), folder)
    return folder


class Reported(Protocol):
    """What a run of any kind has that is saved and reported."""

    step: int
    minutes: float
    history: list[dict[str, Any]]

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds, beside the random states."""


class Stepped(Reported, Protocol):
    """What a run of any kind has that is driven by `loop`."""

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss."""

    def validate(self) -> dict[str, float]:
        """Figures of held-out clips."""


def loop(
    run: Stepped,
    budget: Budget,
    folder: Path,
    checkpoint_minutes: float,
    *,
    valid_every: int | None = None,
    stop: int | None = None,
    figures: Callable[[], dict[str, float]] = dict,
) -> None:
    """Steps until the budget is spent, with reports, validation and checkpoints on the way.

    valid_every: steps between validations (default: `VALID_EVERY`). stop: leave off after this step. figures: what a report
    says beside the means of the loss's terms.
    """
    began, saved = time.monotonic() - 60 * run.minutes, time.monotonic()
    sums: dict[str, Tensor] = {}
    summed = 0
    bar = progress_bar(budget, run.step)
    while not budget.spent(run.step, run.minutes) and run.step != stop:
        terms = run.train_step(budget.done(run.step, run.minutes))
        run.minutes = (time.monotonic() - began) / 60
        # added up where they are: fetched at every step, each would wait for a GPU
        sums = {name: sums[name] + value if name in sums else value for name, value in terms.items()}
        summed += 1
        if bar is not None:
            bar.update(1)
        if run.step % REPORT_EVERY == 0:
            means = {name: float(value) / summed for name, value in sums.items()}
            report(run, "train", {**means, **figures()}, bar)
            sums, summed = {}, 0
        if run.step % (valid_every or VALID_EVERY) == 0:
            report(run, "valid", run.validate(), bar)
        if time.monotonic() - saved > 60 * checkpoint_minutes:
            save(run, folder)
            saved = time.monotonic()
    report(run, "valid", run.validate(), bar)
    save(run, folder)
    draw_curves(folder, run.history)
    if bar is not None:
        bar.close()


def save(run: Reported, folder: Path) -> None:
    """Checkpoint and history."""
    save_checkpoint(folder / "checkpoint.pt", run.content())
    write_history(folder, run.history)


def report(run: Reported, name: str, values: dict[str, float], bar: Any) -> None:
    """Adds a row to the history; shows it behind the progress bar, or as a log line where there is none."""
    run.history.append({"step": run.step, "minutes": round(run.minutes, 3), "set": name, **values})
    if bar is not None:
        bar.set_postfix({key: f"{value:.3f}" for key, value in values.items()})
        return
    figures = " ".join(f"{key} {value:.4f}" for key, value in values.items())
    log.info("%s step %d (%.1f min): %s", name, run.step, run.minutes, figures)


def progress_bar(budget: Budget, step: int) -> Any:
    """A tqdm bar on a terminal, else None."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    title = f"{budget.minutes:g} min" if budget.minutes is not None else None
    return tqdm(total=budget.steps, initial=step, unit="step", desc=title, dynamic_ncols=True)
