"""Which clips go to which shard: a function of the source and `--shard-clips` alone, never of what happened in a run.

`scan` passes once over the listing (no sound is read) and finds what must be known before the first shard: how many clips
there are, which ids come twice, the types of the carried columns, and a digest by which a source is known again. Later passes
are held to that listing clip by clip, so that a source that changes while it is read ends the run, never its order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import CorpusError
from .clips import Clip
from .columns import Observed
from .remote import is_url, size_of
from .sources import Source

__all__ = ["SHARD_BYTES", "Scan", "Task", "scan", "shard_tasks"]

ENCODE = json.JSONEncoder(default=str).encode
SHARD_BYTES = 512 << 20  # of encoded sound: a shard of hour-long files would otherwise be days of work to lose


@dataclass(frozen=True)
class Scan:
    """What one pass over a source's listing finds.

    Attributes:
        clips: how many there are (at most `--limit`).
        sha256: over ids, paths, sizes and columns, and where the source lies.
        fields: (name, type, as JSON) of the carried columns.
        first: for ids that come more than once, the number of the first clip.
        hashes: uint64 (clips,) of the ids, by which a source is held to what it listed.
    """

    clips: int
    sha256: str
    fields: Sequence[tuple[str, pa.DataType, bool]]
    first: dict[str, int]
    hashes: np.ndarray


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
    where = source.root if is_url(source.root) else os.path.realpath(source.root or ".")
    digest = hashlib.sha256(encode([source.kind, where, *source.contents()]))
    ids, observed, fields = bytearray(), Observed(), source.fields()
    for clip in itertools.islice(source.listing(), limit):
        if source.told_by_contents:
            digest.update(b"%d\n" % _size(clip))
        else:
            said = [clip.id, clip.path.removeprefix(source.root), clip.columns, _size(clip), clip.part and clip.part.key()]
            digest.update(encode(said))
        ids += id_hash(clip.id)
        if fields is None:
            observed.add(clip.columns)
    if not ids:
        raise CorpusError(f"the source holds no clips{' (limit 0)' if limit == 0 else ''}")
    hashes = np.frombuffer(ids, np.uint64)
    first = _first_of_repeated(source, hashes)
    return Scan(len(hashes), digest.hexdigest(), observed.fields() if fields is None else fields, first, hashes)


def encode(values: Sequence[Any]) -> bytes:
    """Values as bytes, the same for the same values."""
    return ENCODE(values).encode()


def id_hash(id: str) -> bytes:
    """Eight bytes."""
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _size(clip: Clip) -> int:
    """Bytes of the encoded sound, by which a file that was exchanged is noticed."""
    if clip.size is not None:
        return clip.size
    if isinstance(clip.source, str):
        return size_of(clip.source)
    return len(clip.source) if isinstance(clip.source, bytes) else clip.source.size


def _first_of_repeated(source: Source, hashes: np.ndarray) -> dict[str, int]:
    """Ids held by more than one clip -> number of the first; equal hashes are only a hint."""
    values, counts = np.unique(hashes, return_counts=True)
    suspects = {value.tobytes() for value in values[counts > 1]}
    first: dict[str, int] = {}
    if suspects:
        for number, clip in enumerate(itertools.islice(source.listing(), len(hashes))):
            if id_hash(clip.id) in suspects:
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
        if id_hash(clip.id) != found.hashes[number].tobytes():
            raise CorpusError(
                f"the source changed while it was read: clip {number} (counting from 0) is {clip.id!r} now, another was listed "
                "before; when it stays as it is, run the same command again"
            )
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
