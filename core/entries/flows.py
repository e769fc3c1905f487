"""Entries of the decoders that make log-mel frames of tokens, by flow matching, and of the vocoders published beside them.

Data only.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..decoders import DecoderEntry, DecoderFacts
from ..registry import Weights

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

_VOX_MEL: dict[str, Any] = {"sample_rate": 16000, "n_fft": 1280, "hop": 320, "win": 1280}
_MEL_22K: dict[str, Any] = {"sample_rate": 22050, "n_fft": 1024, "hop": 256, "win": 1024}
_MEL_24K: dict[str, Any] = {"sample_rate": 24000, "n_fft": 1920, "hop": 480, "win": 1920}
_TINY: dict[str, Any] = {"dim": 16, "heads": 2, "hidden": 24, "layers": 1, "upper": 1, "channels": [16, 16], "blocks": 1,
                         "middle": 1, "estimator_heads": 2, "head_dim": 4}  # fmt: skip
_COMPARED = "the published classes with Matcha-TTS's and diffusers' parts, small sizes, random weights: mels to 1e-4"


def _cosyvoice(
    name: str,
    cls: str,
    params: int,
    rate: Fraction,
    config: dict[str, Any],
    plays: tuple[str, ...],
    vocoder: str,
    about: str,
    weights: Weights,
    *,
    paper: str = "2407.05407",
    source: str = "https://github.com/FunAudioLLM/CosyVoice",
    licence: str = "Apache-2.0, as the model card states",
    streaming: str = "not: its frames depend on all tokens",
    compared: str = _COMPARED,
    tiny: dict[str, Any] | None = None,
) -> DecoderEntry:
    return DecoderEntry(
        facts=DecoderFacts(
            name=name,
            takes="tokens",
            sample_rate=config["mel"]["sample_rate"],
            frame_rate=rate,
            context=None,
            params=params,
            code_licence="Apache-2.0",
            weights_licence=licence,
            source=source,
            paper=f"https://arxiv.org/abs/{paper}",
        ),
        build=f"voxzoo.decoders.cosyvoice:{cls}",
        config=config,
        tiny={**_TINY, **(tiny or {})},
        about=about,
        streaming=streaming,
        compared=compared,
        weights=weights,
        plays=plays,
        vocoder=vocoder,
    )


def _hift(
    name: str, cls: str, params: int, mel: dict[str, Any], about: str, weights: Weights, licence: str = ""
) -> DecoderEntry:
    """HiFTNet, of which each project publishes its own weights."""
    own: dict[str, Any] = {"mel": mel}
    if cls == "HiFT24K":
        own |= {"rates": [8, 5, 3], "kernels": [16, 11, 7], "source_kernels": [7, 7, 11], "by_frame": True}
    return DecoderEntry(
        facts=DecoderFacts(
            name=name,
            takes="mel",
            sample_rate=mel["sample_rate"],
            frame_rate=Fraction(mel["sample_rate"], mel["hop"]),
            context=None,
            params=params,
            code_licence="Apache-2.0",
            weights_licence=licence or "Apache-2.0, as the model card states",
            source="https://github.com/FunAudioLLM/CosyVoice",
            paper="https://arxiv.org/abs/2309.09493",
        ),
        build=f"voxzoo.decoders.hift:{cls}",
        config=own,
        tiny={"channels": 16, "pitch_channels": 8},
        about=about,
        streaming="not: the phase of its source sums up the pitch since the clip's start",
        compared="the published class, small sizes, random weights, the same phases and noise: sound of the same "
        "source to 1e-4, of its own, whose phases are summed in double precision, to 1e-3",
        weights=weights,
    )


def _v1(rate: str) -> dict[str, Any]:
    return {"version": 1, "codes": 4096, "token_rate": rate, "mel": _MEL_22K, "stretch": "parts"}


_GLM: dict[str, Any] = {
    "version": 1,
    "codes": 16384,
    "token_rate": "25/2",
    "mel": _MEL_22K,
    "stretch": "nearest",
    "block": 25,
    "noise_seed": 42,
    "noise_buffer": False,
}
_STEP: dict[str, Any] = {
    "version": 1,
    "codes": 5120,
    "dual": 1024,
    "token_rate": "125/3",
    "mel": _MEL_22K,
    "stretch": "halves",
}
_V2: dict[str, Any] = {
    "version": 2,
    "codes": 6561,
    "token_rate": "25",
    "mel": _MEL_24K,
    "channels": [256],
    "chunk": 25,
    "ahead": 3,
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
        config={"codebook_size": 729, "tokenizer": "vox-s3-16k", "mel": _VOX_MEL, "stack": 1},
        tiny=_VOX_TINY,
        about="Voxzoo's own flow, bundled: tokens of vox-s3-16k and any voice to the mel of vox-hifigan-16k",
        streaming="exact, in chunks of 16 tokens (640 ms) that see 4 more",
        compared="Voxzoo's own: there is no other to compare with",
        plays=("vox-s3-16k",),
        vocoder="vox-hifigan-16k",
    ),
    _cosyvoice(
        "cosyvoice-flow",
        "CosyVoice1Flow",
        104_874_752,
        Fraction(50),
        _v1("50"),
        ("s3-v1",),
        "cosyvoice-hift",
        "CosyVoice-300M's flow: S3 tokens at 50 Hz to mel at 22.05 kHz",
        Weights(repo="FunAudioLLM/CosyVoice-300M", revision="main", files={"flow.pt": None}),
    ),
    _cosyvoice(
        "cosyvoice-25hz-flow",
        "CosyVoice1At25HzFlow",
        104_874_752,
        Fraction(25),
        _v1("25"),
        ("s3-v1-25hz",),
        "cosyvoice-hift",
        "CosyVoice-300M-25Hz's flow: S3 tokens at 25 Hz to mel at 22.05 kHz",
        Weights(repo="FunAudioLLM/CosyVoice-300M-25Hz", revision="main", files={"flow.pt": None}),
    ),
    _cosyvoice(
        "cosyvoice2-flow",
        "CosyVoice2Flow",
        112_549_360,
        Fraction(25),
        _V2,
        ("s3-v2",),
        "cosyvoice2-hift",
        "CosyVoice 2's flow: tokens of 8 ternary digits at 25 Hz to mel at 24 kHz",
        Weights(repo="FunAudioLLM/CosyVoice2-0.5B", revision="main", files={"flow.pt": None}),
        paper="2412.10117",
        streaming="exact against the whole clip with attention kept to chunks (FlowSettings.chunked), in chunks of 25 tokens "
        "(1 s) that see 3 more; the whole clip without chunks is another result, as published",
        tiny={"channels": [16], "chunk": 5},
    ),
    _cosyvoice(
        "glm4voice-flow",
        "Glm4VoiceFlow",
        111_166_208,
        Fraction(25, 2),
        _GLM,
        ("glm4voice",),
        "glm4voice-hift",
        "GLM-4-Voice's flow: tokens of 14 bits at 12.5 Hz to mel at 22.05 kHz",
        Weights(repo="THUDM/glm-4-voice-decoder", revision="main", files={"flow.pt": None}),
        paper="2412.02612",
        source="https://github.com/zai-org/GLM-4-Voice",
        licence="the publisher's own for GLM-4-Voice, which lies beside the weights",
        tiny={"block": 5},
    ),
    _cosyvoice(
        "step-audio-flow",
        "StepAudioFlow",
        105_399_040,
        Fraction(50, 3),
        _STEP,
        ("step-audio",),
        "step-audio-hift",
        "Step-Audio's flow: two linguistic and three semantic tokens in turn, 41 2/3 Hz, to mel at 22.05 kHz",
        Weights(repo="stepfun-ai/Step-Audio-TTS-3B", revision="main", files={"flow.pt": None}, folder="CosyVoice_stream_16b"),
        paper="2502.11946",
        source="https://github.com/stepfun-ai/Step-Audio",
        compared="not with the published class, which differs from CosyVoice's in how prompts are stretched only, beside its "
        "precision; the rate and the size of its table are inferred from the tokenizer's, its configuration is not public code",
    ),
    _hift(
        "cosyvoice-hift",
        "HiFT22K",
        20_447_517,
        _MEL_22K,
        "HiFTNet of CosyVoice-300M: mel at 22.05 kHz to sound",
        Weights(repo="FunAudioLLM/CosyVoice-300M", revision="main", files={"hift.pt": None}),
    ),
    _hift(
        "cosyvoice2-hift",
        "HiFT24K",
        20_806_557,
        _MEL_24K,
        "HiFTNet of CosyVoice 2: mel at 24 kHz to sound",
        Weights(repo="FunAudioLLM/CosyVoice2-0.5B", revision="main", files={"hift.pt": None}),
    ),
    _hift(
        "glm4voice-hift",
        "HiFT22K",
        20_447_517,
        _MEL_22K,
        "HiFTNet of GLM-4-Voice: mel at 22.05 kHz to sound",
        Weights(repo="THUDM/glm-4-voice-decoder", revision="main", files={"hift.pt": None}),
        "the publisher's own for GLM-4-Voice, which lies beside the weights",
    ),
    _hift(
        "step-audio-hift",
        "HiFT22K",
        20_447_517,
        _MEL_22K,
        "HiFTNet of Step-Audio: mel at 22.05 kHz to sound",
        Weights(repo="stepfun-ai/Step-Audio-TTS-3B", revision="main", files={"hift.pt": None}, folder="CosyVoice_stream_16b"),
    ),
)
