"""Which clips go to which shard: a function of the source and `--shard-clips` alone, never of what happened in a run.

`scan` passes once over the listing (no sound is read) and finds what must be known before the first shard: how many clips
there are, which ids come twice, the types of the carried columns, and a digest by which a source is known again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip
from .columns import Observed
from .sources import Source

__all__ = ["SHARD_BYTES", "Scan", "Task", "scan", "shard_tasks"]

SHARD_BYTES = 512 << 20  # of encoded sound: a shard of hour-long files would otherwise be days of work to lose


@dataclass(frozen=True)
class Scan:
    """What one pass over a source's listing finds.

    Attributes:
        clips: how many there are (at most `--limit`).
        sha256: over ids, paths and columns, and where the source lies.
        fields: (name, type, as JSON) of the carried columns.
        first: for ids that come more than once, the number of the first clip.
    """

    clips: int
    sha256: str
    fields: Sequence[tuple[str, pa.DataType, bool]]
    first: dict[str, int]


@dataclass(frozen=True)
class Task:
    """Neighbouring clips of one shard, the unit that workers are given.

    Attributes:
        shard: number of the shard.
        start: number of the first clip in the source.
        clips: in the order of the source.
        last: whether the shard ends here.
    """

    shard: int
    start: int
    clips: Sequence[Clip]
    last: bool


def scan(source: Source, limit: int | None = None) -> Scan:
    """One pass over the listing; a second one only if ids repeat. Memory: 8 bytes a clip.

    Raises `CorpusError` when there are no clips.
    """
    digest = hashlib.sha256(f"{source.kind}\0{os.path.realpath(source.root or '.')}".encode("utf-8", "backslashreplace"))
    hashes, observed = array("Q"), Observed()
    for clip in itertools.islice(source.listing(), limit):
        where = clip.path.removeprefix(source.root)
        digest.update(json.dumps([clip.id, where, dict(clip.columns)], default=str).encode())
        hashes.append(_hash(clip.id))
        observed.add(clip.columns)
    if not hashes:
        raise CorpusError(f"the source holds no clips{' (limit 0)' if limit == 0 else ''}")
    fields = source.fields()
    first = _first_of_repeated(source, hashes)
    return Scan(len(hashes), digest.hexdigest(), observed.fields() if fields is None else fields, first)


def _hash(id: str) -> int:
    return int.from_bytes(hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _first_of_repeated(source: Source, hashes: array[int]) -> dict[str, int]:
    """Ids held by more than one clip -> number of the first; equal hashes are only a hint."""
    values, counts = np.unique(np.frombuffer(hashes, np.uint64), return_counts=True)
    suspects = set(values[counts > 1].tolist())
    first: dict[str, int] = {}
    if suspects:
        for number, clip in enumerate(itertools.islice(source.listing(), len(hashes))):
            if _hash(clip.id) in suspects:
                first.setdefault(clip.id, number)
    return first


def shard_tasks(
    clips: Iterator[Clip], shard: int, start: int, found: Scan, shard_clips: int, size: tuple[int, int]
) -> Iterator[Task]:
    """Take the clips of one shard from `clips`, which stands at number `start`, and cut them into tasks.

    A shard ends after `shard_clips` clips or when its files pass `SHARD_BYTES`; a task after `size` = (clips, bytes).
    """
    number, shard_bytes = start, 0
    task: list[Clip] = []
    task_bytes, task_start = 0, start
    for clip in clips:
        weight = clip.weight()
        task.append(_marked(clip, number, found))
        number, shard_bytes, task_bytes = number + 1, shard_bytes + weight, task_bytes + weight
        last = number - start >= shard_clips or shard_bytes >= SHARD_BYTES or number >= found.clips
        if last or len(task) >= size[0] or task_bytes >= size[1]:
            yield Task(shard, task_start, task, last)
            task, task_bytes, task_start = [], 0, number
        if last:
            return
    if number < found.clips:
        raise CorpusError(f"the source shrank while it was read: {found.clips} clips were listed, {number} are there")


def _marked(clip: Clip, number: int, found: Scan) -> Clip:
    first = found.first.get(clip.id, number) if found.first else number
    if first == number:
        return clip
    return replace(clip, problem=f"the id {clip.id!r} is taken: clip {first} of the source (counting from 0) has it already")
