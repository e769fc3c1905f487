"""One training run: all that a checkpoint holds, and the step that moves it on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import VoxzooError
from .checkpoint import parameter_groups
from .data import Clips, Segments, SegmentSettings, held_out
from .discriminator import Discriminator
from .recipes import Recipe
from .schedule import rate_factor
from .trainees import TRAINEES

VALID_BATCHES = 4
START_FIRST = 2 * 10**9  # index of the first batch the trainee starts from: out of reach of any run's steps
Batch = tuple[Tensor, Tensor]  # wav (B, T), level (B,)
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def pick_precision(precision: str, device: str) -> str:
    """What "auto" means here: bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32."""
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        raise VoxzooError(f"no precision {precision!r}; there are: auto, {', '.join(PRECISIONS)}")
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return "bf16" if fast() else "fp32"


class Ahead:
    """Makes the next batches on threads while one is used: keeps a GPU from waiting."""

    def __init__(self, make: Callable[[int], Batch], depth: int = 6, threads: int = 3) -> None:
        self.make, self.depth = make, depth
        self.pool = ThreadPoolExecutor(threads)
        self.pending: dict[int, Future[Batch]] = {}

    def __call__(self, index: int) -> Batch:
        """What `make` makes of the index."""
        wanted = range(index, index + self.depth)
        self.pending = {i: self.pending.get(i) or self.pool.submit(self.make, i) for i in wanted}
        return self.pending.pop(index).result()


class Run:
    """Model, optimiser, step and history of one run."""

    def __init__(self, recipe: Recipe, clips: Clips, device: str, seed: int, precision: str = "auto") -> None:
        torch.manual_seed(seed)
        self.recipe, self.device, self.seed = recipe, device, seed
        self.precision = pick_precision(precision, device)
        self.model = TRAINEES[recipe.trainee].of(recipe).to(device)
        settings = SegmentSettings(recipe.frames * self.model.hop, recipe.batch)
        train, valid = held_out(clips, recipe.boost)
        self.segments = Segments(clips, settings, train, seed)
        self.valid = Segments(clips, settings, valid, seed + 1)
        self.cuda = torch.device(device).type == "cuda"
        self.batches: Callable[[int], Batch] = Ahead(self._batch) if self.cuda else self._batch
        self.optimizer = self._optimizer(self.model.trained)
        self.critic = Discriminator(periods=recipe.critic_periods).to(device) if recipe.adversarial else None
        self.critic_optimizer = self._optimizer(self.critic) if self.critic is not None else None
        self.scaler = torch.amp.GradScaler(torch.device(device).type, enabled=self.precision == "fp16")
        self.step = 0
        self.minutes = 0.0
        self.history: list[dict[str, Any]] = []

    def _optimizer(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        r = self.recipe
        groups = parameter_groups(module, r.weight_decay)
        return torch.optim.AdamW(groups, lr=r.learning_rate, betas=r.betas, fused=self.cuda)

    def _batch(self, index: int) -> Batch:
        wav, level = map(torch.from_numpy, self.segments.batch(index))
        return (wav.pin_memory(), level.pin_memory()) if self.cuda else (wav, level)

    def put(self, batch: Batch) -> Batch:
        """wav (B, T) and level (B,) on the device."""
        return batch[0].to(self.device, non_blocking=True), batch[1].to(self.device, non_blocking=True)

    def start(self) -> None:
        """What the trainee makes of the data before its first step."""
        self.model.start(lambda i: self.put(self._batch(START_FIRST + i))[0])

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss."""
        r = self.recipe
        factor = rate_factor(self.step, done, r.warmup_steps, r.decay_from)
        self._set_rate(r.learning_rate * factor)
        wav, level = self.put(self.batches(self.step))
        with self._cast():
            got, own = self.model.attempt(wav, np.random.default_rng((self.seed, self.step, 1)), factor)
        total, terms = self.model.losses(wav, level, got, own)
        if self.critic is not None and done >= r.adversarial_from:
            terms["critic"] = self._critic_step(self.critic, got, wav)
            with self._cast():
                terms["adversarial"], terms["matching"] = self.critic.generator_loss(got.float(), wav)
            total = total + r.adversarial_weight * terms["adversarial"] + r.matching_weight * terms["matching"]
        terms["gradient"] = self._update(total)
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    def _cast(self) -> torch.autocast:
        """The run's precision."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32)

    def _set_rate(self, rate: float) -> None:
        for optimizer in (self.optimizer, self.critic_optimizer):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] = rate

    def _update(self, total: Tensor) -> Tensor:
        """Backward and one optimiser step; gives the gradient's norm."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.trained.parameters(), self.recipe.clip)
        # a bad batch is passed over, not learnt from; a fused optimiser looks for itself, so that nothing waits for a GPU
        if self.cuda and not self.scaler.is_enabled():
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
        if self.cuda or torch.isfinite(norm):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _critic_step(self, critic: Discriminator, got: Tensor, want: Tensor) -> Tensor:
        with self._cast():
            loss = critic.critic_loss(got.float(), want)
        critic.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(critic.parameters(), self.recipe.clip)
        if self.critic_optimizer is not None:
            self.critic_optimizer.step()
        critic.zero_grad(set_to_none=True)
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean terms over fixed segments of held-out clips, by the network as it would be shipped."""
        self.model.eval()
        sums: dict[str, float] = {}
        for i in range(VALID_BATCHES):
            wav, level = self.put(tuple(map(torch.from_numpy, self.valid.batch(i))))  # type: ignore[arg-type]
            for name, value in self.model.validate(wav, level).items():
                sums[name] = sums.get(name, 0.0) + float(value) / VALID_BATCHES
        self.model.train()
        return sums

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds, beside the random states."""
        extra: dict[str, Any] = {}
        if self.critic is not None and self.critic_optimizer is not None:
            extra = {"critic": self.critic.state_dict(), "critic_optimizer": self.critic_optimizer.state_dict()}
        if self.scaler.is_enabled():
            extra["scaler"] = self.scaler.state_dict()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "name": self.recipe.model,
            "trainee": self.recipe.trainee,
            "config": dict(self.recipe.config),
            "step": self.step,
            "minutes": self.minutes,
            "seed": self.seed,
            "history": self.history,
            **extra,
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Takes over a checkpoint's state; refuses one of another architecture or seed."""
        if content["config"] != dict(self.recipe.config) or content["seed"] != self.seed:
            raise VoxzooError(f"{path} was made with another configuration or seed; choose a new folder or the same ones")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.critic is not None and self.critic_optimizer is not None and "critic" in content:
            self.critic.load_state_dict(content["critic"])
            self.critic_optimizer.load_state_dict(content["critic_optimizer"])
        if self.scaler.is_enabled() and "scaler" in content:
            self.scaler.load_state_dict(content["scaler"])
        self.step, self.minutes, self.history = content["step"], content["minutes"], content["history"]
