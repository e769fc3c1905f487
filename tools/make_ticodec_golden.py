"""Make `tests/golden/ticodec.safetensors`: codes, voice and sound of the published TiCodec with made-up weights.

    git clone https://github.com/VITA-MLLM/Freeze-Omni && git -C Freeze-Omni checkout 3e17af43b4fe64ba9609b4e1ba94c443c45101c0
    python tools/make_ticodec_golden.py Freeze-Omni tests/golden/ticodec.safetensors

The widths of that network are written into its code, so it is too large to store: `weight` and `sound` make the same numbers
again anywhere, from NumPy's frozen generator.
"""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

CONFIG: dict[str, Any] = {
    "resblock": "1", "sampling_rate": 24000, "upsample_rates": [3, 2, 5, 2], "upsample_kernel_sizes": [5, 4, 11, 4],
    "upsample_initial_channel": 512, "resblock_kernel_sizes": [3, 1], "resblock_dilation_sizes": [[1, 2, 3], [1, 1, 1]],
    "n_code_groups": 1, "residul_layer": 2, "n_codes": 64, "codebook_loss_lambda": 1.0, "commitment_loss_lambda": 0.25,
    "global_code_num": 8, "global_feature_conv": [128, 64, 128, 3, 1], "global_tokens": [3, 60, 7, 31, 0, 63, 22, 5],
}  # fmt: skip
SAMPLES = 60 * 50
# What the uniform numbers in [-1, 1] are multiplied with, and what is added, by the end of a weight's name.
SCALES = {
    "weight_v": (1.0, 0.0), "weight_g": (0.2, 0.6), "embedding.weight": (0.2, 0.0), "bias": (0.02, 0.0),
    "running_mean": (0.1, 0.0), "running_var": (0.5, 1.0), "fn.2.weight": (0.1, 1.0),
    "conv_post.weight": (0.05, 0.0), "fn.0.weight": (0.3, 0.0),
    "weight": (0.2, 0.0), "tracked": (0.0, 0.0),
}  # fmt: skip


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """The weight of this name, the same on every machine."""
    scale, shift = next(value for end, value in SCALES.items() if name.endswith(end))
    scale, shift = (0.1, 1.0) if ".normalize." in name and name.endswith("weight") else (scale, shift)
    numbers = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)
    return torch.from_numpy(np.asarray(numbers * scale + shift, np.float32))


def sound(samples: int) -> np.ndarray:
    """Noise (T,) that swells and fades."""
    swell = np.abs(np.arange(samples) % 1000 - 500) / 500
    return (np.random.RandomState(1).uniform(-0.5, 0.5, samples) * (0.1 + 0.9 * swell)).astype(np.float32)


def main() -> None:
    """Write the file."""
    sys.path.insert(0, sys.argv[1])
    module = importlib.import_module("models.decoder.ticodec.vqvae")
    config = module.AttrDict(CONFIG)
    codec = module.VQVAE.__new__(module.VQVAE)  # its constructor reads a checkpoint
    torch.nn.Module.__init__(codec)
    codec.h, codec.encoder = config, module.Encoder(config)
    codec.quantizer, codec.generator = module.Quantizer(config), module.Generator(config)
    codec.eval()
    state = codec.state_dict()
    shapes = {key: list(value.shape) for key, value in state.items()}
    codec.load_state_dict({key: weight(key, shape).to(state[key].dtype) for key, shape in shapes.items()})
    with torch.no_grad():
        codes, voice = codec.encode(torch.from_numpy(sound(SAMPLES))[None])
        wav = codec(codes, torch.tensor(CONFIG["global_tokens"])[None, None])
    tensors = {"codes": codes[0].T.to(torch.int16).contiguous(), "voice": voice[0, 0].to(torch.int16), "sound": wav[0, 0]}
    print({key: value.shape for key, value in tensors.items()}, [len(row.unique()) for row in tensors["codes"]], voice)
    save_file(tensors, sys.argv[2], {"shapes": json.dumps(shapes)})


if __name__ == "__main__":
    main()
