"""Names of the layouts, and layouts made from a model's facts or from what was stored.

layout_names()                                   # all of them
make_layout("moshi", facts, acoustic_delay=2)    # parameters are the layout's own fields
layout_from(data)                                # the inverse of layout.to_dict()
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ..core.errors import CorpusError
from ..core.facts import Facts
from .layout import SequenceLayout
from .layout_channels import MiniOmni, Moshi
from .layout_chunks import MiniCpmO, OmniFlatten, OmniFlatten2, OmniFlatten3
from .layout_parallel import CoarseFirst, Delay, Flat, Parallel, Valle
from .layout_rows import Csm
from .layout_tree import Orpheus, Tree
from .layout_turns import CosyVoice2, CosyVoice3, Glm4Voice, MinMo, StepAudio
from .layout_units import Dedup, SpiritLM

__all__ = ["LAYOUTS", "layout_from", "layout_kind", "layout_names", "make_layout", "parameters"]

KINDS: tuple[type[SequenceLayout], ...] = (
    Flat, Parallel, Delay, CoarseFirst, Valle, Tree, Orpheus, MiniOmni, Moshi, Glm4Voice, CosyVoice2, CosyVoice3, MinMo,
    OmniFlatten, OmniFlatten3, OmniFlatten2, MiniCpmO, StepAudio, Csm, Dedup, SpiritLM,
)  # fmt: skip
LAYOUTS: Mapping[str, type[SequenceLayout]] = {kind.name: kind for kind in KINDS}
ALIASES = {"musicgen": "delay", "vall-e": "valle"}


def layout_names() -> list[str]:
    """Names of all layouts."""
    return list(LAYOUTS)


def make_layout(name: str, facts: Facts, streams: int | None = None, **settings: Any) -> SequenceLayout:
    """A layout for the tokens of a model.

    Args:
        name: one of `layout_names()`.
        facts: of the model.
        streams: how many of its streams the tokens have; all by default.
        settings: fields of the layout, of the right type or as text ("true", "7", "0,1,2").

    Raises `CorpusError` for an unknown name or parameter, and where layout and streams do not suit each other.
    """
    count = facts.streams if streams is None else streams
    kind = layout_kind(name)
    given = {key: _value(kind, key, value) for key, value in settings.items()}
    return kind(sizes=tuple(facts.codebook_sizes[:count]), rates=tuple(facts.frame_rates[:count]), **given)


def layout_from(data: Mapping[str, Any]) -> SequenceLayout:
    """The layout of which `data` is `to_dict()`. Raises `CorpusError` when it is none."""
    try:
        kind = layout_kind(str(data["name"]))
        given = {key: _value(kind, key, value) for key, value in data.items() if key not in ("name", "sizes", "rates")}
        sizes, rates = tuple(int(size) for size in data["sizes"]), tuple(Fraction(rate) for rate in data["rates"])
        return kind(sizes=sizes, rates=rates, **given)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CorpusError(f"these parameters of a layout are damaged: {type(error).__name__}: {error}") from None


def layout_kind(name: str) -> type[SequenceLayout]:
    """The class of a layout, by its name or another that it is known by. Raises `CorpusError` when there is none."""
    name = ALIASES.get(name, name)
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, [*LAYOUTS, *ALIASES], 1)
        raise CorpusError(f"no layout {name!r}{f', did you mean {near[0]!r}?' if near else ''}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def parameters(kind: type[SequenceLayout]) -> dict[str, Any]:
    """Parameters of a layout and their defaults; those that are -1 or () follow from the streams."""
    return {field.name: field.default for field in dataclasses.fields(kind) if field.name not in ("sizes", "rates")}


def _value(kind: type[SequenceLayout], key: str, value: Any) -> Any:
    fields = {field.name: field.type for field in dataclasses.fields(kind) if field.name not in ("sizes", "rates")}
    if key not in fields:
        raise CorpusError(f"the layout {kind.name} has no parameter {key!r}; it has {', '.join(fields) or 'none'}")
    wanted = str(fields[key])
    try:
        if wanted == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if wanted.startswith("tuple"):
            return tuple(int(part) for part in (value.split(",") if isinstance(value, str) else value))
        return {"int": int, "float": float, "str": str}[wanted](value)
    except (KeyError, TypeError, ValueError):
        raise CorpusError(f"{key}={value!r} of the layout {kind.name}; expected {wanted}") from None
