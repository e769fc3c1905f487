"""Published checkpoints without a registry name: which family made them is told by plain data, never by running a config.

`recognise` asks each family of the registry whether a folder is of its form; `hub_folder` brings what a repository of the hub
holds of a model to this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MissingExtraError, ModelError, WeightsError
from .registry import Entry, entry, model_class, models

if TYPE_CHECKING:
    from .model import Model

__all__ = ["HUB", "hub_folder", "nearest", "pinned", "recognise"]

HUB = "hf:"
NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<folder>[\w./-]+?))?(?:@(?P<revision>[\w.-]+))?")
KINDS = (".json", ".yaml", ".yml", ".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt")
LARGEST = 8 * 2**30  # bytes: a codec is smaller, and who names a language model by mistake should not wait for it


def recognise(folder: Path) -> type[Model]:
    """The class of the family that publishes its weights as `folder` holds them.

    Raises `ModelError` when no family knows the form, or more than one does.
    """
    found: dict[type[Model], str] = {}
    for name in models():
        cls = model_class(entry(name))
        if cls not in found and cls.recognises(folder):
            found[cls] = name
    if not found:
        raise ModelError(
            f"{str(folder)!r} holds no checkpoint in a form that is known; if you know which model it is, give the name as "
            "well: load(NAME, weights=FOLDER)"
        )
    if len(found) > 1:
        raise ModelError(
            f"{str(folder)!r} may be of {' or '.join(found.values())}; choose one: load(NAME, weights={str(folder)!r})"
        )
    return next(iter(found))


def nearest(cls: type[Model], config: Mapping[str, Any]) -> Entry:
    """The entry of this class whose shape is that of `config`, or else the first of the same sample rate, or else the first.

    Its licence of weights is replaced: whose weights these are is not known.
    """
    entries = [item for item in map(entry, models()) if model_class(item) is cls]
    shape = cls.shape(config)

    def unlike(item: Entry) -> tuple[bool, bool]:
        other = cls.shape(item.config)
        return other != shape, other["sample_rate"] != shape["sample_rate"]

    item = min(entries, key=unlike)
    return replace(item, facts=replace(item.facts, weights_licence="not known: ask where these weights come from"))


def pinned(text: str) -> Entry | None:
    """The entry whose weights `hf:OWNER/REPO[/FOLDER][@REVISION]` names, if that is one of the registry's.

    Raises `ModelError` for what is no such name, and when several entries share the repository.
    """
    repo, folder, revision = _parts(text)
    items = [
        item
        for item in map(entry, models())
        if item.weights is not None and item.weights.repo == repo and not item.weights.urls
    ]
    items = [item for item in items if item.weights and folder in ("", item.weights.folder)]
    items = [item for item in items if item.weights and revision in (None, item.weights.revision)]
    if len(items) > 1:
        raise ModelError(f"{text} holds the weights of {', '.join(item.name for item in items)}; load one of these by its name")
    return items[0] if items else None


def hub_folder(text: str) -> Path:
    """What `hf:OWNER/REPO[/FOLDER][@REVISION]` holds of a model, fetched (or from the hub's cache): the folder it lies in.

    Raises `MissingExtraError` without huggingface_hub, `WeightsError` when the repository cannot be fetched, holds no weights,
    or is far too large for a codec.
    """
    repo, folder, revision = _parts(text)
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.utils import logging
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub") from None
    logging.set_verbosity_error()  # its retries; how it ended is told below
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = _wanted({name: size for name, size in sizes.items() if not folder or name.startswith(f"{folder}/")}, text)
        return Path(snapshot_download(repo, revision=info.sha, allow_patterns=wanted)) / folder
    except WeightsError:
        raise
    except Exception as error:  # network, proxy, 404, disk: the hub raises many kinds
        raise WeightsError(
            f"cannot fetch {text} ({type(error).__name__}); on a machine without a network fetch the repository elsewhere and "
            "load its folder"
        ) from None


def _parts(text: str) -> tuple[str, str, str | None]:
    found = NAME.fullmatch(text.removeprefix(HUB))
    if found is None or ".." in text:
        raise ModelError(f"{text!r} names no repository; expected hf:OWNER/REPO, with /FOLDER and @REVISION if need be")
    return found["repo"], found["folder"] or "", found["revision"]


def _wanted(sizes: Mapping[str, int], text: str) -> list[str]:
    """Configs and weights of a listing; pickled weights only where there are no safetensors beside them."""
    safe = {name.rpartition("/")[0] for name in sizes if name.endswith(".safetensors")}
    wanted = [
        name
        for name in sizes
        if name.endswith(KINDS) and not (name.endswith((".bin", ".pt", ".pth")) and name.rpartition("/")[0] in safe)
    ]
    if not any(not name.endswith((".json", ".yaml", ".yml")) for name in wanted):
        raise WeightsError(f"{text} holds no weights; expected a file ending in {', '.join(KINDS[3:])}")
    if (total := sum(sizes[name] for name in wanted)) > LARGEST:
        raise WeightsError(
            f"{text} holds {total / 2**30:.0f} GiB of weights, too many for a codec; fetch it and load its folder"
        )
    return wanted
