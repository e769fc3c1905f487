"""Token shards: Parquet files of one row per clip, and the reading of a folder of them.

A row: `id: string, codes: list<list<uint16>>` (one inner list per stream; uint32 where a codebook has more than 65,536 codes),
`num_samples: int64, sample_rate: int32` (the model's), `duration: float64` (s); one `list<float>` per extra that decoding
needs; the columns of the manifest. Dictionary encoding packs codes to their number of bits, zstd does the rest. Pages carry
checksums, and the file's metadata (key `voxzoo`) names the model, so that a shard alone can be decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import CorpusError, TokensError, VoxzooError
from ..core.facts import Facts
from ..core.tokens import Tokens
from .clips import Clip, Row, printable
from .columns import Columns

__all__ = ["FORMAT", "Dataset", "Info", "Layout", "ShardWriter", "code_type", "open_dataset", "shard_name"]

FORMAT = "voxzoo.dataset/1"
GROUP_ROWS = 1000  # rows of a row group: one clip is read in about a millisecond
GROUP_CODES = 4 << 20  # and no more codes than this, for hour-long clips
OWN = ("id", "codes", "num_samples", "sample_rate", "duration")


@dataclass(frozen=True)
class Info:
    """What a loaded model says of itself."""

    facts: Facts
    fingerprint: str
    resampler: str
    extras: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"model": self.facts.name, "fingerprint": self.fingerprint, "resampler": self.resampler,
                "extras": list(self.extras), "facts": self.facts.to_dict()}  # fmt: skip


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"part-{number:05d}.parquet"


def code_type(facts: Facts) -> Any:
    """numpy type of the codes of a model's shards."""
    return np.uint16 if max(facts.codebook_sizes) <= 1 << 16 else np.uint32


class Layout:
    """Schema of a dataset's shards, and rows made into tables."""

    def __init__(self, info: Info, fields: Sequence[tuple[str, pa.DataType, bool]]) -> None:
        self.info = info
        self.code = pa.from_numpy_dtype(code_type(info.facts))
        self.columns = Columns(fields, [*OWN, *info.extras])
        types = (pa.string(), pa.list_(pa.list_(self.code)), pa.int64(), pa.int32(), pa.float64())
        own = [pa.field(name, kind, nullable=False) for name, kind in zip(OWN, types, strict=True)]
        extras = [pa.field(name, pa.list_(pa.float32()), nullable=False) for name in info.extras]
        about = json.dumps({"format": FORMAT, **info.to_dict()}, sort_keys=True)
        self.schema = pa.schema([*own, *extras, *self.columns.fields], metadata={"voxzoo": about})

    def table(self, clips: Sequence[Clip], rows: Sequence[Row]) -> pa.Table:
        """Rows of tokens with the clips they came from."""
        rate = self.info.facts.sample_rate
        lengths = np.array([row.num_samples for row in rows], np.int64)
        own = [
            pa.array([printable(clip.id) for clip in clips], pa.string()),
            _nested([row.codes for row in rows], self.code),
            pa.array(lengths),
            pa.array(np.full(len(rows), rate, np.int32)),
            pa.array(lengths / rate),
        ]
        extras = [_lists([row.extras[name] for row in rows], pa.float32()) for name in self.info.extras]
        return pa.table([*own, *extras, *self.columns.arrays([clip.columns for clip in clips])], schema=self.schema)


def _lists(arrays: Sequence[np.ndarray], kind: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64).astype(np.int32)
    flat = np.concatenate(arrays) if arrays else np.zeros(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(kind.to_pandas_dtype(), copy=False)))


def _nested(clips: Sequence[Sequence[np.ndarray]], kind: pa.DataType) -> pa.Array:
    inner = _lists([stream for clip in clips for stream in clip], kind)
    offsets = np.cumsum([0, *map(len, clips)], dtype=np.int64).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), inner)


class _Hashed:
    """A binary file that keeps the sha256 of what is written, as `pyarrow` writes it: front to back."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")  # noqa: SIM115 - closed with the shard
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self.size += self.file.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self.file.flush()

    @property
    def closed(self) -> bool:
        return self.file.closed

    def close(self) -> None:
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()


class ShardWriter:
    """Writes one shard to `path` as rows come; memory holds one row group. Raises `OSError` when the disk is full."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = layout
        self.file = _Hashed(path)
        self.parquet = pq.ParquetWriter(
            self.file, layout.schema, compression="zstd", use_dictionary=True, write_page_checksum=True
        )
        self.clips: list[Clip] = []
        self.rows: list[Row] = []
        self.codes = 0

    def add(self, clip: Clip, row: Row) -> None:
        """Append a row."""
        self.clips.append(clip)
        self.rows.append(row)
        self.codes += sum(map(len, row.codes))
        if len(self.rows) >= GROUP_ROWS or self.codes >= GROUP_CODES:
            self._flush()

    def _flush(self) -> None:
        if self.rows:
            self.parquet.write_table(self.layout.table(self.clips, self.rows))
        self.clips, self.rows, self.codes = [], [], 0

    def close(self) -> str:
        """Write the rest to the disk for good; returns the file's sha256."""
        self._flush()
        self.parquet.close()
        self.file.close()
        return self.file.sha256.hexdigest()

    def abandon(self) -> None:
        """Let go of the file after an error, whatever state it is in."""
        with contextlib.suppress(OSError, pa.ArrowException, ValueError):
            self.parquet.close()
        with contextlib.suppress(OSError):
            self.file.file.close()


class Dataset:
    """A folder of token shards.

    Attributes:
        path: the folder.
        facts, fingerprint, resampler: of the model that made them.
        complete: whether the run that made them ended.
        about: all of `dataset.json`.

    Iterating gives `(id, Tokens)` clip by clip in the order of the source; `len` is the number of clips.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        try:
            self.facts = Facts.from_dict(about["facts"])
            self.fingerprint, self.resampler = str(about["fingerprint"]), str(about["resampler"])
            self.extras: list[str] = list(about["extras"])
        except (KeyError, TypeError, VoxzooError) as error:
            raise CorpusError(f"'{path}/dataset.json' is damaged: {error}") from None
        self.complete = bool(about.get("complete"))
        self.shards = sorted(path.glob("part-*.parquet"))

    def __len__(self) -> int:
        return sum(int(self._open(shard).metadata.num_rows) for shard in self.shards)

    def __iter__(self) -> Iterator[tuple[str, Tokens]]:
        columns = ["id", "codes", "num_samples", *self.extras]
        for shard in self.shards:
            try:
                with self._open(shard) as parquet:
                    for batch in parquet.iter_batches(256, columns=columns):
                        yield from (self._clip(batch, i) for i in range(len(batch)))
            except (OSError, pa.ArrowException, KeyError) as error:
                raise TokensError(
                    f"{str(shard)!r} is damaged: {error}; run the same `voxzoo tokenize` again to remake it"
                ) from None

    def _open(self, shard: Path) -> Any:
        try:
            return pq.ParquetFile(shard, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise TokensError(
                f"{str(shard)!r} is damaged: {error}; run the same `voxzoo tokenize` again to remake it"
            ) from None

    def _clip(self, batch: pa.RecordBatch, i: int) -> tuple[str, Tokens]:
        codes = [np.asarray(stream.values, np.int64)[None] for stream in batch["codes"][i]]
        extras = {name: np.array(batch[name][i].values, np.float32)[None] for name in self.extras}
        lengths = np.array([batch["num_samples"][i].as_py()])
        return batch["id"][i].as_py(), Tokens(codes, lengths, self.facts, self.fingerprint, self.resampler, extras)


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a folder that `voxzoo tokenize` wrote, finished or not. Raises `CorpusError` when it is not one."""
    folder = Path(path)
    try:
        about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{str(path)!r} is not a folder of token shards: dataset.json: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CorpusError(f"{str(path)!r} is not a folder of token shards of format {FORMAT}")
    return Dataset(folder, about)
