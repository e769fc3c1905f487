"""One training run: all that a checkpoint holds, and the step that moves it on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import VoxzooError
from ..core.registry import entry, model_class
from .checkpoint import parameter_groups
from .codec import CodecTraining
from .data import Clips, Segments, SegmentSettings, held_out
from .discriminator import Discriminator
from .recipes import Recipe
from .schedule import rate_factor
from .start import start_weights

VALID_BATCHES = 4
KMEANS_FIRST = 2 * 10**9  # index of the first batch the codebooks start from: out of reach of any run's steps
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
    """Makes batch i+1 on a thread while batch i is used: keeps a GPU from waiting."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self.pool = ThreadPoolExecutor(1)
        self.pending: dict[int, Future[tuple[np.ndarray, np.ndarray]]] = {}

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Segments.batch`."""
        ready = self.pending.pop(index, None) or self.pool.submit(self.segments.batch, index)
        self.pending = {index + 1: self.pool.submit(self.segments.batch, index + 1)}
        return ready.result()


class Run:
    """Model, optimiser, step and history of one run."""

    def __init__(self, recipe: Recipe, clips: Clips, device: str, seed: int, precision: str = "auto") -> None:
        torch.manual_seed(seed)
        self.recipe, self.device, self.seed = recipe, device, seed
        self.precision = pick_precision(precision, device)
        family = model_class(entry(recipe.model))
        shape = family.shape(recipe.config)
        hop = int(shape["sample_rate"] / max(shape["frame_rates"]))
        settings = SegmentSettings(recipe.frames * hop, recipe.batch)
        train, valid = held_out(clips, recipe.boost)
        segments = Segments(clips, settings, train, seed)
        self.segments: Segments | Ahead = Ahead(segments) if torch.device(device).type == "cuda" else segments
        self.valid = Segments(clips, settings, valid, seed + 1)
        self.model = CodecTraining(family, recipe).to(device)
        self.optimizer = self._optimizer(self.model.codec)
        self.critic = Discriminator().to(device) if recipe.adversarial else None
        self.critic_optimizer = self._optimizer(self.critic) if self.critic is not None else None
        self.scaler = torch.amp.GradScaler(torch.device(device).type, enabled=self.precision == "fp16")
        self.step = 0
        self.minutes = 0.0
        self.history: list[dict[str, Any]] = []

    def _optimizer(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        r = self.recipe
        return torch.optim.AdamW(parameter_groups(module, r.weight_decay), lr=r.learning_rate, betas=r.betas)

    def tensors(self, batch: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
        """wav (B, T) and level (B,) on the device."""
        return torch.from_numpy(batch[0]).to(self.device), torch.from_numpy(batch[1]).to(self.device)

    def start(self) -> None:
        """Weights of the model to start from, if any; codebooks by k-means on the first latents, several frames per code."""
        if self.recipe.start_from is not None:
            start_weights(self.model.codec, self.recipe.start_from)
        frames = self.recipe.frames * self.recipe.batch * self.recipe.kmeans_batches
        for size, step in zip(self.model.quantizer.sizes, self.model.quantizer.steps, strict=True):
            if frames < size * step:
                raise VoxzooError(f"{frames // step} vectors are too few to start {size} codes from")
        wavs = [self.segments.batch(KMEANS_FIRST + i)[0] for i in range(self.recipe.kmeans_batches)]
        self.model.start_codebooks(torch.from_numpy(np.concatenate(wavs)).to(self.device))

    def keep(self, unquantized: float) -> Tensor:
        """Streams kept for each clip of this step (B,); 0, with this probability, is the latent unquantised."""
        streams, chances = zip(*self.recipe.keep, strict=True)
        rng = np.random.default_rng((self.seed, self.step, 1))
        kept = rng.choice(streams, self.recipe.batch, p=chances)
        kept[rng.random(self.recipe.batch) < unquantized] = 0
        return torch.from_numpy(kept).to(self.device)

    def train_step(self, done: float) -> dict[str, Tensor]:
        """One update; `done` is the share of the run that is over. Gives the terms of the loss."""
        r = self.recipe
        factor = rate_factor(self.step, done, r.warmup_steps, r.decay_from)
        self._set_rate(r.learning_rate * factor)
        wav, level = self.tensors(self.segments.batch(self.step))
        dtype = PRECISIONS[self.precision]
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32):
            got, commitment = self.model(wav, self.keep(r.unquantized * factor))
        total, terms = self.model.losses(wav, level, got, commitment)
        if self.critic is not None and done >= r.adversarial_from:
            terms["critic"] = self._critic_step(self.critic, got, wav)
            terms["adversarial"], terms["matching"] = self.critic.generator_loss(got.float(), wav)
            total = total + r.adversarial_weight * terms["adversarial"] + r.matching_weight * terms["matching"]
        terms["gradient"] = self._update(total)
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    def _set_rate(self, rate: float) -> None:
        for optimizer in (self.optimizer, self.critic_optimizer):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] = rate

    def _update(self, total: Tensor) -> Tensor:
        """Backward and one optimiser step; gives the gradient's norm."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.codec.parameters(), self.recipe.clip)
        if self.scaler.is_enabled() or torch.isfinite(norm):  # a bad batch is passed over, not learnt from
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _critic_step(self, critic: Discriminator, got: Tensor, want: Tensor) -> Tensor:
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
        """Mean terms over fixed segments of held-out clips, by the codec as it would be shipped, all streams."""
        self.model.eval()
        codec = self.model.sync()
        sums: dict[str, float] = {}
        for i in range(VALID_BATCHES):
            wav, level = self.tensors(self.valid.batch(i))
            for name, value in self.model.loss(codec.decode(codec.encode(wav)), wav, level)[1].items():
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
