"""HuBERT, wav2vec 2.0 and WavLM as others than `transformers` publish them: fairseq, s3prl, WavLM's own code, torchaudio.

Their tensors are brought to the names of `transformers`; of what else a file holds only the plain settings are read. A file of
fairseq holds objects of its own classes, which `torch.load` refuses: they become `Inert` and fairseq is not needed.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import WeightsError
from .inert import Inert, PlainDict, harmless
from .weights import read_checkpoint, read_state

__all__ = ["backbone_state", "read_backbone_file", "read_inert", "told"]

# What such files hold beside tensors and plain values. Of these nothing is imported.
KNOWN = (
    "fairseq.",
    "omegaconf.",
    "argparse.Namespace",
    "pathlib.",
    "enum.",
    "collections.",
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "lightning_utilities.",
    "src.",
    "typing.",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
)
DICTS = (".AttributeDict", ".defaultdict")  # classes among them that are dicts
# Of use in training alone, in files of fairseq, s3prl, torchaudio and transformers.
TRAINING_ONLY = re.compile(
    r"(mask_emb|masked_spec_embed|label_embs_concat|final_proj\.|quantizer\.|project_q\.|project_hid\.|aux\.|lm_head\.|w2v_encoder\.proj"
    r"|target_glu\.|proj\.)"
)
GLOBAL = re.compile(rb"(?=c([A-Za-z_][\w.]*)\n([A-Za-z_][\w.]*)\n)")  # how a pickle of torch's protocol names one
HEAD = 1 << 26  # bytes
LAYER = r"encoder\.layers\.(\d+)\."
# Patterns of fairseq's names, and of WavLM's own code, whose names are fairseq's -> names in transformers.
FAIRSEQ = tuple(
    (re.compile(pattern + "$"), name)
    for pattern, name in (
        (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
        (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?(weight|bias)", r"feature_extractor.conv_layers.\1.layer_norm.\2"),
        (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
        (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
        (r"encoder\.pos_conv\.0\.(.+)", r"encoder.pos_conv_embed.conv.\1"),
        (r"encoder\.layer_norm\.(weight|bias)", r"encoder.layer_norm.\1"),
        (LAYER + r"self_attn\.((?:k|v|q|out)_proj\.(?:weight|bias))", r"encoder.layers.\1.attention.\2"),
        (LAYER + r"self_attn\.grep_linear\.(weight|bias)", r"encoder.layers.\1.attention.gru_rel_pos_linear.\2"),
        (LAYER + r"self_attn\.grep_a", r"encoder.layers.\1.attention.gru_rel_pos_const"),
        (LAYER + r"self_attn\.relative_attention_bias\.weight", r"encoder.layers.\1.attention.rel_attn_embed.weight"),
        (LAYER + r"self_attn_layer_norm\.(weight|bias)", r"encoder.layers.\1.layer_norm.\2"),
        (LAYER + r"fc1\.(weight|bias)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
        (LAYER + r"fc2\.(weight|bias)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
        (LAYER + r"final_layer_norm\.(weight|bias)", r"encoder.layers.\1.final_layer_norm.\2"),
    )
)
# What a backbone is wrapped in: fine-tuned models of fairseq, models with a head of transformers and torchaudio.
WRAPPERS = re.compile(r"^(?:(?:w2v_encoder|w2v_model|hubert|wav2vec2|wavlm|model)\.)+")


def backbone_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a backbone, named as any of them names them, under the names of `transformers`.

    Weight norm is left as it is; what only training uses is left out. Raises `WeightsError` for a name that is not known.
    """
    named = {WRAPPERS.sub("", key): value for key, value in state.items()}
    kept = {key: value for key, value in named.items() if not TRAINING_ONLY.match(key)}
    if any(key.startswith("encoder.transformer.") for key in kept):
        return {name: part for key, value in kept.items() for name, part in _of_torchaudio(key, value).items()}
    if any(key.startswith("feature_projection.") for key in kept):
        return kept
    return {_of_fairseq(key): value for key, value in kept.items()}


def _of_fairseq(key: str) -> str:
    for pattern, name in FAIRSEQ:
        if found := pattern.match(key):
            return found.expand(name)
    raise WeightsError(f"{key!r} is no tensor of HuBERT, wav2vec 2.0 or WavLM in fairseq's naming")


def _of_torchaudio(key: str, value: Tensor) -> dict[str, Tensor]:
    """Torchaudio nests otherwise what is named as in transformers; in its WavLM the matrices of attention are one."""
    key = key.replace("encoder.feature_projection.", "feature_projection.").replace("encoder.transformer.", "encoder.")
    key = key.replace(".attention.attention.", ".attention.")
    if ".in_proj_" in key:
        return {key.replace(".in_proj_", f".{one}_proj."): third for one, third in zip("qkv", value.chunk(3), strict=True)}
    return {key: value}


def told(content: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    """What a checkpoint of fairseq, s3prl or WavLM's own code tells of its model, as far as it does: `normalize`, whether it
    takes sound of zero mean and unit variance, and `backbone`, as `architecture` of `core/ssl.py` takes it.
    """
    found: dict[str, Any] = {}
    for place in (("cfg", "task"), ("task_cfg",), ("args",), ("cfg",)):
        value = _at(content, place).get("normalize")
        if isinstance(value, bool):
            found["normalize"] = value
            break
    for place in (("cfg", "model"), ("model_cfg",), ("args",), ("cfg",)):
        if isinstance(_at(content, place).get("conv_feature_layers"), str):
            found["backbone"] = _architecture(_at(content, place), kind)
            break
    return found


def _architecture(told: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """fairseq's settings of a model under the names of transformers; those it does not tell are the base model's."""
    names = {
        "hidden_size": "encoder_embed_dim",
        "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
        "intermediate_size": "encoder_ffn_embed_dim",
        "hidden_act": "activation_fn",
        "do_stable_layer_norm": "layer_norm_first",
        "conv_bias": "conv_bias",
        "num_conv_pos_embeddings": "conv_pos",
        "num_conv_pos_embedding_groups": "conv_pos_groups",
        "num_buckets": "num_buckets",
        "max_bucket_distance": "max_distance",
    }
    layers = _conv_layers(told["conv_feature_layers"])
    sizes = {name: [layer[i] for layer in layers] for i, name in enumerate(("conv_dim", "conv_kernel", "conv_stride"))}
    norm = "layer" if told.get("extractor_mode") == "layer_norm" else "group"
    plain = {name: told[theirs] for name, theirs in names.items() if isinstance(told.get(theirs), (str, int))}
    return {"model_type": kind, **plain, **sizes, "feat_extract_norm": norm}


def _conv_layers(text: str) -> list[tuple[int, int, int]]:
    """`[(512, 10, 5)] + [(512, 3, 2)] * 4`, which fairseq gives to Python's eval, read without it."""

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            times = value(node.right)
            return value(node.left) * (times if isinstance(times, int) and 0 <= times <= 100 else 0)
        return ast.literal_eval(node)

    try:
        layers = value(ast.parse(text[:1000].strip(), mode="eval").body)
        if all(type(n) is int for dim, kernel, stride in layers for n in (dim, kernel, stride)):
            return [tuple(layer) for layer in layers]
    except (SyntaxError, TypeError, ValueError):
        pass
    raise WeightsError(f"conv_feature_layers is {text[:100]!r}; expected a list of (channels, kernel, stride)")


def _at(content: Any, place: Sequence[str]) -> Mapping[str, Any]:
    """The dict at a place, or the attributes of the object there (`argparse.Namespace`)."""
    for key in place:
        content = content.get(key) if isinstance(content, Mapping) else None
        content = content.state if isinstance(content, Inert) else content
    return content if isinstance(content, Mapping) else {}


def read_backbone_file(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A backbone's tensors as in `backbone_state`, and of its model (of this `model_type`) what `told` gives.

    Takes `.pt` of fairseq (`model`), s3prl (`model_weight`) and WavLM (`model`), `.pth` of torchaudio, `.bin` and
    `.safetensors` of transformers. Raises `WeightsError`.
    """
    if path.suffix == ".safetensors":
        return backbone_state(read_state(path)), {}
    content = read_inert(path)
    state = next(
        (content[key] for key in ("model", "model_weight", "state_dict") if isinstance(content.get(key), dict)), content
    )
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{str(path)!r} holds no tensors of a speech backbone")
    return backbone_state(tensors), told(content, kind)


def read_inert(path: Path) -> dict[Any, Any]:
    """What a file of `torch.save` holds, where objects of fairseq, Lightning and the like may lie beside the tensors.

    Raises `WeightsError` for a file that is missing, damaged or no dict, and for one that names other code.
    """
    allowed: list[Any] = []
    for name in _named(path):
        if harmless(name, KNOWN) and name != "collections.OrderedDict":  # which torch.load reads as it is
            allowed.append(((PlainDict if name.endswith(DICTS) else Inert).called(name), name))
    with torch.serialization.safe_globals(allowed):
        content = read_checkpoint(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{str(path)!r} holds a {type(content).__name__}; expected a dict of tensors")
    return content


def _named(path: Path) -> set[str]:
    """Functions and classes that the pickles in the file name, and what else its bytes look like naming."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    except (OSError, zipfile.BadZipFile):
        pickles = [_head(path)]
    return {f"{module.decode()}.{name.decode()}" for data in pickles for module, name in GLOBAL.findall(data)}


def _head(path: Path) -> bytes:
    """Of a file in torch's old form, whose pickles come before its numbers."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
