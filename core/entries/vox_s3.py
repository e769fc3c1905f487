"""Entries of Voxzoo's own semantic tokenizers. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SOXR, Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="vox-s3-16k",
            kind="semantic",
            sample_rate=16000,
            frame_rates=(Fraction(25),),
            codebook_sizes=(729,),
            causal=False,
            latency=0.72,
            params=5_247_750,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0; training data: see the model card",
            source="bundled with voxzoo; trained by its recipe `vox-s3-16k`",
            paper="https://arxiv.org/abs/2412.10117",
        ),
        build="voxzoo.tokenizers.vox_s3:VoxS3Tokenizer",
        reference_resampler=SOXR,
        config={
            "sample_rate": 16000,
            "hop": 160,
            "window": 400,
            "mels": 80,
            "ahead": 1280,
            "block": 16,
            "context": 4,
            "reference": 5,
            "dim": 256,
            "layers": 6,
            "heads": 4,
            "hidden": 1024,
            "kernel": 8,
            "levels": [3, 3, 3, 3, 3, 3],
        },
        tiny={
            "sample_rate": 1600,
            "hop": 16,
            "window": 40,
            "mels": 10,
            "ahead": 128,
            "block": 4,
            "context": 2,
            "reference": 2,
            "dim": 32,
            "layers": 2,
            "heads": 2,
            "hidden": 48,
            "kernel": 3,
        },
        about="Voxzoo's own semantic tokenizer, bundled: 25 tokens/s of one codebook, in CosyVoice's way",
        streaming="exact, in blocks of 640 ms that also see the 80 ms after them",
        compared="Voxzoo's own model: there is no other to compare with",
    ),
)
