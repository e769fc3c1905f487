"""Starting a run from the weights of another model, with fewer layers where these are residual, or with a narrower latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import WeightsError
from ..core.loading import load
from .recipes import Start

CODEBOOKS = "codebooks"  # made anew by the trainer


@torch.no_grad()
def start_weights(network: nn.Module, start: Start) -> None:
    """Copy into `network` the tensors of the model to start from, but for the codebooks.

    Raises `WeightsError` when it lacks one of them, or has it in another shape.
    """
    source = dict(load(start.model).network.state_dict())
    wanted = network.state_dict()
    if start.latent is not None:
        into, out_of = start.latent
        if f"{into}.weight" in wanted and f"{into}.weight" in source:
            narrow(source, into, out_of, len(wanted[f"{into}.weight"]))
    for name, value in wanted.items():
        if name == CODEBOOKS:
            continue
        found = source.get(_origin(name, start))
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else str(tuple(found.shape))
            raise WeightsError(f"cannot start from {start.model}: {name} wants {tuple(value.shape)}, and there is {shape}")
        value.copy_(found)


def narrow(state: dict[str, Tensor], into: str, out_of: str, width: int) -> None:
    """Two linear maps, into the latent and out of it, replaced by the pair of `width` channels nearest to their product.

    A distance between latents becomes what it makes of the decoder's input, at the scale of the latents before.
    """
    before, after = state[f"{into}.weight"], state[f"{out_of}.weight"]
    if width >= len(before):
        return
    left, values, right = torch.linalg.svd((after @ before).double(), full_matrices=False)
    inner = values[:width, None] * right[:width]
    scale = (len(before) ** 0.5) / after.double().norm()  # the decoder's side keeps its mean gain
    state[f"{out_of}.bias"] = state[f"{out_of}.bias"] + after @ state[f"{into}.bias"]
    state[f"{into}.bias"] = torch.zeros(width)
    state[f"{into}.weight"] = (scale * inner).to(before.dtype)
    state[f"{out_of}.weight"] = (left[:, :width] / scale).to(after.dtype)


def _origin(name: str, start: Start) -> str:
    """What a tensor is called in the model to start from: layers that are left out move the ones after them up."""
    for layers, kept in start.layers.items():
        if name.startswith(layers + "."):
            index, _, rest = name.removeprefix(layers + ".").partition(".")
            return f"{layers}.{kept[int(index)] if int(index) < len(kept) else index}.{rest}"
    return name
