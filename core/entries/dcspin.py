"""Entries of DC-Spin: Voxzoo's own small speaker-invariant tokenizer, and any backbone of units tuned alike. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SOXR, Entry
from .units import EXCEPTIONS, STREAMING, TINY_BACKBONE

__all__ = ["ENTRIES"]

PAPER = "https://arxiv.org/abs/2410.24177"
ENCODER: dict[str, Any] = {
    "sample_rate": 16000,
    "hop": 80,
    "window": 400,
    "mels": 80,
    "ahead": 640,
    "block": 32,
    "context": 4,
    "reference": 5,
    "dim": 256,
    "layers": 6,
    "heads": 4,
    "hidden": 1024,
    "kernel": 8,
}
TINY_ENCODER: dict[str, Any] = {
    "sample_rate": 1600,
    "hop": 8,
    "window": 40,
    "mels": 10,
    "ahead": 64,
    "block": 8,
    "context": 2,
    "reference": 2,
    "dim": 32,
    "layers": 2,
    "heads": 2,
    "hidden": 48,
    "kernel": 3,
}

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="vox-dcspin-16k",
            kind="speaker-invariant",
            sample_rate=16000,
            frame_rates=(Fraction(50),),
            codebook_sizes=(500,),
            causal=False,
            latency=0.68,
            params=5_440_000,
            code_licence="Apache-2.0",
            weights_licence="that of whoever trains them",
            source="trained by Voxzoo's recipe `vox-dcspin-16k`",
            paper=PAPER,
        ),
        build="voxzoo.tokenizers.dcspin:VoxDCSpin",
        reference_resampler=SOXR,
        config={"encoder": ENCODER, "quantizer": "cosine", "codebook_size": 500, "hidden": 256},
        tiny={"encoder": TINY_ENCODER, "codebook_size": 48, "hidden": 16},
        unpublished="no weights ship yet: make some by `voxzoo train vox-dcspin-16k --data MANIFEST -o RUN` and load RUN, or "
        "take random ones: weights='random'",
        about="Voxzoo's own small speaker-invariant tokenizer, to be trained: 500 codes at 50 tokens/s, in DC-Spin's way",
        streaming="exact, in blocks of 640 ms that also see the 40 ms after them; other chunks by `chunked`, without training",
        compared="Voxzoo's own model: there is no other to compare with",
    ),
    Entry(
        facts=Facts(
            name="dcspin",
            kind="speaker-invariant",
            sample_rate=16000,
            frame_rates=(Fraction(50),),
            codebook_sizes=(500,),
            causal=False,
            latency=100.0,
            params=94_370_816 + (768 + 1) * 256 + 256 * 500,
            code_licence="Apache-2.0",
            weights_licence="those of the backbone it was trained from",
            source="trained by Voxzoo's recipe `dcspin` from a backbone of units",
            paper=PAPER,
        ),
        build="voxzoo.tokenizers.dcspin:DCSpinUnits",
        config={
            "backbone": {"model_type": "hubert"},
            "layer": 12,
            "quantizer": "cosine",
            "codebook_size": 500,
            "hidden": [256],
        },
        tiny={
            "sample_rate": 1000,
            "backbone": {"model_type": "hubert", **TINY_BACKBONE},
            "layer": 3,
            "window": 6.0,
            "context": 0.5,
            "codebook_size": 48,
            "hidden": [12],
        },
        about="DC-Spin on any backbone of units: 500 codewords that say little of who speaks; to be trained by you",
        streaming=STREAMING + "; in shorter chunks by `chunked`, without training",
        compared="Spin's own network, which it shares; the paper's weights are not published",
        unpublished="DC-Spin's weights are not published: make your own by `voxzoo train dcspin --backbone HUBERT --layer 12 "
        "--data MANIFEST -o RUN`, and load RUN",
        exceptions=EXCEPTIONS,
    ),
)
