"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

# Before torch is imported, and for the processes that tests start: on networks this small a second thread costs more than it
# brings, and many times more where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def espeak() -> ModuleType:
    """The module espeak.py: labelled synthetic speech. Skips where libespeak-ng is not installed."""
    import espeak

    if not espeak.available():
        pytest.skip("libespeak-ng is not installed")
    return espeak


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package; it imports torchaudio where it is installed, of which no test needs anything."""
    if "torchaudio" not in sys.modules:
        stub = ModuleType("torchaudio")
        stub.__spec__ = ModuleSpec("torchaudio", None)
        monkeypatch.setitem(sys.modules, "torchaudio", stub)
    return pytest.importorskip("transformers")
