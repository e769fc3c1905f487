"""`transformers`' X-Codec2 and NeuCodec with random weights, and the same weights in the publishers' own form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxzoo import Audio, Tokens
from voxzoo.core.model import Model

SMALL: dict[str, Any] = {
    "encoder_hidden_size": 4, "downsampling_ratios": [4, 8, 10], "hidden_size": 64, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 64, "quantization_levels": [4] * 3,
    "quantization_dim": 88,
    "semantic_model_config": {"model_type": "wav2vec2-bert", "hidden_size": 24, "num_hidden_layers": 2,
                              "num_attention_heads": 2, "intermediate_size": 32},
}  # fmt: skip
TIE = 2e-3  # of a level: features are rounded in single precision there, and double here


def reference(transformers: Any, name: str, sizes: dict[str, Any], seed: int = 0) -> Any:
    """The model, with weights wide enough that sounds differ in their codes."""
    torch.manual_seed(seed)
    theirs = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes)).eval()
    with torch.no_grad():
        for key, value in theirs.named_parameters():
            if key.endswith(("alpha", "beta")) or "distance_embedding" in key:
                value.normal_(0, 0.3)
            elif "norm" in key and key.endswith("weight"):
                value.normal_(1, 0.1)
            elif value.ndim > 1:
                value.normal_(0, (1.5 if "adapter" in key or "project_in" in key else 1) / value[0].numel() ** 0.5)
            else:
                value.normal_(0, 0.02)
        theirs.acoustic_decoder.head.linear.weight.mul_(0.3)
    return theirs


def sound(samples: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, 2000) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), 16000)


def padded(model: Model, clip: Audio) -> np.ndarray:
    wav = np.zeros(model._padded(len(clip)), np.float32)
    wav[: len(clip)] = clip.samples
    return wav


def published_run(transformers: Any, theirs: Any, model: Model, clip: Audio) -> tuple[Tensor, np.ndarray]:
    """Codes (N,) and sound by the published way: padding, features of the clip (X-Codec2's between zeros), the model."""
    wav = padded(model, clip)
    around = 160 if model.facts.name == "xcodec2" else 0
    features = transformers.SeamlessM4TFeatureExtractor()(np.pad(wav, around), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        codes = theirs.encode(torch.from_numpy(wav)[None, None], features["input_features"]).audio_codes
        return codes[0, 0].long(), theirs.decode(codes).audio_values[0, 0].numpy()


def check_parity(model: Model, clip: Audio, codes: Tensor, wav: np.ndarray) -> int:
    """Codes equal but for ties, sound of the same codes to 1e-5; -> how many different codes there are."""
    ours = model.encode(clip)
    assert ours.codes[0].shape[1] == len(codes)
    for frame in (ours.codes[0][0] != codes).nonzero().flatten().tolist():
        assert tie(model, clip, frame) < TIE, frame
    same = Tokens([codes[None]], ours.lengths, ours.facts, ours.fingerprint, ours.resampler)
    decoded = model.decode(same).samples
    assert len(decoded) == model.facts.decoded_length(len(clip))
    size = min(len(wav), len(decoded))
    assert np.abs(decoded[:size] - wav[:size]).max() <= 1e-5
    assert not decoded[size:].any()
    return len(codes.unique())


def tie(model: Model, clip: Audio, frame: int) -> float:
    """How far the quantizer's input of a frame is from lying between two levels."""
    network: Any = model.network
    seen: list[Tensor] = []
    hook = network.quantizer.project_in.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network.encode(torch.from_numpy(padded(model, clip))[None])
        levels = torch.tensor(network.quantizer.levels)
        bounded = network.quantizer._bounded(network.quantizer._bounded(seen[0], levels), levels)
    hook.remove()
    return float((bounded[0, frame] - bounded[0, frame].floor() - 0.5).abs().min())


NAMES = {
    r"^semantic_encoder\.": "semantic_model.",
    r"^semantic_adapter\.conv1\.": "SemanticEncoder_module.initial_conv.",
    r"^semantic_adapter\.conv2\.": "SemanticEncoder_module.residual_blocks.1.",
    r"^semantic_adapter\.conv3\.": "SemanticEncoder_module.residual_blocks.3.",
    r"^semantic_adapter\.conv4\.": "SemanticEncoder_module.final_conv.",
    r"^acoustic_encoder\.conv1\.": "CodecEnc.conv_blocks.0.",
    r"^acoustic_encoder\.snake1\.": "CodecEnc.conv_final_block.0.",
    r"^acoustic_encoder\.conv2\.": "CodecEnc.conv_final_block.1.",
    r"^fc_encoder\.": "fc_prior.",
    r"^acoustic_decoder\.fc\.": "fc_post_a.",
    r"^quantizer\.": "generator.quantizer.",
    r"^acoustic_decoder\.head\.linear\.": "generator.head.out.",
    r"^acoustic_decoder\.norm\.": "generator.backbone.final_layer_norm.",
    r"^acoustic_decoder\.layers\.(\d+)\.input_layernorm\.": r"generator.backbone.transformers.\1.att_norm.",
    r"^acoustic_decoder\.layers\.(\d+)\.post_attention_layernorm\.": r"generator.backbone.transformers.\1.ffn_norm.",
    r"^acoustic_decoder\.layers\.(\d+)\.self_attn\.o_proj\.": r"generator.backbone.transformers.\1.att.c_proj.",
    r"^acoustic_decoder\.layers\.": "generator.backbone.transformers.",
    r"^acoustic_decoder\.": "generator.backbone.",
}
UNITS = {"res_unit1": "block.0.", "res_unit2": "block.1.", "res_unit3": "block.2.", "snake1": "block.3.", "conv1": "block.4."}
LAYERS = {"snake1": "block.0.", "conv1": "block.1.", "snake2": "block.2.", "conv2": "block.3."}


def _name(key: str) -> str:
    found = re.match(r"acoustic_encoder\.block\.(\d+)\.(\w+)\.(.*)", key)
    if found:
        rest = found[3]
        if found[2].startswith("res_unit"):
            layer, rest = rest.split(".", 1)
            rest = LAYERS[layer] + rest
        return f"CodecEnc.conv_blocks.{int(found[1]) + 1}.{UNITS[found[2]]}{rest}"
    for pattern, replacement in NAMES.items():
        key = re.sub(pattern, replacement, key)
    return key


def published_form(theirs: Any, layers: int = 24) -> dict[str, Tensor]:
    """The publisher's names, weight norm and one matrix for queries, keys and values; w2v-BERT with all its layers."""
    state = theirs.state_dict()
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        if ".self_attn.k_proj." in key or ".self_attn.v_proj." in key:
            continue
        if ".self_attn.q_proj." in key:
            q, k, v = (state[key.replace("q_proj", f"{part}_proj")] for part in "qkv")
            pairs = [matrix.unflatten(0, (-1, 2, 32)).transpose(1, 2).flatten(0, 2) for matrix in (q, k)]
            out[_name(key).replace("self_attn.q_proj", "att.c_attn")] = torch.cat([*pairs, v])
        elif key.startswith("acoustic_encoder") and key.endswith("weight"):
            stem = _name(key).removesuffix("weight")
            out[f"{stem}weight_g"] = value.flatten(1).norm(dim=1).view(-1, 1, 1)
            out[f"{stem}weight_v"] = 1.7 * value
        else:
            out[_name(key)] = value
    for key in [key for key in out if key.startswith("semantic_model.encoder.layers.0.")]:
        for i in range(2, layers):
            out.setdefault(key.replace(".layers.0.", f".layers.{i}."), torch.zeros_like(out[key]))
    return {key: value.contiguous() for key, value in out.items()}


def transformers_folder(theirs: Any, folder: Path) -> Path:
    theirs.save_pretrained(folder)
    return folder
