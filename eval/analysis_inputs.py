"""What an analysis works on: a folder of token shards, or sound and the model that tokenizes it."""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import CorpusError, ModelError, VoxzooError
from ..core.facts import Facts
from ..core.resampling import SOXR
from ..corpus.clips import Clip, printable
from ..corpus.shards import Dataset, open_dataset
from .attempts import attempt
from .record import Record
from .row_groups import row_groups
from .shard_clips import ShardClip, sample_clips

if TYPE_CHECKING:
    from ..core.model import Model
    from ..corpus.plan import Scan

__all__ = ["Options", "ShardInput", "SoundInput", "recordings"]

SHARD_CLIPS, SOUND_CLIPS = 500, 50  # for the groups that look at single clips
LONGEST = 60.0  # seconds of a clip that those groups look at
RECORDINGS = 500  # of noise or room responses


@dataclass(frozen=True)
class Options:
    """What to analyze.

    Attributes:
        source: a folder of token shards, or a source of sound (see `corpus.sources.open_source`).
        output: folder for the results.
        model: "NAME" or "NAME:K", a model with its first K codebooks; None for shards.
        groups: of `analysis.GROUPS`; None: tokens, and robustness where there is a model.
        workers: processes that tokenize and count; 0: this one alone; None: as many as there are cores.
        limit: only the first so many clips.
        clips: so many clips, drawn at random, for the groups that look at single clips, of each the first minute; None: 500
            of shards, 50 of sound.
        seed: of all that is random.
        noise, rir: sources of recorded noise and of room responses, for robustness.
        weights, device, resampler: as `voxzoo.load` takes them.
        quiet: no progress.
    """

    source: str
    output: str
    model: str | None = None
    groups: Sequence[str] | None = None
    workers: int | None = None
    limit: int | None = None
    clips: int | None = None
    seed: int = 0
    noise: str | None = None
    rir: str | None = None
    weights: str | None = None
    device: str = "cpu"
    resampler: str = SOXR
    quiet: bool = False


class ShardInput:
    """A folder of token shards.

    Raises:
        CorpusError: it is not one, or holds no clips.
        VoxzooError: a model was given as well.
    """

    model: Model | None = None

    def __init__(self, options: Options) -> None:
        if options.model is not None:
            raise VoxzooError(f"{options.source!r} holds tokens already, and -m is for sound: leave it out, or give the sound")
        self.options, self.problems = options, dict[str, str]()
        self.dataset = open_dataset(options.source)
        self.clips = sum(group.rows for group in row_groups(self.dataset, options.limit)[0])

    def about(self) -> dict[str, Any]:
        """Of the source and the model."""
        source = {"path": printable(self.options.source), "kind": "shards", "clips": self.clips,
                  "shards": len(self.dataset.shards), "complete": self.dataset.complete}  # fmt: skip
        return {"source": source, "model": self.dataset.facts.name, "fingerprint": self.dataset.fingerprint,
                "facts": self.dataset.facts.to_dict()}  # fmt: skip

    @contextmanager
    def tokens(self) -> Iterator[tuple[Dataset, int | None]]:
        """The shards, and how many of their clips are wanted."""
        yield self.dataset, self.options.limit

    @cached_property
    def records(self) -> list[Record]:
        """Clips drawn at random, without sound; of long ones the first minute."""
        clips = sample_clips(self.dataset, self.options.clips or SHARD_CLIPS, self.options.seed, self.options.limit)
        root = _folder(str((self.dataset.about.get("source") or {}).get("path", "")))
        return [_record_of_shard(clip, self.dataset.facts, root) for clip in clips]


class SoundInput:
    """A source of sound, and a model.

    Attributes:
        problems: clips that could not be read, with the reason.

    Raises:
        CorpusError: a source that cannot be used.
        VoxzooError: no model, or one that cannot be loaded.
    """

    def __init__(self, options: Options) -> None:
        from ..core.loading import load
        from ..corpus.plan import scan
        from ..corpus.sources import open_source

        if options.model is None:
            raise VoxzooError(f"{options.source!r} is no folder of token shards; to analyze sound, name a model with -m")
        self.options, self.problems = options, dict[str, str]()
        self.name, self.streams = _split(options.model)
        self.source = open_source(options.source)
        self.found: Scan = scan(self.source, options.limit)
        self.clips = self.found.clips
        self.model: Model = load(self.name, weights=options.weights, device=options.device, resampler=options.resampler)
        if self.streams is not None and not 1 <= self.streams <= self.model.facts.streams:
            raise ModelError(
                f"{options.model!r} asks for {self.streams} codebooks; {self.name} has 1 to {self.model.facts.streams}"
            )

    def about(self) -> dict[str, Any]:
        """Of the source and the model."""
        source = {"path": printable(self.options.source), "kind": self.source.kind, "clips": self.found.clips,
                  "sha256": self.found.sha256}  # fmt: skip
        return {"source": source, "model": self.options.model, "fingerprint": self.model.fingerprint,
                "facts": self.model.facts.to_dict()}  # fmt: skip

    @contextmanager
    def tokens(self) -> Iterator[tuple[Dataset, int | None]]:
        """Tokens of all clips, in shards that are there for as long as they are looked at."""
        from ..corpus import engine

        options = self.options
        with tempfile.TemporaryDirectory(prefix=".tokens-", dir=options.output) as folder:
            asked = engine.Options(options.source, folder, self.name, options.weights, options.device, options.resampler,
                                   self.streams, options.workers, limit=options.limit, quiet=options.quiet)  # fmt: skip
            summary = engine.tokenize(asked)
            if summary.rejected:
                self.problems["tokens"] = f"{summary.rejected} of {self.clips} clips could not be tokenized"
            yield open_dataset(folder), None

    @cached_property
    def sounds(self) -> list[tuple[Clip, Audio]]:
        """Clips drawn at random, as read, of long ones the first minute; those that cannot be read are left out."""
        clips = _drawn(itertools.islice(self.source.clips(), self.clips), self.clips, self.options.clips or SOUND_CLIPS,
                       self.options.seed)  # fmt: skip
        read, problems = _read(clips)
        self.problems |= problems
        if not read:
            raise CorpusError(f"none of {len(clips)} clips can be read: {next(iter(problems.values()))}")
        return read

    @cached_property
    def records(self) -> list[Record]:
        """The same clips with their codes; those that the model cannot encode are left out."""
        root, records = _folder(self.options.source), []
        for clip, audio in self.sounds:
            tokens = attempt(self.model.encode, audio, streams=self.streams)
            if isinstance(tokens, str):
                self.problems[clip.id] = tokens
                continue
            codes = [stream[0] for stream in tokens.numpy().codes]
            records.append(Record(clip.id, audio, codes, self.model.facts, _rooted(clip.columns, root)))
        if not records:
            raise ModelError(f"none of {len(self.sounds)} clips can be encoded: {self.problems[self.sounds[0][0].id]}")
        return records


def _split(label: str) -> tuple[str, int | None]:
    """("vox-rvq-16k", 2) of "vox-rvq-16k:2"."""
    name, colon, streams = label.rpartition(":")
    return (name, int(streams)) if colon and streams.isdigit() else (label, None)


def _record_of_shard(clip: ShardClip, facts: Facts, root: str) -> Record:
    long = clip.tokens.durations[0] > LONGEST
    ends = [math.ceil(LONGEST * rate) if long else None for rate in facts.frame_rates]
    codes = [stream[0, :end].copy() for stream, end in zip(clip.tokens.codes, ends, strict=False)]
    return Record(clip.id, None, codes, facts, _rooted(_without_text(clip.columns) if long else clip.columns, root))


def _without_text(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a clip that was cut: its text says more than is left."""
    return {key: value for key, value in columns.items() if key != "text"}


def _folder(source: str) -> str:
    return source if os.path.isdir(source) else os.path.dirname(source)


def _rooted(columns: Mapping[str, Any], root: str) -> Mapping[str, Any]:
    """A path in the column `phones` is relative to the manifest's folder, as paths of sound are."""
    phones = columns.get("phones")
    if isinstance(phones, str) and phones and not phones.lstrip().startswith("["):
        return {**columns, "phones": os.path.join(root, phones)}
    return columns


def _drawn(clips: Iterable[Clip], total: int, count: int, seed: int) -> list[Clip]:
    """`count` of `total` clips at random, in their order."""
    chosen = set(np.random.default_rng(seed).permutation(total)[:count].tolist())
    return [clip for i, clip in enumerate(clips) if i in chosen]


def _read(clips: Sequence[Clip]) -> tuple[list[tuple[Clip, Audio]], dict[str, str]]:
    """The clips that can be read with their sound, of long ones the first minute; and why the others cannot, by id."""
    read, problems = [], {}
    for clip in clips:
        try:
            if clip.problem is not None:
                raise CorpusError(clip.problem)
            audio = Audio.read(clip.open())
        except VoxzooError as error:
            problems[clip.id] = str(error)
            continue
        if audio.duration > LONGEST:
            audio = Audio(audio.samples[: round(LONGEST * audio.sample_rate)].copy(), audio.sample_rate)
            clip = replace(clip, columns=_without_text(clip.columns))
        read.append((clip, audio))
    return read, problems


def recordings(name: str, spec: str, seed: int) -> list[Audio]:
    """The sounds of a source of noise or room responses: at most 500, drawn at random. Raises `VoxzooError` for one that
    cannot be read."""
    from ..corpus.sources import open_source

    clips = list(open_source(spec).clips())
    read, problems = _read(_drawn(clips, len(clips), RECORDINGS, seed))
    if problems:
        raise VoxzooError(f"{name} {spec!r}: {next(iter(problems.values()))}")
    return [audio for _, audio in read]
