"""Entries of the decoders. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..decoders import DecoderEntry, DecoderFacts
from ..registry import Weights

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
_LJ_MEL: dict[str, Any] = {"sample_rate": 22050, "n_fft": 1024, "hop": 256, "win": 1024, "bands": 80, "fmin": 0, "fmax": 8000}
_SPEECHT5_MEL: dict[str, Any] = {
    "sample_rate": 16000, "n_fft": 1024, "hop": 256, "win": 1024, "bands": 80, "fmin": 80.0, "fmax": 7600.0,
    "inner": 0.0, "floor": 1e-10, "base10": True, "centred": True,
}  # fmt: skip
_VOCOS_MEL: dict[str, Any] = {
    "sample_rate": 24000, "n_fft": 1024, "hop": 256, "win": 1024, "bands": 100, "fmax": 12000.0, "scale": "htk",
    "unit_area": False, "inner": 0.0, "floor": 1e-7, "centred": True,
}  # fmt: skip
_V1: dict[str, Any] = {
    "channels": 512, "rates": [8, 8, 2, 2], "kernels": [16, 16, 4, 4], "block": 1,
    "block_kernels": [3, 7, 11], "block_dilations": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}  # fmt: skip
_V3: dict[str, Any] = {
    "channels": 256, "rates": [8, 8, 4], "kernels": [16, 16, 8], "block": 2,
    "block_kernels": [3, 5, 7], "block_dilations": [[1, 2], [2, 6], [3, 12]],
}  # fmt: skip
_UNITS: dict[str, Any] = {
    **_V1, "rates": [5, 4, 4, 2, 2], "kernels": [11, 8, 8, 4, 4],
    "sample_rate": 16000, "units": 1000, "embedding": 128, "duration_dim": 128, "duration_kernel": 3,
}  # fmt: skip

_EXACT = "exact, chunk by chunk, with the context that the facts state (equal to 1e-5)"
_ASK = "not stated for the weights"
_HIFIGAN = "https://github.com/jik876/hifi-gan"
_VOCOS = "https://github.com/gemelo-ai/vocos"
_MHUBERT = "https://dl.fbaipublicfiles.com/fairseq/speech_to_speech/vocoder/code_hifigan/mhubert_vp_en_es_fr_it3_400k_layer11_km1000_lj/"


def _hifigan(version: str, config: dict[str, Any], params: int, context: int) -> DecoderEntry:
    return DecoderEntry(
        facts=DecoderFacts(
            name=f"hifigan-{version}",
            takes="mel",
            sample_rate=22050,
            frame_rate=Fraction(22050, 256),
            context=(context, context),
            params=params,
            code_licence="MIT",
            weights_licence=_ASK,
            source=_HIFIGAN,
            paper="https://arxiv.org/abs/2010.05646",
        ),
        build="voxzoo.decoders.hifigan:HiFiGAN",
        config={**config, "mel": _LJ_MEL},
        tiny={"channels": 32},
        about=f"HiFi-GAN {version.upper()}: 22.05 kHz sound of 80 mel bands; any checkpoint in its published form loads",
        streaming=_EXACT,
        compared="a plain second implementation, random weights under weight norm: sound within 1e-4",
        unpublished="its weights (LJ, VCTK, UNIVERSAL) lie on Google Drive, linked from its repository; put a generator's "
        "file and its config.json in a folder and pass weights=FOLDER",
    )


ENTRIES: tuple[DecoderEntry, ...] = (
    DecoderEntry(
        facts=DecoderFacts(
            name="vox-hifigan-16k",
            takes="mel",
            sample_rate=16000,
            frame_rate=Fraction(50),
            context=(28, 28),
            params=3_651_076,
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
        streaming=_EXACT,
        compared="Voxzoo's own: there is no other to compare with",
    ),
    _hifigan("v1", _V1, 13_926_017, 13),
    _hifigan("v2", {**_V1, "channels": 128}, 925_985, 13),
    _hifigan("v3", _V3, 1_462_273, 11),
    DecoderEntry(
        facts=DecoderFacts(
            name="speecht5-hifigan",
            takes="mel",
            sample_rate=16000,
            frame_rate=Fraction(125, 2),
            context=(24, 24),
            params=12_656_257,
            code_licence="Apache-2.0 (transformers)",
            weights_licence="MIT",
            source="https://huggingface.co/microsoft/speecht5_hifigan",
            paper="https://arxiv.org/abs/2110.07205",
        ),
        build="voxzoo.decoders.hifigan:HiFiGAN",
        config={**_V1, "rates": [4, 4, 4, 4], "kernels": [8, 8, 8, 8], "normalise": True, "mel": _SPEECHT5_MEL},
        tiny={"channels": 32},
        about="SpeechT5's HiFi-GAN: 16 kHz sound of 80 mel bands at 62.5 Hz",
        streaming=_EXACT,
        compared="transformers' SpeechT5HifiGan and SpeechT5FeatureExtractor: sound within 1e-4, mel within 1e-4",
        weights=Weights("microsoft/speecht5_hifigan", "main", {"config.json": None, "pytorch_model.bin": None}),
    ),
    DecoderEntry(
        facts=DecoderFacts(
            name="vocos-mel-24k",
            takes="mel",
            sample_rate=24000,
            frame_rate=Fraction(375, 4),
            context=(29, 29),
            params=13_531_650,
            code_licence="MIT",
            weights_licence="MIT",
            source=_VOCOS,
            paper="https://arxiv.org/abs/2306.00814",
        ),
        build="voxzoo.decoders.vocos:Vocos",
        config={
            "sample_rate": 24000,
            "mel": _VOCOS_MEL,
            "inputs": 100,
            "dim": 512,
            "hidden": 1536,
            "layers": 8,
            "fft": 1024,
            "hop": 256,
            "centred": True,
        },
        tiny={"dim": 32, "hidden": 48, "layers": 2},
        about="Vocos: 24 kHz sound of 100 mel bands at 93.75 Hz",
        streaming=_EXACT,
        compared="the vocos package 0.1.0, random weights: sound within 1e-4",
        weights=Weights("charactr/vocos-mel-24khz", "main", {"config.yaml": None, "pytorch_model.bin": None}),
    ),
    DecoderEntry(
        facts=DecoderFacts(
            name="vocos-encodec-24k",
            takes="codes",
            sample_rate=24000,
            frame_rate=Fraction(75),
            context=(29, 29),
            params=10_081_410,
            code_licence="MIT",
            weights_licence="MIT",
            source=_VOCOS,
            paper="https://arxiv.org/abs/2306.00814",
        ),
        build="voxzoo.decoders.vocos:VocosCodes",
        config={
            "sample_rate": 24000,
            "streams": 16,
            "codes": 1024,
            "inputs": 128,
            "dim": 384,
            "hidden": 1152,
            "layers": 8,
            "conditions": 4,
            "fft": 1280,
            "hop": 320,
            "centred": False,
        },
        tiny={"dim": 32, "hidden": 48, "layers": 2, "codes": 32},
        about="Vocos for the tokens of encodec-24k: 2, 4, 8 or 16 streams to 24 kHz sound",
        streaming="none of its own; long clips go through exact windows",
        compared="the vocos package 0.1.0, random weights, at every bandwidth: sound within 1e-4",
        weights=Weights("charactr/vocos-encodec-24khz", "main", {"config.yaml": None, "pytorch_model.bin": None}),
    ),
    DecoderEntry(
        facts=DecoderFacts(
            name="unit-hifigan-mhubert",
            takes="codes",
            sample_rate=16000,
            frame_rate=Fraction(50),
            context=(21, 21),
            params=13_475_010,
            code_licence="MIT",
            weights_licence=_ASK,
            source="https://github.com/facebookresearch/fairseq",
            paper="https://arxiv.org/abs/2104.00355",
        ),
        build="voxzoo.decoders.unit_hifigan:UnitHiFiGAN",
        config=_UNITS,
        tiny={"channels": 32, "units": 20, "embedding": 8, "duration_dim": 8},
        about="Unit HiFi-GAN of LLaMA-Omni: 1000 units of mHuBERT's layer 11 to 16 kHz sound, durations predicted",
        streaming="none of its own; long clips go through exact windows",
        compared="transformers' SeamlessM4TCodeHifiGan, random weights: durations equal, sound within 1e-4",
        weights=Weights(
            "facebookresearch/fairseq",
            "main",
            {"config.json": None, "g_00500000": None},
            urls={name: _MHUBERT + name for name in ("config.json", "g_00500000")},
        ),
    ),
)
