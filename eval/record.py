"""A tokenized clip with all that is known about it: what the probes and analyzers of content work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.facts import Facts

__all__ = ["Record"]


@dataclass(frozen=True, eq=False)
class Record:
    """One clip.

    Attributes:
        id: of the clip in its source.
        audio: as read, mono, at the source's own rate; None where only tokens are known (shards).
        codes: one integer array (N_k,) per stream, without padding; fewer than `facts.streams` when only the first were kept.
        facts: of the model that made the codes.
        columns: what the manifest says: `speaker`, `gender`, `text`, `lang`, `phones`, ...; empty where it says nothing.
    """

    id: str
    audio: Audio | None
    codes: list[np.ndarray]
    facts: Facts
    columns: Mapping[str, Any] = field(default_factory=dict)
