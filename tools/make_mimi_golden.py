"""Make `tests/golden/mimi.safetensors`: a tiny Mimi of the moshi package with random weights, its codes and its sound.

    python tools/make_mimi_golden.py tests/golden/mimi.safetensors

Run where `moshi` is installed (0.2.13 here); it wants an older torch than voxzoo does, so the tests compare with this file.
"""

from __future__ import annotations

import sys

import torch
from moshi.models.compression import MimiModel
from moshi.modules import SEANetDecoder, SEANetEncoder, transformer
from moshi.quantization import SplitResidualVectorQuantizer
from safetensors.torch import save_file

DIM, RATE, RATIOS = 16, 2400, [4, 3, 2]
SEANET = {"channels": 1, "dimension": DIM, "causal": True, "n_filters": 4, "n_residual_layers": 1, "activation": "ELU",
          "compress": 2, "dilation_base": 2, "disable_norm_outer_blocks": 0, "kernel_size": 7, "residual_kernel_size": 3,
          "last_kernel_size": 3, "norm": "none", "pad_mode": "constant", "ratios": RATIOS, "true_skip": True}  # fmt: skip
TRANSFORMER = {"d_model": DIM, "num_heads": 2, "num_layers": 2, "causal": True, "layer_scale": 0.4, "context": 6,
               "conv_layout": True, "max_period": 10000, "gating": "none", "norm": "layer_norm", "positional_embedding": "rope",
               "dim_feedforward": 32, "input_dimension": DIM, "output_dimensions": [DIM]}  # fmt: skip


def model() -> MimiModel:
    """Random weights, codebooks included."""
    torch.manual_seed(1)
    quantizer = SplitResidualVectorQuantizer(dimension=8, n_q=5, bins=16, input_dimension=DIM, output_dimension=DIM)
    encoder_rate = RATE / 24
    mimi = MimiModel(
        SEANetEncoder(**SEANET), SEANetDecoder(**SEANET), quantizer, channels=1, sample_rate=RATE, frame_rate=encoder_rate / 2,
        encoder_frame_rate=encoder_rate, causal=True, resample_method="conv", upsample_channel_wise_bug=True,
        encoder_transformer=transformer.ProjectedTransformer(**TRANSFORMER),
        decoder_transformer=transformer.ProjectedTransformer(**TRANSFORMER),
    ).eval()  # fmt: skip
    mimi.set_num_codebooks(5)
    for key, value in mimi.state_dict().items():
        if key.startswith("encoder.") and key.endswith("bias"):
            value.zero_()  # or they would drown the sound
        elif key.startswith("encoder.") and key.endswith("weight"):
            value.mul_(2)
        elif "embedding_sum" in key:
            value.copy_(torch.randn_like(value) * 0.2)
        elif "cluster_usage" in key:
            value.copy_(torch.rand_like(value) + 0.5)
    return mimi


def main() -> None:
    """Write the file."""
    mimi = model()
    wav = torch.randn(1, 1, 48 * 30 - 7) * 0.3
    with torch.no_grad():
        codes = mimi.encode(wav)
        sound = mimi.decode(codes)
    published = {"in_projs.0.weight": "in_proj_weight", "out_projs.0.weight": "out_proj.weight"}  # as checkpoints have it
    state = {}
    for key, value in mimi.state_dict().items():
        for name, old in published.items():
            key = key.replace(name, old)
        state[f"weights.{key}"] = value.contiguous()
    save_file({**state, "wav": wav[0, 0], "codes": codes[0].to(torch.int16), "sound": sound[0, 0]}, sys.argv[1])


if __name__ == "__main__":
    main()
