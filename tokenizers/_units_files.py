"""Published files of units: a backbone in one of the forms of `core/fairseq_names.py`, with codewords or a classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import WeightsError
from ..core.fairseq_names import read_backbone_file
from ..core.kmeans_files import read_centers
from ..core.ssl import without_weight_norm
from ..core.weights import read_checkpoint, read_json, read_state
from ._units import complete
from ._units_backbones import SPECTRA, backbone, described
from ._units_sensevoice import read_sensevoice, used_by

__all__ = ["backbone_files", "first_layers_of", "read_backbone", "read_published"]

QUANTIZER = re.compile(r"(^|[_.-])(km|kmeans|quantizer)[_\d]*([_.-]|$)")
TENSORS = (".pt", ".pth", ".th", ".bin", ".safetensors")
ARRAYS = (".npy", ".npz", ".km", ".joblib", ".pkl")
SETTINGS = "units.json"
WHISPER = re.compile(r"^(?:model\.)?encoder\.")


def read_published(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a folder with one backbone and one quantizer, whose `config` is the entry's as far as files do not
    tell it.

    `units.json`, where there is one, changes the config (`layer`, `normalize`). Raises `WeightsError`.
    """
    settings = {**config, **(read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {})}
    file = _only([path for path in _files(folder) if _quantizes(path)], folder, "codewords, such as km.bin")
    if settings["quantizer"] == "classifier":
        settings, quantizer = _classifier(file, settings)
    else:
        quantizer = {"codebook": torch.from_numpy(read_centers(file))}
    if (found := len(next(reversed(quantizer.values())))) != settings["codebook_size"]:
        raise WeightsError(f"{str(file)!r} holds {found} units; expected {settings['codebook_size']}: it is of another model")
    told, state = read_backbone(folder, settings["backbone"] if backbone_files(folder) or not settings["layer"] else None)
    c = complete({**settings, **told})
    if c["quantizer"] == "kmeans":
        with torch.device("meta"):
            read_centers(file, backbone(c["backbone"], c["layer"], c["sample_rate"]).dim)
    state = first_layers_of(state, c)
    return c, {f"backbone.{key}": v for key, v in state.items()} | {f"quantizer.{key}": v for key, v in quantizer.items()}


def read_backbone(place: Path, known: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A backbone's file, or the one in a folder: what it tells of the config (`backbone`, `normalize`), and all its tensors.

    known: what its shape is where the file does not tell; by default that of HuBERT-base, or of WavLM-base by the file's name.
    """
    if known is not None and described(known)["model_type"] in SPECTRA:
        if not backbone_files(place):
            return {"backbone": known}, {}
        known = None
    path = place if place.is_file() else _only(backbone_files(place), place, "a backbone, such as hubert_base_ls960.pt")
    if (path.parent / "am.mvn").is_file():
        sizes, state = read_sensevoice(path.parent)
        return {"backbone": described(sizes)}, state
    shape = known or {"model_type": "wavlm" if "wavlm" in path.name.lower() else "hubert"}
    theirs = path.parent / "config.json"
    if path.name in ("model.safetensors", "pytorch_model.bin") and theirs.is_file():
        shape = read_json(theirs)
    shape = described(shape)
    if shape["model_type"] == "whisper":
        state = {WHISPER.sub("", key): value for key, value in read_state(path).items() if WHISPER.match(key)}
        return {"backbone": shape}, state
    state, told = read_backbone_file(path, shape["model_type"])
    return {"backbone": shape, **told}, without_weight_norm(state)


def first_layers_of(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of a backbone's tensors those that the layers up to the one that is quantised use, under our names."""
    architecture, layer = config["backbone"], config["layer"]
    if architecture["model_type"] == "sensevoice":
        return used_by(layer, state, architecture)
    whisper = architecture["model_type"] == "whisper"
    total = architecture["encoder_layers" if whisper else "num_hidden_layers"] if state else 0
    norm = "layer_norm." if whisper else "encoder.layer_norm."
    unused = layer < total and (whisper or architecture["do_stable_layer_norm"])
    pattern = re.compile(r"(?:encoder\.)?layers\.(\d+)\.")
    kept = {}
    for key, value in state.items():
        found = pattern.match(key)
        if (found and int(found[1]) >= layer) or (unused and key.startswith(norm)):
            continue
        kept[key if whisper else f"network.{key}"] = value.float()
    return kept


def backbone_files(folder: Path) -> list[Path]:
    """Files of a folder that may be a backbone; where there are safetensors, they stand for the rest."""
    found = [path for path in _files(folder) if path.suffix in TENSORS and not _quantizes(path)]
    safe = [path for path in found if path.suffix == ".safetensors"]
    return safe or found


def _quantizes(path: Path) -> bool:
    """By its name: that it holds codewords or a classifier."""
    named = path.stem.lower() + path.suffix.lower()
    if named.startswith(("pytorch_model", "model.safetensors")):
        return False
    return path.suffix in ARRAYS or bool(QUANTIZER.search(path.name.lower()))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in (*TENSORS, *ARRAYS))


def _only(found: list[Path], folder: Path, what: str) -> Path:
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise WeightsError(f"{str(folder)!r} must hold one file of {what}; there is {names}")
    return found[0]


def _classifier(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SpiritLM's: `model_cfg` and `model_weight`, whose linear layers are 0, 2 and 4 of a sequence."""
    content = read_checkpoint(path)
    weights = content.get("model_weight") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{str(path)!r} is no classifier of units; expected model_cfg and model_weight")
    matrices = [value for value in weights.values() if value.ndim == 2]
    hidden = [len(matrix) for matrix in matrices[:-1]]
    return {**config, "hidden": hidden}, {f"layers.{key}": value.float() for key, value in weights.items()}
