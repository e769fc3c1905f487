"""What the user of a bundle holds while sound or tokens come in pieces: `core/streaming.py` and its slots in numpy.

Joined, the parts equal what `encode` and `decode` give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.audio import Audio, check_samples
from ..core.errors import AudioError, TokensError
from ..core.open_streams import OpenStream, Slots
from ..core.tokens import Tokens
from .runtime_coded import Coded, DecoderCore, EncoderCore

if TYPE_CHECKING:
    from .runtime import BundleModel

__all__ = ["BundleStreamDecoder", "BundleStreamEncoder", "StreamSlots"]


class BundleStreamEncoder(OpenStream):
    """Encodes one clip as it arrives. Use as a context manager."""

    def __init__(self, model: BundleModel, core: EncoderCore) -> None:
        self.model = model
        self.core = core
        self.samples = 0  # pushed so far
        self.covered = 0  # of those, covered by tokens given out
        self.given = [0] * model.facts.streams  # frames

    def push(self, samples: Any) -> Tokens:
        """Tokens of the frames that `samples` (float (T,), at the model's rate) complete; possibly none.

        Raises `AudioError` for another shape, integers, NaN, or a peak far beyond 1.
        """
        self._require_open()
        wav = np.asarray(samples)
        if wav.ndim != 1 or wav.dtype.kind != "f":
            raise AudioError(f"pushed {wav.dtype} samples of shape {wav.shape}; expected float (T,) in [-1, 1]")
        check_samples(wav)
        self.samples += len(wav)
        coded = self.core.push(np.ascontiguousarray(wav, dtype=np.float32)[None])
        facts = self.model.facts
        span = int(coded.codes[0].shape[1] * facts.sample_rate / facts.frame_rates[0])
        return self._tokens(coded, min(self.samples, self.covered + span))

    def finish(self) -> Tokens:
        """Tokens of what is left; the stream is closed."""
        self._require_open()
        self.open = False
        if not self.samples:
            raise AudioError("the stream was given no samples")
        left = [n - given for n, given in zip(self.model.frames(self.samples), self.given, strict=True)]
        kept, _ = self.core.finish().parted(left)  # frames of the zeros that completed it are not the clip's
        return self._tokens(kept, self.samples)

    def _tokens(self, coded: Coded, covered: int) -> Tokens:
        length, self.covered = covered - self.covered, covered
        for k, stream in enumerate(coded.codes):
            self.given[k] += stream.shape[1]
        return self.model.tokens(coded, length)


class BundleStreamDecoder(OpenStream):
    """Decodes one clip as its tokens arrive. Use as a context manager."""

    def __init__(self, model: BundleModel, core: DecoderCore) -> None:
        self.model = model
        self.core = core
        self.length = 0  # true samples of the tokens pushed so far
        self.sounded = 0  # samples given out

    def push(self, tokens: Tokens) -> Audio:
        """Sound that `tokens` (one clip) make certain; possibly none yet.

        Raises `WrongModelError` for tokens of another model, `TokensError` for several clips at once.
        """
        self._require_open()
        self.model.check_fingerprint(tokens)
        if len(tokens) != 1:
            raise TokensError(f"pushed tokens of {len(tokens)} clips; a stream carries one")
        tokens = tokens.numpy()
        self.length += int(tokens.lengths[0])
        return self._given(self.core.push(Coded(list(tokens.codes), dict(tokens.extras))))

    def finish(self) -> Audio:
        """The rest of the sound; the stream is closed."""
        self._require_open()
        self.open = False
        wav = self.core.finish()
        return self._given(np.pad(wav, ((0, 0), (0, max(0, self._wanted() - wav.shape[1])))))

    def _wanted(self) -> int:
        """Samples that the tokens so far still owe."""
        return self.model.facts.decoded_length(self.length) - self.sounded

    def _given(self, wav: np.ndarray) -> Audio:
        samples = wav[0, : self._wanted()]
        self.sounded += len(samples)
        return Audio(samples, self.model.facts.output_rate)


class StreamSlots(Slots):
    """Streams of many clips, one after the other. Use as a context manager."""

    def push(self, pushed: Mapping[int, Any]) -> dict[int, Any]:
        """slot -> what its stream takes; gives slot -> what that gives. Raises `ModelError` for a slot that is not there."""
        streams = self._of(pushed)
        return {slot: stream.push(part) for (slot, part), stream in zip(pushed.items(), streams, strict=True)}
