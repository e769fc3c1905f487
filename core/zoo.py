"""The table of models. An entry is data: nothing here imports torch or a model's code."""

from __future__ import annotations

from .registry import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = ()
