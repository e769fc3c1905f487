"""Facts of models that never were, for the tests of layouts: equal streams, trees, Step-Audio, Spirit LM."""

from __future__ import annotations

from fractions import Fraction

from voxzoo import Facts


def facts(sizes: tuple[int, ...], rates: tuple[Fraction | int, ...]) -> Facts:
    return Facts(
        name="toy", kind="acoustic", sample_rate=16000, frame_rates=tuple(Fraction(rate) for rate in rates),
        codebook_sizes=sizes, causal=True, latency=0.0, params=1, code_licence="", weights_licence="", source="", paper="",
    )  # fmt: skip


def tree(streams: int) -> Facts:
    return facts((4096,) * streams, tuple(Fraction(375, 32) * 2**k for k in range(streams)))


def equal(streams: int, size: int = 1024, rate: int = 25) -> Facts:
    return facts((size,) * streams, (rate,) * streams)


STEP = facts((1024, 4096), (Fraction(50, 3), 25))
SPIRIT = facts((501, 64, 100), (25, Fraction(25, 2), 1))
