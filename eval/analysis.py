"""`analyze`: what the tokens of a model are like, group by group, from token shards or from sound and a model."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MissingExtraError, VoxzooError
from ..corpus.progress import EVERY
from .analysis_inputs import LONGEST, Options, ShardInput, SoundInput, recordings

__all__ = ["FORMAT", "GROUPS", "analyze", "shortcomings"]

FORMAT = "voxzoo.analysis/1"
GROUPS = ("tokens", "robustness", "speaker", "phones", "layers")
OF_SOUND = ("robustness", "layers")  # groups that need sound and a model


def analyze(options: Options) -> dict[str, Any]:
    """Analyze a source of tokens or of sound, write the results to `options.output`, and return them.

    A group that fails as a whole is `{"missing": reason}`, and the others go on.

    Returns:
        {"format", "about", "groups": {name: figures}, "definitions": {group: {name: text}}}, as in analysis.json.

    Raises:
        VoxzooError: groups that are unknown or need sound that is not given, a source, model or folder that cannot be used.
        MissingExtraError: no matplotlib, before any work.
    """
    from .analysis_output import write_analysis

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "eval")
    shards = os.path.isfile(os.path.join(options.source, "dataset.json"))
    groups = _chosen(options, shards)
    given = ShardInput(options) if shards else SoundInput(options)
    results: dict[str, Any] = {"format": FORMAT, "about": _about(options, given, groups), "groups": {}, "definitions": {}}
    for group in groups:
        section = _attempt(SECTIONS[group], given)
        results["definitions"][group] = section.pop("definitions", {})
        results["groups"][group] = section
    results["about"]["problems"] = given.problems
    plain: dict[str, Any] = _plain(results)
    write_analysis(plain, Path(options.output))
    return plain


def shortcomings(results: Mapping[str, Any]) -> list[str]:
    """What an analysis lacks, a line each: groups without a result, clips and shards that could not be read."""
    lines = [f"{name}: {section['missing']}" for name, section in results["groups"].items() if "missing" in section]
    for damage in results["groups"].get("tokens", {}).get("damaged", []):
        lost = "all clips" if damage["clips"] is None else f"{damage['clips']} clips"
        lines.append(f"{damage['shard']}: {lost} left out: {damage['reason']}")
    return lines + [f"{id}: {reason}" for id, reason in results["about"]["problems"].items()]


def _chosen(options: Options, shards: bool) -> list[str]:
    asked = list(dict.fromkeys(options.groups or (["tokens"] if shards else ["tokens", "robustness"])))
    for group in asked:
        if group not in GROUPS:
            raise VoxzooError(f"no group is called {group!r}; expected some of {', '.join(GROUPS)}")
        if shards and group in OF_SOUND:
            raise VoxzooError(f"{group} needs the sound and a model (-m), but {options.source!r} holds tokens alone")
    return asked


def _about(options: Options, given: ShardInput | SoundInput, groups: list[str]) -> dict[str, Any]:
    asked = {key: value for key, value in asdict(options).items() if key not in ("source", "output", "quiet", "workers")}
    made = {"voxzoo": version("voxzoo"), "python": platform.python_version(), "numpy": np.__version__}
    sample = f"clips drawn at random, of each the first {LONGEST:g} s, for all groups but tokens"
    where = {"machine": platform.platform(), **given.about()}
    return {**made, **where, "sample": sample, "arguments": {**asked, "groups": groups}}


def _attempt(section: Callable[[Any], dict[str, Any]], given: ShardInput | SoundInput) -> dict[str, Any]:
    """The section, or why there is none."""
    try:
        return dict(section(given))
    except VoxzooError as error:
        return {"missing": str(error)}
    except ImportError as error:
        return {"missing": str(MissingExtraError(error.name or str(error), "eval"))}
    except Exception as error:  # one section must not cost the others
        return {"missing": f"{type(error).__name__}: {error}"}


# ---------------------------------------------------------------------- sections
def _tokens(given: ShardInput | SoundInput) -> dict[str, Any]:
    from .token_section import tokens_section

    options = given.options
    with given.tokens() as (dataset, limit):
        return tokens_section(dataset, options.workers, limit, options.seed, options.quiet)


def _robustness(given: SoundInput) -> dict[str, Any]:
    from .robustness import robustness_section

    options = given.options
    sounds = {
        name: recordings(name, spec, options.seed) for name, spec in (("noise", options.noise), ("rir", options.rir)) if spec
    }
    asked: dict[str, Any] = {**sounds, "seed": options.seed, "streams": given.streams}
    if not options.quiet:
        asked["progress"] = _Progress("robustness")
    return robustness_section(given.model, [audio for _, audio in given.sounds], asked)


def _speaker(given: ShardInput | SoundInput) -> dict[str, Any]:
    from .speaker_content import speaker_section

    return speaker_section(given.records, given.model)


def _phones(given: ShardInput | SoundInput) -> dict[str, Any]:
    from .phone_content import phone_section

    return phone_section(given.records, given.model)


def _layers(given: SoundInput) -> dict[str, Any]:
    from .layer_content import layer_section

    return layer_section(given.model, given.records)


SECTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tokens": _tokens,
    "robustness": _robustness,
    "speaker": _speaker,
    "phones": _phones,
    "layers": _layers,
}


class _Progress:
    """Says on stderr, now and then, how far a group has come."""

    def __init__(self, group: str) -> None:
        self.group, self.told = group, time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        if time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            print(f"{self.group}: {done}/{total}, {what}", file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """The same with numpy's numbers as Python's, and None for what is not finite, as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
