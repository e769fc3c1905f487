"""A few clips of a folder of token shards, drawn at random, with their columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import TokensError
from ..core.tokens import Tokens
from ..corpus.columns import JSON_FIELD
from ..corpus.shards import OWN, Dataset
from .row_groups import Group, row_groups

__all__ = ["ShardClip", "sample_clips"]

GROUPS = 32  # row groups that are read, at most: each costs the decoding of all its clips


@dataclass(frozen=True, eq=False)
class ShardClip:
    """A row: its id, its tokens (B = 1), and the manifest's columns."""

    id: str
    tokens: Tokens
    columns: Mapping[str, Any]


def sample_clips(dataset: Dataset, count: int, seed: int = 0, limit: int | None = None) -> Iterator[ShardClip]:
    """At most `count` of the first `limit` clips, in order: 32 row groups are drawn at random, and so many of their clips.

    Row groups that cannot be read give none.
    """
    random = np.random.default_rng(seed)
    groups, _ = row_groups(dataset, limit)
    drawn = sorted(random.permutation(len(groups))[:GROUPS].tolist())
    groups = [groups[i] for i in drawn]
    ends = np.cumsum([group.rows for group in groups])
    total = int(ends[-1]) if groups else 0
    chosen = np.sort(random.permutation(total)[:count])
    for group, end in zip(groups, ends.tolist(), strict=True):
        rows = chosen[(chosen >= end - group.rows) & (chosen < end)] - (end - group.rows)
        if len(rows):
            yield from _read(dataset, group, rows)


def _read(dataset: Dataset, group: Group, rows: np.ndarray) -> list[ShardClip]:
    try:
        with pq.ParquetFile(group.shard, page_checksum_verification=True) as parquet:
            table = parquet.read_row_group(group.index, use_threads=False).take(pa.array(rows))
        return [_clip(dataset, table.slice(i, 1)) for i in range(len(rows))]
    except (OSError, pa.ArrowException, KeyError, TokensError):
        return []  # counting the tokens has told of it


def _clip(dataset: Dataset, row: pa.Table) -> ShardClip:
    codes = [np.asarray(stream.values, np.int64)[None] for stream in row["codes"][0]]
    extras = {name: np.array(row[name][0].values, np.float32)[None] for name in dataset.extras}
    lengths = np.array([row["num_samples"][0].as_py()])
    tokens = Tokens(codes, lengths, dataset.facts, dataset.fingerprint, dataset.resampler, extras)
    carried = [field for field in row.schema if field.name not in (*OWN, *dataset.extras)]
    columns = {field.name: _value(row[field.name][0].as_py(), field) for field in carried}
    return ShardClip(row["id"][0].as_py(), tokens, columns)


def _value(value: Any, field: pa.Field) -> Any:
    as_json = field.metadata and {**field.metadata, **JSON_FIELD} == field.metadata
    return json.loads(value) if as_json and value is not None else value
