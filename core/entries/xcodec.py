"""Entries of X-Codec. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import Entry, Weights

__all__ = ["ENTRIES", "TINY", "TINY_BACKBONE", "exceptions", "streaming"]

TINY: dict[str, Any] = {
    "sample_rate": 1600,
    "semantic_sample_rate": 1600,
    "downsample_factor": 80,
    "semantic_pad": 40,
    "num_quantizers": 4,
    "codebook_size": 64,
    "codebook_dim": 24,
    "encoder_hidden_size": 4,
    "downsampling_ratios": [4, 5, 4],
    "decoder_hidden_size": 32,
    "upsampling_ratios": [4, 5, 4],
    "hidden_size": 8,
}
TINY_BACKBONE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 4, 4],
    "conv_kernel": [10, 4, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def streaming(agreement: str) -> str:
    """How X-Codec and its kin stream."""
    return (
        "decoding is exact, frame by frame with 10 frames more as context on each side: sound to 1e-5. Encoding looks at the "
        "whole clip: exact up to 60 s, then in windows of 60 s, 10 s of it context before and 4 s after what is kept, the same "
        f"however the clip is pushed ({agreement})"
    )


def exceptions(agreement: str) -> dict[str, str]:
    """The laws they do not obey as stated."""
    why = (
        "the backbone looks at the whole clip, by attention and by a normalisation over time: clips longer than 60 s are "
        f"encoded in windows of 60 s that overlap, which is not the same ({agreement})"
    )
    return {"streaming": why, "long": why}


_AGREEMENT = "TO BE MEASURED"
_NOT_SEEN = "not seen; check the model card"


def _entry(name: str, semantic: str, params: int, revision: str, licence: str, about: str) -> Entry:
    return Entry(
        facts=Facts(
            name=name,
            kind="dual",
            sample_rate=16000,
            frame_rates=(Fraction(50),) * 8,
            codebook_sizes=(1024,) * 8,
            causal=False,
            latency=60.22,
            params=params,
            code_licence="Apache-2.0 in transformers; the authors' repository shows none that was seen",
            weights_licence=licence,
            source="https://github.com/zhenye234/xcodec",
            paper="https://arxiv.org/abs/2408.17175",
        ),
        build="voxzoo.codecs.xcodec:Xcodec",
        config={"sample_rate": 16000, "semantic": {"model_type": semantic}},
        tiny={**TINY, "semantic": {"model_type": semantic, **TINY_BACKBONE}},
        about=about,
        streaming=streaming(_AGREEMENT),
        compared="transformers' XcodecModel, random weights, tiny and real size: equal codes but for near ties, sound to 1e-4",
        # The two revisions of the general models as other public projects have pinned them, one each; those of the models
        # of speech, and all hashes, are not known. Configurations as `transformers`' converter and a public reading of the
        # hub's files have them.
        weights=Weights(repo=f"hf-audio/{name}", revision=revision, files={"config.json": None, "model.safetensors": None}),
        exceptions=exceptions(_AGREEMENT),
    )


ENTRIES: tuple[Entry, ...] = (
    _entry(
        "xcodec-hubert-librispeech",
        "hubert",
        151_782_529,
        "main",
        _NOT_SEEN,
        "X-Codec for speech: DAC beside HuBERT, trained on LibriSpeech; 0.5 to 4 kbit/s in 1 to 8 streams",
    ),
    _entry(
        "xcodec-wavlm-mls",
        "wavlm",
        151_792_753,
        "main",
        _NOT_SEEN,
        "X-Codec for speech: DAC beside WavLM, trained on MLS English; 0.5 to 4 kbit/s in 1 to 8 streams",
    ),
    _entry(
        "xcodec-wavlm-more-data",
        "wavlm",
        151_792_753,
        "main",
        "CC-BY-4.0, as another public project has read the model card",
        "X-Codec for speech: DAC beside WavLM, trained on MLS English and more; 0.5 to 4 kbit/s in 1 to 8 streams",
    ),
    _entry(
        "xcodec-hubert-general",
        "hubert",
        151_782_529,
        "240735a1ade315cb9b22604fe898e7df03d67378",
        _NOT_SEEN,
        "X-Codec for any sound, Bagpiper's codec: DAC beside HuBERT; 0.5 to 4 kbit/s in 1 to 8 streams",
    ),
    _entry(
        "xcodec-hubert-general-balanced",
        "hubert",
        151_782_529,
        "ce75a648724c64dfd5ec05752caa2feafd8c03da",
        _NOT_SEEN,
        "X-Codec for any sound, trained on more balanced data, Audex' codec: 0.5 to 4 kbit/s in 1 to 8 streams",
    ),
)
