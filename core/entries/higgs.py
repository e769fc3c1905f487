"""Entry of the tokenizer of Higgs Audio v2. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import Entry, Weights
from .xcodec import TINY, TINY_BACKBONE, exceptions, streaming

__all__ = ["ENTRIES"]

_AGREEMENT = "TO BE MEASURED"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="higgs-audio-v2",
            kind="dual",
            sample_rate=24000,
            frame_rates=(Fraction(25),) * 8,
            codebook_sizes=(1024,) * 8,
            causal=False,
            latency=60.44,
            params=183_564_129,
            code_licence="Apache-2.0",
            weights_licence="Boson Higgs Audio 2 Community License, as the licence file beside the weights is titled",
            source="https://github.com/boson-ai/higgs-audio",
            paper="https://www.boson.ai/blog/higgs-audio-v2",
        ),
        build="voxzoo.codecs.higgs:Higgs",
        config={
            "sample_rate": 24000,
            "codebook_dim": 64,
            "projected": True,
            "downsampling_ratios": [8, 5, 4, 2, 3],
            "upsampling_ratios": [8, 5, 4, 2, 3],
            "semantic": {"model_type": "hubert"},
        },
        tiny={
            **TINY,
            "sample_rate": 2400,
            "downsample_factor": 320,
            "semantic_pad": 160,
            "codebook_dim": 6,
            "downsampling_ratios": [4, 5, 4, 4, 3],
            "upsampling_ratios": [4, 5, 4, 4, 3],
            "semantic": {
                "model_type": "hubert",
                **TINY_BACKBONE,
                "conv_dim": [16] * 4,
                "conv_stride": [5, 4, 4, 4],
                "conv_kernel": [10, 4, 4, 4],
            },
        },
        about="Higgs Audio v2's tokenizer, OmniVoice's too: DAC beside HuBERT; 0.25 to 2 kbit/s in 1 to 8 streams, 25 frames/s",
        streaming=streaming(_AGREEMENT),
        compared="transformers' HiggsAudioV2TokenizerModel, random weights, tiny and real size: equal codes but for near ties, "
        "sound to 1e-4",
        # Revision and hashes as several other public projects have pinned them; the tensors of the network below are as many
        # as one of them counted in the published file.
        weights=Weights(
            repo="bosonai/higgs-audio-v2-tokenizer",
            revision="403fbacf2f60caaa102f893fdfabb694619b2417",
            files={
                "config.json": "eefb20806f7104e77c9a5277c9df0f9bb8826b08eb1d4e8ab2b9829b6ef9fac1",
                "model.safetensors": "fe7c5e8785e0a05833e1bfc3e002ec7f55af21e306b2e7154a448c1f54ccfb0d",
            },
        ),
        exceptions=exceptions(_AGREEMENT),
    ),
)
