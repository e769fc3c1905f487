"""The rules of the house: how the tree is laid out, who imports whom, and that what is written down is computed."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import voxzoo
from voxzoo.cli.models import markdown
from voxzoo.core.model import Model
from voxzoo.core.registry import entry, model_class, models

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Who may import whom: each room those above it that it names here.
MAY_IMPORT = {
    "core": set[str](),
    "tokenizers": {"core"},
    "codecs": {"core"},
    "decoders": {"core"},
    "corpus": {"core"},
    "training": {"core", "tokenizers", "codecs", "decoders"},
    "eval": {"core", "corpus"},
    "export": {"core", "tokenizers", "codecs", "decoders"},
    "cli": {"core", "tokenizers", "codecs", "decoders", "corpus", "training", "eval", "export"},
}
ROOMS = [room for room in MAY_IMPORT if (ROOT / room).is_dir()]
BIG = {"bundled": 12_000_000}  # bytes a file may have, by its top folder; 400,000 elsewhere


def tracked() -> list[Path]:
    """Files of the repository: those git knows or would add, or all of them where there is no git."""
    if (ROOT / ".git").exists():
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.check_output(command, cwd=ROOT).decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    ignored = {"__pycache__", "build", "dist"}
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            f for f in folders if f not in ignored and f not in (".venv", ".git") and not f.endswith(("_cache", ".egg-info"))
        ]
        found += [Path(folder) / file for file in files]
    return found


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str, int]]:
    """(level, module, line) of every import, those inside functions and TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:  # from . import a, b
                yield from ((node.level, alias.name, node.lineno) for alias in node.names)
            else:
                yield node.level, node.module, node.lineno


def target(path: Path, level: int, module: str) -> str | None:
    """Dotted path below the root of a relative import; None for an absolute one."""
    if level == 0:
        return None
    here = path.relative_to(ROOT).parent.parts
    base = here[: len(here) - (level - 1)]
    return ".".join([*base, module])


def test_there_are_rooms() -> None:
    assert {"core", "codecs", "corpus", "training", "cli"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_are_relative_and_run_downwards(room: str) -> None:
    for path in sources(room):
        for level, module, line in imports(path):
            where = f"{path.relative_to(ROOT)}:{line} imports {'.' * level}{module}"
            assert module.partition(".")[0] != "voxzoo" or level, f"{where}: write it relative"
            inside = target(path, level, module)
            if inside is None:
                continue
            other = inside.partition(".")[0]
            if other == "__version__":
                assert room == "cli", where
                continue
            assert other == room or other in MAY_IMPORT[room], f"{where}: {room} may import {sorted(MAY_IMPORT[room])}"


def test_no_circles() -> None:
    """Modules that import each other when they are loaded (imports inside functions and for types do not count)."""
    graph = {}
    for room in ROOMS:
        for path in sources(room):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found = set()
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    inside = target(path, node.level, node.module or "")
                    found |= {f"{inside}{alias.name}" if not node.module else str(inside) for alias in node.names}
            graph[name] = found
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in graph and name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert len(done) == len(graph) > 20


def test_rooms_are_no_packages() -> None:
    """With an `__init__.py`, running from the root would shadow Hugging Face's `tokenizers` and the standard `codecs`."""
    inits = [path for path in tracked() if path.name == "__init__.py"]
    assert inits == [ROOT / "__init__.py"]


def test_the_root_does_not_shadow_other_packages() -> None:
    code = "import codecs, tokenize, tokenizers; print(codecs.lookup('utf8').name, tokenizers.__file__, tokenize.__file__)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.startswith("utf-8")
    assert "site-packages" in out


def test_packaging_lists_every_room() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert listed == ["voxzoo", *sorted(f"voxzoo.{folder}" for folder in [*ROOMS, "core.entries"])]
    code = {path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix == ".py" and path.parent != ROOT}
    assert code <= {*MAY_IMPORT, "tests", "benchmarks", "tools"}
    for room in ROOMS:
        packaged = {ROOT / room, ROOT / "core" / "entries"}
        assert all(path.parent in packaged for path in sources(room)), "a folder below a room would not be packaged"
    assert PROJECT["project"]["version"] == voxzoo.__version__


def test_the_package_is_installed_with_its_data() -> None:
    home = Path(inspect.getfile(voxzoo)).parent
    for name in ("py.typed", "bundled/demo/speech.wav"):
        assert (home / name).is_file(), name


def test_the_public_face() -> None:
    assert voxzoo.__all__ == sorted(voxzoo.__all__)
    for name in voxzoo.__all__:
        assert getattr(voxzoo, name) is not None
    listed = subprocess.check_output(
        [sys.executable, "-c", "from voxzoo import *; print(*sorted(n for n in dir() if n[0] != '_'))"], text=True
    )
    assert listed.split() == sorted(voxzoo.__all__)
    assert set(voxzoo.__all__) <= set(dir(voxzoo))
    shown = {name for name in dir(voxzoo) if not name.startswith("_") and not inspect.ismodule(getattr(voxzoo, name))}
    assert shown - {"import_module", "Any", "TYPE_CHECKING"} == set(voxzoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = voxzoo.Nothing  # type: ignore[attr-defined]


def test_every_error_is_public() -> None:
    errors = importlib.import_module("voxzoo.core.errors")
    assert set(errors.__all__) <= set(voxzoo.__all__)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), voxzoo.VoxzooError)


@pytest.mark.parametrize("name", models())
def test_entries_resolve(name: str) -> None:
    item = entry(name)
    cls = model_class(item)
    assert issubclass(cls, Model)
    assert not inspect.isabstract(cls)
    assert set(cls.shape(item.config)) <= set(item.facts.to_dict())
    for field, value in cls.shape(item.config).items():
        assert getattr(item.facts, field) == value, field


def test_every_model_is_registered() -> None:
    """Each concrete `Model` in the tree is built by an entry, or is the base of one that is."""
    for room in ("tokenizers", "codecs", "decoders"):
        for path in sources(room) if room in ROOMS else []:
            importlib.import_module(f"voxzoo.{room}.{path.stem}")
    built = {model_class(entry(name)) for name in models()}
    waiting = list(Model.__subclasses__())
    assert waiting
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith("voxzoo.") and not inspect.isabstract(cls):
            assert any(issubclass(one, cls) for one in built), f"{cls.__module__}.{cls.__name__} has no entry in core/zoo.py"


def test_the_table_of_the_readme_is_computed() -> None:
    text = (ROOT / "README.md").read_text()
    found = re.search(r"<!-- models -->\n(.*)\n<!-- /models -->", text, re.DOTALL)
    assert found, "the README has no table between <!-- models --> and <!-- /models -->"
    wanted = markdown([entry(name) for name in models()])
    assert found[1].strip() == wanted, "put the output of `voxzoo models --markdown` there"


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    pattern = re.search(r"grep -m1 '(.*)' README", script.read_text())
    assert pattern
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if re.search(pattern[1], line)]
    assert len(lines) == 1
    assert len(lines[0].split(" && ")) == 3


def test_files_are_small() -> None:
    for path in tracked():
        limit = BIG.get(path.relative_to(ROOT).parts[0], 400_000)
        assert path.stat().st_size <= limit, f"{path.relative_to(ROOT)} has {path.stat().st_size} bytes"


def test_the_bundled_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "bundled").glob("*/model.safetensors")) <= 40_000_000


def test_no_file_speaks_of_one_machine() -> None:
    machine = re.compile(rb"/(?:work|home|root|Users)/[a-z_]|\.\./shared")
    for path in tracked():
        found = machine.search(path.read_bytes()) if path != Path(__file__) else None
        assert not found, f"{path.relative_to(ROOT)} speaks of {found and found[0]!r}"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_module_says_what_it_is() -> None:
    for room in ROOMS:
        for path in sources(room):
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no docstring"
