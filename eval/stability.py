"""Checks of stability: codes under every change of procedure that should not matter, compared by `agreement`.

The clip encoded again after decoding (over rounds, as arXiv:2509.02349), a slice encoded alone (as arXiv:2409.19283), pushed
through a stream, in a batch, in lower precision, with another number of threads, by another engine.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError, WrongModelError
from ..core.facts import Facts
from ..core.tokens import Tokens
from .agreement import Agreement, agreement, agreement_of_clips, clip_codes
from .attempts import attempt
from .metric import MetricError

if TYPE_CHECKING:
    from ..core.model import Model

__all__ = [
    "Check",
    "batch",
    "default_checks",
    "engine",
    "precision",
    "reencoding",
    "repetition",
    "slice_samples",
    "slices",
    "stability",
    "streaming",
    "threads",
]


@dataclass(frozen=True, eq=False)
class Check:
    """A change of procedure that should leave codes as they are.

    Attributes:
        definitions: text by name of each result.
        function: (model, a clip at the model's rate, its tokens by `encode`) -> agreements by name. Raises `VoxzooError`
            where the check has no meaning for this model or clip.
    """

    definitions: Mapping[str, str]
    function: Callable[[Model, Audio, Tokens], Mapping[str, Agreement]]


def default_checks(
    rounds: int = 3, pushes: Sequence[float] = (0.1, 1.0), slice_seconds: float = 1.0, onnx: Model | None = None
) -> list[Check]:
    """All checks.

    Args:
        rounds: of encoding what was decoded.
        pushes: seconds pushed at a time into a stream.
        slice_seconds: length of the slices encoded alone.
        onnx: the same model with `engine="onnx"`; without it that check has no value.
    """
    return [
        repetition(),
        reencoding(rounds),
        slices(slice_seconds),
        *(streaming(seconds) for seconds in pushes),
        batch(),
        *(precision(dtype) for dtype in ("bfloat16", "float16")),
        threads(),
        engine("onnx", onnx),
    ]


def stability(
    model: Model,
    clips: Sequence[Audio],
    checks: Sequence[Check],
    streams: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Agreement of frames under changes of procedure.

    Returns, by the name of each result: `clips`, `failed` (clips by reason), and what `Agreement.to_dict` gives; or
    `{"missing": reason}`. Raises `VoxzooError` when no clips are given.
    """
    if not clips:
        raise AudioError("no clips were given; expected at least one")
    results: dict[str, list[Agreement | str]] = {name: [] for check in checks for name in check.definitions}
    for done, clip in enumerate(clips, 1):
        ready = clip.resample(model.facts.sample_rate, model.resampler)
        tokens = attempt(model.encode, ready, streams=streams)
        for check in checks:
            made = tokens if isinstance(tokens, str) else attempt(check.function, model, ready, tokens)
            for name in check.definitions:
                results[name].append(made if isinstance(made, str) else made[name])
        if progress:
            progress(done, len(clips), "stability")
    return {name: agreement_of_clips(parts) for name, parts in results.items()}


def _simple(name: str, definition: str, again: Callable[[Model, Audio, Tokens], Tokens]) -> Check:
    return Check({name: definition}, lambda model, clip, tokens: {name: agreement(tokens, again(model, clip, tokens))})


def _encode(model: Model, clip: Audio | list[Audio], tokens: Tokens) -> Tokens:
    return model.encode(clip, streams=len(tokens.codes))


def repetition() -> Check:
    """The same call again."""
    return _simple("repeat", "encoded a second time", _encode)


def reencoding(rounds: int) -> Check:
    """encode(decode(tokens)), again and again, against the first tokens."""
    names = [f"reencode_{r}" for r in range(1, rounds + 1)]

    def check(model: Model, clip: Audio, tokens: Tokens) -> dict[str, Agreement]:
        found, latest = {}, tokens
        for name in names:
            latest = _encode(model, model.decode(latest), tokens)
            found[name] = agreement(tokens, latest)
        return found

    return Check({name: f"decoded and encoded again, {r} time(s) over" for r, name in enumerate(names, 1)}, check)


def slices(seconds: float) -> Check:
    """Each slice alone, against the same frames of the whole clip."""
    name = f"slice_{seconds:g}s"

    def check(model: Model, clip: Audio, tokens: Tokens) -> dict[str, Agreement]:
        size = slice_samples(model.facts, seconds)
        count = len(clip) // size
        if count < 2:
            raise MetricError(f"the clip is too short: it takes two slices of {seconds:g} s")
        parts = [Audio(clip.samples[i * size : (i + 1) * size], clip.sample_rate) for i in range(count)]
        whole = clip_codes(tokens)[0]
        frames = [int(size * rate / clip.sample_rate) for rate in model.facts.frame_rates[: len(whole)]]
        alone = clip_codes(_encode(model, parts, tokens))
        context = [[c[i * n : (i + 1) * n] for c, n in zip(whole, frames, strict=True)] for i in range(count)]
        return {name: Agreement.total(agreement(x, y) for x, y in zip(context, alone, strict=True))}

    return Check({name: f"slices of {seconds:g} s (to whole frames of all streams), each encoded alone"}, check)


def slice_samples(facts: Facts, seconds: float) -> int:
    """Samples of about `seconds` that make a whole number of frames of every stream."""
    rates = [*facts.frame_rates, Fraction(facts.sample_rate)]
    period = Fraction(math.lcm(*(r.denominator for r in rates)), math.gcd(*(r.numerator for r in rates)))
    return int(max(1, round(seconds / period)) * period * facts.sample_rate)


def streaming(seconds: float) -> Check:
    """Pushed into a stream, `seconds` at a time."""

    def again(model: Model, clip: Audio, tokens: Tokens) -> Tokens:
        step = max(1, round(seconds * clip.sample_rate))
        with model.stream_encoder(streams=len(tokens.codes)) as stream:
            parts = [stream.push(clip.samples[i : i + step]) for i in range(0, len(clip), step)]
            return Tokens.concatenate([*parts, stream.finish()])

    return _simple(f"streaming_{1000 * seconds:g}ms", f"pushed into a stream, {1000 * seconds:g} ms at a time", again)


def batch() -> Check:
    """In a batch with others."""

    def again(model: Model, clip: Audio, tokens: Tokens) -> Tokens:
        longer = np.pad(clip.samples[::-1], (0, len(clip) // 2), mode="wrap")
        return _encode(model, [clip, Audio(longer, clip.sample_rate)], tokens)[0]

    return _simple("batch", "in a batch with a longer sound: itself backwards, one and a half times over", again)


def precision(dtype: str) -> Check:
    """In lower precision by autocast, on the same device."""

    def again(model: Model, clip: Audio, tokens: Tokens) -> Tokens:
        import torch

        if not hasattr(model, "dtype"):
            raise MetricError("a bundle has the precision it was exported with")
        if model.dtype != torch.float32:
            raise MetricError(f"the model itself runs in {str(model.dtype).rpartition('.')[2]}")
        lower = copy.copy(model)
        lower.dtype = getattr(torch, dtype)
        return _encode(lower, clip, tokens)

    return _simple(dtype, f"by torch autocast to {dtype}, against float32", again)


def threads() -> Check:
    """With another number of threads."""

    def again(model: Model, clip: Audio, tokens: Tokens) -> Tokens:
        import torch

        if not hasattr(model, "dtype"):
            raise MetricError("the graphs of a bundle keep the threads they were opened with")
        before = torch.get_num_threads()
        torch.set_num_threads(1 if before > 1 else 2)
        try:
            return _encode(model, clip, tokens)
        finally:
            torch.set_num_threads(before)

    return _simple("threads", "by one thread of torch instead of several (or by two instead of one)", again)


def engine(name: str, other: Model | None) -> Check:
    """By another engine: `other` is the same model, loaded with it."""

    def again(model: Model, clip: Audio, tokens: Tokens) -> Tokens:
        if other is None:
            raise MetricError(f"no model with engine={name!r} was given to compare with")
        if other.fingerprint != model.fingerprint:
            raise WrongModelError(f"the model with engine={name!r} has other weights than this one")
        return _encode(other, clip, tokens)

    return _simple(name, f"by engine={name!r}, against torch", again)
