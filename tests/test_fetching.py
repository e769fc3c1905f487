"""Weights at plain addresses: fetched once, checked, shared, and told of."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

import voxzoo
from voxzoo import WeightsError
from voxzoo.cli import weights as verb
from voxzoo.core import fetching
from voxzoo.core.fetching import cache_folder, fetched_folder
from voxzoo.core.registry import Entry
from voxzoo.core.weights import find


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VOXZOO_WEIGHTS", raising=False)
    return tmp_path / "cache"


def published(folder: Path, **files: bytes) -> tuple[dict[str, str], dict[str, str | None]]:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: (folder / name).as_uri() for name in files}, {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}


def test_files_are_fetched_once_and_shared(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls, digests = published(tmp_path / "web", model=b"large", km=b"small")
    one = fetched_folder("one", urls, digests)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {"model": b"large", "km": b"small"}
    monkeypatch.setattr(fetching, "urlopen", lambda *_, **__: pytest.fail("fetched again"))
    two = fetched_folder("two", {"model": urls["model"]}, digests)
    assert (two / "model").resolve() == (one / "model").resolve()
    assert fetched_folder("one", urls, digests) == one
    assert len(list((cache / "files").iterdir())) == 2


def test_a_changed_or_missing_file_is_refused(tmp_path: Path, cache: Path) -> None:
    urls, digests = published(tmp_path / "web", model=b"large")
    with pytest.raises(WeightsError, match="expected 0000"):
        fetched_folder("one", urls, {"model": "0" * 64})
    assert not [path for path in (cache / "files").rglob("*") if path.is_file()]
    with pytest.raises(WeightsError, match=r"cannot fetch the weights of one \(.*`voxzoo weights one`"):
        fetched_folder("one", {"model": (tmp_path / "none").as_uri()}, digests)
    assert (fetched_folder("one", urls, {"model": None}) / "model").read_bytes() == b"large"


def test_an_entry_says_where_its_files_lie_and_finds_them(tmp_path: Path) -> None:
    urls, digests = published(tmp_path / "web", model=b"large")
    ours = voxzoo.entry("hubert-gslm-50")
    assert ours.weights is not None
    item: Entry = replace(ours, weights=replace(ours.weights, urls=urls, files=digests))
    assert verb.report(item)["files"][0]["url"] == urls["model"]
    assert verb.report(item)["files"][0]["state"] == "not on this machine"
    assert (find(item, None) / "model").read_bytes() == b"large"
    assert verb.report(item)["files"][0]["state"] == "present, sha256 verified"


def test_weights_given_on_request_are_asked_for() -> None:
    with pytest.raises(WeightsError, match=r"without asking: ask at https://ai\.meta\.com"):
        voxzoo.load("spiritlm-hubert")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/voxzoo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "voxzoo"
