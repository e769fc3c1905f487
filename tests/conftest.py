"""Fixtures that several test files share."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Before torch is imported, and for the processes that tests start: on networks this small a second thread costs more than it
# brings, and many times more where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
