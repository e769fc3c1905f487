"""Finding weights and reading them safely.

Order: the folder given by hand, `$VOXZOO_WEIGHTS/<model>`, the weights inside the package, the hub (pinned revision,
sha256 checked). No checkpoint is ever allowed to run code: safetensors, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .decoders import DecoderEntry
from .errors import MissingExtraError, WeightsError
from .fetching import fetched_folder
from .files import replacing
from .registry import Entry

if TYPE_CHECKING:
    import torch

__all__ = [
    "bundled_folder",
    "check_fit",
    "find",
    "fingerprint",
    "load_strict",
    "peek_config",
    "read_checkpoint",
    "read_json",
    "read_state",
    "save_folder",
]

FORMAT = 1  # of our own folders: config.json + model.safetensors
_BUNDLED = Path(__file__).resolve().parent.parent / "bundled"


def bundled_folder(name: str) -> Path:
    """Where the weights inside the package lie."""
    return _BUNDLED / name


def find(entry: Entry | DecoderEntry, weights: str | os.PathLike[str] | None) -> Path:
    """The folder that holds the weights of `entry`.

    Raises `WeightsError` when there is none, or when a file's sha256 is not the recorded one.
    """
    if weights is not None:
        folder = Path(weights)
        if (folder / entry.name).is_dir():
            folder = folder / entry.name
        if not folder.is_dir():
            raise WeightsError(
                f"weights folder {str(weights)!r} does not exist; `voxzoo weights {entry.name}` tells what to put there"
            )
        return folder
    if root := os.environ.get("VOXZOO_WEIGHTS"):
        folder = Path(root) / entry.name
        if folder.is_dir():
            return folder
    if entry.bundled:
        folder = bundled_folder(entry.name)
        if not (folder / "config.json").is_file():
            raise WeightsError(f"the bundled weights of {entry.name} are missing from {str(folder)!r}; reinstall voxzoo")
        return folder
    if entry.unpublished:
        raise WeightsError(f"{entry.name}: {entry.unpublished}")
    if entry.weights is not None and entry.weights.gated:
        raise WeightsError(f"the weights of {entry.name} are not to be had without asking: {entry.weights.gated}")
    if entry.weights is not None and entry.weights.urls:
        return fetched_folder(entry.name, entry.weights.urls, entry.weights.files)
    return _from_hub(entry)


def _from_hub(entry: Entry | DecoderEntry) -> Path:
    if entry.weights is None:
        raise WeightsError(f"{entry.name} has no published weights")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import logging
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub") from None
    logging.set_verbosity_error()  # its retries; how it ended is told below
    path = Path()
    for file, digest in entry.weights.files.items():
        try:
            path = Path(hf_hub_download(entry.weights.repo, entry.weights.path(file), revision=entry.weights.revision))
        except Exception as error:  # network, proxy, 404, disk: the hub raises many kinds
            raise WeightsError(
                f"cannot fetch {file} of {entry.weights.repo} ({type(error).__name__}); on a machine without a network see "
                f"`voxzoo weights {entry.name}`, or pass a folder: --weights DIR"
            ) from None
        check_sha256(path, digest)
    return path.parent


def check_sha256(path: Path, digest: str | None) -> None:
    """Raise `WeightsError` unless the file has this sha256; a file whose hash is not recorded passes."""
    if digest is None:
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise WeightsError(f"{str(path)!r} has sha256 {found}, expected {digest}; delete it and fetch it again")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `WeightsError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable JSON file: {error}") from None
    if not isinstance(data, dict):
        raise WeightsError(f"{str(path)!r} holds a {type(data).__name__}; expected an object")
    return data


def peek_config(folder: Path) -> dict[str, Any]:
    """What `config.json` in a folder holds, to tell what kind it is: nothing where there is none, or none that can be read."""
    try:
        return read_json(folder / "config.json")
    except WeightsError:
        return {}


def read_checkpoint(path: Path) -> Any:
    """What a `.pt`, `.th` or `.bin` file holds, tensors and plain values; code in it is never run. Raises `WeightsError`."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{str(path)!r} does not exist") from None
    except Exception as error:  # unpickling errors are of many kinds, and the message may hold the hostile code's name
        if "Unsupported" in str(error) or "weights_only" in str(error).lower():
            raise WeightsError(f"{str(path)!r} holds pickled code, which is refused: only tensors are read") from None
        raise WeightsError(_damaged(path, error)) from None


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from `.safetensors`, or from a file that `read_checkpoint` reads.

    A checkpoint that nests its tensors under `state_dict`, `model` or `best_state` is unwrapped. Raises `WeightsError`.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        from .int8_weights import unpacked

        try:
            return unpacked(load_file(path))
        except WeightsError:
            raise
        except FileNotFoundError:
            raise WeightsError(f"{str(path)!r} does not exist") from None
        except Exception as error:  # safetensors' own kind, and whatever a damaged header makes of tensors
            raise WeightsError(_damaged(path, error)) from None
    state = read_checkpoint(path)
    for key in ("state_dict", "model", "best_state"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{str(path)!r} does not hold a state dict of tensors")
    return state


def _damaged(path: Path, error: Exception) -> str:
    first = str(error).strip().split("\n")[0][:200]
    return f"{str(path)!r} is damaged or not a checkpoint: {first}"


def check_fit(network: torch.nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """`load_state_dict(strict=True)`, with an error that names what is missing, unexpected, of another shape, or empty."""
    import torch

    for key, value in network.named_parameters():
        if not value.numel():
            raise WeightsError(f"the configuration gives {name} an empty weight {key!r}")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the meta device torch tells for every weight that nothing is copied
        try:
            network.load_state_dict(dict(state), strict=True)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:]]
            raise WeightsError(f"these weights do not fit {name}: {' '.join(lines)[:600]}") from None


def load_strict(network: torch.nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Take over the weights. Raises as `check_fit` does, and for weights that are not finite."""
    import torch

    check_fit(network, state, name)
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"the weights of {name} hold NaN or infinity in {key!r}")


def fingerprint(config: Mapping[str, Any], network: torch.nn.Module) -> str:
    """sha256 (hex) over the config and every tensor of the state dict: the identity tokens carry."""
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).numpy().tobytes())
    return digest.hexdigest()


def save_folder(folder: Path, name: str, config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
    """Write our own form, `config.json` and `model.safetensors`, each whole or not at all."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary)
    text = json.dumps({"model": name, "format": FORMAT, "config": dict(config)}, indent=2)
    with replacing(folder / "config.json") as temporary:
        Path(temporary).write_text(text + "\n", encoding="utf-8")
