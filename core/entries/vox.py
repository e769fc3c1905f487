"""Entries of Voxzoo's own models. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SOXR, Entry

__all__ = ["ENTRIES"]

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
        compared="Voxzoo's own model: there is no other to compare with",
    ),
)
