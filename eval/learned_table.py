"""The table of the learned metrics."""

from __future__ import annotations

from .metric import Family

__all__ = ["LEARNED"]

LEARNED: tuple[Family, ...] = ()
