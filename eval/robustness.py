"""Robustness of a tokenizer: how its codes move when the sound is disturbed, and when only the procedure is.

Unit edit distance (`edit_distance.py`) under transforms of the sound (`transforms.py`), agreement of frames (`agreement.py`)
under those that keep time and under changes of procedure (`stability.py`), and the same measures by chance beside them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError, ModelError, VoxzooError
from . import agreement as agreements
from . import edit_distance
from .agreement import Agreement, Codes, agreement, agreement_of_clips, clip_codes
from .attempts import attempt, commonest, reasons
from .edit_distance import frame_symbols, unit_edit_distance
from .stability import default_checks, stability
from .transform import Transform
from .transforms import default_transforms

if TYPE_CHECKING:
    from ..core.model import Model

__all__ = ["OPTIONS", "robustness", "robustness_section"]

OPTIONS = ("noise", "rir", "seed", "rounds", "streams", "transforms", "onnx", "progress")
BATCH = 60.0  # seconds of padded sound encoded at a time
Progress = Callable[[int, int, str], None]  # (done, of how many, what)

CHANCE = {
    "chance.unit_edit_distance": "from the units of each clip to those of the next one, all undisturbed",
    "chance.agreement": "between the codes of each clip and the same codes in random order, stream by stream",
}


def robustness_section(model: Model, clips: Sequence[Audio], options: Mapping[str, Any]) -> dict[str, Any]:
    """The robustness part of an analysis: every transform, every check of stability, chance, and what each of them is.

    Args:
        model: that encodes the clips.
        clips: speech, at any rate.
        options: by name, all optional: `noise` and `rir` (recordings and measured room responses, sequences of `Audio`), `seed`
            (0), `rounds` of re-encoding (3), `streams` (all), `transforms` (names; all), `onnx` (the same model with that
            engine), `progress` (called as `progress(done, total, what)`).

    Returns:
        JSON-able, as `robustness`, with the checks beside the transforms in `agreement`.

    Raises:
        VoxzooError: options or names of transforms that are not there, or no clips.
    """
    _known(options, OPTIONS, "option")
    transforms = default_transforms(options.get("noise", ()), options.get("rir", ()))
    if options.get("transforms") is not None:
        _known(options["transforms"], [t.name for t in transforms], "transform")
        transforms = [t for t in transforms if t.name in options["transforms"]]
    checks = default_checks(options.get("rounds", 3), onnx=options.get("onnx"))
    total, tell = len(transforms) + len(clips), options.get("progress") or (lambda done, of, what: None)
    streams = options.get("streams")
    found = robustness(model, clips, transforms, streams, options.get("seed", 0), lambda done, _, what: tell(done, total, what))
    stable = stability(model, clips, checks, streams, lambda done, _, what: tell(done + len(transforms), total, what))
    found["agreement"] |= stable
    found["definitions"] |= {name: text for check in checks for name, text in check.definitions.items()}
    return found


def robustness(
    model: Model,
    clips: Sequence[Audio],
    transforms: Sequence[Transform],
    streams: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Unit edit distance and agreement of frames between clips and their transforms.

    Clips are brought to the model's rate first, by its own resampler. What is random in a transform follows from `seed`.

    Args:
        model: that encodes the clips.
        clips: speech, at any rate.
        transforms: what is done to them.
        streams: only the first so many streams (codebooks); all by default.
        seed: of all randomness.
        progress: called as `progress(done, total, what)`.

    Returns:
        JSON-able: `clips` and `seconds` that were encoded, `failed` (clips that were not, by reason), and

        - `unit_edit_distance`: by transform `clips`, `failed`, and by coding ("deduplicated", "raw") the values of each of
          `streams` and of whole `frames`, as `UnitEditDistance` names them, in percent;
        - `agreement`: by transform that keeps time `clips`, `failed`, and what `Agreement.to_dict` gives;
        - `chance`: both between clips that have nothing to do with each other;
        - `definitions`: text by name.

        What has no value is `{"missing": reason}`.

    Raises:
        VoxzooError: no clips, or streams the model does not have.
    """
    if not clips:
        raise AudioError("no clips were given; expected at least one")
    if streams is not None and not 1 <= streams <= model.facts.streams:
        raise ModelError(f"streams={streams}; {model.facts.name} has 1 to {model.facts.streams}")
    ready = [clip.resample(model.facts.sample_rate, model.resampler) for clip in clips]
    clean = _codes(model, ready, streams)
    kept = [i for i, codes in enumerate(clean) if not isinstance(codes, str)]
    base: list[Codes] = [codes for codes in clean if not isinstance(codes, str)]
    found: dict[str, Any] = {
        "clips": len(kept),
        "seconds": float(sum(ready[i].duration for i in kept)),
        "failed": reasons(clean),
        "unit_edit_distance": {},
        "agreement": {},
        "chance": _chance(base, seed) if base else {"missing": commonest(reasons(clean))},
    }
    for done, transform in enumerate(transforms, 1):
        codes = _codes(model, [ready[i] for i in kept], streams, transform, seed) if base else clean
        _enter(found, transform, base, codes)
        if progress:
            progress(done, len(transforms), transform.name)
    found["definitions"] = _definitions(transforms)
    return found


def _definitions(transforms: Sequence[Transform]) -> dict[str, str]:
    of_transforms = {transform.name: transform.definition for transform in transforms}
    return {**edit_distance.DEFINITIONS, "agreement": agreements.DEFINITION, **CHANCE, **of_transforms}


def _known(given: Any, there: Sequence[str], what: str) -> None:
    for name in given:
        if name not in there:
            near = difflib.get_close_matches(str(name), there, n=3, cutoff=0.4) or there
            raise VoxzooError(f"no {what} is called {name!r}; did you mean {' or '.join(map(repr, near))}?")


def _codes(
    model: Model, clips: Sequence[Audio], streams: int | None, transform: Transform | None = None, seed: int = 0
) -> list[Codes | str]:
    """Codes of each clip, transformed, or the reason why there are none."""
    found: list[Codes | str] = []
    for group in _groups(clips, alone="batch" in model.exceptions):
        sounds = [attempt(transform, clip, seed) if transform else clip for clip in group]
        found += _encoded(model, sounds, streams)
    return found


def _groups(clips: Sequence[Audio], alone: bool) -> Iterator[list[Audio]]:
    """Clips in their order, as many at a time as make `BATCH` seconds when padded to the longest."""
    group: list[Audio] = []
    for clip in clips:
        longest = max(c.duration for c in [*group, clip])
        if group and (alone or longest * (len(group) + 1) > BATCH):
            yield group
            group = []
        group.append(clip)
    if group:
        yield group


def _encoded(model: Model, sounds: Sequence[Audio | str], streams: int | None) -> list[Codes | str]:
    """As one batch, which changes no codes; one by one where that fails, to find the clip that is to blame."""
    whole = [sound for sound in sounds if isinstance(sound, Audio)]
    together = attempt(_encode, model, whole, streams) if whole else []
    if isinstance(together, str):
        each = [attempt(_encode, model, [clip], streams) for clip in whole]
        codes = iter([found if isinstance(found, str) else found[0] for found in each])
    else:
        codes = iter(together)
    return [sound if isinstance(sound, str) else next(codes) for sound in sounds]


def _encode(model: Model, clips: list[Audio], streams: int | None) -> Sequence[Codes | str]:
    return clip_codes(model.encode(clips, streams=streams))


def _enter(found: dict[str, Any], transform: Transform, clean: Sequence[Codes], codes: Sequence[Codes | str]) -> None:
    failed = reasons(codes)
    pairs = [(a, b) for a, b in zip(clean, codes, strict=False) if not isinstance(b, str)]
    distance: dict[str, Any] = {"missing": commonest(failed)}
    if pairs:
        distance = {"clips": len(pairs), "failed": failed, **_distances([a for a, _ in pairs], [b for _, b in pairs])}
    found["unit_edit_distance"][transform.name] = distance
    if transform.keeps_time:
        results = [code if isinstance(code, str) else agreement(a, code) for a, code in zip(clean, codes, strict=False)]
        found["agreement"][transform.name] = agreement_of_clips(results) if clean else distance


def _distances(clean: Sequence[Codes], other: Sequence[Codes]) -> dict[str, Any]:
    """By coding: the values of each stream, and of whole frames where there are several streams."""
    clips = list(zip(clean, other, strict=True))
    streams = [[(a[k], b[k]) for a, b in clips] for k in range(len(clean[0]))]
    found: dict[str, Any] = {c: {"streams": [_distance(pairs, c) for pairs in streams]} for c in ("deduplicated", "raw")}
    if len(streams) > 1:
        frames = attempt(lambda: [frame_symbols(a, b) for a, b in clips])
        for coding, values in found.items():
            values["frames"] = {"missing": frames} if isinstance(frames, str) else _distance(frames, coding)
    return found


def _distance(pairs: Sequence[tuple[np.ndarray, np.ndarray]], coding: str) -> dict[str, Any]:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    value = attempt(unit_edit_distance, first, second, deduplicated=coding == "deduplicated")
    return {"missing": value} if isinstance(value, str) else value._asdict()


def _chance(clean: Sequence[Codes], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shuffled = Agreement.total(agreement(codes, [rng.permutation(c) for c in codes]) for codes in clean)
    distance: dict[str, Any] = {"missing": "there is one clip, and none to compare it with"}
    if len(clean) > 1:
        distance = {"clips": len(clean), "failed": {}, **_distances(clean, [*clean[1:], clean[0]])}
    return {"unit_edit_distance": distance, "agreement": {"clips": len(clean), "failed": {}, **shuffled.to_dict()}}
