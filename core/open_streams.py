"""What streams are on every engine: open until they are finished, alone or one for each slot of a batch. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from .errors import ModelError

__all__ = ["OpenStream", "Slots"]


class OpenStream:
    """Open until `finish` or the end of the `with` block."""

    open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def _require_open(self) -> None:
        if not self.open:
            raise ModelError("this stream is finished; open a new one")


class Slots:
    """A stream for each slot in use; a slot's is opened by the first push to it."""

    def __init__(self, opened: Callable[[], Any], slots: int) -> None:
        """opened: opens a stream. Raises `ModelError` for less than one slot."""
        if slots < 1:
            raise ModelError(f"slots={slots}; expected at least 1")
        self.opened, self.slots = opened, slots
        self.streams: dict[int, Any] = {}
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def _of(self, pushed: Mapping[int, Any]) -> list[Any]:
        """The streams of the slots that are pushed to."""
        if not self.open:
            raise ModelError("these streams are finished; open new ones")
        if wrong := [slot for slot in pushed if slot not in range(self.slots)]:
            raise ModelError(f"there is no slot {wrong[0]!r}; there are 0 to {self.slots - 1}")
        for slot in pushed:
            if slot not in self.streams:
                self.streams[slot] = self.opened()
        return [self.streams[slot] for slot in pushed]

    def finish(self, slot: int) -> Any:
        """What the slot's clip still owes; the slot is free for another clip. Raises `ModelError` where it has none."""
        if slot not in self.streams:
            raise ModelError(f"slot {slot!r} carries no clip; nothing was pushed to it")
        return self.streams.pop(slot).finish()
