"""Entries of Mimi. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import Entry, Weights

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
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
        compared="transformers' MimiModel and moshi 0.2.13, random weights: equal codes, sound to 1e-4",
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
