"""Entry of BigCodec. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SOXR, Entry, Weights

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="bigcodec",
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(Fraction(80),),
            codebook_sizes=(8192,),
            causal=False,
            latency=0.8,
            params=159_436_290,
            code_licence="MIT",
            weights_licence="CC-BY-SA-4.0, as another public project has recorded it; check the model card",
            source="https://github.com/Aria-K-Alethia/BigCodec",
            paper="https://arxiv.org/abs/2409.05377",
        ),
        build="voxzoo.codecs.bigcodec:BigCodec",
        reference_resampler=SOXR,
        config={
            "sampling_rate": 16000,
            "encoder_dim": 48,
            "encoder_rates": [2, 2, 2, 5, 5],
            "latent_dim": 1024,
            "decoder_dim": 1536,
            "decoder_rates": [5, 5, 2, 2, 2],
            "lstm_layers": 2,
            "codebook_size": 8192,
            "codebook_dim": 8,
        },
        tiny={
            "sampling_rate": 1600,
            "encoder_dim": 4,
            "encoder_rates": [2, 5, 2],
            "latent_dim": 32,
            "decoder_dim": 32,
            "decoder_rates": [2, 5, 2],
            "codebook_size": 64,
        },
        about="BigCodec: 1.04 kbit/s of speech in one stream; 80 frames/s, a large network with two LSTMs",
        streaming="exact both ways: the LSTMs' state is carried, and the convolutions before and after them get 24 and 7 frames"
        " of 200 samples as context to encode, 3 and 30 to decode; equal tokens, sound to 1e-6",
        compared="the published repository's own model, random weights, tiny and at real size: equal codes, sound to 1e-6",
        # Revision, hash and licence as one other public project has pinned them.
        weights=Weights(
            repo="Alethia/BigCodec",
            revision="c6548832eda95a09dcc3485d9b8ef097ce15f387",
            files={"bigcodec.pt": "1fba3806e87cc01c1a65bea22fa1becefbbf46881e4219593c4d9f3cf56206b9"},
        ),
    ),
)
