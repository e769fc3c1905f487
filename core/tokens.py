"""`Tokens`: what a tokenizer makes of sound, with everything needed to turn it back.

Letters: B clips, K streams (codebooks), N_k frames of stream k. Streams may run at unequal rates (SNAC), so codes are a
list of K arrays. A clip shorter than its batch is padded with -1, which is never a code.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from .errors import TokensError, VoxzooError
from .facts import Facts
from .files import replacing

__all__ = ["FORMAT", "PADDING", "Tokens"]

PADDING = -1
FORMAT = "voxzoo.tokens/1"
BITSTREAM = b"\x89VXB"  # how a file of the other form begins


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes of B clips.

    Attributes:
        codes: K arrays, int64 (B, N_k), torch tensors or numpy; -1 pads clips shorter than the batch. K may be less than
            `facts.streams` when only the first streams were asked for.
        lengths: int64 numpy (B,), true samples of each clip at `facts.sample_rate`.
        facts: of the model that made them.
        fingerprint: sha256 (hex) of that model's config and weights.
        resampler: which resampler brings other rates to `facts.sample_rate`.
        extras: what decoding needs besides codes, each float32 (B, N_0), one value per frame of the first stream
            (EnCodec 48 kHz: `scales`).
        batched: whether a list went in, so that `decode` gives a list back.

    Raises `TokensError` when shapes, counts or codes do not fit the facts.
    """

    codes: Sequence[Any]
    lengths: np.ndarray
    facts: Facts
    fingerprint: str
    resampler: str = "soxr-hq"
    extras: Mapping[str, Any] = field(default_factory=dict)
    batched: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", list(self.codes))
        object.__setattr__(self, "lengths", _integers("lengths", np.asarray(self.lengths)).reshape(-1))
        _check(self)

    def __len__(self) -> int:
        """B, the number of clips."""
        return len(self.lengths)

    def __repr__(self) -> str:
        frames = [c.shape[1] for c in self.codes]
        counts = f"{frames[0]} frames each" if len(set(frames)) == 1 else f"{', '.join(map(str, frames))} frames"
        return f"Tokens({self.facts.name}, {len(self)} clip(s), {len(self.codes)} stream(s), {counts})"

    def __getitem__(self, i: int) -> Tokens:
        """One clip (B = 1), cut to its own number of frames."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"clip {i} of {len(self)}")
        i %= len(self)
        frames = self.frames[i]
        codes = [c[i : i + 1, :n] for c, n in zip(self.codes, frames, strict=True)]
        extras = {key: value[i : i + 1, : frames[0]] for key, value in self.extras.items()}
        return replace(self, codes=codes, lengths=self.lengths[i : i + 1], extras=extras, batched=False)

    @property
    def frames(self) -> np.ndarray:
        """int64 (B, K): true number of frames of each clip in each stream."""
        return np.stack([np.asarray((c >= 0).sum(1).tolist(), dtype=np.int64) for c in self.codes], axis=1)

    @property
    def durations(self) -> np.ndarray:
        """float64 (B,): seconds."""
        return self.lengths / self.facts.sample_rate

    @property
    def bitrate(self) -> float:
        """Nominal bits per second of the streams held here."""
        return self.facts.bitrate_of(len(self.codes))

    def streams(self, k: int) -> Tokens:
        """The first `k` streams."""
        if not 1 <= k <= len(self.codes):
            raise TokensError(f"streams={k}; expected 1 to {len(self.codes)}")
        return replace(self, codes=self.codes[:k])

    def numpy(self) -> Tokens:
        """The same tokens with numpy codes."""
        extras = {key: _numpy(value) for key, value in self.extras.items()}
        return replace(self, codes=[_numpy(c) for c in self.codes], extras=extras)

    def torch(self, device: Any = "cpu") -> Tokens:
        """The same tokens with torch codes on `device`."""
        import torch

        extras = {key: torch.as_tensor(value, dtype=torch.float32, device=device) for key, value in self.extras.items()}
        return replace(self, codes=[torch.as_tensor(c, dtype=torch.int64, device=device) for c in self.codes], extras=extras)

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Tokens:
        """Join parts of one clip in time, as streaming gives them."""
        if not parts:
            raise TokensError("no tokens to concatenate")
        if any(len(p) != len(parts[0]) or len(p.codes) != len(parts[0].codes) for p in parts):
            raise TokensError("parts to concatenate differ in clips or streams")
        if any(p.fingerprint != parts[0].fingerprint for p in parts):
            raise TokensError("parts to concatenate differ in the model that made them")
        join = np.concatenate if isinstance(parts[0].codes[0], np.ndarray) else _torch_cat
        codes = [join([p.codes[k] for p in parts], 1) for k in range(len(parts[0].codes))]
        extras = {key: join([p.extras[key] for p in parts], 1) for key in parts[0].extras}
        return replace(parts[0], codes=codes, lengths=np.sum([p.lengths for p in parts], axis=0), extras=extras)

    def save(self, path: str | os.PathLike[str] | BinaryIO) -> None:
        """Write one safetensors file (or to a binary file object); a half-written file is never left."""
        data = self.to_bytes()
        if not isinstance(path, (str, os.PathLike)):
            path.write(data)
            return
        try:
            with replacing(path) as temporary:
                Path(temporary).write_bytes(data)
        except OSError as error:
            raise TokensError(f"cannot write {str(path)!r}: {error.strerror or error}") from None

    def to_bytes(self) -> bytes:
        """The safetensors form: `codes.k`, `lengths`, `extras.*`, and the facts in the metadata."""
        from safetensors.numpy import save

        tokens = self.numpy()
        arrays = {"lengths": tokens.lengths}
        for k, (codes, size) in enumerate(zip(tokens.codes, self.facts.codebook_sizes, strict=False)):
            arrays[f"codes.{k}"] = np.ascontiguousarray(codes, dtype=np.int16 if size <= 1 << 15 else np.int32)
        arrays |= {f"extras.{key}": np.ascontiguousarray(value, dtype=np.float32) for key, value in tokens.extras.items()}
        metadata = {
            "format": FORMAT,
            "model": self.facts.name,
            "facts": json.dumps(self.facts.to_dict()),
            "fingerprint": self.fingerprint,
            "resampler": self.resampler,
            "batched": str(int(self.batched)),
        }
        return _sorted_header(save(arrays, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str] | BinaryIO, framework: Literal["auto", "torch", "numpy"] = "auto") -> Tokens:
        """Read what `save` or `write_bitstream` wrote. Codes are torch tensors where torch is installed, unless
        `framework="numpy"`.

        Raises `TokensError` when the file is missing, truncated, of another kind, or holds codes out of range.
        """
        if isinstance(path, (str, os.PathLike)):
            name = repr(os.fspath(path))
            try:
                data = Path(path).read_bytes()
            except OSError as error:
                raise TokensError(f"{name} cannot be read: {error.strerror or error}") from None
        else:
            name, data = repr(getattr(path, "name", "token bytes")), path.read()
        try:
            tokens = cls._from_bitstream(data) if data[:4] == BITSTREAM else cls._from_bytes(data)
        except TokensError as error:
            raise TokensError(f"{name}: {error}") from None
        if framework == "numpy" or (framework == "auto" and importlib.util.find_spec("torch") is None):
            return tokens
        return tokens.torch()

    @staticmethod
    def _from_bitstream(data: bytes) -> Tokens:
        from .bitstream import read_bitstream  # which imports this module

        return read_bitstream(io.BytesIO(data))

    @classmethod
    def _from_bytes(cls, data: bytes) -> Tokens:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            metadata = header.get("__metadata__", {})
        except (SafetensorError, ValueError, KeyError, AttributeError) as error:
            raise TokensError(f"not a whole tokens file: {error}") from None
        if metadata.get("format") != FORMAT:
            raise TokensError(f"not a tokens file: its format is {metadata.get('format')!r}, expected {FORMAT!r}")
        try:
            facts = Facts.from_dict(json.loads(metadata["facts"]))
            streams = sum(key.startswith("codes.") for key in arrays)
            codes = [_integers(f"codes.{k}", arrays[f"codes.{k}"]) for k in range(streams)]
            extras = {key.removeprefix("extras."): arrays[key] for key in arrays if key.startswith("extras.")}
            return cls(codes, arrays["lengths"], facts, metadata["fingerprint"], metadata["resampler"], extras,
                       metadata["batched"] == "1")  # fmt: skip
        except (KeyError, ValueError) as error:
            raise TokensError(f"a part of the tokens file is missing or damaged: {error}") from None
        except VoxzooError as error:
            raise TokensError(str(error)) from None


def _numpy(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def _torch_cat(arrays: Sequence[Any], axis: int) -> Any:
    import torch

    return torch.cat(list(arrays), axis)


def _integers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iu" and array.size:
        raise TokensError(f"{name} are {array.dtype}; expected integers")
    return array.astype(np.int64, copy=False)


def _sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its header in a fixed order (the library's varies): equal tokens, equal bytes."""
    size = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _check(tokens: Tokens) -> None:
    facts, clips = tokens.facts, len(tokens.lengths)
    if not 1 <= len(tokens.codes) <= facts.streams:
        raise TokensError(f"{len(tokens.codes)} streams of codes; {facts.name} has 1 to {facts.streams}")
    if (tokens.lengths < 0).any():
        raise TokensError("a clip has a negative length")
    for k, codes in enumerate(tokens.codes):
        if codes.ndim != 2 or codes.shape[0] != clips:
            raise TokensError(f"codes of stream {k} have shape {tuple(codes.shape)}; expected ({clips}, N)")
        if "int" not in str(codes.dtype):
            raise TokensError(f"codes of stream {k} are {codes.dtype}; expected integers")
        if 0 in codes.shape:
            continue
        low, high = int(codes.min()), int(codes.max())
        if low < PADDING or high >= facts.codebook_sizes[k]:
            wrong = high if high >= facts.codebook_sizes[k] else low
            raise TokensError(f"stream {k} holds code {wrong}; {facts.name} has codes 0 to {facts.codebook_sizes[k] - 1}")
        if low < 0 and bool(((codes[:, 1:] >= 0) & (codes[:, :-1] < 0)).any()):
            raise TokensError(f"stream {k} holds padding (-1) before a code; padding may only follow")
    for key, value in tokens.extras.items():
        if tuple(value.shape) != tuple(tokens.codes[0].shape):
            raise TokensError(
                f"extras {key!r} have shape {tuple(value.shape)}; expected {tuple(tokens.codes[0].shape)}, as stream 0"
            )
