"""Entries of Voxzoo's own models. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SOXR, Entry

__all__ = ["ENTRIES"]

_RVQ: dict[str, Any] = {
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
}
_RVQ_TINY: dict[str, Any] = {
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
}

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
        config=_RVQ,
        tiny=_RVQ_TINY,
        about="Voxzoo's own causal codec, bundled: 0.5 to 4 kbit/s in 1 to 8 streams",
        streaming="exact both ways; a frame's tokens need its own 20 ms of sound, its sound needs 40 ms more of tokens",
        compared="Voxzoo's own model: there is no other to compare with",
    ),
    Entry(
        facts=Facts(
            name="vox-snac-16k",
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(Fraction(25, 2), Fraction(25), Fraction(50)),
            codebook_sizes=(4096,) * 3,
            causal=True,
            latency=0.12,
            params=3_903_458,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0; training data: see the model card",
            source="bundled with voxzoo; trained by its recipe `vox-snac-16k`",
            paper="https://arxiv.org/abs/2410.14411",
        ),
        build="voxzoo.codecs.multiscale:MultiScale",
        reference_resampler=SOXR,
        config={
            **_RVQ,
            "encoder_layers": 3,
            "decoder_layers": 3,
            "streams": 3,
            "codebook_size": 4096,
            "codebook_dim": 32,
            "strides": [4, 2, 1],
        },
        tiny={**_RVQ_TINY, "codebook_size": 48},
        about="Voxzoo's own multi-scale codec, bundled: 1.05 kbit/s in 3 streams at 12.5, 25 and 50 Hz, as SNAC has them",
        streaming="exact both ways, in blocks of 1280 samples (80 ms); a block's sound needs 40 ms more of tokens",
        compared="Voxzoo's own model: there is no other to compare with",
    ),
)
