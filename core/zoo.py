"""The table of models, one file of entries a family. An entry is data: nothing here imports torch or a model's code."""

from __future__ import annotations

from .entries import dac, encodec, mimi, snac, vox
from .registry import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    *vox.ENTRIES,
    *encodec.ENTRIES,
    *snac.ENTRIES,
    *dac.ENTRIES,
    *mimi.ENTRIES,
)
