"""Entry of X-Codec2. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import Entry, Weights

__all__ = ["ENTRIES", "EXCEPTIONS", "SIZES", "STREAMING", "TINY"]

# What X-Codec2 and NeuCodec share.
SIZES: dict[str, Any] = {
    "sampling_rate": 16000,
    "encoder_hidden_size": 48,
    "downsampling_ratios": [2, 2, 4, 4, 5],
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "quantization_levels": [4] * 8,
    "semantic": {
        "hidden_size": 1024,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "left_max_position_embeddings": 64,
        "right_max_position_embeddings": 8,
        "conv_depthwise_kernel_size": 31,
        "layer_norm_eps": 1e-5,
    },
}
TINY: dict[str, Any] = {
    "encoder_hidden_size": 4,
    "downsampling_ratios": [4, 8, 10],
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "quantization_levels": [4] * 3,
    "semantic": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
}
STREAMING = (
    "in windows of 60 s with 5 s of context on each side, both ways: with a small network of random weights 97 % of the tokens "
    "of 150 s were those of the whole clip, and the sound of the same tokens agreed to 30 dB; clips of up to 60 s are run whole"
)
EXCEPTIONS = {
    "streaming": "features, attention and normalisation see the whole clip: streams wait for windows of 60 s",
    "long": "clips over 60 s go by such windows, which changes a few of their tokens",
}

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="xcodec2",
            kind="dual",
            sample_rate=16000,
            frame_rates=(Fraction(50),),
            codebook_sizes=(65536,),
            causal=False,
            latency=130.0,
            params=629_280_682,
            code_licence="MIT",
            weights_licence="CC-BY-NC-4.0, as other public projects have read the model card",
            source="https://github.com/zhenye234/X-Codec-2.0",
            paper="https://arxiv.org/abs/2502.04128",
        ),
        build="voxzoo.codecs.xcodec2:XCodec2",
        config={**SIZES, "output_sampling_rate": 16000, "half_hop": True},
        tiny=TINY,
        about="X-Codec2, Llasa's codec: 0.8 kbit/s of speech in one stream that carries meaning and sound; 50 frames/s",
        streaming=STREAMING,
        compared="transformers' Xcodec2Model on features of its SeamlessM4TFeatureExtractor, and the package xcodec2 0.1.5 on "
        "vector-quantize-pytorch 1.17.8, random weights, small: equal codes but for near ties, sound to 1e-5",
        # Revision and hashes of the form of `transformers` as other public projects have pinned them.
        weights=Weights(
            repo="HKUSTAudio/xcodec2-hf",
            revision="64bd034d12d441299cdd535b15c33efd6ccdf252",
            files={
                "config.json": "f3082487a22d44095e42f0824825e4ed36f5b464ba8405d64eb20dc440a5756e",
                "model.safetensors": "611a63e4dff70c19bd4718d701bb7bc522acf6293a109ab62f5db2f7ff395114",
            },
        ),
        exceptions=EXCEPTIONS,
    ),
)
