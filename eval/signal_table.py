"""The table of the signal metrics."""

from __future__ import annotations

from .metric import Family

__all__ = ["SIGNAL"]

SIGNAL: tuple[Family, ...] = ()
