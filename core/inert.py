"""Pickled objects read without what they were objects of: no class of theirs is imported, and nothing of theirs is run.

Published checkpoints carry more than tensors: settings, dictionaries, an optimiser, the estimator that learnt the codewords.
Each such object becomes an `Inert`, which keeps what it was made of. Only the names of packages that are known to lie in such
files are let through; a file that names any other function or class is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Inert", "PlainDict", "harmless"]


class Inert:
    """What is left of a pickled object: its name, what it was called with, and its state.

    Attributes:
        name: dotted name of its class or function.
        args: what it was called with.
        state: what it was to be set to; None where nothing was.
        items: what was appended or put into it.
    """

    name = ""

    def __new__(cls, *args: Any, **_: Any) -> Inert:  # noqa: D102
        made = super().__new__(cls)
        made.args, made.state, made.items = args, None, []
        return made

    args: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """As of a list."""
        self.items.append(item)

    def extend(self, items: Sequence[Any]) -> None:
        """As of a list."""
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def __hash__(self) -> int:
        return id(self)

    @classmethod
    def called(cls, name: str) -> type[Inert]:
        """A class of its own for objects of this name, as unpicklers want one."""
        return type("Inert", (cls,), {"name": name})


class PlainDict:
    """In place of a class derived from dict: makes a dict."""

    def __new__(cls, *args: Any, **_: Any) -> dict[Any, Any]:  # type: ignore[misc]  # noqa: D102
        return {}

    @classmethod
    def called(cls, name: str) -> type[PlainDict]:
        """A class of its own, as unpicklers want one."""
        return type(name.rpartition(".")[2], (cls,), {})


def harmless(name: str, known: Sequence[str]) -> bool:
    """Whether a dotted name is one of `known`, or lies in one of them that ends in a dot."""
    return any(name.startswith(one) if one.endswith(".") else name == one for one in known)
