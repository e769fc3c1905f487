"""`load`: from a registry name or a folder to a model ready to encode and decode.

A folder that `voxzoo export` wrote, a bundle, is played without torch; so is `engine="onnx"` once its bundle is in the cache.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError, VoxzooError, WeightsError
from .published import HUB, hub_folder, nearest, pinned, recognise
from .registry import Entry, entry, model_class, models
from .resampling import SOXR, check_resampler
from .weights import check_fit, find, load_strict, peek_config

if TYPE_CHECKING:
    from .model import Model

__all__ = ["check_device", "is_bundle", "is_folder", "load", "random_model"]

BUNDLE = "voxzoo.json"  # what a bundle's folder holds
RUNTIME, CACHE = "voxzoo.export.runtime:open_bundle", "voxzoo.export.runtime_cache:cached_bundle"  # named, as the families are
TOOLS = ("onnx", "onnxruntime")  # what `engine="onnx"` needs


def load(
    name: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    engine: str = "auto",
    dtype: str = "float32",
    resampler: str = SOXR,
    threads: int | None = None,
) -> Model:
    """Load a model.

    Args:
        name: a registry name (`voxzoo.models()` lists them); a local folder, in our own form (`config.json` +
            `model.safetensors`) or in a published one, which is recognised by its config; or `hf:OWNER/REPO` on the hub, with
            `/FOLDER` and `@REVISION` if need be. A bundle, too, is a folder: it is played without torch, and its tokens are
            numpy arrays.
        weights: a folder with the checkpoint, as published or in our own form; "random" builds the real-size model with
            random weights (seed 0), for benchmarks and tests. By default `$VOXZOO_WEIGHTS/<name>`, the bundled weights,
            or the hub.
        device: "cpu", "cuda", "cuda:1", ...
        engine: "torch"; "onnx", which exports the model once into the user's cache and plays the bundle; or "auto", the faster
            one of those that were measured to give equal tokens (the entry's `engine`).
        dtype: "float32", or "bfloat16" / "float16" (autocast; tokens may then differ).
        resampler: what brings sound of other rates to the model's: "soxr-hq", or "torchaudio-sinc" as some references have it
            (`voxzoo info` tells which). It moves tokens, which record it.
        threads: of a bundle's graphs on a CPU; by default `OMP_NUM_THREADS`, or else as many as there are cores.

    Raises:
        UnknownModelError: no such name; near matches are given.
        WeightsError: weights missing, damaged, of another shape, or unsafe.
        ModelError: an engine, device, dtype or resampler that is not there.
    """
    _check_engine(engine)
    check_resampler(resampler)
    text = os.fspath(name)
    folder = Path(text)
    if text not in models() and is_bundle(folder):
        _only(text, weights, "is a bundle, which holds its weights")
        _check_bundle(text, engine, dtype)
        return _play(folder, device, resampler, threads)
    if engine == "onnx" or (engine == "auto" and _faster(text, device, dtype)):
        _check_bundle(text, "onnx", dtype)
        return _play(_named(CACHE)(text, weights, device), device, resampler, threads)
    if threads is not None:
        raise ModelError(f"threads={threads} is for bundles; of torch it is torch.set_num_threads")
    check_device(device)
    if text.startswith(HUB):
        _only(text, weights, "names the weights")
        known = pinned(text)
        model = _of_folder(hub_folder(text), device, dtype) if known is None else _of_entry(known, None, device, dtype)
    elif text in models():
        if is_folder(text):
            raise ModelError(f"{text!r} is a registry name and also a folder here; write './{text}' for the folder")
        model = _of_entry(entry(text), weights, device, dtype)
    elif folder.is_dir():
        _only(text, weights, "is a model folder, which holds its weights")
        model = _of_folder(folder, device, dtype)
    elif os.sep in text or text.startswith("."):
        raise ModelError(f"{text!r} is not a model folder: there is no such folder")
    else:
        model = _of_entry(entry(text), weights, device, dtype)
    model.resampler = resampler
    return model


def is_bundle(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder was written by `voxzoo export`."""
    return (Path(folder) / BUNDLE).is_file()


def is_folder(name: str) -> bool:
    """Whether a name is that of a folder with a model in our own or a published form, or with a bundle."""
    return (Path(name) / "config.json").is_file() or is_bundle(name)


def _named(text: str) -> Any:
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)


def _play(folder: Path, device: str, resampler: str, threads: int | None) -> Model:
    """A bundle's model, which is no torch module but has the interface of one."""
    model: Model = _named(RUNTIME)(folder, device=device, threads=threads, resampler=resampler)
    return model


def _check_bundle(text: str, engine: str, dtype: str) -> None:
    if engine == "torch":
        raise ModelError(f"{text!r} is a bundle, which torch does not play; use engine='onnx' or leave it out")
    if dtype != "float32":
        raise ModelError(f"dtype={dtype!r}: a bundle has the precision it was exported with; use `voxzoo export --precision`")


def _faster(name: str, device: str, dtype: str) -> bool:
    """Whether "auto" means onnxruntime: measured to be faster with equal tokens, and there."""
    if name not in models() or entry(name).engine != "onnx" or device != "cpu" or dtype != "float32":
        return False
    return all(importlib.util.find_spec(tool) is not None for tool in TOOLS)


def _only(text: str, weights: str | os.PathLike[str] | None, what: str) -> None:
    if weights is not None:
        raise ModelError(f"{text!r} {what}; leave out weights={os.fspath(weights)!r}")


def _of_entry(item: Entry, weights: str | os.PathLike[str] | None, device: str, dtype: str) -> Model:
    if weights == "random":
        return random_model(item, dict(item.config), device=device, dtype=dtype)
    return _read(item, model_class(item), find(item, weights), device, dtype)


def _of_folder(folder: Path, device: str, dtype: str) -> Model:
    """Our own form names its model; a published one is recognised."""
    config = peek_config(folder)
    if isinstance(config.get("model"), str) and "format" in config:
        return _of_entry(entry(config["model"]), folder, device, dtype)
    return _read(None, recognise(folder), folder, device, dtype)


def _read(item: Entry | None, cls: type[Model], folder: Path, device: str, dtype: str) -> Model:
    """The model in a folder; without an entry, the nearest of its class is taken."""
    import torch

    try:
        config, state = cls.read(folder) if item is None else cls.read_as(folder, item.config)
        item = item or nearest(cls, config)
        with torch.device("meta"):  # takes no memory, and torch dies of some empty layers elsewhere
            check_fit(cls.build(config), state, item.name)
        network = cls.build(config)
        load_strict(network, state, item.name)
        return cls(item.facts, config, network, device, dtype)
    except VoxzooError:
        raise
    except Exception as error:  # a configuration is a stranger's data, and may hold anything
        name = cls.__name__ if item is None else item.name
        raise WeightsError(f"{str(folder)!r} makes no {name}: {type(error).__name__}: {error}") from error


def random_model(item: Entry, config: dict[str, Any], seed: int = 0, device: str = "cpu", dtype: str = "float32") -> Model:
    """A model of this configuration with random weights; the global random state is left as it was."""
    import torch

    cls = model_class(item)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cls.build(config)
    return cls(item.facts, config, network, device, dtype)


def _check_engine(engine: str) -> None:
    if engine not in ("auto", "torch", "onnx"):
        raise ModelError(f"engine={engine!r}; expected 'auto', 'torch' or 'onnx'")


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
