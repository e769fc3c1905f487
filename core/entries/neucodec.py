"""Entry of NeuCodec. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SINC, Entry, Weights
from .xcodec2 import EXCEPTIONS, SIZES, STREAMING, TINY

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="neucodec",
            kind="dual",
            sample_rate=16000,
            decoded_sample_rate=24000,
            frame_rates=(Fraction(50),),
            codebook_sizes=(65536,),
            causal=False,
            latency=130.0,
            params=629_936_682,
            code_licence="Apache-2.0",
            weights_licence="Apache-2.0, as the publisher's repository states; of the w2v-BERT 2.0 in it not seen",
            source="https://github.com/neuphonic/neucodec",
            paper="https://arxiv.org/abs/2509.09550",
        ),
        build="voxzoo.codecs.neucodec:NeuCodec",
        reference_resampler=SINC,
        config={**SIZES, "output_sampling_rate": 24000, "half_hop": False},
        tiny=TINY,
        about="NeuCodec: 0.8 kbit/s of speech in one stream, 16 kHz in and 24 kHz out; X-Codec2's network, openly licensed",
        streaming=STREAMING,
        compared="transformers' NeuCodecModel on features of its SeamlessM4TFeatureExtractor, and the package neucodec 0.0.6 "
        "on vector-quantize-pytorch 1.17.8, random weights, small: equal codes but for near ties, sound to 1e-5",
        # Revision and hash of the publisher's own form as one other public project has pinned them.
        weights=Weights(
            repo="neuphonic/neucodec",
            revision="30c1fdd19e68aee65d542cf043750d4c0165893e",
            files={"pytorch_model.bin": "30c3ea13ceeb2de693c56e5e33a1b7e00d44c95dcdd08a4ed0d552d0bf59ebdf"},
        ),
        exceptions=EXCEPTIONS,
    ),
)
