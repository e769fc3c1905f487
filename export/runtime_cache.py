"""`engine="onnx"`: a model's bundle, exported once into the user's cache.

    <cache>/onnx/<fingerprint>-<precision>-<edition>/   the bundle
    <cache>/onnx/known/<key>                            its name, under a key of what was asked for

With the key, torch is not needed to tell which bundle is meant. It is of the files that the weights lie in (names, sizes,
times of change), not of their content: touching them costs a load with torch, which finds the bundle again by its fingerprint.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ModelError, VoxzooError
from ..core.fetching import cache_folder
from ..core.files import replacing
from ..core.loading import load
from ..core.registry import entry, models
from ..core.weights import find
from .bundle import FORMAT, is_bundle

if TYPE_CHECKING:
    from ..core.model import Model

__all__ = ["cached_bundle"]

PRECISION = "fp32"
EDITION = 1  # counted up whenever the exporter makes other graphs, which are not to be mixed up with those in the cache


def cached_bundle(name: str, weights: str | os.PathLike[str] | None = None, device: str = "cpu") -> Path:
    """The folder of the bundle of what `voxzoo.load(name, weights=weights)` loads; exported unless it is there.

    device: where it is to be played, which is found to be there before anything is exported.

    Raises:
        ModelError: a device that is not there; whatever loading the model raises.
        ExportError: the model cannot be exported.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    from .runtime_session import device_named

    device_named(device)
    root = cache_folder() / "onnx"
    key = _key(name, weights)
    known = root / "known" / key if key else None
    if known is not None and known.is_file():
        folder = root / known.read_text(encoding="utf-8").strip()
        if folder.parent == root and is_bundle(folder):
            return folder
    model: Model = load(name, weights=weights, engine="torch")
    folder = root / f"{model.fingerprint[:32]}-{PRECISION}-{EDITION}"
    if not is_bundle(folder):
        _export(model, folder)
    if known is not None:
        known.parent.mkdir(parents=True, exist_ok=True)
        with replacing(known) as temporary:
            Path(temporary).write_text(folder.name, encoding="utf-8")
    return folder


def _export(model: Model, folder: Path) -> None:
    from .graphs import export_model

    if sys.stderr.isatty():
        print(f"voxzoo: exporting {model.facts.name} to {str(folder)!r}, once; this may take a minute", file=sys.stderr)
    try:
        export_model(model, folder)
    except VoxzooError:
        if not is_bundle(folder):  # else another process was quicker
            raise
    except OSError as error:
        raise ModelError(f"no bundle can be written to {str(folder)!r}: {error}; set VOXZOO_CACHE to another place") from None


def _key(name: str, weights: str | os.PathLike[str] | None) -> str | None:
    """Of the weights as they lie on this machine; None for what has no files, or is not here yet."""
    folder = _weights(name, weights)
    if folder is None:
        return None
    digest = hashlib.sha256(f"{FORMAT} {PRECISION} {EDITION} {name} {folder.resolve()}".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            told = path.stat()
            digest.update(f"{path.relative_to(folder)} {told.st_size} {told.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _weights(name: str, weights: str | os.PathLike[str] | None) -> Path | None:
    if weights == "random":
        return None
    if name not in models():
        return Path(name) if Path(name).is_dir() else None
    item = entry(name)
    local = item.bundled or weights is not None or (Path(os.environ.get("VOXZOO_WEIGHTS") or os.devnull) / name).is_dir()
    return find(item, weights) if local else None
