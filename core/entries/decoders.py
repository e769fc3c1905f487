"""Entries of the decoders. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..decoders import DecoderEntry, DecoderFacts

__all__ = ["ENTRIES"]

VOX_MEL: dict[str, Any] = {
    "sample_rate": 16000,
    "n_fft": 1280,
    "hop": 320,
    "win": 1280,
    "bands": 80,
    "fmin": 0.0,
    "fmax": 8000.0,
}

ENTRIES: tuple[DecoderEntry, ...] = (
    DecoderEntry(
        facts=DecoderFacts(
            name="vox-hifigan-16k",
            takes="mel",
            sample_rate=16000,
            frame_rate=Fraction(50),
            context=(29, 29),
            params=3_650_058,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0; training data: see the model card",
            source="bundled with voxzoo; trained by its recipe `vox-hifigan-16k`",
            paper="https://arxiv.org/abs/2203.02395",
        ),
        build="voxzoo.decoders.hifigan:HiFiGAN",
        config={
            "mel": VOX_MEL,
            "channels": 256,
            "rates": [],
            "kernels": [],
            "normalise": True,
            "layers": 8,
            "fft": 640,
            "split": 2,
            "last_kernel": 1,
        },
        tiny={"channels": 32, "layers": 1},
        about="Voxzoo's own vocoder, bundled: 16 kHz sound of 80 mel bands at 50 Hz",
        streaming="exact, with the context that its facts state",
        compared="Voxzoo's own: there is no other to compare with",
    ),
)
