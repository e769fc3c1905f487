"""ONNX files of the form in which the S3 tokenizers are published, with random weights: whole graphs that ONNX Runtime runs.

Names of nodes and initialisers are those of the published files, as far as the package s3tokenizer relies on them; numbers that
are nowhere relied on are left out. Written field by field: the format is Protocol Buffers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx_files import field, varint

INT64, FLOAT, INT32 = 7, 1, 6  # TensorProto.DataType
KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
TINY = {"dim": 128, "hidden": 512, "codes": 300}  # two heads of 64 channels, which the package's table of positions has
REAL = {"dim": 1280, "hidden": 5120, "codes": 4096}
VERSIONS = {"v1": (6, 1), "v1-25hz": (6, 2), "v2": (6, 2), "v3": (12, 2)}  # blocks, stride of the first convolution
State = Mapping[str, np.ndarray]


def shapes(version: str, dim: int, hidden: int, codes: int) -> dict[str, tuple[int, ...]]:
    """Of every tensor, under the names of s3tokenizer's state dict."""
    found: dict[str, tuple[int, ...]] = {"encoder.conv1.weight": (dim, 128, 3), "encoder.conv2.weight": (dim, dim, 3)}
    found |= {"encoder.conv1.bias": (dim,), "encoder.conv2.bias": (dim,)}
    for i in range(VERSIONS[version][0]):
        block = f"encoder.blocks.{i}"
        sizes = {"attn.query": (dim, dim), "attn.key": (dim, dim), "attn.value": (dim, dim), "attn.out": (dim, dim)}
        sizes |= {"mlp.0": (hidden, dim), "mlp.2": (dim, hidden)}
        found |= {f"{block}.{name}.weight": size for name, size in sizes.items()}
        found |= {f"{block}.{name}.bias": size[:1] for name, size in sizes.items() if name != "attn.key"}
        found |= {f"{block}.{norm}.{name}": (dim,) for norm in ("attn_ln", "mlp_ln") for name in ("weight", "bias")}
        if version in ("v2", "v3"):
            found[f"{block}.attn.fsmn_block.weight"] = (dim, 1, 31)
    if version in ("v2", "v3"):
        return {**found, "quantizer._codebook.project_down.weight": (8, dim), "quantizer._codebook.project_down.bias": (8,)}
    return {**found, "encoder.positional_embedding": (1500, dim), "quantizer._codebook.embed": (codes, dim)}


def weights(version: str, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under which codes vary from token to token, each from its own name alone."""
    state = {}
    for key, shape in shapes(version, **sizes).items():
        rng = np.random.RandomState(zlib.crc32(key.encode()) + seed)  # frozen, so that golden files last
        values = (rng.uniform(-1, 1, shape) * 3**0.5).astype(np.float32)
        if key.endswith("_ln.weight"):
            values = 1 + 0.1 * values
        elif key.endswith("bias"):
            values *= np.float32(0.05)
        elif key.endswith("positional_embedding"):
            values *= np.float32(2.0)
        elif key.endswith("embed"):
            values /= np.float32(np.sqrt(shape[1]))
        else:
            values *= np.float32(gain(key) / np.sqrt(np.prod(shape[1:])))
        if key.endswith("conv1.weight"):
            values -= values.mean((1, 2), keepdims=True)  # blind to how loud the clip is
        state[key] = values
    return state


def gain(key: str) -> float:
    return next((value for part, value in (("conv1", 3.0), ("conv2", 3.0), ("project_down", 0.6)) if part in key), 1.0)


class Writer:
    """A graph as it grows: `node` returns the name of the node's output."""

    def __init__(self, state: State, version: str, skip: str = "", elsewhere: Mapping[str, bytes] | None = None) -> None:
        self.state, self.version, self.heads = state, version, len(state["encoder.conv1.bias"]) // 64
        self.skip, self.elsewhere = skip, elsewhere or {}
        self.nodes: list[bytes] = []
        self.tensors: list[list[bytes]] = []
        self.count = 0

    def node(self, name: str, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{name}_output_0"
        parts = [field(1, i) for i in inputs] + [field(2, output), field(3, name), field(4, kind)]
        self.nodes.append(field(1, b"".join(parts + [field(5, attribute(k, v)) for k, v in attributes.items()])))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        self.count += 1
        array = np.asarray(value, dtype)
        return self.node(f"/Constant_{self.count}", "Constant", value=b"".join(tensor(array)))

    def weight(self, name: str, array: np.ndarray) -> str:
        if name == self.skip:
            return name
        parts = [self.elsewhere[name]] if name in self.elsewhere else tensor(array, name)
        self.tensors.append([varint(5 << 3 | 2) + varint(sum(map(len, parts))), *parts])
        return name

    def linear(self, x: str, name: str, key: str, bias: bool = True, numbers: Sequence[str] = ("", "")) -> str:
        weight = self.weight(numbers[0] or f"{name}.w", self.state[f"{key}.weight"].T)
        y = self.node(f"{name}/MatMul", "MatMul", x, weight)
        if not bias:
            return y
        values = self.state[f"{key}.bias"]  # some of v3's are no initialisers
        known = self.constant(values) if self.version == "v3" else self.weight(numbers[1] or f"{name}.b", values)
        return self.node(f"{name}/Add", "Add", known, y)

    def norm(self, x: str, name: str, key: str, numbers: Sequence[str]) -> str:
        weight = self.weight(numbers[0] or f"{name}.w", self.state[f"{key}.weight"])
        bias = self.weight(numbers[1] or f"{name}.b", self.state[f"{key}.bias"])
        if self.version == "v2":
            return self.node(f"{name}/LayerNormalization", "LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-5)
        apart = self.node(f"{name}/Sub", "Sub", x, self.node(f"{name}/ReduceMean", "ReduceMean", x, axes=[-1]))
        square = self.node(f"{name}/Pow", "Pow", apart, self.constant(2.0))
        variance = self.node(f"{name}/ReduceMean_1", "ReduceMean", square, axes=[-1])
        root = self.node(f"{name}/Sqrt", "Sqrt", self.node(f"{name}/Add", "Add", variance, self.constant(1e-5)))
        scaled = self.node(f"{name}/Mul", "Mul", self.node(f"{name}/Div", "Div", apart, root), weight)
        return self.node(f"{name}/Add_1", "Add", scaled, bias)

    def gelu(self, x: str, name: str) -> str:
        wave = self.node(f"{name}/Erf", "Erf", self.node(f"{name}/Div", "Div", x, self.constant(np.sqrt(2.0))))
        product = self.node(f"{name}/Mul", "Mul", x, self.node(f"{name}/Add", "Add", wave, self.constant(1.0)))
        return self.node(f"{name}/Mul_1", "Mul", product, self.constant(0.5))

    def conv(self, x: str, number: int, stride: int) -> str:
        first = {"v1": 1519, "v2": 2216}.get(self.version)
        names = [f"onnx::Conv_{first + 2 * number - 2 + i}" for i in (0, 1)] if first else []
        names = names or [f"encoders.conv{number}.{part}" for part in ("weight", "bias")]
        held = [
            self.weight(n, self.state[f"encoder.conv{number}.{part}"])
            for n, part in zip(names, ("weight", "bias"), strict=True)
        ]
        y = self.node(f"/conv{number}/Conv", "Conv", x, *held, kernel_shape=[3], pads=[1, 1], strides=[stride])
        return self.gelu(y, f"/act{number}")

    def rotate(self, x: str, name: str, waves: tuple[str, str]) -> str:
        def half(place: int) -> str:
            ends = [self.constant([n], np.int64) for n in (32 * place, 32 + 32 * place, 3)]
            return self.node(f"{name}/Slice_{place}", "Slice", x, *ends)

        turned = self.node(f"{name}/Concat", "Concat", self.node(f"{name}/Neg", "Neg", half(1)), half(0), axis=-1)
        pair = self.node(f"{name}/Mul", "Mul", x, waves[0]), self.node(f"{name}/Mul_1", "Mul", turned, waves[1])
        return self.node(f"{name}/Turned", "Add", *pair)

    def attention(self, x: str, i: int, waves: tuple[str, str] | None) -> str:
        name, key = f"/blocks.{i}/attn", f"encoder.blocks.{i}.attn"
        q = self.linear(x, f"{name}/query", f"{key}.query", True, self.numbers(i, 2228, 2227))
        k = self.linear(x, f"{name}/key", f"{key}.key", False, self.numbers(i, 2230, 2230))
        v = self.linear(x, f"{name}/value", f"{key}.value", True, self.numbers(i, 2233, 2232))
        split, joined = self.constant([1, -1, self.heads, 64], np.int64), self.constant([1, -1, 64 * self.heads], np.int64)
        q, k, heads = (self.node(f"{name}/Reshape_{n}", "Reshape", part, split) for n, part in enumerate((q, k, v)))
        if waves:
            q, k = self.rotate(q, f"{name}/q", waves), self.rotate(k, f"{name}/k", waves)
        scale = self.constant(64**-0.25)
        q = self.node(f"{name}/Mul_q", "Mul", self.node(f"{name}/Transpose", "Transpose", q, perm=[0, 2, 1, 3]), scale)
        k = self.node(f"{name}/Mul_k", "Mul", self.node(f"{name}/Transpose_1", "Transpose", k, perm=[0, 2, 3, 1]), scale)
        heads = self.node(f"{name}/Transpose_2", "Transpose", heads, perm=[0, 2, 1, 3])
        share = self.node(f"{name}/Softmax", "Softmax", self.node(f"{name}/MatMul", "MatMul", q, k), axis=-1)
        mixed = self.node(
            f"{name}/Transpose_3", "Transpose", self.node(f"{name}/MatMul_1", "MatMul", share, heads), perm=[0, 2, 1, 3]
        )
        rows = self.node(f"{name}/Reshape_4", "Reshape", mixed, joined)
        y = self.linear(rows, f"{name}/out", f"{key}.out", True, self.numbers(i, 2267, 2266))
        return self.node(f"{name}/Add_1", "Add", y, self.memory(v, i)) if waves else y

    def memory(self, v: str, i: int) -> str:
        name, key = f"/blocks.{i}/attn/fsmn_block", f"blocks.{i}.attn.fsmn_block.weight"
        weight = self.weight(key, self.state[f"encoder.{key}"])
        columns = self.node(f"{name}/Transpose", "Transpose", v, perm=[0, 2, 1])
        settings = {"kernel_shape": [31], "pads": [15, 15], "group": 64 * self.heads}
        columns = self.node(f"{name}/Conv", "Conv", columns, weight, **settings)
        return self.node(
            f"/blocks.{i}/attn/Add_2", "Add", self.node(f"{name}/Transpose_1", "Transpose", columns, perm=[0, 2, 1]), v
        )

    def numbers(self, i: int, weight: int, bias: int, kind: str = "MatMul") -> list[str]:
        """Of block i in v2's file."""
        if self.version != "v2":
            return ["", ""]
        return [f"onnx::{kind}_{weight + 52 * i}", f"onnx::{'Add' if kind == 'MatMul' else kind}_{bias + 52 * i}"]

    def block(self, x: str, i: int, waves: tuple[str, str] | None) -> str:
        name, key = f"/blocks.{i}", f"encoder.blocks.{i}"
        y = self.norm(x, f"{name}/attn_ln", f"{key}.attn_ln", self.numbers(i, 2224, 2225, "LayerNormalization"))
        x = self.node(f"{name}/Add", "Add", x, self.attention(y, i, waves))
        y = self.norm(x, f"{name}/mlp_ln", f"{key}.mlp_ln", self.numbers(i, 2268, 2269, "LayerNormalization"))
        y = self.linear(y, f"{name}/mlp/mlp.0", f"{key}.mlp.0", True, self.numbers(i, 2272, 2271))
        y = self.linear(
            self.gelu(y, f"{name}/mlp/mlp.1"), f"{name}/mlp/mlp.2", f"{key}.mlp.2", True, self.numbers(i, 2275, 2274)
        )
        return self.node(f"{name}/Add_1", "Add", x, y)

    def along(self, x: str, table: str, name: str) -> str:
        """As many rows of a table as x (1, N, D) has."""
        count = self.node(f"{name}/Gather", "Gather", self.node(f"{name}/Shape", "Shape", x), self.constant([1], np.int64))
        return self.node(f"{name}/Slice", "Slice", table, self.constant([0], np.int64), count, self.constant([0], np.int64))

    def scalar(self, x: str) -> str:
        key = "quantizer._codebook.project_down"
        number = "onnx::MatMul_2536" if self.version == "v2" else "onnx::MatMul_4951"
        weight, bias = (
            self.weight(number, self.state[f"{key}.weight"].T),
            self.weight("quantizer.project_in.bias", self.state[f"{key}.bias"]),
        )
        y = self.node("/quantizer/project_in/Add", "Add", bias, self.node("/quantizer/project_in/MatMul", "MatMul", x, weight))
        y = self.node("/quantizer/Mul", "Mul", self.node("/quantizer/Tanh", "Tanh", y), self.constant(0.9990000128746033))
        y = self.node("/quantizer/Add", "Add", self.node("/quantizer/Round", "Round", y), self.constant(1.0))
        y = self.node("/quantizer/Mul_1", "Mul", y, self.constant(3.0 ** np.arange(8)))
        y = self.node("/quantizer/ReduceSum", "ReduceSum", y, self.constant([-1], np.int64), keepdims=0)
        return self.node("/quantizer/Cast", "Cast", y, to=INT32)

    def nearest(self, x: str) -> str:
        name = "/quantizer/rq/model/layers.0/_codebook"
        embed = self.weight("onnx::MatMul_1800", self.state["quantizer._codebook.embed"].T)
        unit = self.node("/quantizer/Div", "Div", x, self.node("/quantizer/ReduceL2", "ReduceL2", x, axes=[-1]))
        two = self.constant(2.0)
        own = self.node(
            f"{name}/ReduceSum", "ReduceSum", self.node(f"{name}/Pow", "Pow", unit, two), self.constant([-1], np.int64)
        )
        book = self.node(
            f"{name}/ReduceSum_1", "ReduceSum", self.node(f"{name}/Pow_1", "Pow", embed, two), self.constant([0], np.int64)
        )
        product = self.node(f"{name}/Mul", "Mul", self.node(f"{name}/MatMul", "MatMul", unit, embed), two)
        apart = self.node(f"{name}/Add", "Add", self.node(f"{name}/Sub", "Sub", own, product), book)
        return self.node(f"{name}/ArgMax", "ArgMax", self.node(f"{name}/Neg", "Neg", apart), axis=-1, keepdims=0)

    def graph(self) -> str:
        """Everything; returns the name of the codes."""
        blocks, stride = VERSIONS[self.version]
        x = self.node("/Transpose", "Transpose", self.conv(self.conv("feats", 1, stride), 2, 2), perm=[0, 2, 1])
        waves = None
        if self.version in ("v2", "v3"):
            table = np.outer(np.arange(2048, dtype=np.float32), 1 / 10000 ** (np.arange(0, 64, 2, dtype=np.float32) / 64))
            table = np.concatenate([table, table], 1).astype(np.float32)[:, None]
            waves = self.along(x, self.constant(np.cos(table)), "/cos"), self.along(x, self.constant(np.sin(table)), "/sin")
        else:
            table = self.weight("encoders.positional_embedding", self.state["encoder.positional_embedding"])
            x = self.node("/Add", "Add", x, self.along(x, table, "/positions"))
        for i in range(blocks):
            x = self.block(x, i, waves)
        return self.scalar(x) if waves else self.nearest(x)


def attribute(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return field(1, name) + field(5, value) + field(20, 4)
    if isinstance(value, float):
        return field(1, name) + varint(2 << 3 | 5) + np.float32(value).tobytes() + field(20, 1)
    if isinstance(value, list):
        return field(1, name) + b"".join(field(8, n & (2**64 - 1)) for n in value) + field(20, 7)
    return field(1, name) + field(3, value & (2**64 - 1)) + field(20, 2)


def tensor(array: np.ndarray, name: str = "") -> list[bytes]:
    """In parts, so that the large one is not copied."""
    head = b"".join(field(1, n) for n in array.shape) + field(2, KINDS[array.dtype]) + (field(8, name) if name else b"")
    data = np.ascontiguousarray(array).tobytes()
    return [head + varint(9 << 3 | 2) + varint(len(data)), data]


def port(number: int, name: str, kind: int, *dims: int | str) -> bytes:
    """An input or output of the graph."""
    shape = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dims)
    return field(number, field(1, name) + field(2, field(1, field(1, kind) + field(2, shape))))


def outside(array: np.ndarray, name: str, location: str) -> bytes:
    """A tensor whose data lie in another file."""
    where = field(13, field(1, "location") + field(2, location))
    return b"".join(field(1, n) for n in array.shape) + field(2, KINDS[array.dtype]) + field(8, name) + where + field(14, 1)


def write(
    path: Path,
    version: str,
    state: State,
    skip: str = "",
    more: Mapping[str, np.ndarray] | None = None,
    elsewhere: Mapping[str, bytes] | None = None,
) -> Path:
    """The file of a version with these weights.

    skip: an initialiser to leave out. more: initialisers that nothing uses. elsewhere: messages of those with data outside.
    """
    writer = Writer(state, version, skip, elsewhere)
    codes = writer.graph()
    for name, array in (more or {}).items():
        writer.weight(name, array)
    ports = [
        port(11, "feats", FLOAT, 1, 128, "T"),
        port(11, "feats_length", INT32, 1),
        port(12, codes, INT32 if version in ("v2", "v3") else INT64, 1, "N"),
    ]
    parts = [*writer.nodes, field(2, "main_graph"), *ports, *(part for held in writer.tensors for part in held)]
    with open(path, "wb") as file:
        file.write(field(1, 8) + field(8, field(1, "") + field(2, 17)) + varint(7 << 3 | 2) + varint(sum(map(len, parts))))
        file.writelines(parts)
    return path


def reference_stub() -> None:
    """Let s3tokenizer be imported without torchaudio, of which nothing is needed here."""
    import sys
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    if "torchaudio" not in sys.modules:
        stub = ModuleType("torchaudio")
        stub.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stub


def reference(version: str, path: Path, sizes: Mapping[str, int]) -> Any:
    """The model of the package s3tokenizer, of this size, with the weights of a file that `write` made.

    It is no dependency: `pip install --no-deps s3tokenizer==0.3.0 onnx==1.23.2`.
    """
    reference_stub()
    from s3tokenizer import S3Tokenizer, S3TokenizerV2, S3TokenizerV3
    from s3tokenizer.model import ModelConfig
    from s3tokenizer.model_v2 import ModelConfig as ModelConfigV2
    from s3tokenizer.model_v3 import ModelConfigV3

    size = {"n_audio_state": sizes["dim"], "n_audio_head": sizes["dim"] // 64}
    name = "speech_tokenizer_v1" if version == "v1" else f"speech_tokenizer_{version.removesuffix('-25hz')}_25hz"
    if version == "v2":
        model = S3TokenizerV2(name, ModelConfigV2(**size))
    elif version == "v3":
        model = S3TokenizerV3(name, ModelConfigV3(**size))
    else:
        model = S3Tokenizer(name, ModelConfig(n_codebook_size=sizes["codes"], **size))
    model.init_from_onnx(str(path))
    return model.eval()


def reference_codes(model: Any, wav: np.ndarray) -> np.ndarray:
    """Codes (N,) of a clip at 16 kHz."""
    import torch
    from s3tokenizer import log_mel_spectrogram

    mel = log_mel_spectrogram(torch.from_numpy(wav))
    codes, lengths = model.quantize(mel[None], torch.tensor([mel.shape[1]]))
    return codes[0, : int(lengths[0])].numpy()


def sound(samples: int, level: float = 0.1) -> np.ndarray:
    """Noise (T,) under a slow envelope, with a tone that glides: nowhere 80 dB below its loudest place."""
    time = np.arange(samples) / 16000
    rng = np.random.RandomState(samples % 2**32)
    tone = np.sin(2 * np.pi * (200 * time + 80 * np.sin(2 * np.pi * 0.7 * time)))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
    return (level * envelope * (tone + 0.5 * rng.uniform(-1, 1, samples))).astype(np.float32)
