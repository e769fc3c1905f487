"""Entries of the S3 tokenizers of CosyVoice. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

_TINY = {"sample_rate": 1600, "n_fft": 40, "hop": 16, "mels": 10, "dim": 16, "heads": 2, "layers": 2, "hidden": 32}
_STREAMING = (
    "by windows of 30 s every 26 s, of which the outer 2 s are left out; a clip of up to 30 s is run whole, so that its tokens "
    "come at its end. Longer sound has the codes of s3tokenizer where nothing lies 80 dB below its loudest place, which "
    "s3tokenizer takes of the whole clip; of 90 s of speech, v2, random weights, 77 % are equal"
)
_EXCEPTIONS = {
    "streaming": "attention goes over the whole clip; one of more than 30 s goes by windows, and is equal however it is pushed",
    "long": "a clip of more than 30 s has other tokens than the start of a shorter one",
}


def _entry(
    version: str,
    rate: int,
    codes: int,
    params: int,
    tiny: dict[str, Any],
    about: str,
    paper: str,
    precision: str,
    weights: Weights,
) -> Entry:
    return Entry(
        facts=Facts(
            name=f"s3-{version}",
            kind="semantic",
            sample_rate=16000,
            frame_rates=(Fraction(rate),),
            codebook_sizes=(codes,),
            causal=False,
            latency=30.0,
            params=params,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0, as the model card states",
            source="https://github.com/FunAudioLLM/CosyVoice",
            paper=f"https://arxiv.org/abs/{paper}",
        ),
        build=f"voxzoo.tokenizers.s3:{_CLASSES[version]}",
        config={"version": version},
        tiny={**_TINY, **tiny},
        about=about,
        streaming=_STREAMING,
        compared="the package s3tokenizer 0.3.0 on the same ONNX file, random weights at real size: equal codes, speech and "
        f"noise of 0.01 to 30 s, alone and in a batch. In lower precision, of 9 clips of speech: {precision}",
        weights=weights,
        exceptions=_EXCEPTIONS,
        reference_resampler=SINC,
    )


_CLASSES = {"v1": "S3V1", "v1-25hz": "S3V1At25Hz", "v2": "S3V2", "v3": "S3V3"}


def _weights(repo: str, version: str, digest: str) -> Weights:
    return Weights(repo=repo, revision="main", files={f"speech_tokenizer_{version}.onnx": digest})


ENTRIES: tuple[Entry, ...] = (
    _entry(
        "v1",
        50,
        4096,
        130_629_120,
        {"codes": 64},
        "CosyVoice's S3 tokenizer at 50 Hz, 4096 codewords; encodes only",
        "2407.05407",
        "99.4 % (bfloat16) agree",
        _weights("FunAudioLLM/CosyVoice-300M", "v1", "23b5a723ed9143aebfd9ffda14ac4c21231f31c35ef837b6a13bb9e5488abb1e"),
    ),
    _entry(
        "v1-25hz",
        25,
        4096,
        130_629_120,
        {"codes": 64},
        "CosyVoice's S3 tokenizer at 25 Hz, 4096 codewords, which Step-Audio reads too; encodes only",
        "2407.05407",
        "99.5 % (bfloat16), 100 % (float16) agree",
        _weights("stepfun-ai/Step-Audio-Tokenizer", "v1", "56285ddd4a83e883ee0cb9f8d69c1089b53a94b1f78ff7e4a0224a27eb4cb486"),
    ),
    _entry(
        "v2",
        25,
        6561,
        123_714_568,
        {"codes": 81, "kernel": 5},
        "CosyVoice 2's S3 tokenizer: 25 Hz, 6561 scalar-quantised codes; encodes only",
        "2412.10117",
        "97.9 % (bfloat16), 99.7 % (float16) agree",
        _weights("FunAudioLLM/CosyVoice2-0.5B", "v2", "d43342aa12163a80bf07bffb94c9de2e120a8df2f9917cd2f642e7f4219c6f71"),
    ),
    _entry(
        "v3",
        25,
        6561,
        242_009_608,
        {"codes": 81, "kernel": 5},
        "CosyVoice 3's S3 tokenizer: 25 Hz, 6561 scalar-quantised codes, twice the blocks; encodes only",
        "2505.17589",
        "97.3 % (bfloat16), 99.6 % (float16) agree",
        _weights(
            "FunAudioLLM/Fun-CosyVoice3-0.5B-2512", "v3", "23236a74175dbdda47afc66dbadd5bcb41303c467a57c261cb8539ad9db9208d"
        ),
    ),
)
