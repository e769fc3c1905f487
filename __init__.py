"""Voxzoo: speech tokenizers and neural codecs behind one `encode` / `decode`.

    import voxzoo
    model = voxzoo.load("vox-rvq-16k")
    tokens = model.encode("speech.wav")
    audio = model.decode(tokens)

`import voxzoo` and the facts of every model need no torch; `load` does.
"""

from .core.audio import Audio
from .core.errors import (
    AudioError,
    CorpusError,
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
from .core.loading import load
from .core.registry import Entry, entry, models
from .core.tokens import Tokens

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "AudioError",
    "CorpusError",
    "Entry",
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
    "models",
]
