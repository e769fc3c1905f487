"""Entries of SNAC. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import Entry, Weights

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
    "convolutions reach the windows beside them): equal tokens, sound to 1e-4"
)

ENTRIES: tuple[Entry, ...] = (
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
        streaming="exact both ways, in blocks of 2048 samples with 3 more as context on each side: equal tokens, sound to 1e-4",
        compared="the package snac 1.2.1, random weights: equal codes, sound to 1e-4",
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
        compared="the package snac 1.2.1, random weights: equal codes, sound to 1e-4",
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
        compared="the package snac 1.2.1, random weights: equal codes, sound to 1e-4",
        weights=Weights(
            repo="hubertsiuzdak/snac_44khz",
            revision="873ebef9718b89660340c6f55a2b515e98cfa1d9",
            files={
                "config.json": None,
                "pytorch_model.bin": "b0a676cbdc8d1cc53186f6d777bc956fb7932ceacdc657a4c3741646e9e7ead0",
            },
        ),
    ),
)
