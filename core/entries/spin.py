"""Entries of Spin and R-Spin: HuBERT and WavLM tuned to say the same whoever speaks, and in noise. Data only."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..facts import Facts
from ..registry import Entry, Weights
from .units import EXCEPTIONS, STREAMING, TINY_BACKBONE

__all__ = ["ENTRIES"]

# Of the hashes only the first eight digits are on record (HuBERT: c8914100, 224c4e88, 95270d34, 994125d0, 360be5cc).
PNMI = {
    "hubert": {128: 0.625, 256: 0.658, 512: 0.707, 1024: 0.745, 2048: 0.774},
    "wavlm": {128: 0.604, 256: 0.658, 512: 0.714, 1024: 0.748, 2048: 0.775},
}
PARAMS = {"hubert": 94_370_816, "wavlm": 94_381_040}  # of the twelve layers
RSPIN = (32, 64, 128, 256, 512, 1024, 2048)
RSPIN_PLACE = "https://data.csail.mit.edu/public-release-sls/rspin"
PLACE = "https://huggingface.co/datasets/vectominist/spin_ckpt/resolve/main"
NAMES = {"hubert": "HuBERT", "wavlm": "WavLM"}


def _entry(kind: str, size: int, name: str, about: str, source: str, paper: str, url: str) -> Entry:
    file = url.rpartition("/")[2]
    tiny: dict[str, Any] = {"num_buckets": 16, "max_bucket_distance": 20} if kind == "wavlm" else {}
    return Entry(
        facts=Facts(
            name=name,
            kind="speaker-invariant",
            sample_rate=16000,
            frame_rates=(Fraction(50),),
            codebook_sizes=(size,),
            causal=False,
            latency=100.0,
            params=PARAMS[kind] + (768 + 1) * 256 + 256 * size,
            code_licence="MIT",
            weights_licence="MIT, as the publisher's repository states",
            source=f"https://github.com/vectominist/{source}",
            paper=f"https://arxiv.org/abs/{paper}",
        ),
        build="voxzoo.tokenizers.spin:Spin",
        config={
            "backbone": {"model_type": kind},
            "layer": 12,
            "quantizer": "cosine",
            "codebook_size": size,
            "hidden": [256],
        },
        tiny={
            "sample_rate": 1000,
            "backbone": {"model_type": kind, **TINY_BACKBONE, **tiny},
            "layer": 3,
            "window": 6.0,
            "context": 0.5,
            "codebook_size": min(size, 64),
            "hidden": [12],
        },
        about=about,
        streaming=STREAMING,
        compared="a plain implementation in the tests, random weights in the published layout: equal units; the backbone as "
        "for units",
        weights=Weights(
            repo=url.split("/")[2],
            revision="",
            files={file: None},
            urls={file: url},
        ),
        exceptions=EXCEPTIONS,
    )


ENTRIES: tuple[Entry, ...] = (
    *(
        _entry(
            kind,
            size,
            f"spin-{kind}-{size}",
            f"Spin: {size} units of {NAMES[kind]}-base that say little of who speaks; phone-normalised mutual information "
            f"{pnmi}, as published",
            "spin",
            "2305.11072",
            f"{PLACE}/spin_{kind}_{size}.ckpt",
        )
        for kind, sizes in PNMI.items()
        for size, pnmi in sizes.items()
    ),
    *(
        _entry(
            "wavlm",
            size,
            f"rspin-wavlm-{size}",
            f"R-Spin: {size} units of WavLM-base that say little of who speaks, and in noise",
            "rspin",
            "2311.09117",
            f"{RSPIN_PLACE}/wavlm_rspin_{size}-40k.pt",
        )
        for size in RSPIN
    ),
)
