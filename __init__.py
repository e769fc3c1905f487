"""Voxzoo: speech tokenizers and neural codecs behind one `encode` / `decode`.

    import voxzoo
    model = voxzoo.load("vox-rvq-16k")
    tokens = model.encode("speech.wav")
    audio = model.decode(tokens)

`import voxzoo` and the facts of every model need neither torch nor numpy; `Audio` and `Tokens` import numpy when first
touched, `load` imports torch, unless it is given a bundle that `voxzoo export` wrote.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.errors import (
    AudioError,
    CorpusError,
    ExportError,
    MissingExtraError,
    ModelError,
    NotDecodableError,
    TokensError,
    UnknownModelError,
    VoxzooError,
    WeightsError,
    WrongModelError,
)
from .core.facts import Facts
from .core.registry import Entry, entry, models

if TYPE_CHECKING:
    from .core.audio import Audio
    from .core.decoder import load_decoder
    from .core.loading import load
    from .core.tokens import Tokens
    from .corpus.reading import open

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "AudioError",
    "CorpusError",
    "Entry",
    "ExportError",
    "Facts",
    "MissingExtraError",
    "ModelError",
    "NotDecodableError",
    "Tokens",
    "TokensError",
    "UnknownModelError",
    "VoxzooError",
    "WeightsError",
    "WrongModelError",
    "entry",
    "load",
    "load_decoder",
    "models",
    "open",
]

_LATER = {
    "Audio": ".core.audio",
    "Tokens": ".core.tokens",
    "load": ".core.loading",
    "load_decoder": ".core.decoder",
    "open": ".corpus.reading",
}


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562) what needs numpy, so that `voxzoo models` answers at once."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
