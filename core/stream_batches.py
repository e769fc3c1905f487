"""Many streams in one batch: each slot carries a clip of its own, which begins and ends at its own moment.

    with model.stream_encoders(8) as batch:
        tokens = batch.push({0: samples, 5: other})   # the slots that have something, each at its own place in its clip
        last = batch.finish(5)                        # slot 5 is free for another clip

What each slot gives is what a stream of its own gives. Models that can (`Model._push_encoders`) take the slots of one push
through the network together, which is what a server with a GPU wants; others take them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from .audio import Audio
from .errors import ModelError
from .streaming import StreamDecoder, StreamEncoder
from .tokens import Tokens

if TYPE_CHECKING:
    from .model import Model

__all__ = ["StreamDecoders", "StreamEncoders"]


class _Slots:
    """A stream for each slot in use; a slot's is opened by the first push to it."""

    def __init__(self, model: Model, slots: int) -> None:
        if slots < 1:
            raise ModelError(f"slots={slots}; expected at least 1")
        self.model, self.slots = model, slots
        self.streams: dict[int, Any] = {}
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def _opened(self) -> Any:
        raise NotImplementedError

    def _of(self, pushed: Mapping[int, Any]) -> list[Any]:
        """The streams of the slots that are pushed to."""
        if not self.open:
            raise ModelError("these streams are finished; open new ones")
        if wrong := [slot for slot in pushed if slot not in range(self.slots)]:
            raise ModelError(f"there is no slot {wrong[0]!r}; there are 0 to {self.slots - 1}")
        for slot in pushed:
            if slot not in self.streams:
                self.streams[slot] = self._opened()
        return [self.streams[slot] for slot in pushed]

    def finish(self, slot: int) -> Any:
        """What the slot's clip still owes; the slot is free for another clip. Raises `ModelError` where it has none."""
        if slot not in self.streams:
            raise ModelError(f"slot {slot!r} carries no clip; nothing was pushed to it")
        return self.streams.pop(slot).finish()


class StreamEncoders(_Slots):
    """Encodes many clips as they arrive. Use as a context manager."""

    def __init__(self, model: Model, slots: int, streams: int) -> None:
        super().__init__(model, slots)
        self.codebooks = streams

    def _opened(self) -> StreamEncoder:
        return StreamEncoder(self.model, self.model._open_encoder(self.codebooks), self.codebooks)

    def push(self, samples: Mapping[int, Any]) -> dict[int, Tokens]:
        """slot -> samples (T,), as many for each as one likes; gives slot -> tokens of the frames completed, possibly none.

        Raises as `StreamEncoder.push` does, and `ModelError` for a slot that is not there.
        """
        streams = self._of(samples)
        wavs = [stream.checked(wav) for stream, wav in zip(streams, samples.values(), strict=True)]
        with self.model._inference():
            made = self.model._push_encoders([stream.core for stream in streams], wavs)
        return {slot: stream.given(part) for slot, stream, part in zip(samples, streams, made, strict=True)}


class StreamDecoders(_Slots):
    """Decodes many clips as their tokens arrive. Use as a context manager."""

    def _opened(self) -> StreamDecoder:
        return self.model.stream_decoder()

    def push(self, tokens: Mapping[int, Tokens]) -> dict[int, Audio]:
        """slot -> tokens of one clip; gives slot -> the sound that is certain. Raises as `StreamDecoder.push` does."""
        streams = self._of(tokens)
        parts = [stream.checked(part) for stream, part in zip(streams, tokens.values(), strict=True)]
        with self.model._inference():
            made = self.model._push_decoders([stream.core for stream in streams], parts)
        return {slot: stream.given(wav) for slot, stream, wav in zip(tokens, streams, made, strict=True)}
