"""Many streams in one batch: each slot carries a clip of its own, which begins and ends at its own moment.

    with model.stream_encoders(8) as batch:
        tokens = batch.push({0: samples, 5: other})   # the slots that have something, each at its own place in its clip
        last = batch.finish(5)                        # slot 5 is free for another clip

What each slot gives is what a stream of its own gives. Models that can (`Model._push_encoders`) take the slots of one push
through the network together, which is what a server with a GPU wants; others take them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .audio import Audio
from .open_streams import Slots
from .tokens import Tokens

if TYPE_CHECKING:
    from .model import Model

__all__ = ["StreamDecoders", "StreamEncoders"]


class StreamEncoders(Slots):
    """Encodes many clips as they arrive. Use as a context manager."""

    def __init__(self, model: Model, slots: int, streams: int) -> None:
        super().__init__(lambda: model.stream_encoder(streams=streams), slots)
        self.model = model

    def push(self, samples: Mapping[int, Any]) -> dict[int, Tokens]:
        """slot -> samples (T,), as many for each as one likes; gives slot -> tokens of the frames completed, possibly none.

        Raises as `StreamEncoder.push` does, and `ModelError` for a slot that is not there.
        """
        streams = self._of(samples)
        wavs = [stream.checked(wav) for stream, wav in zip(streams, samples.values(), strict=True)]
        with self.model._inference():
            made = self.model._push_encoders([stream.core for stream in streams], wavs)
        return {slot: stream.given(part) for slot, stream, part in zip(samples, streams, made, strict=True)}


class StreamDecoders(Slots):
    """Decodes many clips as their tokens arrive. Use as a context manager."""

    def __init__(self, model: Model, slots: int) -> None:
        super().__init__(model.stream_decoder, slots)
        self.model = model

    def push(self, tokens: Mapping[int, Tokens]) -> dict[int, Audio]:
        """slot -> tokens of one clip; gives slot -> the sound that is certain. Raises as `StreamDecoder.push` does."""
        streams = self._of(tokens)
        parts = [stream.checked(part) for stream, part in zip(streams, tokens.values(), strict=True)]
        with self.model._inference():
            made = self.model._push_decoders([stream.core for stream in streams], parts)
        return {slot: stream.given(wav) for slot, stream, wav in zip(tokens, streams, made, strict=True)}
