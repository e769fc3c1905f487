"""`voxzoo pack`: token shards to sequences for language models, in a form that a trainer reads, with all it takes to go back.

    OUT/layout.json      the layout's data, the vocabulary, the model, the shards' own description
    OUT/rejected.jsonl   as the shards have it
    OUT/...              sequences; see outputs.py

OUT is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import CorpusError, TokensError
from .batches import Batch, Record
from .layout import Utterance
from .layouts import layout_kind, make_layout
from .new_folder import new_folder
from .outputs import Output
from .outputs_json import JsonLines, WebDataset
from .outputs_megatron import Megatron
from .outputs_parquet import HuggingFace, Parquet
from .packed_schema import PackedSchema
from .reading import Reader, RowGroup
from .reading import open as open_reader
from .text_ids import ColumnIds, NoText, TextSource, TokenizerIds, Words

__all__ = ["FORMAT", "FORMS", "PackOptions", "Packing", "pack"]

FORMAT = "voxzoo.packed/1"
FORMS: Mapping[str, type[Output]] = {kind.name: kind for kind in (Parquet, HuggingFace, JsonLines, WebDataset, Megatron)}


@dataclass(frozen=True)
class PackOptions:
    """What to pack and how.

    Attributes:
        source, output: folders of shards and of sequences.
        layout, parameters: see `layouts.make_layout`.
        form: one of `FORMS`.
        text_tokenizer, text_column, text_template: text ids from a tokenizer's folder and a column.
        text_ids_column: text ids from a column.
        no_text: leave text out though the layout has a place for it.
        other_column: column with the id of the clip of who speaks at the same time.
    """

    source: str
    output: str
    layout: str
    form: str = "parquet"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    text_tokenizer: str | None = None
    text_column: str = "text"
    text_template: str | None = None
    text_ids_column: str | None = None
    no_text: bool = False
    other_column: str | None = None


@dataclass
class Packing:
    """What was packed: `steps` of the first sequence (characters, where it is text), `longest` the most of a clip.

    Its ids are below `vocabulary`, which is 0 where it is text.
    """

    output: str
    layout: str
    form: str
    vocabulary: int
    clips: int = 0
    steps: int = 0
    longest: int = 0
    without_text: int = 0


def pack(options: PackOptions, advance: Callable[[int, float], None] | None = None) -> Packing:
    """Pack a folder of shards.

    Args:
        options: see `PackOptions`.
        advance: called with the number of clips that were packed, and the seconds of sound that they hold.

    Raises:
        CorpusError: shards that are not complete, a layout that does not suit them, text that is wanted and not there, an
            output that exists.
        TokensError: damaged shards, ids outside the vocabulary.
        MissingExtraError: a text tokenizer without `transformers`.
    """
    reader = open_reader(options.source)
    if not reader.dataset.complete:
        raise CorpusError(f"{options.source!r} is not complete: let `voxzoo tokenize` finish it first")
    if options.form not in FORMS:
        raise CorpusError(f"no output form {options.form!r}; there are {', '.join(FORMS)}")
    with new_folder(options.output) as folder:
        return _Packer(options, reader, folder).run(advance)


class _Packer:
    def __init__(self, options: PackOptions, reader: Reader, folder: Path) -> None:
        self.options, self.reader, self.folder = options, reader, folder
        self.dataset = reader.dataset
        self.streams = int((self.dataset.about.get("arguments") or {}).get("streams") or self.dataset.facts.streams)
        self.text = self._text()
        self.layout = make_layout(options.layout, self.dataset.facts, self.streams, **self._parameters())
        if self.layout.text_kind == "words" and not options.no_text:
            self.text = Words(self._column(options.text_column))
        self.schema = PackedSchema(reader._schema, self.layout.sequences)
        self.output = FORMS[options.form](folder, self.schema)
        high = next(iter(self.layout.sequences.values())).high
        self.result = Packing(options.output, self.layout.name, options.form, high)
        self._check_other()

    # ------------------------------------------------------------------ what the options ask for
    def _column(self, name: str) -> str:
        if name not in self.reader.column_names:
            raise CorpusError(f"the shards have no column {name!r}; they have {', '.join(self.reader.column_names)}")
        return name

    def _text(self) -> TextSource:
        options = self.options
        kind = layout_kind(options.layout)
        if kind.takes_text != "ids" or options.no_text:
            return NoText()
        if options.text_ids_column is not None:
            return ColumnIds(self._column(options.text_ids_column), self.reader._schema)
        if options.text_tokenizer is not None:
            fields = [name for name in self.reader.column_names if name != "codes"]
            template = options.text_template or kind.template
            return TokenizerIds(options.text_tokenizer, self._column(options.text_column), template, kind.text_specials, fields)
        raise CorpusError(
            f"the layout {kind.name} places text: name a text tokenizer's folder (--text-tokenizer), a column of ids "
            "(--text-ids-column), or leave text out (--no-text)"
        )

    def _parameters(self) -> dict[str, Any]:
        """Those given, and ids that the text tokenizer knows."""
        found = dict(self.options.parameters)
        if isinstance(self.text, TokenizerIds):
            for key, token in layout_kind(self.options.layout).from_tokenizer.items():
                id = self.text.id_of(token)
                if id is not None:
                    found.setdefault(key, id)
        return found

    def _check_other(self) -> None:
        column = self.options.other_column
        if column is not None:
            self._column(column)
            if not self.layout.takes_other:
                raise CorpusError(f"the layout {self.layout.name} has no place for a second speaker; leave out --other-column")

    # ------------------------------------------------------------------ work
    def run(self, advance: Callable[[int, float], None] | None) -> Packing:
        parts = self._parts()
        for groups in parts:
            self.output.begin(len(parts))
            for batch in self.reader.batches(groups):
                packed = [self._pack(record) for record in batch]
                self._check_one(batch, packed)
                self.output.write(self._table(batch, packed))
                if advance:
                    advance(len(batch), batch.seconds)
            self.output.end()
        self.output.close()
        self._describe([sum(group.rows for group in groups) for groups in parts])
        return self.result

    def _parts(self) -> list[list[RowGroup]]:
        found: dict[Path, list[RowGroup]] = {shard: [] for shard in self.dataset.shards}
        for group in self.reader.groups:
            found[group.shard].append(group)
        return list(found.values())

    def _pack(self, record: Record) -> Mapping[str, Any]:
        try:
            packed = self.layout.pack(self._utterance(record))
        except (TokensError, CorpusError) as error:
            raise type(error)(f"clip {record.id!r}: {error}") from None
        steps = len(next(iter(packed.values())))
        self.result.clips += 1
        self.result.steps += steps
        self.result.longest = max(self.result.longest, steps)
        return packed

    def _check_one(self, batch: Batch, packed: list[Mapping[str, Any]]) -> None:
        """Unpack the longest clip of a row group. Raises `CorpusError` when it does not come back."""
        longest = int(batch.lengths[:, 0].argmax())
        try:
            same = self.layout.unpack(packed[longest]).codes
            good = all(map(np.array_equal, same, batch.codes(longest)))
        except TokensError:
            good = False
        if not good:
            raise CorpusError(
                f"with these parameters the layout {self.layout.name} does not give clip {batch.ids[longest]!r} back"
            )

    def _utterance(self, record: Record) -> Utterance:
        ids, words = self.text.get({name: record[name] for name in self.text.needs})
        if not isinstance(self.text, NoText) and not len(ids) and not words:
            self.result.without_text += 1
        codes = tuple(stream.astype(np.int64) for stream in record.codes)
        partner = self._partner(record)
        if partner is None:
            return Utterance(codes, ids, words=words)
        other = tuple(stream.astype(np.int64) for stream in partner.codes)
        other = other if len(other[0]) else ()
        if not self.layout.takes_other_text:
            return Utterance(codes, ids, other)
        return Utterance(codes, ids, other, self.text.get({name: partner[name] for name in self.text.needs})[0])

    def _partner(self, record: Record) -> Record | None:
        column = self.options.other_column
        id = record[column] if column is not None else None
        if id is None:
            return None
        if id not in self.reader:
            raise CorpusError(f"the other speaker's clip {id!r} (column {column!r}) is not among the shards")
        found: Record = self.reader[id]
        return found

    def _table(self, batch: Batch, packed: list[Mapping[str, Any]]) -> pa.Table:
        return self.schema.table(batch.table, packed)

    def _describe(self, rows: list[int]) -> None:
        forms = {name: vars(form) for name, form in self.layout.sequences.items()}
        about = {
            "format": FORMAT,
            "layout": self.layout.to_dict(),
            "form": self.options.form,
            "vocabulary": self.result.vocabulary,
            "sequences": forms,
            "text": self.text.about(),
            "other_column": self.options.other_column,
            "model": self.dataset.facts.name,
            "fingerprint": self.dataset.fingerprint,
            "parts": rows,
            "columns": self.schema.names,
            "shard_schema": base64.b64encode(self.reader._schema.serialize().to_pybytes()).decode(),
            "dataset": self.dataset.about,
        }
        (self.folder / "layout.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        rejected = self.dataset.path / "rejected.jsonl"
        if rejected.is_file():
            shutil.copyfile(rejected, self.folder / "rejected.jsonl")
