"""Checkpoints that resume a run exactly, and the weight folder that a finished run leaves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import WeightsError
from ..core.weights import save_folder
from .trainees import TRAINEES


def random_state() -> dict[str, Any]:
    """States of torch's generators (batches need none: they follow from the seed and the step)."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Back to what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Written beside, flushed, then renamed: a killed run leaves the old checkpoint or the new one, never half of one."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as out:
        torch.save({**content, "random": random_state()}, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content given to `save_checkpoint`, with the random states restored."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        set_random_state(content.pop("random"))
    except (OSError, RuntimeError, KeyError, EOFError, ValueError, UnpicklingError) as error:
        raise WeightsError(f"cannot resume from {path}: {error}; delete it to start anew") from error
    return content


def round_half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """float16 copies; loading them back to float32 gives the very values that were measured."""
    return {name: value.detach().cpu().half().contiguous() for name, value in tensors.items()}


def export_weights(name: str, config: Mapping[str, Any], codec: nn.Module, folder: Path) -> None:
    """`config.json` and `model.safetensors` (float16), each renamed into place: a folder that `voxzoo.load` takes as `name`."""
    tensors = round_half(codec.state_dict())
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise WeightsError(f"weights that are not finite in float16: {', '.join(bad)}")
    save_folder(folder, name, config, tensors)


def export_checkpoint(path: Path, folder: Path) -> None:
    """The weight folder of a run as far as its checkpoint goes."""
    content = load_checkpoint(path)
    name, config, model = content.get("name", "vox-rvq-16k"), content["config"], content["model"]  # once there was but one
    trainee = TRAINEES[content.get("trainee", "codec")]
    export_weights(name, config, trainee.exported(name, config, model), folder)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only; norms, biases and scales are left alone."""
    learnt = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in learnt if p.ndim >= 2]
    vectors = [p for p in learnt if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
