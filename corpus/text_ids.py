"""Text of the rows as ids: from a Hugging Face tokenizer in a folder, or from a column that holds them already."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ..core.errors import CorpusError, MissingExtraError
from .layout import none, row

__all__ = ["ColumnIds", "NoText", "TextSource", "TokenizerIds", "Words"]


class TextSource(Protocol):
    """Where the text of rows comes from."""

    @property
    def needs(self) -> Sequence[str]:
        """Columns."""

    def get(self, values: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """Ids and words of a row, one of which is empty."""

    def about(self) -> dict[str, Any]:
        """For `layout.json`."""


class NoText:
    """Speech alone."""

    needs: Sequence[str] = ()

    def get(self, values: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """Nothing."""
        return none(), ""

    def about(self) -> dict[str, Any]:
        """For `layout.json`."""
        return {"from": "nothing"}


class Words:
    """A column as it is written; null is no text."""

    def __init__(self, column: str) -> None:
        self.needs = [column]

    def get(self, values: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """The words."""
        text = values[self.needs[0]]
        return none(), "" if text is None else str(text)

    def about(self) -> dict[str, Any]:
        """For `layout.json`."""
        return {"from": "words", "column": self.needs[0]}


class ColumnIds:
    """A column of ids: lists, or text holding a JSON list, as manifests' lists become; null is no text."""

    def __init__(self, column: str, schema: pa.Schema) -> None:
        self.needs = [column]
        kind = schema.field(column).type
        self.as_json = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not self.as_json and not (pa.types.is_list(kind) and pa.types.is_integer(kind.value_type)):
            raise CorpusError(f"the column {column!r} is {kind}; expected lists of whole numbers")

    def get(self, values: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """The ids. Raises `CorpusError` when they are none."""
        value = values[self.needs[0]]
        try:
            ids = json.loads(value) if self.as_json and value is not None else value
            if ids is not None and not (isinstance(ids, list) and all(type(i) is int for i in ids)):
                raise ValueError
        except ValueError:
            raise CorpusError(f"{str(value)[:60]!r} in the column {self.needs[0]!r} is no list of whole numbers") from None
        return row(ids or []), ""

    def about(self) -> dict[str, Any]:
        """For `layout.json`."""
        return {"from": "ids", "column": self.needs[0]}


class TokenizerIds:
    """A text tokenizer of `transformers`, read from a folder; no code of the folder is run.

    Args:
        folder: with `tokenizer.json` or what else the tokenizer is made of.
        column: of the text.
        template: what is given to the tokenizer, columns in braces: "[{speaker}]{text}".
        specials: whether the tokenizer adds its own begin and end.
        fields: the columns of the rows.

    Raises `CorpusError` when folder, column or template are wrong, `MissingExtraError` without `transformers`.
    """

    def __init__(self, folder: str, column: str, template: str, specials: bool, fields: Sequence[str]) -> None:
        template = template.replace("{text}", "{" + column + "}")
        self.needs = [name for name in fields if "{" + name + "}" in template]
        self.folder, self.column, self.template, self.specials = folder, column, template, specials
        try:
            template.format_map(dict.fromkeys(fields, ""))
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise CorpusError(
                f"the template {template!r} does not suit the columns: {error}; there are {', '.join(fields)}"
            ) from None
        self.tokenizer = _load(folder)

    def get(self, values: Mapping[str, Any]) -> tuple[np.ndarray, str]:
        """The ids; none where the text is null."""
        if values[self.column] is None:
            return none(), ""
        text = self.template.format_map(values)
        return row(self.tokenizer.encode(text, add_special_tokens=self.specials)), ""

    def id_of(self, token: str) -> int | None:
        """Id of a token that the vocabulary holds."""
        found = self.tokenizer.get_vocab().get(token)
        return None if found is None else int(found)

    def about(self) -> dict[str, Any]:
        """For `layout.json`."""
        files = sorted(path for path in Path(self.folder).iterdir() if path.is_file() and "token" in path.name)
        return {
            "from": "tokenizer", "tokenizer": self.folder, "column": self.column, "template": self.template,
            "specials": self.specials, "vocabulary": len(self.tokenizer),
            "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        }  # fmt: skip


def _load(folder: str) -> Any:
    if not Path(folder).is_dir():
        raise CorpusError(f"the text tokenizer {folder!r} is no folder; download it and name its folder")
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError("transformers", "ssl") from None
    logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)  # on texts longer than a model takes
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # its own kinds, and whatever a damaged file makes of the libraries below
        first = str(error).strip().split("\n")[0][:200]
        raise CorpusError(f"{folder!r} holds no text tokenizer that can be read: {first}") from None
