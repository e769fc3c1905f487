"""The entry of SoundStream, an architecture to be trained. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SOXR, Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="soundstream-16k",
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(Fraction(50),) * 8,
            codebook_sizes=(1024,) * 8,
            causal=True,
            latency=320 / 16000,
            params=12_599_842,
            code_licence="Apache-2.0",
            weights_licence="that of whoever trains them",
            source="built from the paper; trained by the recipe `soundstream-16k`",
            paper="https://arxiv.org/abs/2107.03312",
        ),
        build="voxzoo.codecs.soundstream:SoundStream",
        reference_resampler=SOXR,
        unpublished="no weights are published; train some with `voxzoo train soundstream-16k --data MANIFEST -o RUN` and load "
        "RUN, or take random ones: weights='random'",
        config={
            "sample_rate": 16000,
            "channels": 32,
            "strides": [2, 4, 5, 8],
            "dilations": [1, 3, 9],
            "kernel": 7,
            "latent_kernel": 3,
            "streams": 8,
            "codebook_size": 1024,
            "codebook_dim": 256,
        },
        tiny={
            "sample_rate": 1600,
            "channels": 4,
            "strides": [2, 4, 5],
            "codebook_size": 32,
            "codebook_dim": 16,
        },
        about="SoundStream's architecture, to be trained (no weights are published): causal, 0.5 to 4 kbit/s in 1 to 8 streams",
        streaming="exact both ways, frame by frame (320 samples, 20 ms), all state kept in both directions",
        compared="built from the published description; not compared: its authors published neither code nor weights",
    ),
)
