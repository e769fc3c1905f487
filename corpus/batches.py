"""Rows of token shards as they lie in memory: codes are views of Arrow's buffers, nothing is copied until asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..core.errors import TokensError
from ..core.tokens import Tokens

if TYPE_CHECKING:
    from .shards import Dataset

__all__ = ["Batch", "Record", "one_chunk"]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; copied only where it is in pieces."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


class Batch:
    """Rows of a dataset, at most a row group of them.

    Attributes:
        table: the rows as Arrow has them.
        dataset: where they come from.

    `batch[i]` is a `Record`, `len` the number of rows; iterating gives the records.
    """

    def __init__(self, table: pa.Table, dataset: Dataset) -> None:
        self.table, self.dataset = table, dataset

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Record]:
        return (Record(self, i) for i in range(len(self)))

    def __getitem__(self, i: int) -> Record:
        return Record(self, range(len(self))[i])

    @property
    def seconds(self) -> float:
        """Sound that the rows stand for, where `num_samples` is among the columns."""
        return int(one_chunk(self.table["num_samples"]).to_numpy().sum()) / self.dataset.facts.sample_rate

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the rows."""
        return self.table["id"].to_pylist()

    @cached_property
    def _nested(self) -> tuple[np.ndarray, np.ndarray]:
        if "codes" not in self.table.column_names:
            raise TokensError("codes are not among the columns that were asked for; add 'codes'")
        rows = one_chunk(self.table["codes"])
        inner = rows.values
        outer, ends = rows.offsets.to_numpy(), inner.offsets.to_numpy()
        counts = np.diff(outer)
        streams = int(counts[0]) if len(counts) else 1
        if rows.null_count or inner.null_count or inner.values.null_count or (counts != streams).any() or not streams:
            raise TokensError(f"damaged rows: not every clip has {streams} streams of codes")
        return inner.values.to_numpy(zero_copy_only=True), ends[outer[:-1, None] + np.arange(streams + 1)]

    @property
    def values(self) -> np.ndarray:
        """All codes of the row group, clip by clip and in each stream by stream: uint16 or uint32, a view."""
        return self._nested[0]

    @property
    def offsets(self) -> np.ndarray:
        """(clips, K + 1): codes of stream k of clip i are `values[offsets[i, k]:offsets[i, k + 1]]`."""
        return self._nested[1]

    @property
    def streams(self) -> int:
        """K."""
        return self.offsets.shape[1] - 1

    @property
    def lengths(self) -> np.ndarray:
        """(clips, K) frames."""
        return np.diff(self.offsets, axis=1)

    def flat(self, stream: int = 0) -> np.ndarray:
        """Codes of one stream of all clips, one after the other: a view where there is one stream, else a copy."""
        values, offsets = self._nested
        if not len(offsets):
            return values[:0]
        if self.streams == 1:
            return values[offsets[0, 0] : offsets[-1, 1]]
        return np.concatenate([values[a:b] for a, b in offsets[:, stream : stream + 2].tolist()])

    @cached_property
    def _places(self) -> list[list[int]]:
        return self.offsets.tolist()

    def codes(self, i: int) -> tuple[np.ndarray, ...]:
        """Codes (N_k,) of each stream of row i, views."""
        values, places = self._nested[0], self._places[i]
        if len(places) == 2:  # one stream: half of what a clip costs is saved
            return (values[places[0] : places[1]],)
        return tuple([values[a:b] for a, b in itertools.pairwise(places)])


class Record:
    """One clip: `id`, `codes` (N_k,) of each stream, `num_samples`, and `columns`, whatever else the row holds."""

    __slots__ = ("_batch", "_i")

    def __init__(self, batch: Batch, i: int) -> None:
        self._batch, self._i = batch, i

    @property
    def id(self) -> str:
        """Its id."""
        return self._batch.ids[self._i]

    @property
    def codes(self) -> tuple[np.ndarray, ...]:
        """Codes (N_k,) of each stream, uint16 or uint32: views, not to be written to."""
        return self._batch.codes(self._i)

    @property
    def num_samples(self) -> int:
        """True samples of the clip at the model's rate."""
        return int(self["num_samples"])

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self._batch.dataset.facts.sample_rate

    @property
    def columns(self) -> Mapping[str, Any]:
        """All columns but `codes`."""
        return {name: self[name] for name in self._batch.table.column_names if name != "codes"}

    def __getitem__(self, name: str) -> Any:
        """A column's value. Raises `KeyError`."""
        if name not in self._batch.table.column_names:
            raise KeyError(name)
        return self._batch.table[name][self._i].as_py()

    def tokens(self) -> Tokens:
        """What `model.decode` takes. Raises `TokensError` where `num_samples` or an extra was left out of the columns."""
        dataset = self._batch.dataset
        try:
            extras = {name: np.array(self[name], np.float32)[None] for name in dataset.extras}
            lengths = np.array([self.num_samples])
        except KeyError as error:
            raise TokensError(f"the column {error} is not among those that were asked for; decoding needs it") from None
        codes = [np.asarray(stream, np.int64)[None] for stream in self.codes]
        return Tokens(codes, lengths, dataset.facts, dataset.fingerprint, dataset.resampler, extras)

    def __repr__(self) -> str:
        return f"Record({self.id!r})"
