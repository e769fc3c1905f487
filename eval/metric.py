"""What a metric of the benchmark is: its name and definition, what it measures on, and how it is opened.

A *family* is a function that gives the values of one or more metrics at once (STOI and ESTOI share their bands). It is named by
module and opened when first used, so that a metric costs the import of its own dependency and no other. Adding a metric is one
file with the function, and one `Family` in the table of its group.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypeVar

import numpy as np

from ..core.audio import Audio
from ..core.errors import MissingExtraError, VoxzooError

__all__ = ["Family", "Group", "Measure", "Metric", "MetricError", "Original", "Pair", "installed"]

Group = Literal["reconstruction", "mos", "intelligibility", "speaker", "cost", "rate"]
T = TypeVar("T")


class MetricError(VoxzooError):
    """A metric has no value for this sound; the message is the reason, as it is counted in tables."""


class Original:
    """A clip as it went into the models.

    Attributes:
        audio: as read, mono, at the source's own rate.
        rate: Hz at which everything is compared.
        text, speaker, language: what the manifest says, or None.
    """

    def __init__(
        self, audio: Audio, rate: int, text: str | None = None, speaker: str | None = None, language: str | None = None
    ) -> None:
        self.audio, self.rate = audio, rate
        self.text, self.speaker, self.language = text, speaker, language
        self._kept: dict[Hashable, Any] = {}

    @property
    def samples(self) -> np.ndarray:
        """float32 (T,) at `rate`."""
        return self.at(self.rate)

    def at(self, rate: int) -> np.ndarray:
        """float32 (T',): the sound at another rate, resampled once from the source."""
        return self.keep(("at", rate), lambda: self.audio.resample(rate).samples)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, made once: what a metric needs of the original is the same for every model."""
        if key not in self._kept:
            self._kept[key] = make()
        result: T = self._kept[key]
        return result


@dataclass(frozen=True, eq=False)
class Pair:
    """An original and what a codec made of it, aligned in time.

    Attributes:
        original: what went in.
        decoded: float32 (T,) at `original.rate`, as long as `original.samples`, its delay taken out.
    """

    original: Original
    decoded: np.ndarray

    def at(self, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """(original, decoded), float32 (T',) each and equally long, at `rate` Hz."""
        reference = self.original.at(rate)
        decoded = Audio(self.decoded, self.original.rate).resample(rate).samples
        length = min(len(reference), len(decoded))
        return reference[:length], decoded[:length]


# Values by name: a number; a text, the reason why there is none; or a vector, which is kept with the clip and never averaged.
Measure = Callable[[Pair], Mapping[str, float | str | list[float]]]


@dataclass(frozen=True)
class Metric:
    """One column of the results.

    Attributes:
        name: key in the results, as "pesq_wb".
        label: head of the column, as "PESQ-WB".
        unit: as "dB" or "MOS-LQO, 1 to 4.64"; "" for none.
        better: which way is better; None where neither is.
        definition: what exactly is computed: band, convention, averaging; versions of `Family.packages` are added.
        weight: name of the value that weights clips in the mean (words, for WER); None: every clip counts the same.
        digits: shown after the point.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None
    definition: str
    weight: str | None = None
    digits: int = 2


@dataclass(frozen=True)
class Family:
    """Metrics that are measured together.

    Attributes:
        name: what `--metrics` takes, besides the names of groups and single metrics.
        group: the group it belongs to.
        metrics: what it gives.
        opens: "module:function" in `voxzoo.eval`; the function takes a checkpoint's path or None and gives a `Measure`.
        packages: distributions whose versions are part of the definition.
        extra: what to install where one is missing.
        intrusive: whether it compares with the original; others are measured on the original too.
        checkpoint: what local file or folder it needs, in words; "" for none. Without it the family is left out.
        weights: names of values it gives besides its metrics, which only weight clips in their means.
    """

    name: str
    group: Group
    metrics: tuple[Metric, ...]
    opens: str
    packages: tuple[str, ...] = ()
    extra: str = "eval"
    intrusive: bool = True
    checkpoint: str = ""
    weights: tuple[str, ...] = ()

    def open(self, checkpoint: str | None = None) -> Measure:
        """The function, ready to use. Raises `MissingExtraError`, or `MetricError` for a checkpoint that is not usable."""
        module, _, function = self.opens.partition(":")
        try:
            made: Measure = getattr(importlib.import_module(f"voxzoo.eval.{module}"), function)(checkpoint)
        except ImportError as error:
            raise MissingExtraError(error.name or self.packages[0], self.extra) from None
        return made

    def definition(self, metric: Metric) -> str:
        """With the versions of the libraries that are installed here."""
        parts = [f"{package} {installed(package) or '(not installed)'}" for package in self.packages]
        return metric.definition + (f" [{', '.join(parts)}]" if parts else "")


def installed(package: str) -> str | None:
    """Version of a distribution that is installed here, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
