import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from voxzoo import Entry, ModelError, UnknownModelError, entry, models
from voxzoo.core import registry
from voxzoo.core.facts import Facts

FIRST = models()[0]


class Points(list[EntryPoint]):
    """What installed packages offer."""

    def __call__(self, group: str) -> list[EntryPoint]:
        assert group == "voxzoo.models"
        return self


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs entries (or what `load` should raise) as plug-ins, by name."""
    from importlib import metadata

    def install(**offers: Any) -> None:
        class Point(EntryPoint):
            def load(self) -> Any:
                offer = offers[self.name]
                if isinstance(offer, Exception):
                    raise offer
                return offer

        points = Points([Point(name, f"{name}.package:models", "voxzoo.models") for name in offers])
        monkeypatch.setattr(metadata, "entry_points", points)
        registry._table.cache_clear()

    yield install
    monkeypatch.undo()
    registry._table.cache_clear()


def another(name: str) -> Entry:
    item = entry(FIRST)
    return replace(item, facts=replace(item.facts, name=name))


def test_names_are_unique_and_lead_to_their_entry() -> None:
    assert len(set(models())) == len(models()) > 0
    for name in models():
        assert entry(name).name == name


def test_near_matches_are_suggested() -> None:
    with pytest.raises(UnknownModelError, match=r"vox-rvq-16k.*voxzoo models"):
        entry("vox-rvq16k")
    with pytest.raises(UnknownModelError, match="no model is called 'qqqqq'") as caught:
        entry("qqqqq")
    assert "did you mean" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plugins_join_the_table(plugin: Any) -> None:
    plugin(one=another("one-model"), several=[another("second"), another("third")])
    assert models()[-3:] == ["one-model", "second", "third"]
    assert entry("third").name == "third"


def test_a_name_taken_twice_is_refused(plugin: Any) -> None:
    plugin(one=another(FIRST))
    with pytest.raises(ModelError, match=f"two models are registered as '{FIRST}'"):
        models()
    plugin()
    plugin(one=another("same"), two=another("same"))
    with pytest.raises(ModelError, match="'same'"):
        models()


@pytest.mark.parametrize(
    "offer", [RuntimeError("boom\nboom"), ImportError("no module x"), 42, [another("fine"), "not an entry"]]
)
def test_a_broken_plugin_is_named(offer: Any, plugin: Any) -> None:
    plugin(broken=offer)
    with pytest.raises(ModelError, match=r"'broken' \(broken\.package:models\)") as caught:
        models()
    assert "\n" not in str(caught.value)


def test_facts_survive_json() -> None:
    import json

    for name in models():
        facts = entry(name).facts
        assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


@pytest.mark.parametrize("missing", ["name", "sample_rate", "frame_rates", "codebook_sizes"])
def test_incomplete_facts_are_refused(missing: str) -> None:
    data = entry(FIRST).facts.to_dict()
    del data[missing]
    with pytest.raises(ModelError, match=missing):
        Facts.from_dict(data)


@pytest.mark.parametrize("data", [[], None, 3, "x", {"frame_rates": "x"}, {"frame_rates": ["1/0"]}])
def test_other_things_are_not_facts(data: Any) -> None:
    whole = entry(FIRST).facts.to_dict()
    with pytest.raises(ModelError, match="facts"):
        Facts.from_dict({**whole, **data} if isinstance(data, dict) else data)


def test_bitrate_follows_from_rates_and_sizes() -> None:
    facts = entry("vox-rvq-16k").facts
    assert facts.bitrate == 4000
    assert facts.bitrate_of(2) == 1000


def test_listing_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, voxzoo as v; [v.entry(n).facts.bitrate for n in v.models()]; print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
