"""Entries of DAC, the Descript Audio Codec. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import Entry, Weights

__all__ = ["ENTRIES"]

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


_COMPARED = (
    "transformers' DacModel, random weights: equal codes, sound to 1e-4; not with the package descript-audio-codec, which "
    "pins old versions of what it needs"
)


def _dac_streaming(hop: int) -> str:
    return (
        f"exact both ways, frame by frame ({hop} samples) with 8 frames more as context on each side to encode and 10 to "
        "decode: equal tokens, sound to 1e-5"
    )


ENTRIES: tuple[Entry, ...] = (
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
        compared=_COMPARED,
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
        compared=_COMPARED,
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
        compared=_COMPARED,
        weights=Weights(
            repo="descript/dac_44khz",
            revision="c1bc521685adf9cfe247bc39a5ca58917eda1ac4",
            files={
                "config.json": "4eb55fb9af1990b8d608184ad29b70e358589719af7ea8d3c06998f7c2264a64",
                "model.safetensors": "6128ebff483a41422b0164d079a3773b0d8d82e64c4293d775994cbf8baf913a",
            },
        ),
    ),
)
