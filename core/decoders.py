"""The registry of decoders: what turns a mel spectrogram, or units, into sound. Data, told without importing torch.

A second table beside that of the models, since a decoder has neither tokens nor codebooks of its own. The entries lie in
`entries/decoders.py`; `core.decoder` holds what they build.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from .errors import ModelError, UnknownModelError
from .registry import Weights, near_names

__all__ = ["DecoderEntry", "DecoderFacts", "decoder_entry", "decoders"]


@dataclass(frozen=True)
class DecoderFacts:
    """What can be known of a decoder without loading it.

    Attributes:
        name: registry name.
        takes: "mel", log-mel frames; "codes", of a tokenizer, to make sound of; "tokens", to make log-mel frames of.
        sample_rate: Hz of the sound.
        frame_rate: of what it takes, per second, exact.
        context: frames before and after one that its sound depends on; None where that is the whole clip.
        params: number of parameters.
        code_licence, weights_licence: SPDX names or what the publisher states.
        source: where it comes from.
        paper: where the method is described.
    """

    name: str
    takes: Literal["mel", "codes", "tokens"]
    sample_rate: int
    frame_rate: Fraction
    context: tuple[int, int] | None
    params: int
    code_licence: str
    weights_licence: str
    source: str
    paper: str

    @property
    def hop(self) -> int:
        """Samples for a frame."""
        return int(self.sample_rate / self.frame_rate)


@dataclass(frozen=True)
class DecoderEntry:
    """One decoder of the zoo.

    Attributes:
        facts: readable without loading anything.
        build: "package.module:ClassName" of its `Decoder`.
        config: the configuration of the published weights (JSON-able), the constants of its mel front end among them.
        tiny: changes to `config` that make a small one for tests.
        about: one line for the table.
        streaming: how it streams, with the measured context and agreement.
        compared: what it was compared with, and to which tolerance; or that it was not.
        weights: where the published checkpoint lies; None for what is bundled with Voxzoo, and where there is none.
        unpublished: where there are no weights to be had from here: that, and what to do instead; else empty.
        plays: of what takes tokens, the tokenizers (registry names) whose tokens it speaks.
        vocoder: of what takes tokens, the decoder (registry name) that makes sound of its mel.
    """

    facts: DecoderFacts
    build: str
    config: Mapping[str, Any]
    tiny: Mapping[str, Any]
    about: str
    streaming: str
    compared: str
    weights: Weights | None = None
    unpublished: str = ""
    plays: tuple[str, ...] = ()
    vocoder: str = ""

    @property
    def name(self) -> str:
        """Registry name."""
        return self.facts.name

    @property
    def bundled(self) -> bool:
        """Whether the weights ship inside the package."""
        return self.weights is None and not self.unpublished


@functools.cache
def _table() -> dict[str, DecoderEntry]:
    from .entries import decoders, flows

    entries = (*decoders.ENTRIES, *flows.ENTRIES)
    table = {item.name: item for item in entries}
    if len(table) != len(entries):
        raise ModelError("two decoders are registered by the same name")
    return table


def decoders() -> list[str]:
    """Names of all decoders, in the order of the table."""
    return list(_table())


def decoder_entry(name: str) -> DecoderEntry:
    """The entry of `name`. Raises `UnknownModelError`, with near matches, when there is none."""
    table = _table()
    if name not in table:
        raise UnknownModelError(f"no decoder is called {name!r}: {near_names(name, table)}there are {', '.join(table)}")
    return table[name]
