"""Entries of Step-Audio's tokenizer. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

_PARAFORMER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"
# The files of the top folder come last: it is the last one's that is the model's.
_LINGUISTIC: dict[str, str | None] = {
    f"{_PARAFORMER}/model.pt": None,
    f"{_PARAFORMER}/am.mvn": None,
    "linguistic_tokenizer.npy": None,
}
_SEMANTIC = {"speech_tokenizer_v1.onnx": "56285ddd4a83e883ee0cb9f8d69c1089b53a94b1f78ff7e4a0224a27eb4cb486"}
_CONFIG: dict[str, Any] = {
    "mels": 80,
    "clusters": 1024,
    "output_size": 512,
    "attention_heads": 4,
    "linear_units": 2048,
    "num_blocks": 50,
    "kernel_size": 11,
}
_TINY: dict[str, Any] = {
    "mels": 8,
    "clusters": 64,
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 24,
    "num_blocks": 3,
    "kernel_size": 5,
}
_COMPARED = (
    "FunASR's SANMEncoderChunkOpt with the front end and the loop over chunks that Step-Audio publishes, random weights: at "
    "real size equal codes, vectors to 1e-5; at a small size so for 230 lengths of 880 to 100,001 samples"
)
_PREPARED = (
    "The published script first brings a clip's peak to 0.999, and trims silence by one of its two ways in; here only where "
    "asked for, by `prepare`"
)


def _weights(files: dict[str, str | None]) -> Weights:
    return Weights(repo="stepfun-ai/Step-Audio-Tokenizer", revision="main", files=files)


def _facts(name: str, **own: Any) -> Facts:
    return Facts(
        name=name,
        sample_rate=16000,
        causal=False,
        code_licence="Apache-2.0, of Step-Audio; MIT, of FunASR",
        weights_licence="Apache-2.0, as the model card states",
        source="https://github.com/stepfun-ai/Step-Audio",
        paper="https://arxiv.org/abs/2502.11946",
        **own,
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=_facts(
            "step-audio",
            kind="dual",
            frame_rates=(Fraction(50, 3), Fraction(25)),
            codebook_sizes=(1024, 4096),
            latency=30.0,
            params=289_129_056,
        ),
        build="voxzoo.tokenizers.step_audio:StepAudio",
        config={"linguistic": _CONFIG, "semantic": {"version": "v1-25hz"}},
        tiny={
            "linguistic": _TINY,
            "semantic": {"version": "v1-25hz", "mels": 10, "dim": 16, "heads": 2, "layers": 2, "hidden": 32, "codes": 64},
        },
        about="Step-Audio's dual tokenizer: linguistic codes at 16 2/3 Hz and CosyVoice's at 25 Hz, 2 : 3; encodes only",
        streaming="the linguistic stream exactly, by chunks of 240 ms, whose tokens come with them; the semantic one by "
        "windows of 30 s every 26 s, of which the outer 2 s are left out, so that a clip of up to 30 s is run whole and its "
        'tokens come at its end; with `long` set to "cuts", every 30 s as published',
        compared=f"linguistic: {_COMPARED}. Semantic: see s3-v1-25hz. {_PREPARED}",
        weights=_weights({**_LINGUISTIC, **_SEMANTIC}),
        exceptions={
            "streaming": "attention of the semantic half goes over the whole clip; one of more than 30 s goes by windows, and "
            "is equal however it is pushed. The linguistic stream is exact",
            "long": "a clip of more than 30 s has other semantic tokens than the start of a shorter one",
        },
        reference_resampler=SINC,
    ),
    Entry(
        facts=_facts(
            "step-audio-linguistic",
            kind="semantic",
            frame_rates=(Fraction(50, 3),),
            codebook_sizes=(1024,),
            latency=0.24,
            params=158_499_936,
        ),
        build="voxzoo.tokenizers.step_audio:StepAudioLinguistic",
        config=_CONFIG,
        tiny=_TINY,
        about="the linguistic half of Step-Audio's tokenizer alone: clusters of a streaming Paraformer's encoder; encodes only",
        streaming="exact, by chunks of 240 ms: tokens come with their last sample, and later sound does not change them",
        compared=f"{_COMPARED}. {_PREPARED}",
        weights=_weights(_LINGUISTIC),
        reference_resampler=SINC,
    ),
)
