"""What the runs of every stage have in common: clips on the device, a step, reports, checkpoints that resume exactly."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import VoxzooError
from .augment import Augmenter
from .checkpoint import parameter_groups
from .ctc_data import Batch, Spoken, Store, batches, held_out_speakers, label_set
from .data import Clips
from .run import PRECISIONS, pick_precision
from .schedule import rate_factor
from .spin_recipe import Stage
from .ssl_encoder import Trained

TRANSFORM = 512  # of the augmenter's filter banks, of which no stage has use
BETAS = (0.9, 0.98)


@dataclass
class Speech:
    """All clips on the device, with what is said there; places of those to train on and of those of other speakers."""

    store: Store
    labels: list[str]
    train: np.ndarray
    valid: np.ndarray
    augmenter: Augmenter

    @classmethod
    def of(
        cls,
        clips: Clips,
        spoken: Sequence[Spoken],
        sample_rate: int,
        device: str,
        longest: float,
        sounds: Sequence[Sequence[np.ndarray]] = ((), ()),
    ) -> Speech:
        """spoken: of each clip. longest: seconds of a clip. sounds: noises and rooms, float (T,)."""
        labels = label_set(spoken)
        train, valid = held_out_speakers(spoken)
        most = longest * sample_rate
        train, valid = (places[clips.lengths[places] <= most] for places in (train, valid))
        if not len(train):
            raise VoxzooError(f"none of the clips is at most {longest} s long; give shorter ones")
        augmenter = Augmenter(sounds[0], sounds[1], sample_rate, TRANSFORM, 80, device)
        return cls(Store(clips, spoken, labels, sample_rate, device), labels, train, valid, augmenter)


class StageRun(ABC):
    """One stage: its networks, optimiser, step and history. A stage says in `losses` and `scores` what it is about."""

    def __init__(
        self, stage: Stage, encoder: Trained, speech: Speech, samples: int, device: str, seed: int, precision: str
    ) -> None:
        """samples: of sound in a step."""
        torch.manual_seed(seed)
        self.stage, self.speech, self.samples = stage, speech, samples
        self.device, self.seed, self.precision = device, seed, pick_precision(precision, device)
        self.encoder = encoder
        self.model = nn.ModuleDict({"encoder": encoder, **self.parts()}).to(device)
        self.model.zero_grad(set_to_none=True)  # a stage before may have left gradients in layers that no longer learn
        groups = parameter_groups(self.model, stage.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=BETAS, fused=True)
        self.step, self.minutes, self.waited = 0, 0.0, 0.0
        self.history: list[dict[str, Any]] = []
        self.broken = torch.zeros((), dtype=torch.bool, device=device)
        self.batches = batches(speech.store.lengths, speech.train, samples, seed)

    # ------------------------------------------------------------------ what a stage says
    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """The networks beside the encoder."""

    @abstractmethod
    def losses(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum that is made small, and its terms, of one batch."""

    @abstractmethod
    def scores(self, batch: Batch, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """Figures of a held-out batch: name -> (sum, count)."""

    # ------------------------------------------------------------------ steps
    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the stage that is over. Gives the terms of the loss, on the device."""
        s = self.stage
        factor = rate_factor(self.step, done, s.warmup_steps, s.decay_from)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * factor
        began = time.monotonic()
        batch = self.speech.store.batch(next(self.batches))
        self.waited += time.monotonic() - began
        rng = np.random.default_rng((self.seed, self.step, 2))
        total, terms = self.losses(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        learnt = [p for p in self.model.parameters() if p.grad is not None]
        terms["gradient"] = nn.utils.clip_grad_norm_(learnt, s.clip, foreach=True)
        self.optimizer.step()
        self.after_step()
        self.step += 1
        self.broken |= ~torch.isfinite(total.detach())
        return {name: value.detach() for name, value in terms.items()}

    def after_step(self) -> None:  # noqa: B027
        """What is put right once the weights have moved: here nothing."""

    def cast(self) -> torch.autocast:
        """The run's precision."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32)

    def encoded(self, wav: Tensor, hidden: Tensor | None = None) -> Tensor:
        """wav (B, T) -> features (B, N, D) in the run's precision."""
        with self.cast():
            x: Tensor = self.encoder(wav, self.stage.drop, hidden)
        return x

    def valid_frames(self, batch: Batch, frames: int) -> Tensor:
        """bool (B, N): which frames are sound."""
        counts = self.speech.store.to(self.encoder.counts(batch.lengths))
        return torch.arange(frames, device=counts.device) < counts[:, None]

    def check(self) -> None:
        """Raise once a loss was not finite; asked where the device is waited for anyway."""
        if bool(self.broken):
            raise VoxzooError(
                f"the loss of stage {self.stage.name!r} is no longer finite, at step {self.step} or shortly before; training "
                "stops, and the last good checkpoint is kept: take it up with a smaller learning rate or in fp32"
            )

    def pace(self) -> Callable[[], dict[str, float]]:
        """Since the last call: the share of the time spent waiting for batches, and steps per second."""
        last = [time.monotonic(), self.waited, float(self.step)]

        def since() -> dict[str, float]:
            self.check()
            now = [time.monotonic(), self.waited, float(self.step)]
            seconds, waited, steps = (b - a for a, b in zip(last, now, strict=True))
            last[:] = now
            return {"wait": waited / seconds, "rate": steps / seconds}

        return since

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Figures of held-out speakers, for so much sound as `valid_samples` says; steps draw as if it had not been."""
        self.check()
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if "cuda" in self.device else []):
            torch.manual_seed(self.seed)
            self.model.eval()
            found = self._validated()
            self.model.train()
        return found

    def _validated(self) -> dict[str, float]:
        sums: dict[str, list[float]] = {}
        seen, wanted = 0, min(self.valid_samples, int(self.speech.store.lengths[self.speech.valid].sum()))
        for number, clips in enumerate(batches(self.speech.store.lengths, self.speech.valid, self.samples, self.seed + 1)):
            batch = self.speech.store.batch(clips)
            for name, (value, count) in self.scores(batch, np.random.default_rng((self.seed, number, 3))).items():
                pair = sums.setdefault(name, [0.0, 0.0])
                pair[0] += value
                pair[1] += count
            seen += int(batch.lengths.sum())
            if seen >= wanted:
                break
        return {name: value / max(count, 1e-9) for name, (value, count) in sums.items()} | self.summary()

    def summary(self) -> dict[str, float]:
        """Figures of all that was scored since the last call."""
        return {}

    valid_samples: int = 1 << 62

    # ------------------------------------------------------------------ checkpoints
    def told(self) -> dict[str, Any]:
        """What a run must have in common with its checkpoint."""
        return {
            "stage": plain(asdict(self.stage)),
            "seed": self.seed,
            "samples": self.samples,
            "clips": len(self.speech.store.lengths),
            "labels": self.speech.labels,
            "precision": self.precision,
        }

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds, beside the random states. Raises once a loss was not finite."""
        self.check()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "told": self.told(),
            "step": self.step,
            "minutes": self.minutes,
            "history": self.history,
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Takes over a checkpoint's state; refuses one of a run that was told otherwise, and says what differs."""
        mine, other = self.told(), content.get("told", {})
        differing = sorted(key for key in mine if mine[key] != other.get(key))
        if differing:
            raise VoxzooError(
                f"{path} was made with another {', '.join(differing)}; choose a new folder, or the settings it was made with"
            )
        try:
            self.model.load_state_dict(content["model"])
        except RuntimeError as error:
            raise VoxzooError(f"{path} is of another encoder: {str(error).splitlines()[1].strip()}") from None
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.minutes, self.history = content["step"], content["minutes"], content["history"]
        self.batches = batches(self.speech.store.lengths, self.speech.train, self.samples, self.seed, self.step)


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: as they come back from a file."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value
