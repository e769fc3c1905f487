"""The entry of TiCodec. Data only."""

from __future__ import annotations

from fractions import Fraction

from ..facts import Facts
from ..registry import SOXR, Entry, Weights

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        facts=Facts(
            name="ticodec",
            kind="acoustic",
            sample_rate=24000,
            frame_rates=(Fraction(40),),
            codebook_sizes=(1024,),
            causal=False,
            latency=50.325,
            params=63_340_737,
            code_licence="Apache-2.0 (TiCodec, by its README); Freeze-Omni's copy: academic use only, by its repository",
            weights_licence="academic, research and education purposes only, as Freeze-Omni's repository states of code and "
            "weights; its model card, as a public copy has it, states Apache-2.0 under an acceptable use policy",
            source="https://github.com/VITA-MLLM/Freeze-Omni",
            paper="https://arxiv.org/abs/2310.00014",
        ),
        build="voxzoo.codecs.ticodec:Ticodec",
        config={
            "sampling_rate": 24000,
            "upsample_rates": [8, 5, 5, 3],
            "upsample_kernel_sizes": [16, 11, 11, 5],
            "upsample_initial_channel": 512,
            "resblock_kernel_sizes": [3, 7, 11],
            "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
            "n_code_groups": 1,
            "residul_layer": 1,
            "n_codes": 1024,
            "global_code_num": 8,
            "global_feature_conv": [128, 64, 128, 3, 1],
            "global_tokens": [473, 975, 419, 219, 565, 121, 550, 616],
        },
        tiny={
            "sampling_rate": 1200,
            "encoder_dim": 8,
            "upsample_rates": [5, 3, 2],
            "upsample_kernel_sizes": [11, 5, 4],
            "upsample_initial_channel": 64,
            "resblock_kernel_sizes": [3, 5],
            "resblock_dilation_sizes": [[1, 3], [1, 2]],
            "n_codes": 64,
            "global_code_num": 2,
            "global_feature_conv": [16, 8, 16, 3, 1],
            "global_tokens": [3, 62],
        },
        about="TiCodec of Freeze-Omni: 0.4 kbit/s for what is said, decoded in one voice that comes with the weights",
        streaming="decoding: exact, frame by frame (600 samples) with 13 frames more as context on each side, sound to 1e-5; "
        "encoding: up to 40 s the whole clip, longer clips in windows of 40 s with 10 s more on each side, 99.8 % "
        "of whose tokens are those of the whole clip (62 s of speech, random weights)",
        compared="Freeze-Omni's own code, random weights: equal codes and voice, sound to 1e-5, 1 sample to 37 s",
        exceptions={
            "streaming": "the encoder normalises over the whole clip: streams give the tokens of encode for clips up to 40 s, "
            "and for longer ones the same tokens however they are pushed",
            "long": "tokens of a clip longer than 40 s are not those of its parts: each of its windows is normalised by itself",
        },
        weights=Weights(
            repo="VITA-MLLM/Freeze-Omni",
            revision="main",
            folder="checkpoints/codec",
            # As the pointer file of a public copy of the repository has it.
            files={"model.json": None, "final.pt": "1c04d618827b0e2778280d7c4701d6c8450c4104de4c1a1dca2b5c3120017c7a"},
        ),
        reference_resampler=SOXR,
    ),
)
