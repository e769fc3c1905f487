"""`load`: from a registry name or a folder to a model ready to encode and decode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError
from .registry import Entry, entry, model_class, models
from .resampling import SOXR, check_resampler
from .weights import find, load_strict, read_json

if TYPE_CHECKING:
    from .model import Model

__all__ = ["check_device", "load", "random_model"]


def load(
    name: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    engine: str = "auto",
    dtype: str = "float32",
    resampler: str = SOXR,
) -> Model:
    """Load a model.

    Args:
        name: a registry name (`voxzoo.models()` lists them) or a local model folder (`config.json` + `model.safetensors`).
        weights: a folder with the checkpoint, as published or in our own form; "random" builds the real-size model with
            random weights (seed 0), for benchmarks and tests. By default `$VOXZOO_WEIGHTS/<name>`, the bundled weights,
            or the hub.
        device: "cpu", "cuda", "cuda:1", ...
        engine: "auto" or "torch".
        dtype: "float32", or "bfloat16" / "float16" (autocast; tokens may then differ).
        resampler: what brings sound of other rates to the model's: "soxr-hq", or "torchaudio-sinc" as some references have it
            (`voxzoo info` tells which). It moves tokens, which record it.

    Raises:
        UnknownModelError: no such name; near matches are given.
        WeightsError: weights missing, damaged, of another shape, or unsafe.
        ModelError: an engine, device, dtype or resampler that is not there.
    """
    _check_engine(engine)
    check_device(device)
    check_resampler(resampler)
    text = os.fspath(name)
    folder = Path(text)
    if (folder / "config.json").is_file():
        if text in models():
            raise ModelError(f"{text!r} is a registry name and also a folder here; write './{text}' for the folder")
        if weights is not None:
            raise ModelError(f"{text!r} is a model folder, which holds its weights; leave out weights={os.fspath(weights)!r}")
        item, weights = _entry_of(folder), folder
    elif os.sep in text or text.startswith("."):
        raise ModelError(f"{text!r} is not a model folder: it holds no config.json")
    else:
        item = entry(text)
    model = _build(item, weights, device, dtype)
    model.resampler = resampler
    return model


def _entry_of(folder: Path) -> Entry:
    name = read_json(folder / "config.json").get("model")
    if not isinstance(name, str):
        raise ModelError(
            f"config.json in {str(folder)!r} names no voxzoo model; for a published checkpoint give the name as well: "
            "load(NAME, weights=FOLDER)"
        )
    return entry(name)


def _build(item: Entry, weights: str | os.PathLike[str] | None, device: str, dtype: str) -> Model:
    cls = model_class(item)
    if weights == "random":
        return random_model(item, dict(item.config), device=device, dtype=dtype)
    config, state = cls.read(find(item, weights))
    network = cls.build(config)
    load_strict(network, state, item.name)
    return cls(item.facts, config, network, device, dtype)


def random_model(item: Entry, config: dict[str, Any], seed: int = 0, device: str = "cpu", dtype: str = "float32") -> Model:
    """A model of this configuration with random weights; the global random state is left as it was."""
    import torch

    cls = model_class(item)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cls.build(config)
    return cls(item.facts, config, network, device, dtype)


def _check_engine(engine: str) -> None:
    if engine not in ("auto", "torch"):
        raise ModelError(f"engine={engine!r}; this version has 'auto' and 'torch'")


def check_device(device: str) -> None:
    """Raise `ModelError` for a device that torch does not know or this machine does not have."""
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = torch.device("meta")
    if wanted.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"no device is called {device!r}; expected 'cpu', 'cuda' or 'cuda:N'")
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device={device!r}, but torch finds no CUDA GPU here; use device='cpu'")
