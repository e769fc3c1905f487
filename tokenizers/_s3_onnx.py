"""The published ONNX files of the S3 tokenizers as configuration and state dict.

Which of the four a file holds is told by its graph: the stride of the first convolution, the number of blocks, whether there
is a table of positions, whether values have a memory. Weights are found by the names of the nodes that take them, which are the
same in all published files, and not by the numbered names of the initialisers, which are not. Every tensor of the file has to
be accounted for: mapped, or a table that this code computes itself (rotary positions), or a handful of constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import WeightsError
from ._s3 import HEAD, angles
from ._s3_protobuf import Graph, Node, TensorView, read_graph

__all__ = ["read_onnx", "version_of"]

PLACE = re.compile(
    r"/blocks\.(?P<block>\d+)/(?P<part>attn_ln|mlp_ln|attn/query|attn/key|attn/value|attn/out|attn/fsmn_block|mlp/mlp\.0|mlp/mlp\.2)/\w+$"
)
CONSTANTS = 64  # elements; tensors of the arithmetic, such as powers of three, have no more
# blocks, stride of the first convolution, table of positions, memory of values
VERSIONS = {
    (6, 1, True, False): "v1",
    (6, 2, True, False): "v1-25hz",
    (6, 2, False, True): "v2",
    (12, 2, False, True): "v3",
}


def version_of(path: Path) -> str:
    """ "v1", "v1-25hz", "v2" or "v3". Raises `WeightsError` for any other graph, and for a file that cannot be read."""
    return _Map(read_graph(path), path).version


def read_onnx(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state dict.

    Raises `WeightsError` when the file is no S3 tokenizer or is damaged, or holds a tensor that has no place in the network;
    one that is missing shows when the state dict is loaded.
    """
    found = _Map(read_graph(path), path)
    config = found.config()
    return config, found.state()


class _Map:
    """Where in the network each tensor of a graph belongs."""

    def __init__(self, graph: Graph, path: Path) -> None:
        self.graph, self.path = graph, path
        self.keys: dict[str, tuple[TensorView, bool]] = {}  # key of the state dict -> tensor, and whether to transpose it
        self.eps: dict[str, float] = {}  # "attn_ln", "mlp_ln" -> what is added to the variance
        self.strides: list[int] = []
        for node in graph.nodes:
            if own := [graph.tensors[name] for name in node.inputs if name in graph.tensors]:
                self._place(node, [tensor for tensor in own if tensor.floating])
        self.version = self._version()

    def _place(self, node: Node, own: list[TensorView]) -> None:
        place = PLACE.search(node.name)
        wide = [tensor for tensor in own if tensor.size > 1]
        if place:
            self._block(node, f"encoder.blocks.{place['block']}.{place['part'].replace('/mlp.', '.').replace('/', '.')}", own)
        elif node.kind == "Conv":
            self.strides.append(node.integers.get("strides", (1,))[0])
            for name, tensor in zip(("weight", "bias"), wide, strict=False):
                self.keys[f"encoder.conv{len(self.strides)}.{name}"] = tensor, False
        elif position := [tensor for tensor in wide if tensor.name.endswith("positional_embedding")]:
            self.keys["encoder.positional_embedding"] = position[0], False
        elif "quantizer" in node.name or any("quantizer" in tensor.name for tensor in wide):
            self._quantizer(node, wide)

    def _block(self, node: Node, key: str, own: list[TensorView]) -> None:
        wide = [tensor for tensor in own if tensor.size > 1]
        if node.kind == "LayerNormalization":
            for name, tensor in zip(("weight", "bias"), wide, strict=False):
                self.keys[f"{key}.{name}"] = tensor, False
            self._epsilon(key, node.floats.get("epsilon", 1e-5))
        elif not wide:
            if node.kind == "Add" and key.endswith("_ln") and own:  # a norm written out: the variance and this
                self._epsilon(key, float(own[0].numpy().reshape(())))
        elif node.kind == "Add":
            self.keys[f"{key}.bias"] = wide[0], False
        elif node.kind in ("MatMul", "Mul", "Conv"):
            self.keys[f"{key}.weight"] = wide[0], node.kind == "MatMul"

    def _epsilon(self, key: str, value: float) -> None:
        part, value = key.rpartition(".")[2], float(f"{value:.6g}")  # 1e-5, which a float32 is not
        if self.eps.setdefault(part, value) != value:
            raise WeightsError(f"{str(self.path)!r} has norms {part} with {value} and {self.eps[part]}; expected one value")

    def _quantizer(self, node: Node, wide: list[TensorView]) -> None:
        for tensor in wide:
            if node.kind == "Add" and len(tensor.shape) == 1:
                if tensor.name.endswith("project_in.bias") or "quantizer._codebook.project_down.bias" not in self.keys:
                    self.keys["quantizer._codebook.project_down.bias"] = tensor, False
            elif node.kind in ("MatMul", "Pow") and len(tensor.shape) == 2:
                few = tensor.shape[1] < CONSTANTS
                self.keys[f"quantizer._codebook.{'project_down.weight' if few else 'embed'}"] = tensor, True

    def _version(self) -> str:
        blocks = {int(key.split(".")[2]) for key in self.keys if key.startswith("encoder.blocks.")}
        if not blocks or len(self.strides) < 2:
            raise WeightsError(f"{str(self.path)!r} holds no S3 tokenizer: it has no blocks after two convolutions")
        positions = "encoder.positional_embedding" in self.keys
        memory = any(".fsmn_block." in key for key in self.keys)
        version = VERSIONS.get((len(blocks), self.strides[0], positions, memory))
        if version is None or self.strides[1:] != [2]:
            has = [
                ("" if there else "no ") + what for there, what in ((positions, "positional_embedding"), (memory, "fsmn_block"))
            ]
            raise WeightsError(
                f"{str(self.path)!r} holds no S3 tokenizer that is known: {len(blocks)} blocks, convolutions of strides "
                f"{self.strides}, {' and '.join(has)}"
            )
        return version

    def config(self) -> dict[str, Any]:
        """As the network takes it, from the shapes of the tensors."""
        shapes = {key: (tensor.shape[::-1] if turned else tensor.shape) for key, (tensor, turned) in self.keys.items()}

        def size(key: str, axis: int) -> int:
            if key not in shapes or len(shapes[key]) <= axis:
                raise WeightsError(f"{str(self.path)!r} lacks the tensor {key!r}")
            return shapes[key][axis]

        dim, first = size("encoder.conv1.weight", 0), "encoder.blocks.0"
        config = {
            "version": self.version,
            "mels": size("encoder.conv1.weight", 1),
            "dim": dim,
            "heads": max(1, dim // HEAD),
            "layers": len({key.split(".")[2] for key in shapes if key.startswith("encoder.blocks.")}),
            "hidden": size(f"{first}.mlp.0.weight", 0),
            "attn_eps": self.eps.get("attn_ln", 1e-5),
            "mlp_eps": self.eps.get("mlp_ln", 1e-5),
        }
        if self.version.startswith("v1"):
            positions, codes = size("encoder.positional_embedding", 0), size("quantizer._codebook.embed", 0)
            return {**config, "positions": positions, "codes": codes}
        codes = 3 ** min(size("quantizer._codebook.project_down.weight", 0), 20)
        return {**config, "kernel": size(f"{first}.attn.fsmn_block.weight", 2), "codes": codes}

    def state(self) -> dict[str, Tensor]:
        """Every mapped tensor, after the others have been looked at."""
        for tensor in self._others():
            if tensor.size > CONSTANTS and not _rotary(tensor):
                shape = f"{tensor.name!r} of shape {tensor.shape}"
                raise WeightsError(f"{str(self.path)!r} holds a tensor {shape} that has no place in S3 {self.version}")
        state = {}
        for key, (tensor, turned) in self.keys.items():
            values = torch.from_numpy(tensor.numpy())
            state[key] = values.T.contiguous() if turned and values.ndim == 2 else values
        return state

    def _others(self) -> Iterator[TensorView]:
        mapped = {tensor.name for tensor, _ in self.keys.values()}
        return (tensor for tensor in self.graph.tensors.values() if tensor.floating and tensor.name not in mapped)


def _rotary(tensor: TensorView) -> bool:
    """Whether this is a table of cosines or sines of rotary positions, of whatever length, each angle once or twice."""
    shape = tuple(n for n in tensor.shape if n > 1)
    if len(shape) != 2 or shape[1] not in (HEAD // 2, HEAD):
        return False
    table = angles(shape[0], HEAD).numpy()
    table = np.concatenate([table, table], 1) if shape[1] == HEAD else table
    values = tensor.numpy().reshape(shape)
    return any(bool(np.abs(values - wave(table)).max() < 1e-3) for wave in (np.cos, np.sin))
