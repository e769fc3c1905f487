"""What the entries of a benchmark are: `-m NAME[:K]`, a model with its first K codebooks, or a classical anchor."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import VoxzooError
from ..core.loading import is_folder
from ..core.registry import entry
from . import anchors

__all__ = ["ORIGINAL", "Entrant", "entrants", "folder_names"]

ORIGINAL = "original"  # label of the row of the sound that went in


@dataclass(frozen=True)
class Entrant:
    """One entry.

    Attributes:
        label: what the user wrote, and the name of the row.
        model: a registry name, a model folder or a bundle; "" for an anchor.
        streams: only the first so many codebooks; None for all.
        weights: folder of the model's checkpoint, or "random".
        anchor: the classical codec, where it is one.
    """

    label: str
    model: str = ""
    streams: int | None = None
    weights: str | None = None
    anchor: anchors.Anchor | None = None


def entrants(labels: Sequence[str], weights: Mapping[str, str], rate: int) -> list[Entrant]:
    """The entries that `labels` name.

    Args:
        labels: as "vox-rvq-16k", "vox-rvq-16k:2", "./folder:4", "opus:12", "gsm"; none twice.
        weights: folder by the name of the model.
        rate: Hz at which everything is compared.

    Raises `VoxzooError` for no entries, one given twice, an unknown model, codebooks or settings that are not there, weights of
    a model that is not an entry, and for anchors without ffmpeg or with one that lacks the codec.
    """
    if not labels:
        raise VoxzooError("no entries: name at least one as -m MODEL, -m MODEL:CODEBOOKS or an anchor such as -m opus:12")
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise VoxzooError(f"the entry {twice[0]!r} is given twice; give it once")
    found = [_anchor(label, rate) or _model(label, weights) for label in labels]
    unused = [name for name in weights if name not in {item.model for item in found}]
    if unused:
        raise VoxzooError(f"weights for {unused[0]!r}, which is no entry; the entries are {', '.join(labels)}")
    return found


def _anchor(label: str, rate: int) -> Entrant | None:
    anchor = anchors.find(label, rate)
    if anchor is None:
        return None
    anchors.check(anchor)
    return Entrant(label, anchor=anchor)


def _model(label: str, weights: Mapping[str, str]) -> Entrant:
    name, streams = label, None
    head, colon, tail = label.rpartition(":")
    if colon and tail.isdigit() and not is_folder(label):
        name, streams = head, int(tail)
    if label == ORIGINAL:
        raise VoxzooError(f"{ORIGINAL!r} is always an entry, for the metrics that need no reference; leave it out")
    if not is_folder(name) and os.sep not in name:
        have = entry(name).facts.streams
        if streams is not None and not 1 <= streams <= have:
            raise VoxzooError(f"entry {label!r} asks for {streams} codebooks; {name} has 1 to {have}")
    return Entrant(label, name, streams, weights.get(name))


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder name for each label, no two the same: "opus:12" -> "opus-12"."""
    names: dict[str, str] = {}
    for label in labels:
        name = wanted = re.sub(r"[^\w.+]+", "-", label).strip("-.") or "entry"
        number = 2
        while name in names.values():
            name, number = f"{wanted}-{number}", number + 1
        names[label] = name
    return names
