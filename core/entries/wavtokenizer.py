"""Entries of WavTokenizer. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

# What the published models share. The checkpoints are the large ones that speech language models were built on. Revisions and
# hashes are as other public projects have recorded them (each hash by two or more). The one of 75 frames/s was taken out of its
# repository's main branch in March 2025 for a second version, which is of the same shape and loads from a folder.
_CODE: dict[str, Any] = {
    "kind": "acoustic",
    "causal": False,
    "codebook_sizes": (4096,),
    "code_licence": "MIT",
    "weights_licence": "MIT, as other public projects quote the model card",
    "source": "https://github.com/jishengpeng/WavTokenizer",
    "paper": "https://arxiv.org/abs/2408.16532",
}
_TINY: dict[str, Any] = {
    "filters": 2,
    "codebook_size": 64,
    "codebook_dim": 16,
    "dim": 64,
    "intermediate_dim": 64,
    "layers": 2,
}
_COMPARED = (
    "the publisher's code (commit 5cf440d), random weights at real size, 1 sample to 37 s: equal codes, sound to 1e-6; and a "
    "golden file of it at small size"
)
_LONG = (
    "sound depends on all codes of its clip. Clips of up to 60 s are decoded whole, as the reference does; longer ones in "
    "windows of 60 s with 5 s of context on each side, which is not quite the sound of the whole. Their tokens are exact"
)


def _streaming(hop: int) -> str:
    return (
        f"encoding exact, frame by frame ({hop} samples) with 4 frames of what follows: equal tokens. Decoding gives the sound "
        "of decode, but only once the clip has ended or is longer than 60 s: up to there all of it is one window"
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="wavtokenizer-40",
            sample_rate=24000,
            frame_rates=(Fraction(40),),
            latency=60 + 5 * 600 / 24000,
            params=74_208_866,
            **_CODE,
        ),
        build="voxzoo.codecs.wavtokenizer:WavTokenizer",
        reference_resampler=SINC,
        config={
            "sample_rate": 24000,
            "filters": 32,
            "ratios": [6, 5, 5, 4],
            "codebook_size": 4096,
            "codebook_dim": 512,
            "dim": 768,
            "intermediate_dim": 2304,
            "layers": 12,
            "conditions": 4,
            "fft": 2400,
        },
        tiny={**_TINY, "sample_rate": 960, "ratios": [3, 2, 2, 2], "fft": 96},
        about="WavTokenizer at 40 frames/s, for speech, music and other sound: 0.48 kbit/s in 1 stream",
        streaming=_streaming(600),
        compared=_COMPARED,
        weights=Weights(
            repo="novateur/WavTokenizer-large-unify-40token",
            revision="7dc47a9450ce71cab736434b7645604013ca028b",
            files={"wavtokenizer_large_unify_600_24k.ckpt": "72182c1b6bd5ea7f84cf3ec78a0a3244cf42daa660b2e9bce23f5d74064d8205"},
        ),
        exceptions={"long": _LONG},
    ),
    Entry(
        facts=Facts(
            name="wavtokenizer-75",
            sample_rate=24000,
            frame_rates=(Fraction(75),),
            latency=60 + 5 * 320 / 24000,
            params=73_847_298,
            **_CODE,
        ),
        build="voxzoo.codecs.wavtokenizer:WavTokenizer",
        reference_resampler=SINC,
        config={
            "sample_rate": 24000,
            "filters": 32,
            "ratios": [8, 5, 4, 2],
            "codebook_size": 4096,
            "codebook_dim": 512,
            "dim": 768,
            "intermediate_dim": 2304,
            "layers": 12,
            "conditions": 4,
            "fft": 1280,
        },
        tiny={**_TINY, "sample_rate": 600, "ratios": [4, 2], "fft": 32},
        about="WavTokenizer at 75 frames/s, made for speech: 0.9 kbit/s in 1 stream",
        streaming=_streaming(320),
        compared=_COMPARED,
        weights=Weights(
            repo="novateur/WavTokenizer-large-speech-75token",
            revision="1cc9faee31025548fbae6ffe11115d7207093638",
            files={
                "wavtokenizer_large_speech_320_24k.ckpt": "7450020c154f6aba033cb8651466cb79cb1b1cdd10ea64eaba68e7871cabcc5a"
            },
        ),
        exceptions={"long": _LONG},
    ),
)
