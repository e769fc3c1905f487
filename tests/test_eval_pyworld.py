import importlib.util
import subprocess
import sys
from importlib.metadata import version

import pytest

import voxzoo
from voxzoo.eval._pyworld import pyworld

HIDDEN = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "pkg_resources" else find(name)
"""
PRESENT = """
import importlib.machinery, sys, types
fake = types.ModuleType("pkg_resources")
fake.__spec__ = importlib.machinery.ModuleSpec("pkg_resources", None)
fake.get_distribution = lambda name: types.SimpleNamespace(version="of pkg_resources")
sys.modules["pkg_resources"] = fake
"""
SHOW = """
import sys
from voxzoo.eval._pyworld import pyworld
print(pyworld().__version__, "pkg_resources" in sys.modules, sep="|")
"""


def test_it_imports_here() -> None:
    assert pyworld() is pyworld() is sys.modules["pyworld"]
    assert callable(pyworld().dio)


@pytest.mark.parametrize(
    ("before", "wanted"), [(HIDDEN, f"{version('pyworld')}|False"), (PRESENT, "of pkg_resources|True")], ids=["without", "with"]
)
def test_it_imports_with_and_without_pkg_resources(before: str, wanted: str) -> None:
    out = subprocess.run([sys.executable, "-c", before + SHOW], capture_output=True, text=True, check=True).stdout
    assert out.strip() == wanted


def test_a_missing_one_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyworld", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(voxzoo.MissingExtraError, match=r"`pyworld` is not installed; run: pip install 'voxzoo\[eval\]'"):
        pyworld()
