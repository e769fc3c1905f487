"""What a run of `bench` measured, put together as its results (see `results.py` for their form)."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.errors import TokensError, VoxzooError
from ..corpus.clips import Clip, printable
from .bench_worker import SENT, said, unpacked_codes
from .bootstrap import DEFINITION
from .choice import Choice
from .cost import machine
from .entrants import ORIGINAL
from .journal import Cell, Journal
from .metric import installed
from .rates import rates_of
from .results import FORMAT, Scores, paired_tests, summary_of
from .token_statistics import TokenStatistics

__all__ = ["Run", "assemble"]


@dataclass(frozen=True, eq=False)
class Run:
    """What the results are made of, besides the journal.

    Attributes:
        arguments: of the run.
        source: what the clips are of.
        choice: what was measured.
        info: label -> what identifies the entry (`Players.about`).
        keys: label -> key of the entry in the journal, the original's first.
        family_keys: name of a family (and `SENT`) -> key in the journal.
        rejected: number of a clip -> id, path and reason.
        clips: number -> clip.
        examples: sound files.
        costs: label -> cell.
    """

    arguments: Mapping[str, Any]
    source: Mapping[str, Any]
    choice: Choice
    info: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, str]
    family_keys: Mapping[str, str]
    rejected: Mapping[int, dict[str, str]]
    clips: Mapping[int, Clip]
    examples: Sequence[Mapping[str, Any]]
    costs: Mapping[str, Cell]

    @property
    def labels(self) -> list[str]:
        """Rows: the original where it was measured, then the entries as given."""
        original = [ORIGINAL] if any(not family.intrusive for family in self.choice.families) else []
        return [*original, *self.info]

    @property
    def numbers(self) -> list[int]:
        """Clips that were scored."""
        return [number for number in self.clips if number not in self.rejected]


def assemble(run: Run, journal: Journal, rate: int, resamples: int, seed: int) -> dict[str, Any]:
    """The results as one JSON-able dict."""
    scores = [_clip_scores(run, journal, number) for number in run.numbers]
    tokens = _token_summaries(run, journal)
    whole = _whole_scores(run, journal, tokens)
    columns = run.choice.columns
    entries = [
        {**_entry(run, label, whole), "tokens": tokens[label] if isinstance(tokens.get(label), dict) else None,
         "summary": {c.name: summary_of(c, label, scores, whole, resamples, seed) for c in columns}}
        for label in run.labels
    ]  # fmt: skip
    return {
        "format": FORMAT,
        "about": _about(run, journal, rate),
        "metrics": [asdict(column) for column in columns],
        "entries": entries,
        "tests": paired_tests(columns, run.labels, scores, resamples, seed),
        "calibration": _calibration(run, journal),
        "clips": [_clip(run, journal, number, held) for number, held in zip(run.numbers, scores, strict=True)],
        "rejected": [run.rejected[number] for number in sorted(run.rejected)],
        "examples": list(run.examples),
    }


def _clip_scores(run: Run, journal: Journal, number: int) -> Scores:
    names = {column.name for column in run.choice.columns}
    weights = {weight for family in run.choice.families for weight in family.weights}
    scores = Scores()
    for label in run.labels:
        for family in run.family_keys:
            cell = journal.cells.get((number, run.keys[label], run.family_keys[family]), {})
            values = {name: value for name, value in cell.get("values", {}).items() if name in names | weights}
            reasons = {name: reason for name, reason in cell.get("reasons", {}).items() if name in names}
            scores.add(label, values, reasons)
    return scores


def _sent(run: Run, journal: Journal, label: str) -> list[tuple[float, Cell]]:
    found = ((number, journal.cells.get((number, run.keys[label], run.family_keys[SENT]))) for number in run.numbers)
    return [(journal.seconds[number], cell) for number, cell in found if cell is not None]


def _token_summaries(run: Run, journal: Journal) -> dict[str, dict[str, Any] | str]:
    """Label of a model -> statistics of its codes over all clips, or why there are none. One pass over the record."""
    counting: dict[str, TokenStatistics] = {}
    for label, about in run.info.items():
        if about["kind"] == "model":
            sizes, rates = about["facts"]["codebook_sizes"], about["facts"]["frame_rates"]
            counting[label] = TokenStatistics(sizes[: about["streams"]], [Fraction(r) for r in rates[: about["streams"]]])
    labels = {run.keys[label]: label for label in counting}
    for number, key, codes in journal.codes(set(run.numbers), labels, run.family_keys[SENT]):
        counting[labels[key]].update([unpacked_codes(stream) for stream in codes], number=number)
    return {label: _summary(statistics) for label, statistics in counting.items()}


def _summary(statistics: TokenStatistics) -> dict[str, Any] | str:
    try:
        return statistics.summary()
    except TokensError as error:
        return str(error)


def _whole_scores(run: Run, journal: Journal, tokens: Mapping[str, dict[str, Any] | str]) -> Scores:
    """Metrics of whole entries: rates and costs."""
    whole = Scores()
    for label, about in run.info.items():
        if run.choice.wants("rate"):
            cell = rates_of(about, tokens.get(label, ""), _sent(run, journal, label))
            whole.add(label, cell["values"], cell["reasons"])
        if label in run.costs:
            whole.add(label, run.costs[label].get("values", {}), run.costs[label].get("reasons", {}))
    return whole


def _entry(run: Run, label: str, whole: Scores) -> dict[str, Any]:
    if label == ORIGINAL:
        return {"label": label, "kind": "original", "model": None, "streams": None, "facts": None, "fingerprint": None,
                "bitrate": None, "cost": None}  # fmt: skip
    about, cost = run.info[label], run.costs.get(label, {}).get("about")
    if about["kind"] == "anchor":
        real = whole.values.get(label, {}).get("bitrate_payload", about["bitrate"])
        return {"label": label, "kind": "anchor", "model": about["codec"], "streams": None, "facts": None, "fingerprint": None,
                "bitrate": real, "cost": cost, "settings": about["settings"], "ffmpeg": about["ffmpeg"]}  # fmt: skip
    facts = about["facts"]
    return {"label": label, "kind": "model", "model": facts["name"], "streams": about["streams"], "facts": facts,
            "fingerprint": about["fingerprint"], "bitrate": about["bitrate"], "cost": cost}  # fmt: skip


def _clip(run: Run, journal: Journal, number: int, scores: Scores) -> dict[str, Any]:
    text, speaker, _ = (value and printable(value) for value in said(run.clips[number]))
    return {
        "id": printable(run.clips[number].id),
        "seconds": journal.seconds[number],
        "speaker": speaker,
        "text": text,
        "values": scores.values,
        "reasons": {label: reasons for label, reasons in scores.reasons.items() if reasons},
    }


def _calibration(run: Run, journal: Journal) -> dict[str, Any]:
    """What speaker similarity is between other clips of the same speaker, and of different ones, by the same encoder."""
    found: dict[str, Any] = {}
    for column in run.choice.columns:
        vectors = _vectors(run, journal, column.family, f"{column.name.removesuffix('_similarity')}_embedding")
        if column.group == "speaker" and vectors:
            from .speaker_similarity import calibrate

            speakers = [said(run.clips[number])[1] for number in vectors]
            try:
                found[column.name] = calibrate(np.array(list(vectors.values())), speakers)
            except VoxzooError as error:
                found[column.name] = {"same": None, "different": None, "pairs": [0, 0], "missing": {"calibration": str(error)}}
    return found


def _vectors(run: Run, journal: Journal, family: str, name: str) -> dict[int, list[float]]:
    """Number of a clip -> the original's vector."""
    held = {number: journal.vectors.get((number, run.family_keys[family]), {}) for number in run.numbers if family}
    return {number: vectors[name] for number, vectors in held.items() if name in vectors}


def _about(run: Run, journal: Journal, rate: int) -> dict[str, Any]:
    seconds = sum(journal.seconds[number] for number in run.numbers)
    return {
        "voxzoo": installed("voxzoo"),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "machine": machine(),
        "source": dict(run.source),
        "rate": rate,
        "clips": len(run.numbers),
        "rejected": len(run.rejected),
        "seconds": seconds,
        "arguments": dict(run.arguments),
        "statistics": DEFINITION,
    }
