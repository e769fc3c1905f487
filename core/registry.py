"""The registry: which models there are, told without importing torch; each is built only when asked for.

The table is `zoo.py`, whose entries lie in `entries/`. Other packages add entries through the entry-point group
`voxzoo.models`, each naming an `Entry` or a list of them. A name taken twice is an error.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import ModelError, UnknownModelError
from .facts import Facts

if TYPE_CHECKING:
    from .model import Model

__all__ = ["SINC", "SOXR", "Entry", "Weights", "entry", "model_class", "models", "near_names"]

GROUP = "voxzoo.models"
SOXR, SINC = "soxr-hq", "torchaudio-sinc"  # resamplers; here, since resampling.py needs numpy


@dataclass(frozen=True)
class Weights:
    """Where a published checkpoint lies.

    Attributes:
        repo: hub repository.
        revision: commit it is pinned to; "main" where no public record names one.
        files: file name -> sha256 (hex), or None where the publisher's hash is not known here.
        folder: where in the repository the files lie; "" for its top.
        urls: file name -> address, for weights that do not lie on the hub; `repo` is then who publishes them.
        gated: for weights that are given on request alone: where to ask, and for what; else empty.
    """

    repo: str
    revision: str
    files: Mapping[str, str | None]
    folder: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    gated: str = ""

    def url(self, file: str) -> str | None:
        """The address of a file; None for one that has none."""
        if self.urls or self.gated:
            return self.urls.get(file)
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.path(file)}"

    def path(self, file: str) -> str:
        """Of a file, in the repository."""
        return f"{self.folder}/{file}" if self.folder else file


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        facts: readable without loading anything.
        build: "package.module:ClassName" of its `Model`.
        config: the configuration of the published weights (JSON-able).
        tiny: changes to `config` that make a small model for tests.
        weights: where the published checkpoint lies; None for models bundled with Voxzoo, and where there is none.
        unpublished: where there are no weights to be had: that, and what to do instead; else empty.
        exceptions: law of the interface -> why the model does not obey it as stated.
        streaming: how it streams, with the measured context and agreement.
        compared: what it was compared with, and to which tolerance; or that it was not.
        about: one line for the table.
        reference_resampler: which one the published code uses; voxzoo's default is soxr HQ throughout.
        engine: what `engine="auto"` takes: "onnx" where onnxruntime was measured to be faster on a CPU with equal tokens.
    """

    facts: Facts
    build: str
    config: Mapping[str, Any]
    tiny: Mapping[str, Any]
    about: str
    streaming: str
    compared: str
    weights: Weights | None = None
    unpublished: str = ""
    exceptions: Mapping[str, str] = field(default_factory=dict)
    reference_resampler: str = "none: it takes sound at its own rate only"
    engine: str = "torch"

    @property
    def name(self) -> str:
        """Registry name."""
        return self.facts.name

    @property
    def bundled(self) -> bool:
        """Whether the weights ship inside the package."""
        return self.weights is None and not self.unpublished


@functools.cache
def _table() -> dict[str, Entry]:
    from .zoo import ENTRIES

    table: dict[str, Entry] = {}
    for item in [*ENTRIES, *_plugins()]:
        if item.name in table:
            raise ModelError(f"two models are registered as {item.name!r}; uninstall or rename one of them")
        table[item.name] = item
    return table


def _plugins() -> list[Entry]:
    from importlib.metadata import entry_points  # 40 ms that `--help` need not pay

    found: list[Entry] = []
    for point in entry_points(group=GROUP):
        try:
            loaded = point.load()
        except Exception as error:  # whatever a stranger's package raises, name the package
            raise ModelError(f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {error}") from error
        items = list(loaded) if isinstance(loaded, (list, tuple)) else [loaded]
        if not all(isinstance(item, Entry) for item in items):
            raise ModelError(f"the plug-in {point.name!r} ({point.value}) is no voxzoo.Entry, nor a list of them")
        found += items
    return found


def models() -> list[str]:
    """Names of all models, in the order of the table."""
    return list(_table())


def near_names(name: str, known: Iterable[str]) -> str:
    """For an error: the names nearest to one that is not known, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""


def entry(name: str) -> Entry:
    """The entry of `name`. Raises `UnknownModelError`, with near matches, when there is none."""
    table = _table()
    if name not in table:
        raise UnknownModelError(f"no model is called {name!r}: {near_names(name, table)}`voxzoo models` lists all {len(table)}")
    return table[name]


def model_class(item: Entry) -> type[Model]:
    """Import the class that builds `item` (this imports torch)."""
    module, _, name = item.build.partition(":")
    cls: type[Model] = getattr(importlib.import_module(module), name)
    return cls
