"""Entries of EnCodec. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
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
        compared="transformers' EncodecModel and the package encodec 0.1.1, random weights: equal codes, sound to 1e-4",
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
        compared="transformers' EncodecModel and the package encodec 0.1.1, random weights: equal codes, sound to 1e-4",
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
)
