"""Entries of SpeechTokenizer. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import SINC, Entry, Weights

__all__ = ["ENTRIES"]

_WINDOWS = (
    "the encoder's LSTM runs both ways over the whole clip. Clips of up to 120 s are encoded whole, as the reference does; "
    "longer ones in windows of 120 s with 10 s of context on each side"
)
_STREAMING = (
    "decoding exact, with 4 frames (80 ms) of what follows: sound to 1e-5. Encoding gives the tokens of encode, but only once "
    "the clip has ended or 130 s of it are there"
)
_COMPARED = (
    "the published package 1.0.1, random weights at real size, 1 sample to 37 s: equal codes but for ties within 2e-7 of the "
    "distance (32 codes of 14,800), sound to 1e-5; and a golden file of it at small size"
)
_FACTS: dict[str, Any] = {
    "kind": "dual",
    "sample_rate": 16000,
    "frame_rates": (Fraction(50),) * 8,
    "codebook_sizes": (1024,) * 8,
    "causal": False,
    "latency": 130.08,
    "code_licence": "Apache-2.0",
    "source": "https://github.com/ZhangXInFD/SpeechTokenizer",
    "paper": "https://arxiv.org/abs/2308.16692",
}
_CONFIG: dict[str, Any] = {
    "sample_rate": 16000,
    "n_filters": 64,
    "strides": [8, 5, 4, 2],
    "dimension": 1024,
    "bidirectional": True,
    "lstm_layers": 2,
    "n_residual_layers": 1,
    "residual_kernel_size": 3,
    "dilation_base": 2,
    "n_q": 8,
    "codebook_size": 1024,
}
_SHARED: dict[str, Any] = {
    "build": "voxzoo.codecs.speechtokenizer:SpeechTokenizer",
    "reference_resampler": SINC,
    "tiny": {
        "sample_rate": 1600,
        "n_filters": 4,
        "strides": [4, 3, 2],
        "dimension": 16,
        "codebook_size": 64,
        "n_q": 4,
    },
    "exceptions": {"streaming": _WINDOWS, "long": f"{_WINDOWS}; decoding is exact at any length"},
}

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="speechtokenizer",
            params=111_276_994,
            weights_licence="Apache-2.0, as another public project records it; the model card was not seen",
            **_FACTS,
        ),
        config={**_CONFIG, "activation": "ELU"},
        about="SpeechTokenizer: 4 kbit/s in 8 streams, the first of them semantic, taught by HuBERT",
        streaming=_STREAMING,
        compared=_COMPARED,
        # Revision and hashes as other public projects have recorded them: of the checkpoint four, of config.json three.
        weights=Weights(
            repo="fnlp/SpeechTokenizer",
            revision="4d54939beef00572fa7bfe41ee35a335c3732f51",
            folder="speechtokenizer_hubert_avg",
            files={
                "config.json": "ea343ad69ca7e70c8febf8fc4cda683b1c4b1c36709e5e577936ffb05d62e6eb",
                "SpeechTokenizer.pt": "d04593b6c9a4b475f91ca481141a6ef5b23e6ac112f347dd2b2717f193c1c728",
            },
        ),
        **_SHARED,
    ),
    Entry(
        facts=Facts(
            name="speechtokenizer-anygpt",
            params=111_284_866,
            weights_licence="not known: the model card was not seen; the code that made them is Apache-2.0",
            **_FACTS,
        ),
        # Of this variant's config.json only the activation is on public record; the rest is that of the first.
        config={**_CONFIG, "activation": "Snake"},
        about="SpeechTokenizer with Snake, AnyGPT's: 4 kbit/s in 8 streams, the first of them semantic",
        streaming=_STREAMING,
        compared=_COMPARED,
        # Revision as one other public project has it in a path; hashes are not known.
        weights=Weights(
            repo="fnlp/AnyGPT-speech-modules",
            revision="47320f954f02f108d0359fb80cd481038bba6be9",
            folder="speechtokenizer",
            files={"config.json": None, "ckpt.dev": None},
        ),
        **_SHARED,
    ),
)
