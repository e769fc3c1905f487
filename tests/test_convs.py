"""Channels-last convolutions against torch's own."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voxzoo.core import convs
from voxzoo.core.convs import Conv, ConvTranspose, Snake, chain, elu, fold, in_pieces, normed, receptive


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def run(layers: list[nn.Module], x: Tensor) -> Tensor:
    """x (B, C, T) through channels-last layers -> (B, C', T')."""
    fold(nn.ModuleList(layers))
    with torch.no_grad():
        return chain(layers, x.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "edge", "dilation", "groups"),
    [
        (1, 8, 7, 1, 3, 1, 1),
        (1, 2, 3, 1, 2, 2, 1),
        (6, 6, 7, 1, 27, 9, 6),
        (6, 12, 6, 3, 2, 1, 1),
        (6, 4, 1, 1, 0, 1, 1),
        (6, 4, 1, 2, 0, 1, 1),
        (6, 6, 1, 1, 0, 1, 3),
        (5, 1, 7, 1, 3, 1, 1),
    ],
)
def test_conv_is_conv1d(
    batch: int, inputs: int, outputs: int, kernel: int, stride: int, edge: int, dilation: int, groups: int
) -> None:
    x = torch.randn(batch, inputs, 60)
    layer = normed(Conv(inputs, outputs, kernel, stride, edge, dilation, groups))
    wanted = F.conv1d(x, layer.weight, layer.bias, stride, edge, dilation, groups)
    assert torch.allclose(run([layer], x), wanted, atol=1e-5)


@pytest.mark.parametrize(("stride", "batch"), [(2, 1), (3, 2), (8, 1)])
def test_conv_transpose_is_conv_transpose1d(stride: int, batch: int) -> None:
    x = torch.randn(batch, 6, 11)
    padding = -(-stride // 2)
    layer = normed(ConvTranspose(6, 4, 2 * stride, stride, padding, stride % 2))
    wanted = F.conv_transpose1d(x, layer.weight, layer.bias, stride, padding, stride % 2)
    got = run([layer], x)
    assert got.shape == (batch, 4, 11 * stride)
    assert torch.allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("edge", [0, 2])
def test_snake(edge: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with numpy's sine and torch's."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = 30 * torch.randn(2, 5, 40)
    snake = Snake(5)
    snake.alpha.data.uniform_(0.2, 3)
    fold(snake)
    with torch.no_grad():
        got = snake(x.transpose(1, 2), edge).transpose(1, 2)
        wanted = x.double() + torch.sin(snake.alpha.double() * x.double()) ** 2 / snake.alpha.double()
    assert torch.allclose(got, F.pad(wanted, (edge, edge)).float(), atol=1e-4)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("threads", [1, 4])
def test_elu(threads: int, gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with numpy's exponential and torch's, into another tensor, into a part of one, and in place."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = torch.cat([torch.randn(2, 20, 5) * 10.0**k for k in range(-6, 3)], dim=1)
    wanted = F.elu(x)
    whole = torch.full((2, 3 + x.shape[1], 5), 7.0)
    with torch.set_grad_enabled(gradients):
        for out in (torch.empty_like(x), whole[:, 3:], x):
            assert elu(x, out) is out
            assert torch.allclose(out, wanted, rtol=1e-6, atol=0)
    assert bool((whole[:, :3] == 7).all())


def test_elu_in_place_has_its_gradient() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    y = x * 1
    elu(y, y).sum().backward()
    assert torch.allclose(x.grad, torch.where(x > 0, torch.ones_like(x), x.exp()))  # type: ignore[arg-type]


def test_folding_again_follows_changed_weights_and_leaves_the_state_dict_alone() -> None:
    layer = normed(Conv(3, 3, 3, padding=1))
    keys = list(layer.state_dict())
    x = torch.randn(1, 3, 9)
    before = run([layer], x)
    layer.parametrizations.weight.original0.data.mul_(2)  # type: ignore[union-attr]
    layer.bias.data.zero_()
    assert torch.allclose(run([layer], x), F.conv1d(x, layer.weight, None, padding=1), atol=1e-5)
    assert not torch.allclose(run([layer], x), before)
    assert list(layer.state_dict()) == keys


def layers() -> list[nn.Module]:
    """Down 6-fold, with blocks inside."""
    block = nn.Sequential(Snake(4), Conv(4, 4, 7, padding=9, dilation=3, groups=4))
    return [Conv(2, 4, 5, padding=2), Down(block), Snake(4), Conv(4, 4, 6, stride=3, padding=2)]


class Down(nn.Module):
    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        self.block, self.down = block, nn.Sequential(Conv(4, 4, 4, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return chain(self.down, x + chain(self.block, x))


def test_receptive_is_what_changes_the_outputs() -> None:
    """Every input at the edges of the span matters, and none beyond them."""
    stack = layers()
    fold(nn.ModuleList(stack))
    first, last = receptive(stack, 20, 20)
    assert first > 0
    x = torch.randn(1, 240, 2)
    with torch.no_grad():
        whole = chain(stack, x.clone())[0, 20]
        changed = set()
        for t in range(240):
            other = x.clone()
            other[0, t] += 100
            if not torch.equal(chain(stack, other)[0, 20], whole):
                changed.add(t)
    assert (min(changed), max(changed)) == (first, last)


def test_receptive_of_transposed_convolutions() -> None:
    for stride in (2, 3, 5):
        layer = ConvTranspose(1, 1, 2 * stride, stride, -(-stride // 2), stride % 2)
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
        fold(layer)
        with torch.no_grad():
            spread = layer(torch.eye(9)[:, :, None])[:, :, 0]  # (input, output)
        for t in range(3 * stride, 6 * stride):
            inputs = spread[:, t].nonzero()[:, 0].tolist()
            assert receptive([layer], t, t) == (inputs[0], inputs[-1])


@pytest.mark.parametrize("piece", [1, 48, 200, 10**6])
def test_pieces_join(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convs, "PIECE", piece)
    stack = layers()
    fold(nn.ModuleList(stack))
    x = torch.randn(2, 126, 2)
    with torch.no_grad():
        whole = chain(stack, x.clone())
        assert torch.allclose(in_pieces(stack, x, Fraction(1, 6), 4), whole, atol=1e-6)
    up = [Snake(4), ConvTranspose(4, 4, 6, 3, 2, 1), Snake(4), Conv(4, 1, 7, padding=3)]
    fold(nn.ModuleList(up))
    with torch.no_grad():
        assert torch.allclose(in_pieces(up, whole, Fraction(3), 12), chain(up, whole), atol=1e-6)
