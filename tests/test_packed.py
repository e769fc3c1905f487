"""Packed products against torch's own, and that they step aside where they must."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from voxzoo.core import packed
from voxzoo.core.packed import AVAILABLE, Linear, Packed, packable

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this torch has no packed products")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(1, 24), (1, 1, 24), (2, 24), (3, 5, 24), (130, 24)])
@pytest.mark.parametrize("bias", [False, True])
def test_products_are_those_of_linear(shape: tuple[int, ...], bias: bool) -> None:
    x, weight = torch.randn(shape), torch.randn(40, 24)
    shift = torch.randn(40) if bias else None
    add = torch.randn(*shape[:-1], 40)
    kept = add.clone()
    product = Packed(weight)
    wanted = F.linear(x, weight, shift)
    assert torch.allclose(product(x, shift), wanted, atol=1e-5)
    assert torch.allclose(product(x, shift, add), wanted + add, atol=1e-5)
    assert torch.allclose(product(x, shift, gelu=True), F.gelu(wanted), atol=1e-5)
    assert torch.equal(add, kept)


@pytest.mark.parametrize(("inputs", "outputs"), [(512, 512), (512, 2048), (2048, 512), (1536, 512)])
def test_a_row_comes_out_the_same_whatever_comes_with_it(inputs: int, outputs: int) -> None:
    """As streaming needs it: near ties between codes must fall as they do offline."""
    product = Packed(torch.randn(outputs, inputs) / inputs**0.5)
    x = torch.randn(75, inputs)
    together = product(x)
    for size in (1, 2, 3, 16, 25):
        apart = torch.cat([product(part) for part in x.split(size)])
        assert torch.equal(apart, together), f"{size} rows at once"


def test_views_are_multiplied_as_what_they_show() -> None:
    x = torch.randn(3, 24, 10).transpose(1, 2)[:, ::2]
    weight = torch.randn(24, 40).t()
    assert torch.allclose(Packed(weight)(x), F.linear(x, weight), atol=1e-5)


# ---------------------------------------------------------------- as a layer
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each packed product."""
    calls: list[int] = []
    product = Packed._product

    def counted(self: Packed, *arguments: object) -> Tensor:
        calls.append(1)
        return product(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packed.Packed, "_product", counted)
    return calls


def test_a_layer_is_linear_wherever_packing_does_not_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = used(monkeypatch)
    layer = Linear(24, 40)
    x, add = torch.randn(5, 24), torch.randn(5, 40)
    wanted = F.linear(x, layer.weight, layer.bias)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert torch.allclose(layer.double()(x.double()).float(), wanted, atol=1e-5)
        layer.float()
        assert layer.to("meta")(x.to("meta")).shape == (5, 40)
    layer = Linear(24, 40)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert layer(x[:0]).shape == (0, 40)
        graph = torch.export.export(layer, (x,)).module()
        assert not calls
        wanted = F.linear(x, layer.weight, layer.bias)
        assert torch.allclose(graph(x), wanted, atol=1e-5)
        assert torch.allclose(layer(x, add), wanted + add, atol=1e-5)
        assert torch.allclose(layer(x, gelu=True), F.gelu(wanted), atol=1e-5)
    assert len(calls) == 2
    assert torch.allclose(layer(x, add), wanted + add, atol=1e-5)
    assert torch.allclose(layer(x, gelu=True), F.gelu(wanted), atol=1e-5)
    assert len(calls) == 2


def test_copies_and_pickles_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = used(monkeypatch)
    layer, x = Linear(24, 40), torch.randn(5, 24)
    keys = list(layer.state_dict())
    with torch.no_grad():
        wanted = layer(x)
        assert list(layer.state_dict()) == keys == ["weight", "bias"]
        assert torch.equal(copy.deepcopy(layer)(x), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), wanted)
    assert len(calls) == 3


def test_folding_follows_a_changed_weight() -> None:
    layer, x = Linear(24, 40), torch.randn(5, 24)
    with torch.no_grad():
        before = layer(x)
        layer.weight.mul_(2)
        layer.fold()
        assert torch.allclose(layer(x) - layer.bias, 2 * (before - layer.bias), atol=1e-5)


def test_what_can_be_packed() -> None:
    x = torch.randn(2, 3)
    assert not packable(x)  # a gradient may be wanted
    with torch.no_grad():
        assert packable(x)
        assert not packable(x.double())
        assert not packable(x[:0])
        assert not packable(x.to("meta"))
        assert not packable(torch.nn.Parameter(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert not packable(x)
