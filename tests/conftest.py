"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def espeak() -> ModuleType:
    """The module espeak.py: labelled synthetic speech. Skips where libespeak-ng is not installed."""
    spec = importlib.util.spec_from_file_location("espeak", Path(__file__).with_name("espeak.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["espeak"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    if not module.available():
        pytest.skip("libespeak-ng is not installed")
    return module
