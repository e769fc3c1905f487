"""Entries of FocalCodec. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

_COMPARED = (
    "the published code, version 0.0.2 at commit 912b7f2 and 0.0.1, random weights at real size: equal codes, sound to 1e-6, "
    "from 1 sample to 37 s"
)


def _streaming(agreement: str) -> str:
    return (
        "by windows of 60 s at fixed places, of which the inner 40 s are kept; a clip of up to 60 s is run whole, so that its "
        f"tokens come at its end. Beyond, against the whole clip, 90 s, random weights: {agreement}"
    )


_EXCEPTIONS = {
    "streaming": "attention and means go over the whole clip; one of more than 60 s goes by windows, encoded and decoded, and "
    "is equal however it is pushed",
    "long": "a clip of more than 60 s has other tokens than the start of a shorter one",
}


def _tiny(down: list[int], up: list[int]) -> dict[str, Any]:
    focal = {"focal_window": 3, "focal_factor": 2}
    return {
        "sample_rate": 1000,
        "codebook_size": 256,
        "encoder": {
            "hidden_dims": [8, 8, 8],
            "kernel_sizes": [10, 3, 2],
            "strides": [5, 2, 2],
            "num_layers": 2,
            "dim": 16,
            "ffn_dim": 32,
            "num_heads": 2,
            "num_buckets": 32,
            "max_distance": 80,
            "conv_pos": 8,
            "conv_pos_groups": 2,
        },
        "compressor": {"hidden_dims": [16, 12, 8], "downscale_factors": down, **focal},
        "decompressor": {"hidden_dims": [8, 12, 16], "upscale_factors": up, **focal},
        "decoder": {"num_layers": 2, "dim": 16, "ffn_dim": 24, "n_fft": 64, "hop_length": 20},
    }


def _entry(
    rate: Fraction, name: str, params: int, about: str, agreement: str, down: list[int], up: list[int], weights: Weights
) -> Entry:
    return Entry(
        facts=Facts(
            name=name,
            kind="acoustic",
            sample_rate=16000,
            frame_rates=(rate,),
            codebook_sizes=(8192,),
            causal=False,
            latency=100.0,  # a window of 60 s to encode, and 40 s more until the decoder's first is whole
            params=params,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0, as the model card states; WavLM-large's layers in them are Microsoft's, see its card",
            source="https://github.com/lucadellalib/focalcodec",
            paper="https://arxiv.org/abs/2502.04465",
        ),
        build="voxzoo.codecs.focalcodec:FocalCodec",
        config={"compressor": {"downscale_factors": down}, "decompressor": {"upscale_factors": up}},
        tiny=_tiny(down, up),
        about=about,
        streaming=_streaming(agreement),
        compared=_COMPARED,
        weights=weights,
        exceptions=_EXCEPTIONS,
        reference_resampler=SINC,
    )


def _weights(name: str, revision: str, digest: str) -> Weights:
    """Revisions and hashes as another public project has pinned them; the hashes of config.json are not known."""
    return Weights(repo=f"lucadellalib/{name}", revision=revision, files={"config.json": None, "model.safetensors": digest})


ENTRIES: tuple[Entry, ...] = (
    _entry(
        Fraction(50),
        "focalcodec-50hz",
        142_126_257,
        "FocalCodec 50 Hz: one stream of 13-bit codes, 0.65 kbit/s, on WavLM's features",
        "89 % of codes (99.1 % of bits) equal, sound of equal tokens 59 dB above the difference",
        [1, 1, 1],
        [1, 1, 1],
        _weights(
            "focalcodec_50hz",
            "d6d6d9524e52155c85193c2c3b8da1cf8842f019",
            "2700a916ca8d1c11a899995ef8d451ee53a481486650c4b78cd96feff9ac77f0",
        ),
    ),
    _entry(
        Fraction(25),
        "focalcodec-25hz",
        144_223_409,
        "FocalCodec 25 Hz: one stream of 13-bit codes, 0.33 kbit/s",
        "78 % of codes (98.0 % of bits) equal, sound of equal tokens 61 dB above the difference",
        [2, 1, 1],
        [1, 1, 2],
        _weights(
            "focalcodec_25hz",
            "581aa401901b4985fbbdd3569d80a5a191740c1f",
            "07a5ca4b92fb1fdc0499e761df6373d5b0811b8b950335fc40bcf6dc4f300441",
        ),
    ),
    _entry(
        Fraction(25, 2),
        "focalcodec-12.5hz",
        145_271_985,
        "FocalCodec 12.5 Hz: one stream of 13-bit codes, 0.16 kbit/s",
        "79 % of codes (98.2 % of bits) equal, sound of equal tokens 60 dB above the difference",
        [2, 2, 1],
        [1, 2, 2],
        _weights(
            "focalcodec_12_5hz",
            "96ddced5e284f109d9022a65d1062fcd92dc33eb",
            "5362c33ed75801d9bced7e8573f8eece674592ea3c3156451a85f4b924b1c1e5",
        ),
    ),
)
