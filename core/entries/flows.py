"""Entries of the decoders that make log-mel frames of tokens, by flow matching. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..decoders import DecoderEntry, DecoderFacts
from .decoders import VOX_MEL

__all__ = ["ENTRIES"]

_VOX_TINY: dict[str, Any] = {
    "embedding": 8,
    "encoder_dim": 16,
    "encoder_layers": 1,
    "dim": 16,
    "layers": 2,
    "expansion": 2,
    "speaker_dim": 8,
    "chunk_tokens": 4,
}

ENTRIES: tuple[DecoderEntry, ...] = (
    DecoderEntry(
        facts=DecoderFacts(
            name="vox-flow-16k",
            takes="tokens",
            sample_rate=16000,
            frame_rate=Fraction(25),
            context=None,
            params=5_201_600,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0; training data: see the model card",
            source="bundled with voxzoo; trained by its recipe `vox-flow-16k`",
            paper="https://arxiv.org/abs/2210.02747",
        ),
        build="voxzoo.decoders.flow:VoxFlow",
        config={"codebook_size": 729, "tokenizer": "vox-s3-16k", "mel": VOX_MEL, "stack": 1},
        tiny=_VOX_TINY,
        about="Voxzoo's own flow, bundled: tokens of vox-s3-16k and any voice to the mel of vox-hifigan-16k",
        streaming="exact, in chunks of 16 tokens (640 ms) that see 4 more",
        compared="Voxzoo's own: there is no other to compare with",
        plays=("vox-s3-16k",),
        vocoder="vox-hifigan-16k",
    ),
)
