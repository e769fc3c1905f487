"""The worker of `bench`: it holds all entries and metrics, takes clips and gives back cells. Runs in a process of its own (see
`corpus/pool.py`), with one thread; a clip that ends the process is tried again, and then rejected."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError
from ..corpus.clips import Clip
from .entrants import ORIGINAL, Entrant, folder_names
from .journal import Cell
from .metric import Family, Original
from .playing import Played, Players, reason
from .scoring import Scorer

__all__ = ["SENT", "BenchWorker", "Example", "Job", "Scored", "Settings", "job_of", "packed_codes", "said", "unpacked_codes"]

SENT = "sent"  # the cell of what an entry sent: delay, bytes, codes
STRIPS = 8  # streams of codes that an example shows


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know; see `Players` and `Scorer`."""

    entrants: tuple[Entrant, ...]
    families: tuple[Family, ...]
    checkpoints: Mapping[str, str]
    required: frozenset[str]
    rate: int
    device: str = "cpu"
    written: bool = True

    def start(self) -> BenchWorker:
        """What a worker process does first."""
        return BenchWorker(self)


@dataclass(frozen=True, slots=True)
class Job(Clip):
    """A clip and what is wanted of it.

    Attributes:
        wanted: label of an entry -> names of families (and `SENT`) to measure.
        example: output folder and name of the sound files to write there instead, of the original and of every entry.
    """

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    example: tuple[str, str] = ("", "")


def job_of(clip: Clip, wanted: Mapping[str, Sequence[str]], example: tuple[str, str] = ("", "")) -> Job:
    """What is wanted of a clip."""
    return Job(**{one.name: getattr(clip, one.name) for one in fields(Clip)}, wanted=wanted, example=example)


@dataclass(frozen=True)
class Scored:
    """Cells of a clip: label -> family's name -> cell."""

    seconds: float
    cells: Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True)
class Example:
    """Sound files that were written: the original's, and by label; and codes for looking at."""

    seconds: float
    original: str
    decoded: Mapping[str, str]
    codes: Mapping[str, list[list[int]]]


class BenchWorker:
    """See the module. Raises what loading the models and opening the metrics raises."""

    def __init__(self, settings: Settings) -> None:
        self.rate = settings.rate
        self.names = folder_names([ORIGINAL, *(item.label for item in settings.entrants)])
        self.players = Players(settings.entrants, settings.rate, settings.device, settings.written)
        self.scorer = Scorer(settings.families, settings.checkpoints, settings.required)
        self.info: dict[str, dict[str, Any]] = self.players.about()

    def run(self, clips: Sequence[Clip]) -> list[Scored | Example | str]:
        """What became of each clip; a text is the reason why it is rejected. Never raises for what a clip holds."""
        return [self._one(clip) for clip in clips]

    def _one(self, clip: Clip) -> Scored | Example | str:
        if clip.problem is not None:
            return clip.problem
        try:
            audio = Audio.read(clip.open())
        except Exception as error:  # a file can make a decoder raise anything; it must cost this clip alone
            return reason(error)
        job = clip if isinstance(clip, Job) else Job(clip.id, clip.path, clip.source)
        original = Original(audio, self.rate, *said(clip))
        if not job.example[0]:
            return self._score(job, original)
        try:
            return self._example(job, original)
        except (OSError, AudioError) as error:
            return reason(error)

    def _score(self, job: Job, original: Original) -> Scored:
        cells: dict[str, Mapping[str, Cell]] = {}
        if ORIGINAL in job.wanted:
            cells[ORIGINAL] = self.scorer.score(original, original.samples, "", job.wanted[ORIGINAL])
        for label, played in self.players.play(original, list(job.wanted)):
            names = [name for name in job.wanted[label] if name != SENT]
            scores = self.scorer.score(original, played.decoded, played.problem, names)
            cells[label] = {SENT: _sent(played), **scores}
        return Scored(original.audio.duration, cells)

    def _example(self, job: Job, original: Original) -> Example:
        decoded: dict[str, str] = {}
        codes: dict[str, list[list[int]]] = {}
        for label, played in self.players.play(original, list(job.wanted)):
            if played.decoded is not None:
                decoded[label] = self._write(job, label, played.decoded)
            if played.codes:
                codes[label] = [stream.tolist() for stream in played.codes[:STRIPS]]
        return Example(original.audio.duration, self._write(job, ORIGINAL, original.samples), decoded, codes)

    def _write(self, job: Job, label: str, samples: np.ndarray) -> str:
        folder, name = job.example
        path = Path(folder, "audio", self.names[label], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Audio(np.clip(samples, -1, 1), self.rate).write(path)
        return f"audio/{self.names[label]}/{name}"


def said(clip: Clip) -> list[str | None]:
    """Text, speaker and language of a clip, as the manifest says."""
    held = {name: str(value) for name, value in clip.columns.items() if value not in (None, "")}
    names = (("text",), ("speaker", "speaker_id"), ("lang", "language"))
    return [next((held[name] for name in choices if name in held), None) for choices in names]


def _sent(played: Played) -> Cell:
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    if played.problem:
        reasons["delay_ms"] = played.problem
    else:
        values["delay_ms"] = 1000 * played.delay
    if played.file_bytes is not None and played.payload_bytes is not None:
        values |= {"file_bytes": played.file_bytes, "payload_bytes": played.payload_bytes}
    elif played.unwritten:
        reasons["file_bytes"] = played.unwritten
    cell: Cell = {"values": values, "reasons": reasons}
    return {**cell, "codes": [packed_codes(stream) for stream in played.codes]} if played.codes else cell


def packed_codes(codes: np.ndarray) -> str:
    """Codes (N,) as text, compressed."""
    return base64.b64encode(zlib.compress(codes.astype("<u4").tobytes(), 1)).decode()


def unpacked_codes(text: str) -> np.ndarray:
    """The inverse of `packed_codes`: int64 (N,)."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u4").astype(np.int64)
