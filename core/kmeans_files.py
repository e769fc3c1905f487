"""Codewords of k-means as they are published: files of joblib or pickle with an estimator of scikit-learn in them, or arrays.

Neither joblib nor scikit-learn, of whatever version, is needed, and no code of a file is run: the unpickler here makes arrays
of numbers and plain containers, keeps objects of scikit-learn and numpy as `Inert`, and refuses all others.
"""

from __future__ import annotations

import bz2
import io
import lzma
import math
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from .errors import WeightsError
from .inert import Inert, harmless

__all__ = ["read_centers", "read_pickle"]

LARGEST = 1 << 30  # bytes: the largest codebook published is some MB, and a packed file may be made to unfold without end
# What files of joblib hold beside numbers. Of these nothing is imported.
KNOWN = (
    "sklearn.cluster.",
    "joblib.numpy_pickle.NumpyArrayWrapper",
    "numpy.random.",
    "numpy.ndarray",
    "numpy.matrix",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer",
    "builtins.object",
    "__builtin__.object",
)
NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
NAMES = ("cluster_centers_", "cluster_centers", "centers", "centroids")


def read_centers(path: Path, width: int | None = None) -> np.ndarray:
    """The codewords of a file, float32 (K, D): `.npy`, `.npz`, or what `read_pickle` reads with `cluster_centers_` in it.

    Raises `WeightsError`: code in the file, no codewords, or codewords that are not of `width` numbers.
    """
    found = _array(path) if path.suffix in (".npy", ".npz") else _codewords(read_pickle(path))
    if found is None:
        raise WeightsError(
            f"{str(path)!r} holds no codewords of k-means; expected an estimator with cluster_centers_, or an array"
        )
    centers = np.asarray(found)
    if centers.ndim != 2 or not centers.size or not np.issubdtype(centers.dtype, np.floating):
        raise WeightsError(f"{str(path)!r} holds codewords of shape {centers.shape}, {centers.dtype}; expected numbers (K, D)")
    if not np.isfinite(centers).all():
        raise WeightsError(f"{str(path)!r} holds codewords that are not finite")
    if width is not None and centers.shape[1] != width:
        raise WeightsError(
            f"{str(path)!r} holds {centers.shape[0]} codewords of {centers.shape[1]} numbers, the layer gives {width}: they "
            "were learnt on another model"
        )
    return centers.astype(np.float32)


def read_pickle(path: Path) -> Any:
    """What a file of joblib or pickle holds, packed (zlib, gzip, bz2, xz) or not; objects as `Inert`, arrays as arrays.

    Raises `WeightsError` for a file that is missing or damaged, and for one that names anything else to be called.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    try:
        return _resolve(_Unpickler(io.BytesIO(_unpacked(data))).load())
    except WeightsError as error:
        raise WeightsError(f"{str(path)!r} {error}") from None
    except Exception as error:  # what a damaged pickle raises is of every kind
        raise WeightsError(f"{str(path)!r} is damaged or no file of joblib: {type(error).__name__}: {error}") from None


def _unpacked(data: bytes) -> bytes:
    """The pickle in a file, however it is packed."""
    if (unfolder := _unfolder(data[:2])) is None:
        return data
    plain: bytes = unfolder.decompress(data, LARGEST + 1)
    if len(plain) > LARGEST:
        raise WeightsError(f"unfolds to more than {LARGEST >> 20} MiB")
    return plain


def _unfolder(head: bytes) -> Any:
    """By the first two bytes; zlib's second is a check of both."""
    if head == b"\x1f\x8b" or (head[:1] == b"\x78" and int.from_bytes(head, "big") % 31 == 0):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip
    if head == b"BZ":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor() if head in (b"\xfd7", b"]\x00") else None


class _Unpickler(pickle._Unpickler):  # the one in Python: arrays lie in the stream after the object that tells of them
    """Objects to `Inert`, arrays to arrays."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{module.removeprefix('sklearn.externals.')}.{name}"
        if dotted == "_codecs.encode":
            return _encoded
        if dotted == "collections.OrderedDict":
            return dict
        if dotted in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            return _reconstructed
        if not harmless(dotted, KNOWN):
            raise WeightsError(f"holds pickled code ({dotted}), which is refused: only the numbers of k-means are read")
        return Inert.called(dotted)

    def persistent_load(self, pid: Any) -> Any:
        raise WeightsError("refers to objects outside of it, which is refused")

    def get_extension(self, code: int) -> Any:
        raise WeightsError("names classes by number, which is refused")

    def load_build(self) -> None:
        super().load_build()  # type: ignore[misc]
        made = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(made, Inert) and made.name.endswith("NumpyArrayWrapper"):
            self.stack[-1] = _inline_array(made.state, self.file)  # type: ignore[attr-defined]

    dispatch[pickle.BUILD[0]] = load_build


def _encoded(text: str, coding: str = "latin1") -> bytes:
    """Bytes, as old protocols write them."""
    if not isinstance(text, str) or coding != "latin1":
        raise WeightsError(f"has bytes coded as {coding!r}; expected latin1")
    return text.encode("latin1")


def _reconstructed(cls: Any, *_: Any) -> Inert:
    """An object as the oldest protocols make it."""
    if not (isinstance(cls, type) and issubclass(cls, Inert)):
        raise WeightsError("makes an object of what is no class, which is refused")
    return cls()


def _inline_array(told: Mapping[str, Any], file: BinaryIO) -> np.ndarray:
    """The array whose numbers come next in a stream of joblib."""
    kind, shape = _dtype(told["dtype"]), _shape(told["shape"])
    if told.get("numpy_array_alignment_bytes") is not None:
        file.read(file.read(1)[0])
    return _made(file.read(math.prod(shape) * kind.itemsize), kind, shape, told["order"] == "F")


def _resolve(thing: Any) -> Any:
    """`thing` with the arrays in it made."""
    if isinstance(thing, dict):
        return {key: _resolve(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return type(thing)(_resolve(value) for value in thing)
    if not isinstance(thing, Inert):
        return thing
    if thing.name.endswith("._reconstruct") and isinstance(thing.state, tuple):
        _, shape, kind, columns, data = thing.state
        return _made(data, _dtype(kind), _shape(shape), bool(columns))
    if thing.name.endswith("._frombuffer"):
        data, kind, shape, order = thing.args
        return _made(data, _dtype(kind), _shape(shape), order == "F")
    thing.state = _resolve(thing.state)
    return thing


def _made(data: Any, kind: np.dtype[Any], shape: tuple[int, ...], columns: bool) -> np.ndarray:
    data = bytes(data)
    if len(data) != math.prod(shape) * kind.itemsize:
        raise WeightsError(f"is damaged: {len(data)} bytes for an array of shape {shape}")
    array = np.frombuffer(data, kind)
    return array.reshape(shape[::-1]).T.copy() if columns else array.reshape(shape).copy()


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and 0 <= n <= LARGEST for n in shape):
        raise WeightsError(f"has an array of shape {shape!r}")
    return shape


def _dtype(kind: Any) -> np.dtype[Any]:
    """Of numbers alone, from what the pickle says of it."""
    name = kind.args[0] if isinstance(kind, Inert) and kind.name == "numpy.dtype" and kind.args else kind
    if name not in NUMBERS:
        raise WeightsError(f"has an array of {name!r}; only arrays of numbers are read")
    state = kind.state if isinstance(kind, Inert) else None
    order = state[1] if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">") else "="
    return np.dtype(f"{order}{name}")


def _codewords(thing: Any) -> Any:
    """In an estimator, a dict of its attributes, or a bare array."""
    if isinstance(thing, Inert):
        thing = thing.state
    if isinstance(thing, Mapping):
        return next((thing[name] for name in NAMES if isinstance(thing.get(name), np.ndarray)), None)
    return thing if isinstance(thing, np.ndarray) else None


def _array(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else _codewords(dict(loaded))
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise WeightsError(f"{str(path)!r} is damaged or no array: {error}") from None
