"""Row groups of token shards: the pieces in which a dataset is read, and their codes as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import TokensError
from ..corpus.shards import Dataset
from .token_statistics import TokenStatistics

__all__ = ["Damage", "Group", "count_group", "row_groups", "stream_count"]


@dataclass(frozen=True)
class Group:
    """A row group: the first `rows` clips of group `index` of a shard, beginning with clip `number` of the dataset.

    `codes` are those of all its clips and streams.
    """

    shard: str
    index: int
    number: int
    rows: int
    codes: int


@dataclass(frozen=True)
class Damage:
    """What of a shard could not be read; `clips` is None where not even their number is known."""

    shard: str
    clips: int | None
    reason: str


def stream_count(dataset: Dataset) -> int:
    """K of the rows: all streams of the model, or as many as were asked for when they were made."""
    return int((dataset.about.get("arguments") or {}).get("streams") or dataset.facts.streams)


def row_groups(dataset: Dataset, limit: int | None = None) -> tuple[list[Group], list[Damage]]:
    """The row groups of a dataset (of its first `limit` clips), and the shards that cannot be opened. Reads footers only."""
    groups: list[Group] = []
    damaged: list[Damage] = []
    number = 0
    for shard in dataset.shards:
        try:
            metadata = pq.read_metadata(shard)
        except (OSError, pa.ArrowException) as error:
            damaged.append(Damage(shard.name, None, " ".join(str(error).split())))
            continue
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            rows = group.num_rows if limit is None else min(group.num_rows, limit - number)
            if rows > 0:
                groups.append(Group(str(shard), index, number, rows, _codes(group)))
            number += group.num_rows
    return groups, damaged


def _codes(group: Any) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    return int(next((c.num_values for c in columns if c.path_in_schema.startswith("codes.")), 0))


def count_group(statistics: TokenStatistics, group: Group) -> str:
    """Count the tokens of a row group; returns the reason why that could not be done (nothing was counted), or ""."""
    try:
        with pq.ParquetFile(group.shard, page_checksum_verification=True) as parquet:
            column = parquet.read_row_group(group.index, columns=["codes"], use_threads=False).column("codes")
        flat, lengths = _streams(column.slice(0, group.rows).combine_chunks(), statistics.streams)
        statistics.update_many(flat, lengths, np.arange(group.number, group.number + len(lengths)))
    except (OSError, pa.ArrowException, KeyError, TokensError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def _streams(rows: Any, streams: int) -> tuple[list[np.ndarray], np.ndarray]:
    """A column of list<list<codes>> as flat codes by stream, and lengths (clips, K)."""
    if isinstance(rows, pa.ChunkedArray):  # as older pyarrow gives it
        rows = rows.chunk(0)
    inner = rows.flatten()
    if rows.null_count or inner.null_count or (np.diff(rows.offsets.to_numpy()) != streams).any():
        raise TokensError(f"a clip has not {streams} streams of codes")
    if inner.values.null_count:
        raise TokensError("a code is missing")
    values, offsets = inner.values.to_numpy(), inner.offsets.to_numpy()
    starts, ends = offsets[:-1].reshape(-1, streams), offsets[1:].reshape(-1, streams)
    flat = []
    for k in range(streams):
        flat.append(np.concatenate([values[a:b] for a, b in zip(starts[:, k].tolist(), ends[:, k].tolist(), strict=True)]))
    return flat, (ends - starts).astype(np.int64)
