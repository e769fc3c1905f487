"""Streaming forms of a model: what the user holds, and the two small interfaces a family implements.

A core works on torch tensors of one clip and knows nothing of tokens; `StreamEncoder` and `StreamDecoder` check what is
pushed, keep count of samples, and give `Tokens` and `Audio`. Joined, the parts equal the offline result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .audio import Audio, check_samples
from .errors import AudioError, TokensError
from .open_streams import OpenStream
from .tokens import Tokens

if TYPE_CHECKING:
    from .model import Model

__all__ = ["DecoderCore", "Encoded", "EncoderCore", "StreamDecoder", "StreamEncoder"]


@dataclass
class Encoded:
    """Codes of a padded batch, K tensors int64 (B, N_k), and what else decoding needs: float32 (B, N_0) each, one value
    per frame of the first stream."""

    codes: list[Tensor]
    extras: dict[str, Tensor] = field(default_factory=dict)


class EncoderCore(Protocol):
    """Sound in, codes out, with whatever state that needs."""

    def push(self, wav: Tensor) -> Encoded:
        """wav (1, T), any T >= 0 -> the frames that are now certain (possibly none)."""

    def finish(self) -> Encoded:
        """The frames still held back; the last one is completed as `encode` completes it."""


class DecoderCore(Protocol):
    """Codes in, sound out."""

    def push(self, encoded: Encoded) -> Tensor:
        """Any number of frames (streams in their fixed ratio) -> the samples (1, T) that are now certain."""

    def finish(self) -> Tensor:
        """The samples still held back."""


class StreamEncoder(OpenStream):
    """Encodes one clip as it arrives. Use as a context manager."""

    def __init__(self, model: Model, core: EncoderCore, streams: int) -> None:
        self.model = model
        self.core, self.streams = core, streams
        self.samples = 0  # pushed so far
        self.covered = 0  # of those, covered by tokens given out

    def push(self, samples: Any) -> Tokens:
        """Tokens of the frames that `samples` (numpy or torch (T,), at the model's rate) complete; possibly none.

        Raises `AudioError` for another shape, integers, NaN, or a peak far beyond 1.
        """
        wav = self.checked(samples)
        with self.model._inference():
            encoded = self.core.push(wav)
        return self.given(encoded)

    def checked(self, samples: Any) -> Tensor:
        """What `push` takes as the core takes it, counted."""
        self._require_open()
        wav = torch.as_tensor(np.asarray(samples) if not isinstance(samples, Tensor) else samples)
        if wav.ndim != 1 or not wav.is_floating_point():
            raise AudioError(f"pushed {wav.dtype} samples of shape {tuple(wav.shape)}; expected float (T,) in [-1, 1]")
        if not wav.is_cuda:
            check_samples(wav.numpy())
        self.samples += len(wav)
        return wav.to(self.model.device, torch.float32)[None]

    def given(self, encoded: Encoded) -> Tokens:
        """What the core made of it, as `push` gives it."""
        return self._tokens(encoded, min(self.samples, self.covered + self._span(encoded)))

    def finish(self) -> Tokens:
        """Tokens of what is left; the stream is closed."""
        self._require_open()
        self.open = False
        if not self.samples:
            raise AudioError("the stream was given no samples")
        with self.model._inference():
            encoded = self.core.finish()
        return self._tokens(encoded, self.samples)

    def _span(self, encoded: Encoded) -> int:
        """Samples that these frames cover."""
        facts = self.model.facts
        return int(encoded.codes[0].shape[1] * facts.sample_rate / facts.frame_rates[0])

    def _tokens(self, encoded: Encoded, covered: int) -> Tokens:
        length, self.covered = covered - self.covered, covered
        model = self.model
        return Tokens(encoded.codes, np.array([length]), model.facts, model.fingerprint, model.resampler, encoded.extras)


class StreamDecoder(OpenStream):
    """Decodes one clip as its tokens arrive. Use as a context manager."""

    def __init__(self, model: Model, core: DecoderCore) -> None:
        self.model = model
        self.core = core
        self.length = 0  # true samples of the tokens pushed so far
        self.sounded = 0  # samples given out

    def push(self, tokens: Tokens) -> Audio:
        """Sound that `tokens` (one clip) make certain; possibly none yet.

        Raises `WrongModelError` for tokens of another model, `TokensError` for several clips at once.
        """
        encoded = self.checked(tokens)
        with self.model._inference():
            wav = self.core.push(encoded)
        return self.given(wav)

    def checked(self, tokens: Tokens) -> Encoded:
        """What `push` takes as the core takes it, counted."""
        self._require_open()
        if len(tokens) != 1:
            raise TokensError(f"pushed tokens of {len(tokens)} clips; a stream carries one")
        self.model.check_fingerprint(tokens)
        tokens = tokens.torch(self.model.device)
        extras = {key: torch.as_tensor(value, device=self.model.device) for key, value in tokens.extras.items()}
        self.length += int(tokens.lengths[0])
        return Encoded(list(tokens.codes), extras)

    def finish(self) -> Audio:
        """The rest of the sound; the stream is closed."""
        self._require_open()
        self.open = False
        with self.model._inference():
            wav = self.core.finish()
        missing = max(0, self._wanted() - wav.shape[1])
        return self.given(torch.nn.functional.pad(wav, (0, missing)))

    def _wanted(self) -> int:
        """Samples that the tokens so far still owe."""
        return self.model.facts.decoded_length(self.length) - self.sounded

    def given(self, wav: Tensor) -> Audio:
        """What the core made of it, as `push` gives it."""
        samples = wav[0, : self._wanted()].float().cpu().numpy()
        self.sounded += len(samples)
        return Audio(samples, self.model.facts.output_rate)
