"""Every error a user of Voxzoo can cause, in one tree.

    VoxzooError
    ├── AudioError          a file or array that is not usable sound
    ├── TokensError         tokens that are damaged, out of range or not what was asked for
    │   └── WrongModelError     tokens made by another model (both fingerprints are named)
    ├── ModelError          a model that cannot be found, built or used this way
    │   ├── UnknownModelError   a name the registry does not hold (near matches are named)
    │   ├── WeightsError        weights that are missing, damaged, of another shape, or not safe to read
    │   ├── NotDecodableError   a tokenizer without a decoder (what would be needed is named)
    │   └── ExportError         a model, or a part of one, that makes no graph (which part, and why)
    ├── CorpusError         a source or an output folder that cannot be used
    └── MissingExtraError   an optional dependency (the `pip install` line is named)

Catch `VoxzooError` to catch them all. Messages are one line: what was given, what was wanted, what to do.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "CorpusError",
    "ExportError",
    "MissingExtraError",
    "ModelError",
    "NotDecodableError",
    "TokensError",
    "UnknownModelError",
    "VoxzooError",
    "WeightsError",
    "WrongModelError",
]


class VoxzooError(Exception):
    """Base of all errors Voxzoo raises on purpose; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class AudioError(VoxzooError):
    """The file or array is not usable sound."""


class TokensError(VoxzooError):
    """The tokens are damaged, out of range, or not of the form asked for."""


class WrongModelError(TokensError):
    """The tokens were made by another model than the one asked to decode them."""


class ModelError(VoxzooError):
    """The model cannot be found, built, or used this way."""


class UnknownModelError(ModelError):
    """The registry holds no model of this name."""


class WeightsError(ModelError):
    """The weights are missing, damaged, of another shape, or not safe to read."""


class NotDecodableError(ModelError):
    """The tokenizer has no decoder paired with it."""


class ExportError(ModelError):
    """The model cannot be exported: the part that cannot, and why, are named."""


class CorpusError(VoxzooError):
    """The corpus source or output folder cannot be used."""


class MissingExtraError(VoxzooError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"`{module}` is not installed; run: pip install 'voxzoo[{extra}]'")
        self.module, self.extra = module, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.module, self.extra)
