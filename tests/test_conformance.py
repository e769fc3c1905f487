"""The laws of the interface over the whole registry, on small random-weight models."""

from __future__ import annotations

import functools
from pathlib import Path

import conformance
import pytest

import voxzoo
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.core.registry import model_class


@functools.cache
def tiny(name: str) -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


@pytest.mark.parametrize("law", conformance.CHECKS)
@pytest.mark.parametrize("name", voxzoo.models())
def test_law(name: str, law: str) -> None:
    conformance.CHECKS[law](tiny(name))


@pytest.mark.parametrize("name", voxzoo.models())
def test_saved_and_loaded_it_is_the_same_model(name: str, tmp_path: Path) -> None:
    conformance.check_folder(tiny(name), tmp_path / "model")


@pytest.mark.parametrize("name", voxzoo.models())
def test_facts_follow_from_the_published_configuration(name: str) -> None:
    """The real-size network, on the meta device, has the parameters and shape the entry states."""
    import torch

    item = voxzoo.entry(name)
    cls = model_class(item)
    with torch.device("meta"):
        network = cls.build(item.config)
    assert item.facts.params == sum(p.numel() for p in network.parameters())
    for key, value in cls.shape(item.config).items():
        assert getattr(item.facts, key) == value, key


@pytest.mark.parametrize("name", voxzoo.models())
def test_exceptions_name_a_law(name: str) -> None:
    assert set(voxzoo.entry(name).exceptions) <= set(conformance.CHECKS)
