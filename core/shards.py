"""Some tensors of a large checkpoint: only the files that hold them are opened, and of these nothing else is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WeightsError
from .weights import read_json

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_shards"]

INDEX = "model.safetensors.index.json"


def read_shards(folder: Path, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The tensors whose names begin with one of `prefixes`, from `model.safetensors` or from the files its index names.

    Raises `WeightsError` when there are none, or a file is missing (all that are needed are named) or damaged.
    """
    start = tuple(prefixes)
    files = _files(folder, start)
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise WeightsError(f"{str(folder)!r} lacks {', '.join(missing)}, where its index says the tensors lie; put them there")
    found: dict[str, Tensor] = {}
    for name in files:
        found |= _read(folder / name, start)
    if not found:
        raise WeightsError(f"{str(folder)!r} holds no tensors under {' or '.join(prefixes)}")
    return found


def _files(folder: Path, start: tuple[str, ...]) -> list[str]:
    if not (folder / INDEX).is_file():
        return ["model.safetensors"]
    where = read_json(folder / INDEX).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(file, str) and Path(file).name == file for file in where.values()):
        raise WeightsError(f"{str(folder / INDEX)!r} has no weight_map from tensors to files beside it")
    return sorted({file for key, file in where.items() if key.startswith(start)})


def _read(path: Path, start: tuple[str, ...]) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if key.startswith(start)}  # noqa: SIM118, it is no dict
    except Exception as error:  # safetensors' own kind, and whatever a damaged header makes of tensors
        first = str(error).strip().split("\n")[0][:200]
        raise WeightsError(f"{str(path)!r} is damaged or no safetensors file: {first}") from None
