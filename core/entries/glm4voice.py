"""The entry of GLM-4-Voice's tokenizer. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="glm4voice",
            kind="semantic",
            sample_rate=16000,
            frame_rates=(Fraction(25, 2),),
            codebook_sizes=(16384,),
            causal=False,
            latency=30.0,
            params=343_599_360,
            code_licence="Apache-2.0",
            weights_licence="the publisher's own for GLM-4-Voice, which lies beside the weights",
            source="https://github.com/zai-org/GLM-4-Voice",
            paper="https://arxiv.org/abs/2412.02612",
        ),
        build="voxzoo.tokenizers.glm4voice:Glm4Voice",
        config={
            "sampling_rate": 16000,
            "n_fft": 400,
            "hop_length": 160,
            "num_mel_bins": 128,
            "d_model": 1280,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "max_source_positions": 1500,
            "quantize_position": 16,
            "quantize_causal_block_size": 200,
            "pooling_kernel_size": 4,
            "quantize_vocab_size": 16384,
        },
        tiny={
            "sampling_rate": 1600,
            "n_fft": 40,
            "hop_length": 16,
            "num_mel_bins": 10,
            "d_model": 16,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "quantize_position": 2,
            "quantize_vocab_size": 256,
        },
        about="GLM-4-Voice's tokenizer: 12.5 tokens/s of 14 bits, from the middle of Whisper; encodes only",
        streaming="exact: segments of 30 s that know nothing of each other, as published; tokens of a segment come when it is "
        'complete, or at the end. With `normalisation` set to "running" for encode and streams, the spectrogram is cut off by '
        "the loudest place so far, and the tokens of each block of 4 s come 2.5 ms after it; of these, 98.6 % equal those of "
        "the published way (12 clips of speech of 4 to 14 s, random weights). The spectrograms differ in 19 of 86 clips, in "
        "1.8 % of all values",
        compared="a second implementation from the specification, in double precision and without shared code, from 1 sample "
        "to three segments, and at real size on 4.6 s of speech; the feature extractor and encoder layers of transformers: "
        "equal codes, random weights. The published weights were not at hand",
        weights=Weights(
            repo="zai-org/glm-4-voice-tokenizer",
            revision="main",
            files={"config.json": None, "preprocessor_config.json": None, "model.safetensors": None},
        ),
        exceptions={
            "long": "the spectrogram is cut off 80 dB below the loudest of its 30 s, and tokens of one block of 4 s depend on "
            "each other: a clip's tokens are not always the first of a longer clip's. With `normalisation` set to "
            '"running" those of its whole blocks are',
        },
        reference_resampler=SINC,
    ),
)
