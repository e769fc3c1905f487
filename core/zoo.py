"""The table of models. An entry is data: nothing here imports torch or a model's code."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .facts import Facts
from .registry import Entry, Weights

SOXR, SINC = "soxr-hq", "torchaudio-sinc"  # as in resampling.py, which needs numpy

__all__ = ["ENTRIES"]

# What the published SNAC models share. Revisions and hashes of the weights are as other public projects have pinned them
# (24 kHz: many, and the pointer file of a mirror; 32 and 44 kHz: one project each). The hashes of the music models'
# config.json are not known; the configurations below give the published frame rates and parameter counts.
_SNAC_CODE: dict[str, Any] = {
    "kind": "acoustic",
    "causal": False,
    "code_licence": "MIT",
    "weights_licence": "MIT, as the model card states",
    "source": "https://github.com/hubertsiuzdak/snac",
    "paper": "https://arxiv.org/abs/2410.14411",
}
_SNAC_MUSIC: dict[str, Any] = {
    "encoder_dim": 64,
    "encoder_rates": [2, 3, 8, 8],
    "decoder_dim": 1536,
    "decoder_rates": [8, 8, 3, 2],
    "attn_window_size": 32,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": [8, 4, 2, 1],
    "noise": True,
    "depthwise": True,
}
_SNAC_MUSIC_TINY: dict[str, Any] = {
    "encoder_dim": 8,
    "encoder_rates": [2, 3, 4],
    "decoder_dim": 64,
    "decoder_rates": [4, 3, 2],
    "attn_window_size": 12,
    "codebook_size": 64,
}
_SNAC_MUSIC_STREAMING = (
    "exact both ways, in windows of 12288 samples with 2 more as context on each side (attention works within such windows, "
    "convolutions reach the windows beside them): equal tokens, sound to 1e-5"
)

# What the published DAC models share. Revisions of the weights are as other public projects have pinned them; hashes as such
# projects have recorded them (24 kHz: one; 44.1 kHz: two), None where none has.
_DAC_CODE: dict[str, Any] = {
    "kind": "acoustic",
    "causal": False,
    "code_licence": "MIT",
    "weights_licence": "MIT, as the publisher's repository states",
    "source": "https://github.com/descriptinc/descript-audio-codec",
    "paper": "https://arxiv.org/abs/2306.06546",
}
_DAC_SPEECH: dict[str, Any] = {
    "encoder_dim": 64,
    "encoder_rates": [2, 4, 5, 8],
    "decoder_dim": 1536,
    "decoder_rates": [8, 5, 4, 2],
    "codebook_size": 1024,
    "codebook_dim": 8,
}
_DAC_TINY: dict[str, Any] = {
    "encoder_dim": 4,
    "encoder_rates": [2, 5, 4],
    "decoder_dim": 16,
    "decoder_rates": [4, 5, 2],
    "n_codebooks": 4,
    "codebook_size": 64,
}


def _dac_streaming(hop: int) -> str:
    return (
        f"exact both ways, frame by frame ({hop} samples) with 8 frames more as context on each side to encode and 10 to "
        "decode: equal tokens, sound to 1e-5"
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="vox-rvq-16k",
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(Fraction(50),) * 8,
            codebook_sizes=(1024,) * 8,
            causal=True,
            latency=0.06,
            params=5_636_098,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0; training data: see the model card",
            source="bundled with voxzoo; trained by its recipe `vox-rvq-16k`",
            paper="https://arxiv.org/abs/2107.03312",
        ),
        build="voxzoo.codecs.rvq:RVQ",
        reference_resampler=SOXR,
        config={
            "sample_rate": 16000,
            "hop": 320,
            "analysis_window": 640,
            "encoder_dim": 256,
            "encoder_layers": 5,
            "decoder_dim": 256,
            "decoder_layers": 5,
            "fine_dim": 224,
            "fine_layers": 2,
            "kernel": 5,
            "expansion": 3,
            "subframes": 2,
            "synthesis_window": 640,
            "lookahead": 2,
            "streams": 8,
            "codebook_size": 1024,
            "codebook_dim": 64,
        },
        tiny={
            "hop": 32,
            "sample_rate": 1600,
            "analysis_window": 64,
            "encoder_dim": 16,
            "encoder_layers": 2,
            "decoder_dim": 16,
            "decoder_layers": 2,
            "fine_dim": 12,
            "fine_layers": 1,
            "synthesis_window": 64,
            "codebook_size": 32,
            "codebook_dim": 8,
        },
        about="Voxzoo's own causal codec, bundled: 0.5 to 4 kbit/s in 1 to 8 streams",
        streaming="exact both ways; a frame's tokens need its own 20 ms of sound, its sound needs 40 ms more of tokens",
    ),
    Entry(
        facts=Facts(
            name="encodec-24k",
            kind="acoustic",
            sample_rate=24000,
            frame_rates=(Fraction(75),) * 32,
            codebook_sizes=(1024,) * 32,
            causal=True,
            latency=320 / 24000,
            params=19_046_114,
            code_licence="MIT",
            weights_licence="not stated on the model card; the publisher's repository and the 48 kHz card are MIT",
            source="https://github.com/facebookresearch/encodec",
            paper="https://arxiv.org/abs/2210.13438",
        ),
        build="voxzoo.codecs.encodec:Encodec24",
        reference_resampler=SINC,
        config={
            "sampling_rate": 24000,
            "audio_channels": 1,
            "target_bandwidths": [1.5, 3.0, 6.0, 12.0, 24.0],
            "use_causal_conv": True,
            "norm_type": "weight_norm",
        },
        tiny={
            "sampling_rate": 2400,
            "target_bandwidths": [1.2, 2.4, 4.8],
            "num_filters": 4,
            "hidden_size": 8,
            "upsampling_ratios": [4, 2],
            "codebook_size": 16,
        },
        about="EnCodec 24 kHz: causal, 1.5 to 24 kbit/s in 2 to 32 streams",
        streaming="exact both ways, frame by frame (320 samples, 13.3 ms) once the first 7 frames (2240 samples, 93 ms) "
        "have come: the padding at the start mirrors that much; a shorter clip comes out at its end",
        # Revision and hash of the weights as other public projects have pinned them; the hash of config.json is not known.
        weights=Weights(
            repo="facebook/encodec_24khz",
            revision="c1dbe2ae3f1de713481a3b3e7c47f357092ee040",
            files={
                "config.json": None,
                "model.safetensors": "37a7cb100f71a29e6c1d815aca8666a1d7ea8885ebe44c306c751a5103559d57",
            },
        ),
        exceptions={
            "causal": "clips shorter than 7 frames (93 ms) may have other tokens than the start of a longer clip: the padding "
            "at the start mirrors the first 7 frames"
        },
    ),
    Entry(
        facts=Facts(
            name="encodec-48k",
            kind="acoustic",
            sample_rate=48000,
            frame_rates=(Fraction(150),) * 16,
            codebook_sizes=(1024,) * 16,
            causal=False,
            latency=1.0,
            params=16_953_446,
            code_licence="MIT",
            weights_licence="MIT, as the model card states",
            source="https://github.com/facebookresearch/encodec",
            paper="https://arxiv.org/abs/2210.13438",
            channels=2,
        ),
        build="voxzoo.codecs.encodec:Encodec48",
        reference_resampler=SINC,
        config={
            "sampling_rate": 48000,
            "audio_channels": 2,
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
            "normalize": True,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "use_causal_conv": False,
            "norm_type": "time_group_norm",
        },
        tiny={
            "sampling_rate": 2400,
            "chunk_length_s": 0.5,
            "target_bandwidths": [1.2, 2.4, 4.8],
            "num_filters": 4,
            "hidden_size": 8,
            "upsampling_ratios": [4, 2],
            "codebook_size": 16,
        },
        about="EnCodec 48 kHz: stereo network (mono is given to both channels), 3 to 24 kbit/s in 2 to 16 streams",
        streaming="exact both ways, by segments of 1 s that overlap by 10 ms and know nothing of each other (the network "
        "normalises over a whole segment); a sample is heard at the latest 1 s after it was given",
        weights=Weights(
            repo="facebook/encodec_48khz",
            revision="c3def8e7185ac8c8efdce6eb8c4a651e487a503e",
            files={
                "config.json": "4a914ed15ed5a69e19932d05b0c51f2d22c68ffac70e959a757594cb0cd6e2a7",
                "model.safetensors": "47a15ffbaf7bb76176d0833e10590de0a8988a7848748608cefc36a1c88adfdc",
            },
        ),
        exceptions={
            "facts": "150 frames/s is the rate within a segment, as published; segments start every 0.99 s, so that clips "
            "longer than that store up to 1 % more frames (and bits) than their duration times the rate"
        },
    ),
    Entry(
        facts=Facts(
            name="snac-24k",
            sample_rate=24000,
            frame_rates=(Fraction(375, 32), Fraction(375, 16), Fraction(375, 8)),
            codebook_sizes=(4096,) * 3,
            latency=7 * 2048 / 24000,
            params=19_842_914,
            **_SNAC_CODE,
        ),
        build="voxzoo.codecs.snac:Snac",
        config={
            "sampling_rate": 24000,
            "encoder_dim": 48,
            "encoder_rates": [2, 4, 8, 8],
            "decoder_dim": 1024,
            "decoder_rates": [8, 8, 4, 2],
            "attn_window_size": None,
            "codebook_size": 4096,
            "codebook_dim": 8,
            "vq_strides": [4, 2, 1],
            "noise": True,
            "depthwise": True,
        },
        tiny={
            "sampling_rate": 2400,
            "encoder_dim": 4,
            "encoder_rates": [2, 4, 4],
            "decoder_dim": 32,
            "decoder_rates": [4, 4, 2],
            "codebook_size": 64,
        },
        about="SNAC 24 kHz, made for speech: 0.98 kbit/s in 3 streams at unequal rates; the decoder's noise is off",
        streaming="exact both ways, in blocks of 2048 samples with 3 more as context on each side: equal tokens, sound to 1e-5",
        weights=Weights(
            repo="hubertsiuzdak/snac_24khz",
            revision="d73ad176a12188fcf4f360ba3bf2c2fbbe8f58ec",
            files={
                "config.json": "e119b9366d4f5e73c6ca5f31137c4ff361578bbb132953a5203afe037c4012be",
                "pytorch_model.bin": "4b8164cc6606bfa627f1a784734c1e539891518f1191ed9194fe1e3b9b4bff40",
            },
        ),
    ),
    Entry(
        facts=Facts(
            name="snac-32k",
            sample_rate=32000,
            frame_rates=(Fraction(125, 12), Fraction(125, 6), Fraction(125, 3), Fraction(250, 3)),
            codebook_sizes=(4096,) * 4,
            latency=5 * 12288 / 32000,
            params=54_546_338,
            **_SNAC_CODE,
        ),
        build="voxzoo.codecs.snac:Snac",
        config={"sampling_rate": 32000, **_SNAC_MUSIC},
        tiny={"sampling_rate": 3200, **_SNAC_MUSIC_TINY},
        about="SNAC 32 kHz, made for music and sound effects: 1.9 kbit/s in 4 streams at unequal rates; noise off",
        streaming=_SNAC_MUSIC_STREAMING,
        weights=Weights(
            repo="hubertsiuzdak/snac_32khz",
            revision="c84c6ac842dc7a44a6fb0f3b576ce94b48a7780f",
            files={
                "config.json": None,
                "pytorch_model.bin": "bfee2f057c1e287443786bedab377b5176b430e911417683977b7af71ea3ba65",
            },
        ),
    ),
    Entry(
        facts=Facts(
            name="snac-44k",
            sample_rate=44100,
            frame_rates=(Fraction(3675, 256), Fraction(3675, 128), Fraction(3675, 64), Fraction(3675, 32)),
            codebook_sizes=(4096,) * 4,
            latency=5 * 12288 / 44100,
            params=54_546_338,
            **_SNAC_CODE,
        ),
        build="voxzoo.codecs.snac:Snac",
        config={"sampling_rate": 44100, **_SNAC_MUSIC},
        tiny={"sampling_rate": 4410, **_SNAC_MUSIC_TINY},
        about="SNAC 44 kHz, made for music and sound effects: 2.6 kbit/s in 4 streams at unequal rates; noise off",
        streaming=_SNAC_MUSIC_STREAMING,
        weights=Weights(
            repo="hubertsiuzdak/snac_44khz",
            revision="873ebef9718b89660340c6f55a2b515e98cfa1d9",
            files={
                "config.json": None,
                "pytorch_model.bin": "b0a676cbdc8d1cc53186f6d777bc956fb7932ceacdc657a4c3741646e9e7ead0",
            },
        ),
    ),
    Entry(
        facts=Facts(
            name="dac-16k",
            sample_rate=16000,
            frame_rates=(Fraction(50),) * 12,
            codebook_sizes=(1024,) * 12,
            latency=19 * 320 / 16000,
            params=74_141_697,
            **_DAC_CODE,
        ),
        build="voxzoo.codecs.dac:Dac",
        config={"sampling_rate": 16000, "n_codebooks": 12, **_DAC_SPEECH},
        tiny={"sampling_rate": 1600, **_DAC_TINY},
        about="DAC 16 kHz, made for speech: 0.5 to 6 kbit/s in 1 to 12 streams",
        streaming=_dac_streaming(320),
        weights=Weights(
            repo="descript/dac_16khz",
            revision="7c2fc5e759f1f501aefc6e7a0265cc57f5d17ba7",
            files={"config.json": None, "model.safetensors": None},
        ),
    ),
    Entry(
        facts=Facts(
            name="dac-24k",
            sample_rate=24000,
            frame_rates=(Fraction(75),) * 32,
            codebook_sizes=(1024,) * 32,
            latency=19 * 320 / 24000,
            params=74_653_857,
            **_DAC_CODE,
        ),
        build="voxzoo.codecs.dac:Dac",
        config={"sampling_rate": 24000, "n_codebooks": 32, **_DAC_SPEECH},
        tiny={"sampling_rate": 2400, **_DAC_TINY},
        about="DAC 24 kHz: 0.75 to 24 kbit/s in 1 to 32 streams",
        streaming=_dac_streaming(320),
        weights=Weights(
            repo="descript/dac_24khz",
            revision="6ba020b5ba7d9d8076fb90db7e67f27e31980f6e",
            files={
                "config.json": None,
                "model.safetensors": "7452e3fc6972991da871ae1a1c9d3e8e219aa247cc0f757018867d6a7fe59aaf",
            },
        ),
    ),
    Entry(
        facts=Facts(
            name="dac-44k",
            sample_rate=44100,
            frame_rates=(Fraction(11025, 128),) * 9,
            codebook_sizes=(1024,) * 9,
            latency=19 * 512 / 44100,
            params=76_620_777,
            **_DAC_CODE,
        ),
        build="voxzoo.codecs.dac:Dac",
        config={
            "sampling_rate": 44100,
            "n_codebooks": 9,
            **_DAC_SPEECH,
            "encoder_rates": [2, 4, 8, 8],
            "decoder_rates": [8, 8, 4, 2],
        },
        tiny={"sampling_rate": 4410, **_DAC_TINY, "encoder_rates": [2, 4, 4], "decoder_rates": [4, 4, 2]},
        about="DAC 44.1 kHz, for any sound: 0.86 to 7.75 kbit/s in 1 to 9 streams",
        streaming=_dac_streaming(512),
        weights=Weights(
            repo="descript/dac_44khz",
            revision="c1bc521685adf9cfe247bc39a5ca58917eda1ac4",
            files={
                "config.json": "4eb55fb9af1990b8d608184ad29b70e358589719af7ea8d3c06998f7c2264a64",
                "model.safetensors": "6128ebff483a41422b0164d079a3773b0d8d82e64c4293d775994cbf8baf913a",
            },
        ),
    ),
    Entry(
        facts=Facts(
            name="mimi",
            kind="acoustic",
            sample_rate=24000,
            frame_rates=(Fraction(25, 2),) * 32,
            codebook_sizes=(2048,) * 32,
            causal=True,
            latency=1920 / 24000,
            params=96_085_825,
            code_licence="MIT",
            weights_licence="CC-BY-4.0",
            source="https://github.com/kyutai-labs/moshi",
            paper="https://arxiv.org/abs/2410.00037",
        ),
        build="voxzoo.codecs.mimi:Mimi",
        config={"sampling_rate": 24000, "num_quantizers": 32},
        tiny={
            "sampling_rate": 2400,
            "num_filters": 4,
            "hidden_size": 16,
            "upsampling_ratios": [4, 3, 2],
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "sliding_window": 6,
            "codebook_size": 16,
            "codebook_dim": 8,
            "num_quantizers": 5,
        },
        about="Mimi, Moshi's and CSM's codec: causal, 0.14 to 4.4 kbit/s in 1 to 32 streams, the first of them semantic",
        streaming="exact both ways, frame by frame (1920 samples, 80 ms), all state kept in both directions",
        # Revision and hash as several other public projects have pinned them; the hash of config.json is not known.
        weights=Weights(
            repo="kyutai/mimi",
            revision="89091b3e466eb6a9d11e537bf26b144f194978f7",
            files={
                "config.json": None,
                "model.safetensors": "bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e",
            },
        ),
    ),
)
