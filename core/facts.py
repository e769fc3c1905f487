"""The facts of a model: what can be known about it without loading weights or torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from .errors import ModelError

__all__ = ["Facts", "Kind"]

Kind = Literal["semantic", "acoustic", "speaker-invariant", "dual"]


@dataclass(frozen=True)
class Facts:
    """Facts of one model. `K` streams (codebooks), each with its own frame rate and size.

    Attributes:
        name: registry name.
        kind: what its tokens carry.
        sample_rate: Hz, of the sound going in, and of the sound coming out unless `decoded_sample_rate` says otherwise.
        frame_rates: frames per second of each stream (K), exact.
        codebook_sizes: number of codes of each stream (K).
        causal: a frame's tokens never depend on sound after that frame.
        latency: algorithmic latency of streaming encode plus decode, in seconds.
        params: number of parameters, codebooks included.
        code_licence, weights_licence: SPDX names or what the publisher states.
        source: where the model comes from (repository or URL).
        paper: where the method is described.
        channels: 1, or 2 where the network itself is stereo (mono sound is given to both).
        decoded_sample_rate: Hz of decoded sound, where it is not `sample_rate`.
    """

    name: str
    kind: Kind
    sample_rate: int
    frame_rates: tuple[Fraction, ...]
    codebook_sizes: tuple[int, ...]
    causal: bool
    latency: float
    params: int
    code_licence: str
    weights_licence: str
    source: str
    paper: str
    channels: int = 1
    decoded_sample_rate: int | None = None

    @property
    def output_rate(self) -> int:
        """Hz of decoded sound."""
        return self.decoded_sample_rate or self.sample_rate

    def decoded_length(self, samples: int) -> int:
        """Samples of decoded sound for `samples` that went in: as many, or ceil(T output_rate / sample_rate)."""
        return -(-samples * self.output_rate // self.sample_rate)

    @property
    def streams(self) -> int:
        """K, the number of streams."""
        return len(self.frame_rates)

    @property
    def bitrate(self) -> float:
        """Nominal bits per second of all streams: sum_k rate_k * log2(size_k)."""
        return self.bitrate_of(self.streams)

    def bitrate_of(self, streams: int) -> float:
        """Nominal bits per second of the first `streams` streams."""
        pairs = list(zip(self.frame_rates, self.codebook_sizes, strict=True))[:streams]
        return sum(float(rate) * math.log2(size) for rate, size in pairs)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict; frame rates are strings such as "75/2"; `bitrate` is added for readers."""
        rates = [str(rate) for rate in self.frame_rates]
        return {**asdict(self), "frame_rates": rates, "codebook_sizes": list(self.codebook_sizes), "bitrate": self.bitrate}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Facts:
        """The inverse of `to_dict`. Raises `ModelError` when a field is missing."""
        try:
            kept = {field.name: data[field.name] for field in fields(cls) if field.name in data}
            kept["frame_rates"] = tuple(Fraction(rate) for rate in data["frame_rates"])
            kept["codebook_sizes"] = tuple(int(size) for size in data["codebook_sizes"])
            return cls(**kept)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"these facts of a model are not complete: {error}") from None
