"""What is to be exported of a model: its graphs, and what a manifest says beside them. A family's `form_*.py` fills one in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..core.blocks import Blocks
from ..core.model import Model
from .length_law import fit_law, fit_padding, ratios
from .trace import Part, Port, Times

__all__ = ["Cut", "Function", "Plan", "State"]

EXAMPLE = 7  # slowest frames of the example: no length that a network has a reason to know


class Function(nn.Module):
    """A function of tensors as a module that holds the network it calls."""

    def __init__(self, function: Callable[..., Any], network: nn.Module) -> None:
        super().__init__()
        self.function, self.network = function, network

    def forward(self, *values: Tensor) -> Any:
        """What the function gives."""
        return self.function(*values)


class Cut(nn.Module):
    """Codes of a padded batch, those past a clip's own frames made -1."""

    def __init__(self, encode: nn.Module, law: Mapping[str, Any], streams: int, lengths: bool = False) -> None:
        """lengths: whether `encode` takes them too."""
        super().__init__()
        self.encode, self.lengths = encode, lengths
        ceil = law["kind"] == "ceil"
        self.span = 1 if ceil else int(law["span"])
        self.hops = list(law["hops"]) if ceil else [int(law["hop"])] * streams
        self.per = [1] * streams if ceil else list(law["frames"])

    def forward(self, wav: Tensor, lengths: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """wav (B, T), lengths (B,), what else `encode` takes -> K codes (B, N_k)."""
        codes = self.encode(wav, lengths, *more) if self.lengths else self.encode(wav)
        out = []
        for code, hop, per in zip([codes] if isinstance(codes, Tensor) else codes, self.hops, self.per, strict=True):
            frames = ((lengths - self.span).clamp(min=0) // hop + 1) * per
            place = torch.arange(code.shape[1], device=code.device)
            out.append(torch.where(place < frames[:, None], code, -1))
        return tuple(out)


@dataclass(frozen=True)
class State:
    """What a stream keeps: of each clip a tensor of this shape, at first full of `initial`."""

    shape: Sequence[int]
    initial: float = 0.0
    kind: torch.dtype = torch.float32


@dataclass
class Plan:
    """The graphs of a model.

    Attributes:
        model: which is exported.
        law, padding: see `length_law`.
        parts: the graphs.
        long: how clips longer than the model's window are cut, for each side; see `Manifest`.
        partial: whether the decoder takes -1 for streams that are not there.
    """

    model: Model
    law: dict[str, Any]
    padding: dict[str, int]
    parts: list[Part] = field(default_factory=list)
    long: dict[str, dict[str, Any]] = field(default_factory=dict)
    partial: bool = True

    @classmethod
    def of(cls, model: Model, law: dict[str, Any] | None = None) -> Self:
        """Without graphs so far. `law` where none can be found from the code. Raises `ExportError`."""
        rate = model.facts.sample_rate
        return cls(model, law or fit_law(model.frames, rate), fit_padding(model._padded, rate))

    @property
    def hop(self) -> int:
        """Samples of a frame of the slowest stream."""
        return round(self.model.facts.sample_rate / min(self.model.facts.frame_rates))

    def encoder(
        self, encode: nn.Module, *, lengths: bool = False, frames: int = EXAMPLE, inputs: Sequence[Port] = (), unit: int = 0
    ) -> None:
        """Add the encoder: a module wav (B, T) -> codes, one tensor or K.

        lengths: whether it takes those of the clips beside, and after them further `inputs`. frames: slowest frames of the
        example. unit: samples of which it is traced with whole numbers, if not those that clips are padded to.
        """
        unit = unit or self.padding["multiple"]
        size = -(-frames * self.hop // unit) * unit if unit > 1 else frames * self.hop + 13
        wav = 0.1 * torch.randn(2, size)
        # torch takes no axis for 1 long, and says so of the frames inside: shorter clips run too, which parity is tested at
        shortest = self.padding.get("least", 1) + 2 * self.hop
        axis = Times(unit, "pieces") if unit > 1 else Times(1, "samples", shortest)
        true = torch.tensor([size, size - size // 5])
        ports = [Port("wav", ["batch", axis], wav), Port("lengths", ["batch"], true), *inputs]
        streams = self.model.facts.streams
        outputs = [Port(f"codes_{k}", ["batch", f"frames_{k}"], torch.zeros(0, dtype=torch.int64)) for k in range(streams)]
        self.parts.append(Part("encoder", Cut(encode, self.law, streams, lengths), ports, outputs))

    def decoder(self, decode: nn.Module, extras: Sequence[Port] = ()) -> None:
        """Add the decoder: a module of K codes (B, N_k), then extras -> wav (B, T')."""
        ports = []
        for k, (size, per) in enumerate(zip(self.model.facts.codebook_sizes, ratios(self.law), strict=True)):
            value = torch.randint(0, size, (2, EXAMPLE * per))
            ports.append(Port(f"codes_{k}", ["batch", Times(per, "frames") if per > 1 else "frames"], value))
        self.parts.append(Part("decoder", decode, [*ports, *extras], [Port("wav", ["batch", "samples"])]))

    def streams(
        self, side: str, module: nn.Module, states: Sequence[State], law: Mapping[str, int], *, lengths: bool = False
    ) -> None:
        """Add a graph that goes piece by piece: a module of what the whole one takes, then the states -> what it gives, then
        the next states.

        law: see `GraphFile.stream`. lengths: whether an encoder takes the true lengths of the pieces, before the states.
        """
        name, facts, per = f"{side}_stream", self.model.facts, ratios(self.law)
        first = max(int(law.get("first", 0)), int(law["multiple"]))
        pushes = -(-first // law["multiple"]) + 2
        if side == "encoder":
            axis = Times(law["multiple"], "pieces", 1, int(law.get("ahead", 0)))
            size = pushes * axis.number + axis.more
            inputs = [Port("wav", ["batch", axis], 0.1 * torch.randn(2, size))]
            inputs += [Port("lengths", ["batch"], torch.tensor([size, size]))] if lengths else []
            outputs = [Port(f"codes_{k}", ["batch", f"frames_{k}"], torch.zeros(0, dtype=torch.int64)) for k in range(len(per))]
        else:
            inputs, outputs = [], [Port("wav", ["batch", "samples"])]
            for k, (size, n) in enumerate(zip(facts.codebook_sizes, per, strict=True)):
                number = n * law["multiple"] // per[0]
                value = torch.randint(0, size, (2, number * pushes))
                inputs.append(Port(f"codes_{k}", ["batch", Times(number, "frames") if number > 1 else "frames"], value))
        examples = [torch.full((2, *state.shape), state.initial, dtype=state.kind) for state in states]
        for i, (state, example) in enumerate(zip(states, examples, strict=True)):
            inputs.append(Port(f"state_{i}", ["batch", *state.shape], example, state.initial))
            outputs.append(Port(f"next_state_{i}", ["batch", *state.shape], example))
        self.parts.append(Part(name, module, inputs, outputs, law))

    def windows(self, side: str, before: int, after: int) -> None:
        """Long clips go in windows with so many samples of context, in blocks of what the model pads to."""
        per = ratios(self.law)
        size = max(self.hop, self.padding["multiple"])
        blocks = Blocks.reaching(size, [size // self.hop * n for n in per], before, after, size, 1)
        most = max(1, int(self.model.window * self.model.facts.sample_rate) // size)
        self.blocks(side, Blocks(size, blocks.frames, blocks.left, blocks.right, most))

    def blocks(self, side: str, blocks: Blocks) -> None:
        """Long clips go in the windows that the model itself streams by."""
        self.long[side] = {
            "kind": "blocks",
            "samples": blocks.samples,
            "frames": list(blocks.frames),
            "left": blocks.left,
            "right": blocks.right,
            "most": blocks.most,
            "fixed": blocks.fixed,
        }
