"""The entry of Baichuan-Audio's tokenizer. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import Entry, Weights

__all__ = ["ENTRIES"]

# What the paper and the published code say: Whisper's large encoder, 12.5 frames/s, these codebooks. The published config.json
# was not seen: mel bands and the 30 s are those of Whisper's large encoder of today; the config beside the weights decides.
ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="baichuan-audio",
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(Fraction(25, 2),) * 8,
            codebook_sizes=(8192, 4096, 2048, 1024, 1024, 1024, 1024, 1024),
            causal=False,
            latency=30.0,
            params=813_317_120,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0, as the publisher's repository states",
            source="https://github.com/baichuan-inc/Baichuan-Audio",
            paper="https://arxiv.org/abs/2502.17239",
        ),
        build="voxzoo.codecs.baichuan:Baichuan",
        config={
            "sampling_rate": 16000,
            "n_fft": 400,
            "hop_length": 160,
            "num_mel_bins": 128,
            "max_audio_seconds": 30,
            "d_model": 1280,
            "encoder_layers": 32,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "avg_pooler": 4,
            "codebook_sizes": [8192, 4096, 2048, 1024, 1024, 1024, 1024, 1024],
        },
        tiny={
            "sampling_rate": 1600,
            "n_fft": 40,
            "hop_length": 16,
            "num_mel_bins": 10,
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "codebook_sizes": [64, 32, 16],
        },
        about="Baichuan-Audio's tokenizer: 1.1 kbit/s in 8 streams of Whisper's features; encodes only",
        streaming="exact: segments of 30 s that know nothing of each other, as published; tokens of a segment come when it is "
        "complete, or at the end",
        compared="a public copy of the code that comes with the weights, its flash attention replaced by the same in float32, "
        "random weights: equal codes, 0.08 to 37 s (at full width with 3 of its 32 layers)",
        weights=Weights(
            repo="baichuan-inc/Baichuan-Audio-Base",
            revision="main",
            files={"config.json": None, "model.safetensors.index.json": None},
        ),
        exceptions={
            "long": "every token depends on all of its 30 s, so that a clip's tokens are not the first of a longer clip's",
        },
        reference_resampler="torchaudio-sinc with lowpass_filter_width=128, which is not offered here",
    ),
)
