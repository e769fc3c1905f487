"""Make `tests/golden/baichuan.safetensors`: codes of Baichuan-Audio's own encoder, of a tiny size and with made-up weights.

    python tools/make_baichuan_golden.py FOLDER tests/golden/baichuan.safetensors

FOLDER holds `audio_modeling_omni.py`, `vector_quantize.py` and `processor_omni.py`, the code that comes with the weights of
huggingface.co/baichuan-inc/Baichuan-Audio-Base (for the file here, a public copy of it). What these import but need not have
here is left empty. Flash attention, which
wants a GPU, is replaced by attention within each clip, as it is defined. `weight` and `sound` make the same numbers again
anywhere, from NumPy's frozen generator.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from safetensors.torch import save_file

CONFIG: dict[str, Any] = {
    "sampling_rate": 1600, "n_fft": 40, "hop_length": 16, "num_mel_bins": 10, "max_audio_seconds": 30, "d_model": 16,
    "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "avg_pooler": 4, "kernel_size": 3,
    "stride_size": 2, "scale_embedding": False, "activation_function": "gelu", "split_overlap": 0,
}  # fmt: skip
CODEBOOKS = [64, 32, 16]
LENGTHS = [127, 128, 129, 1601, 4000, 48000 - 50, 48000, 59200]  # samples; 48000 are 30 s
EMPTY = (
    "torchaudio fire deepspeed flash_attn requests ujson PIL decord cv2 av imagesize cairosvg transformers.image_transforms "
    "transformers.image_utils reference.flow_matching"
)


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """The weight of this name, the same on every machine."""
    scale, shift = (0.1, 1.0) if "norm.weight" in name else (0.1, 0.0) if name.endswith("bias") else (0.4, 0.0)
    if "vq_list" in name:
        scale = 1.5 * 0.7 ** int(name.split("vq_list.")[1].split(".")[0])
    numbers = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)
    return torch.from_numpy((numbers * scale + shift).astype(np.float32))


def sound(samples: int) -> np.ndarray:
    """Noise (T,) that swells and fades, loudest at its end: what is loudest there lies in a frame that reaches back."""
    swell = np.abs(np.arange(samples) % 1000 - 500) / 500
    swell[-5:] = 4.0
    return (np.random.RandomState(samples).uniform(-0.2, 0.2, samples) * (0.1 + 0.9 * swell)).astype(np.float32)


def attention(q: Any, k: Any, v: Any, starts: Any, _: Any, longest: Any, __: Any, causal: bool) -> torch.Tensor:
    """Of flash_attn: q, k, v (clips' frames in a row, heads, D)."""
    parts = []
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        a, b, c = (x[start:stop].transpose(0, 1)[None] for x in (q, k, v))
        parts.append(torch.nn.functional.scaled_dot_product_attention(a, b, c, is_causal=causal)[0].transpose(0, 1))
    return torch.cat(parts)


def reference(folder: str) -> tuple[Any, Any, Any]:
    """Its processor, encoder and bridge."""
    for name in EMPTY.split():
        module = MagicMock()
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
        if name == "torchaudio":  # the rest only when transformers has been imported
            import transformers.activations
            import transformers.audio_utils
            import transformers.modeling_outputs  # noqa: F401
    sys.modules["flash_attn"].flash_attn_varlen_func = attention  # type: ignore[attr-defined]
    sys.modules["torchaudio"].list_audio_backends = lambda: ["none"]  # type: ignore[attr-defined]
    sys.modules["reference"] = package = ModuleType("reference")
    package.__path__ = [folder]
    network, processor = (importlib.import_module(f"reference.{name}") for name in ("audio_modeling_omni", "processor_omni"))
    config = SimpleNamespace(**CONFIG, vq_config=SimpleNamespace(codebook_sizes=CODEBOOKS))
    bridge = network.OmniAudioVQBridgeTokenizer(SimpleNamespace(audio_config=config))
    return processor.OmniAudioProcessor(config), network.OmniAudioEncoder(config).eval(), bridge.eval()


def main() -> None:
    """Write the file."""
    processor, encoder, bridge = reference(sys.argv[1])
    for prefix, module in (("audio_model.", encoder), ("audio_bridge_model.", bridge)):
        for key, value in module.state_dict().items():
            if key != "positional_embedding":
                value.copy_(weight(prefix + key, list(value.shape)))
    tensors = {"positions": encoder.positional_embedding[::100].clone()}
    for samples in LENGTHS:
        parts = []
        for wav in processor.split_with_overlap(torch.from_numpy(sound(samples))[None]):
            mel, frames = processor.extract_fbank_features(wav)
            counts = [torch.tensor([n]) for n in processor.inference_output_length(processor.config, frames)]
            with torch.no_grad():
                parts.append(bridge(encoder(torch.from_numpy(mel[:, :frames])[None], counts[0]), counts[1]))
        tensors[f"codes.{samples}"] = torch.cat(parts).T.to(torch.int16).contiguous()
        print(samples, tensors[f"codes.{samples}"].shape, [len(row.unique()) for row in tensors[f"codes.{samples}"]])
    save_file(tensors, sys.argv[2])


if __name__ == "__main__":
    main()
