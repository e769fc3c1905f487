"""Make `tests/golden/focalcodec.safetensors`: tiny FocalCodecs of the published code, random weights, their codes and sound.

    git clone https://github.com/lucadellalib/focalcodec && git -C focalcodec checkout 912b7f2c0cd43d54a8aed296bbcc925dec7d4ea3
    PYTHONPATH=focalcodec python tools/make_focalcodec_golden.py tests/golden/focalcodec.safetensors

Needs torch and safetensors. One model for each published rate; the last has every option of focal modulation that those do
not use.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from focalcodec import FocalCodec  # type: ignore[import-not-found]
from safetensors.torch import save_file

LENGTHS = (1, 19, 29, 30, 31, 49, 50, 51, 613)  # samples; a frame of features is made of 30 and starts 20 after the last
FACTORS = {"50hz": ([1, 1, 1], [1, 1, 1]), "25hz": ([2, 1, 1], [1, 1, 2]), "12.5hz": ([2, 2, 1], [1, 2, 2])}
OPTIONS = {"use_post_norm": True, "use_layerscale": True, "layerscale_init": 0.5, "normalize_modulator": True}


def config(name: str) -> dict[str, Any]:
    """As the published `config.json` has it."""
    down, up = FACTORS[name]
    focal = {"focal_window": 4, "focal_factor": 1, **OPTIONS} if name == "12.5hz" else {"focal_window": 3, "focal_factor": 2}
    return {
        "encoder_name": "WavLM",
        "encoder_config": {
            "hidden_dims": [6, 6, 6], "kernel_sizes": [10, 3, 2], "strides": [5, 2, 2], "num_layers": 2, "dim": 8,
            "ffn_dim": 16, "num_heads": 2, "num_buckets": 16, "max_distance": 20, "max_cached_steps": 0, "conv_pos": 4,
            "conv_pos_groups": 2, "window_size": 0,
        },
        "compressor_name": "FocalEncoder",
        "compressor_config": {
            "input_dim": 8, "output_dim": 6, "hidden_dims": [6, 6, 4], "downscale_factors": down, "focal_level": 2, **focal,
        },
        "quantizer_name": "BinarySphericalQuantizer",
        "quantizer_config": {"codebook_size": 64},
        "decompressor_name": "FocalDecoder",
        "decompressor_config": {
            "input_dim": 6, "output_dim": 8, "hidden_dims": [4, 6, 6], "upscale_factors": up, "focal_level": 2, **focal,
        },
        "decoder_name": "Vocos",
        "decoder_config": {
            "input_dim": 8, "num_layers": 2, "dim": 8, "ffn_dim": 12, "kernel_size": 7, "n_fft": 32, "hop_length": 20,
        },
    }  # fmt: skip


def model(name: str) -> Any:
    """Random weights: on the way to the codes small biases and large weights, or any sound would have the same code."""
    codec = FocalCodec(**config(name)).eval()
    state = codec.state_dict()
    for key, value in state.items():
        way = key.startswith(("encoder", "compressor"))
        if key.endswith(("alpha", "gru_rel_pos_const", "gamma", "norm.weight")):
            value.copy_(torch.rand_like(value) + 0.5)
        elif key.endswith("bias"):
            value.copy_(torch.randn_like(value) * (0.02 if way else 0.1))
        elif key.startswith("compressor"):
            value.mul_(3.0)
    codec.load_state_dict(state)
    return codec


def main() -> None:
    """Write the file."""
    torch.manual_seed(0)
    wav = torch.randn(1, max(LENGTHS)) * 0.3
    tensors = {"wav": wav[0]}
    for name in FACTORS:
        codec = model(name)
        tensors |= {f"{name}.weights.{key}": value.contiguous() for key, value in codec.state_dict().items()}
        for length in LENGTHS:
            with torch.no_grad():
                codes = codec.sig_to_toks(wav[:, :length])
                tensors[f"{name}.sound.{length}"] = codec.toks_to_sig(codes)[0].contiguous()
            tensors[f"{name}.codes.{length}"] = codes[0].to(torch.int16)
            print(name, length, len(codes[0]), len(codes.unique()))
    save_file(tensors, sys.argv[1], {name: json.dumps(config(name)) for name in FACTORS})


if __name__ == "__main__":
    main()
