"""How many frames a clip makes, and to how many samples it is completed, as plain data that needs neither torch nor numpy.

A model's own length law is code; a bundle states it as one of these:

    {"kind": "ceil", "hops": [h_k]}                        ceil(T / h_k) frames of stream k
    {"kind": "windows", "span": s, "hop": h, "frames": [n_k]}   (max(0, T - s) // h + 1) n_k: a window of s samples every h,
                                                           one that is not whole left out unless it is the only one
    {"kind": "segments", "segment": s, "step": p, "hop": h, "streams": K}   a segment at every multiple of p below T, of
                                                           n = min(s, T - start) samples, which makes ceil(n / h) frames

and the padding as {"multiple": m, "span": s, "more": r, "least": l}: to m (max(0, T - s) // m + 1) + r samples, which for
s = 1 and r = 0 is the next multiple of m, and to l at least. `fit_law` and `fit_padding` find them from the code, and check
them at many lengths.

Letters: T samples of a clip, K streams, N_k frames of stream k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..core.errors import ExportError, ModelError

__all__ = ["Law", "fit_law", "fit_padding", "frames", "padded", "ratios"]

Law = Mapping[str, Any]
SECONDS = 40  # up to which laws are checked, at lengths all over
STRIDE = 7919  # samples between them, a prime, so that they meet every residue


def frames(law: Law, samples: int) -> tuple[int, ...]:
    """Frames of each stream for `samples` samples, which is at least 1. Raises `ModelError` for a law that is not known."""
    kind = law.get("kind")
    if kind == "ceil":
        return tuple(-(-samples // hop) for hop in law["hops"])
    if kind == "windows":
        count = max(0, samples - law["span"]) // law["hop"] + 1
        return tuple(count * per for per in law["frames"])
    if kind == "segments":
        return (sum(_segments(law, samples)),) * int(law["streams"])
    raise ModelError(f"the length law {kind!r} is not known to this version of voxzoo; export the bundle again")


def _segments(law: Law, samples: int) -> Iterator[int]:
    for start in range(0, samples, law["step"]):
        yield -(-min(law["segment"], samples - start) // law["hop"])


def padded(padding: Law, samples: int) -> int:
    """Samples to which a clip of `samples` is completed with zeros before it is encoded."""
    multiple: int = padding["multiple"]
    size = multiple * (max(0, samples - padding.get("span", 1)) // multiple + 1) + int(padding.get("more", 0))
    return max(size, int(padding.get("least", 1)))


def ratios(law: Law) -> list[int]:
    """Frames of each stream for one of the slowest."""
    if law.get("kind") == "ceil":
        slowest = max(law["hops"])
        return [slowest // hop for hop in law["hops"]]
    if law.get("kind") == "windows":
        fewest = min(law["frames"])
        return [per // fewest for per in law["frames"]]
    return [1] * int(law["streams"])


def fit_law(count: Callable[[int], Sequence[int]], sample_rate: int) -> dict[str, Any]:
    """The law that gives what `count` gives, at every length tried. Raises `ExportError` when none does."""
    least = list(count(1))
    first = _jump(lambda n: count(n) != tuple(least), sample_rate)
    hop = _jump(lambda n: count(first + n) != count(first), sample_rate)
    span = first - hop
    law: dict[str, Any] = {"kind": "windows", "span": span, "hop": hop, "frames": least}
    if span == 1 and set(least) == {1}:
        law = {"kind": "ceil", "hops": [hop] * len(least)}
    _check(lambda n: frames(law, n) == tuple(count(n)), first, hop, sample_rate, "length law")
    return law


def fit_padding(size: Callable[[int], int], sample_rate: int) -> dict[str, int]:
    """The padding that gives what `size` gives, at every length tried. Raises `ExportError` when none does."""
    if all(size(n) == n for n in range(1, 5)):
        padding = {"multiple": 1, "span": 1, "more": 0}
    else:
        first = _jump(lambda n: size(n) != size(1), sample_rate)
        multiple = size(first) - size(1)
        padding = {"multiple": multiple, "span": first - multiple, "more": size(1) - multiple}
    _check(lambda n: padded(padding, n) == size(n), 1, padding["multiple"], sample_rate, "padding")
    return padding


def _jump(changed: Callable[[int], bool], most: int) -> int:
    """The least length at which something has changed that stays changed: by doubling, then halving."""
    high = 1
    while not changed(high):
        high *= 2
        if high > 100 * most:
            raise ExportError("the number of frames does not grow with the sound, so that no bundle can state its law")
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if changed(middle) else (middle, high)
    return high


def _check(holds: Callable[[int], bool], first: int, hop: int, sample_rate: int, what: str) -> None:
    near = [n for k in range(4) for n in (first + k * hop - 1, first + k * hop, first + k * hop + 1)]
    for n in [*range(1, 10), *near, *range(STRIDE, SECONDS * sample_rate, STRIDE)]:
        if n > 0 and not holds(n):
            raise ExportError(f"the model's {what} at {n} samples is none that a bundle can state")
