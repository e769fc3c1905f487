"""Results that may have failed: a value, or the reason why there is none, counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ParamSpec, TypeVar

from ..core.errors import VoxzooError

__all__ = ["attempt", "commonest", "missing_as_reason", "reasons"]

P = ParamSpec("P")
T = TypeVar("T")


def attempt(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | str:
    """What `function` gives, or in one line why it failed: a clip that breaks a model costs that clip and no more."""
    try:
        return function(*args, **options)
    except VoxzooError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def reasons(results: Sequence[Any]) -> dict[str, int]:
    """How often each reason occurs among `results`, the commonest first."""
    return dict(Counter(result for result in results if isinstance(result, str)).most_common())


def commonest(failed: Mapping[str, int]) -> str:
    """The reason that stands for all of them."""
    return next(iter(failed), "no clip was left")


def missing_as_reason(compute: Callable[[], Any]) -> Any:
    """What `compute` gives, a dataclass as a dict; {"missing": reason} where it raises `VoxzooError`."""
    try:
        value = compute()
    except VoxzooError as error:
        return {"missing": str(error)}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
