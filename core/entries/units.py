"""Entries of units: features of HuBERT and its kin, quantised by k-means or a classifier. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["BASE", "ENTRIES", "EXCEPTIONS", "STREAMING", "TINY_BACKBONE"]

ROOT = "https://dl.fbaipublicfiles.com"
BASE = {"model_type": "hubert"}  # and every size that of the base model
# Its config was not seen: that the eighth convolution has a kernel of 2 is inferred; what the checkpoint says decides.
BASE_25HZ: dict[str, Any] = {
    "model_type": "hubert",
    "conv_dim": [512] * 8,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2, 2],
}
MIT = "MIT, as fairseq's README states of its pre-trained models"
TEXTLESS = "https://github.com/facebookresearch/textlesslib"

TINY_BACKBONE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
STREAMING = (
    "by windows of 100 s at fixed places, whose units but for 5 s on each inner side are kept; a clip of up to 100 s is run "
    "whole, so that its units come at its end. Beyond, against the whole clip, 150 s of speech, random weights, whose "
    "attention is spread over all of it: 77 to 79 % of units equal"
)
EXCEPTIONS = {
    "streaming": "attention and a norm go over the whole clip; one of more than 100 s goes by windows, and is equal however it "
    "is pushed",
    "long": "a clip of more than 100 s has other units than the start of a shorter one",
}
COMPARED = (
    "transformers' model of the same random weights, the layer's hidden states to 1e-5, and scikit-learn's predict on them: "
    "equal units; fairseq's naming by torchaudio's own conversion of it"
)


def _facts(name: str, rate: int, size: int, params: int, **told: Any) -> Facts:
    return Facts(
        name=name,
        kind="semantic",
        sample_rate=16000,
        frame_rates=(Fraction(rate),),
        codebook_sizes=(size,),
        causal=False,
        latency=100.0,
        params=params,
        **told,
    )


def _tiny(backbone: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    fine = {"conv_dim": [8] * 4, "conv_kernel": [10, 3, 2, 2], "conv_stride": [5, 2, 2, 2]} if "conv_stride" in backbone else {}
    return {
        "sample_rate": 1000,
        "backbone": {**backbone, **TINY_BACKBONE, **fine},
        "layer": 2,
        "window": 6.0,
        "context": 0.5,
        "codebook_size": 32,
        **more,
    }


def _entry(
    name: str, layer: int, size: int, params: int, about: str, model: str, digest: str | None, km: str, km_digest: str | None,
    paper: str, *, backbone: Mapping[str, Any] = BASE, source: str = TEXTLESS, licence: str = MIT,
) -> Entry:  # fmt: skip
    """k-means units whose backbone and codewords lie at two addresses below one root; hashes as textlesslib pins them."""
    files = {path.rpartition("/")[2]: path for path in (model, km)}
    code = "MIT (textlesslib; fairseq for the backbone)"
    return Entry(
        facts=_facts(
            name,
            25 if "conv_stride" in backbone else 50,
            size,
            params,
            code_licence=code,
            weights_licence=licence,
            source=source,
            paper=f"https://arxiv.org/abs/{paper}",
        ),
        build="voxzoo.tokenizers.units:Units",
        config={"backbone": dict(backbone), "layer": layer, "codebook_size": size},
        tiny=_tiny(backbone),
        about=about,
        streaming=STREAMING,
        compared=COMPARED,
        weights=Weights(
            repo="dl.fbaipublicfiles.com",
            revision="",
            files=dict(zip(files, (digest, km_digest), strict=True)),
            urls={file: f"{ROOT}/{path}" for file, path in files.items()},
        ),
        exceptions=EXCEPTIONS,
        reference_resampler=SINC,
    )


LS960 = ("hubert/hubert_base_ls960.pt", "1703cf8d2cdc76f8c046f5f6a9bcd224e0e6caf4744cad1a1f4199c32cac8c8d")
GSLM = {
    50: "d01a7d5bc2c54b7b5f25f321ba525b4d230b06e3927f90bad0394198bc89f494",
    100: "f14a3104615485381fc489701d6761c9abbdbb0d43607cf55518a1e2891023fe",
    200: "b3c46c9cdd1707ad852dd53c359aa73942e79d53c432a9a8a419ed046408024b",
    500: "411c8668e1314751404f58636f935fc73540a6793890435da4a8ffadf157398e",
}
HUBERT_L6, HUBERT_L9, HUBERT_L11, HUBERT_L12 = 51_843_584, 73_107_200, 87_282_944, 94_370_816  # parameters, of those layers
EXPRESSO = "not stated beside the files; textlesslib is MIT, the Expresso data behind the codewords are CC-BY-NC-4.0"

ENTRIES: tuple[Entry, ...] = (
    *(
        _entry(
            f"hubert-gslm-{size}",
            6,
            size,
            HUBERT_L6 + 768 * size,
            f"GSLM's {size} units: k-means on HuBERT-base's sixth layer, 50 frames/s before deduplication",
            *LS960,
            f"textless_nlp/gslm/hubert/km{size}/km.bin",
            digest,
            "2102.01192",
        )
        for size, digest in GSLM.items()
    ),
    _entry(
        "hubert-l9-500",
        9,
        500,
        HUBERT_L9 + 768 * 500,
        "textlesslib's 500 units for resynthesis: k-means on HuBERT-base's ninth layer",
        *LS960,
        "hubert/hubert_base_ls960_L9_km500.bin",
        "4450dcbc90aa7d0553306a4b0fafef35c9b3c840468f02969273dfbb9db89a23",
        "2104.00355",
    ),
    _entry(
        "hubert-expresso-2000",
        9,
        2000,
        HUBERT_L9 + 768 * 2000,
        "Expresso's 2000 units: k-means on HuBERT-base's ninth layer, learnt with expressive speech",
        *LS960,
        "textless_nlp/expresso/checkpoints/hubert_base_ls960_L9_km2000_expresso.bin",
        "ae73e3cc7ea0426faf43c8bb67fc3846a0f8708232526d045a101836e8c7929f",
        "2308.05725",
        licence=EXPRESSO,
    ),
    _entry(
        "mhubert-1000",
        11,
        1000,
        HUBERT_L11 + 768 * 1000,
        "units of SpeechGPT and of LLaMA-Omni's speech: k-means on the eleventh layer of an English, Spanish and French HuBERT",
        "hubert/mhubert_base_vp_en_es_fr_it3.pt",
        "23527cd6311a6617bfa199f574e2eed478cd6a58a634f4007165c10ec0019832",
        "hubert/mhubert_base_vp_en_es_fr_it3_L11_km1000.bin",
        "c70f5416c38044d0c20e33fdeedf4533974a8ac4029985cdef3b755038381a0b",
        "2112.08352",
        source="https://github.com/0nutation/SpeechGPT",
    ),
    _entry(
        "mhubert-expresso-2000",
        12,
        2000,
        HUBERT_L12 + 768 * 2000,
        "Expresso's 2000 units of eight languages: k-means on the twelfth layer of a multilingual HuBERT",
        "hubert/mhubert_base_vp_mls_cv_8lang_it3.pt",
        "fa82eaccb557465f4732662e3a744c30c953059147ac6a4c92f1f3e0daeda61e",
        "textless_nlp/expresso/checkpoints/mhubert_base_vp_mls_cv_8lang_it3_L12_km2000_expresso.bin",
        "bda2dbf5fe42bf59359799b281498a9d7fd0a9ec703d6dc54a4a4a0ff70a4e22",
        "2308.05725",
        licence=EXPRESSO,
    ),
    _entry(
        "twist-25hz-500",
        11,
        500,
        HUBERT_L11 + 512 * 512 * 2 + 768 * 500,
        "TWIST's 500 units at 25 frames/s: k-means on the eleventh layer of a multilingual HuBERT with one convolution more",
        "textless_nlp/twist/speech_tokenizer/mhubert_base_25hz_cp_mls_cv_sp_fisher.pt",
        "edf0f5be2581a568a236aeb2781a5607c5af25806e12f40f7f2391e861fe3cf0",
        "textless_nlp/twist/speech_tokenizer/mhubert_base_25hz_cp_mls_cv_sp_fisher_L11_km500.bin",
        "03cc04a9c24fec4285e73e709c485756d8f116aa8e724eac555de6a7cf8d28ad",
        "2305.13009",
        backbone=BASE_25HZ,
        licence="MIT, as the model card of the same weights in transformers' form states (slprl/mhubert-base-25hz)",
    ),
    Entry(
        facts=_facts(
            "spiritlm-hubert",
            25,
            501,
            HUBERT_L11 + 512 * 512 * 2 + (768 + 1) * 702 + (702 + 1) * 635 + (635 + 1) * 501,
            code_licence="FAIR Noncommercial Research License (none of it is used here)",
            weights_licence="FAIR Noncommercial Research License, given on request",
            source="https://github.com/facebookresearch/spiritlm",
            paper="https://arxiv.org/abs/2402.05755",
        ),
        build="voxzoo.tokenizers.units:Units",
        config={
            "backbone": BASE_25HZ,
            "layer": 11,
            "quantizer": "classifier",
            "codebook_size": 501,
            "hidden": [702, 635],
        },
        tiny=_tiny(BASE_25HZ, quantizer="classifier", hidden=[14, 12]),
        about="SpiritLM's 500 units at 25 frames/s: a classifier with a blank (500) on TWIST's HuBERT; blanks repeat a unit",
        streaming=STREAMING,
        compared="transformers' model of the same random weights and the classifier as described, written again in the tests: "
        "equal units; but blanks at the start of a clip here take the first unit after them, in the published code its last",
        weights=Weights(
            repo="Meta AI",
            revision="",
            files={"mhubert_base_25hz.pt": None, "L11_quantizer_500.pt": None},
            gated="ask at https://ai.meta.com/resources/models-and-libraries/spirit-lm-downloads/ for the folder "
            "speech_tokenizer/hubert_25hz",
        ),
        exceptions=EXCEPTIONS,
        reference_resampler=SINC,
    ),
    _entry(
        "dgslm-500",
        12,
        500,
        HUBERT_L12 + 768 * 500,
        "dGSLM's 500 units, of each channel of a dialogue, not deduplicated: k-means on the last layer of a HuBERT of calls",
        "textless_nlp/dgslm/checkpoints/hubert/hubert_fisher.pt",
        None,
        "textless_nlp/dgslm/checkpoints/hubert/hubert_fisher_km_500.bin",
        None,
        "2203.16502",
        source="https://github.com/facebookresearch/fairseq",
    ),
    Entry(
        facts=_facts(
            "units",
            50,
            100,
            3900,
            code_licence="Apache-2.0",
            weights_licence="that of the backbone they are learnt on",
            source="https://github.com/facebookresearch/fairseq/tree/main/examples/hubert/simple_kmeans",
            paper="https://arxiv.org/abs/2106.07447",
        ),
        build="voxzoo.tokenizers.units:Units",
        config={"backbone": {"model_type": "mfcc"}, "layer": 0, "codebook_size": 100},
        tiny={"sample_rate": 1000, "backbone": {"model_type": "mfcc", "hop": 20, "n_fft": 50}, "window": 6.0, "context": 0.5},
        about="units of your own: k-means on any layer of HuBERT, WavLM, wav2vec 2.0, Whisper or SenseVoice, or on MFCC",
        streaming=STREAMING,
        compared="scikit-learn's predict: equal units",
        unpublished="no weights are published, and there is nothing to fetch: `voxzoo train units --backbone B --layer L "
        "--clusters K` learns codewords, or put a backbone, km.bin and units.json with its layer in a folder: --weights DIR",
        exceptions=EXCEPTIONS,
    ),
)
