"""pyworld, whatever setuptools is installed: it asks `pkg_resources`, which setuptools 82 dropped, for its own version only."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from ..core.errors import MissingExtraError

__all__ = ["pyworld"]


def pyworld() -> Any:
    """The module `pyworld`. Raises `MissingExtraError` where it is not installed."""
    if "pyworld" in sys.modules:
        return sys.modules["pyworld"]
    if importlib.util.find_spec("pyworld") is None:
        raise MissingExtraError("pyworld", "eval")
    if importlib.util.find_spec("pkg_resources") is not None:
        return importlib.import_module("pyworld")
    stand_in = ModuleType("pkg_resources")
    stand_in.__dict__["get_distribution"] = lambda name: SimpleNamespace(version=importlib.metadata.version(name))
    sys.modules["pkg_resources"] = stand_in
    try:
        return importlib.import_module("pyworld")
    finally:
        del sys.modules["pkg_resources"]
