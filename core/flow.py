"""`Flow`: tokens to log-mel frames by flow matching, behind one interface; a vocoder makes sound of the frames.

    flow = load_decoder("vox-flow-16k")             # a name of the decoders' registry, or a folder
    mel = flow.mel(tokens, voice="speaker.wav")     # Mel, as `Vocoder.synthesize` takes it
    with flow.stream(voice=...) as s: ...           # push(codes) -> frames, finish() -> frames; joined, they equal `mel`

A family implements `front_end`, `vocabulary`, `rates`, `build`, `_frames` and `_voice`.
Letters: B batch, N tokens, F frames, M mel bands.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from .audio import Audio
from .decoder import Decoder
from .decoders import DecoderFacts, decoder_entry
from .errors import ModelError, TokensError, WrongModelError
from .mel import LogMel, Mel
from .tokens import Tokens

__all__ = ["Flow", "FlowSettings", "FlowStream", "Prompt", "StreamCore"]


@dataclass(frozen=True)
class FlowSettings:
    """How the flow is followed.

    Attributes:
        steps: of the solver; more are slower and, up to a point, better.
        guidance: how much farther than the condition says from what comes without one; 0 saves half the work.
        temperature: deviation of the noise.
        chunked: whether a whole clip is run in the chunks that a stream has, where that makes a difference.
    """

    steps: int = 10
    guidance: float = 0.7
    temperature: float = 1.0
    chunked: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ModelError(f"steps={self.steps!r}; the flow takes at least 1 step, and 10 are usual")
        for name in ("guidance", "temperature"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not np.isfinite(value) or value < 0:
                raise ModelError(f"{name}={value!r}; expected a number of at least 0")


@dataclass(frozen=True)
class Prompt:
    """Speech whose manner is gone on with: its tokens, and its mel, which covers them."""

    tokens: Any
    mel: Mel


class Flow(Decoder):
    """Tokens to log-mel.

    Attributes:
        front: the mel front end, every constant of it.
        prompts: whether it can go on with a prompt.
    """

    prompts: ClassVar[bool] = False

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        super().__init__(facts, config, network, device)
        self.front = self.front_end(self.config)

    @classmethod
    @abstractmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The mel front end of a configuration."""

    @classmethod
    @abstractmethod
    def vocabulary(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """How many codes there are in each stream of the tokens (K)."""

    @classmethod
    @abstractmethod
    def rates(cls, config: Mapping[str, Any]) -> tuple[Fraction, ...]:
        """Tokens per second in each stream (K)."""

    @property
    @abstractmethod
    def voice_size(self) -> int:
        """Channels of the vector that says who speaks."""

    @abstractmethod
    def _frames(self, codes: list[Tensor], voice: Tensor, settings: FlowSettings, prompt: _Prompted | None) -> Tensor:
        """K streams int64 (B, N_k), each row whole, and voices (B, S) -> log-mel (B, F, M)."""

    @abstractmethod
    def _voice(self, wav: Tensor) -> Tensor:
        """wav (T,) at the front end's rate -> the vector (S,) of who speaks in it."""

    def _default_voice(self) -> Tensor:
        """Who speaks where nobody is named: zeros unless the family knows better."""
        return torch.zeros(self.voice_size, device=self.device)

    def _open(self, voice: Tensor, settings: FlowSettings) -> StreamCore:
        """A fresh stream."""
        raise ModelError(f"{self.facts.name} does not stream: its frames depend on all tokens; use mel")

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        return {"sample_rate": cls.front_end(config).sample_rate, "frame_rate": cls.rates(config)[0], "context": None}

    def mel(self, tokens: Any, *, voice: Any = None, settings: FlowSettings | None = None, prompt: Prompt | None = None) -> Any:
        """Log-mel frames of tokens.

        Args:
            tokens: `Tokens`, or codes (N,) or (B, N) of the one stream, numpy, torch or a list.
            voice: who speaks: a path or an `Audio` of a few seconds, or a vector (S,); default: the flow's own.
            settings: how the flow is followed.
            prompt: speech to go on with, of one clip, where the flow can.

        Returns:
            `Mel`; a list of them where there are several clips.

        Raises:
            TokensError: no tokens, codes out of range, or another number of streams.
            WrongModelError: tokens that another model made.
            ModelError: a voice of another width, a prompt that is not of this front end, or no use for one.
        """
        settings = settings or FlowSettings()
        clips = self.codes(tokens)
        who = self.voice(voice)
        prompted = None if prompt is None else self._prompted(prompt, len(clips))
        found: dict[int, Tensor] = {}
        with torch.no_grad():
            for group in _equal(clips):
                codes = [torch.stack([clips[i][k] for i in group]).to(self.device) for k in range(len(clips[0]))]
                frames = self._frames(codes, who.expand(len(group), -1), settings, prompted).float()
                found |= zip(group, frames, strict=True)
        mels = [Mel(found[i].T[None].contiguous(), self.front) for i in range(len(clips))]
        return mels if len(mels) > 1 or getattr(tokens, "batched", False) else mels[0]

    def voice(self, given: Any = None) -> Tensor:
        """The vector (1, S) of a voice: of a path or an `Audio`, or one that was made before. Raises `ModelError`."""
        if given is None:
            return self._default_voice()[None]
        if isinstance(given, (Tensor, np.ndarray, list, tuple)):
            vector = torch.as_tensor(given, dtype=torch.float32, device=self.device).flatten()
            if len(vector) != self.voice_size or not bool(torch.isfinite(vector).all()):
                raise ModelError(
                    f"a voice of {len(vector)} numbers; {self.facts.name} wants {self.voice_size} finite ones, or a recording"
                )
            return vector[None]
        audio = given if isinstance(given, Audio) else Audio.read(given)
        wav = torch.from_numpy(audio.resample(self.front.sample_rate).samples).to(self.device)
        with torch.no_grad():
            return self._voice(wav)[None]

    def stream(self, *, voice: Any = None, settings: FlowSettings | None = None) -> FlowStream:
        """Tokens in, frames out. Raises `ModelError` where the flow does not stream."""
        return FlowStream(self, self._open(self.voice(voice), settings or FlowSettings()))

    def codes(self, tokens: Any) -> list[list[Tensor]]:
        """The K streams, int64 (N_k,) each, of every clip, checked as `mel` says."""
        sizes = self.vocabulary(self.config)
        if isinstance(tokens, Tokens):
            self.check_origin(tokens)
            parts = [tokens[i].torch("cpu") for i in range(len(tokens))]
            clips = [[torch.as_tensor(c)[0] for c in part.codes] for part in parts]
        else:
            rows = _whole_numbers(tokens)
            rows = rows[None] if rows.ndim == 1 else rows
            if rows.ndim != 2:
                raise TokensError(f"tokens of shape {tuple(rows.shape)}; expected (N,) or (B, N)")
            clips = [[row] for row in rows]
        if not clips:
            raise TokensError("no tokens were given; expected at least one")
        for streams in clips:
            self._check_streams(streams, sizes)
        return clips

    def _check_streams(self, streams: Sequence[Tensor], sizes: tuple[int, ...]) -> None:
        name = self.facts.name
        if len(streams) != len(sizes):
            raise TokensError(f"tokens of {len(streams)} streams; {name} takes {len(sizes)}")
        for codes, size in zip(streams, sizes, strict=True):
            if not len(codes):
                raise TokensError(f"a clip without tokens; {name} wants at least one")
            low, high = int(codes.min()), int(codes.max())
            if low < 0 or high >= size:
                raise TokensError(f"token {low if low < 0 else high} is out of range; {name} knows 0 to {size - 1}")

    def check_origin(self, tokens: Tokens) -> None:
        """Raise `WrongModelError` for tokens that another model made than those this flow speaks."""
        plays = decoder_entry(self.facts.name).plays
        if tokens.facts.name not in plays:
            raise WrongModelError(
                f"these tokens were made by {tokens.facts.name}; {self.facts.name} speaks those of {' or '.join(plays)} alone"
            )

    def _prompted(self, prompt: Prompt, clips: int) -> _Prompted:
        if not self.prompts:
            raise ModelError(f"{self.facts.name} takes no prompt; give a recording as voice")
        if clips > 1:
            raise ModelError(f"a prompt goes with one clip; {clips} were given")
        if prompt.mel.front != self.front:
            differing = prompt.mel.front.differences(self.front)
            raise ModelError(f"the prompt's mel is not of {self.facts.name}'s front end: {differing}")
        codes = self.codes(prompt.tokens)[0]
        return _Prompted([c[None].to(self.device) for c in codes], prompt.mel.frames[:1].transpose(1, 2).to(self.device))


@dataclass(frozen=True)
class _Prompted:
    """A prompt as networks take it: K streams (1, N_k) and frames (1, F, M)."""

    codes: list[Tensor]
    mel: Tensor


class StreamCore:
    """What a family's stream does."""

    @abstractmethod
    def push(self, codes: list[Tensor], last: bool) -> Tensor:
        """K streams (1, n) -> the frames (1, F, M) that are now certain; with `last`, all that are left."""


class FlowStream:
    """One clip's tokens in, its frames out. Use as a context manager."""

    def __init__(self, flow: Flow, core: StreamCore) -> None:
        self.flow, self.core = flow, core
        self.pushed, self.open = 0, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def push(self, tokens: Any) -> Tensor:
        """`Tokens` or codes (n,) of one clip -> the frames (M, F) that are now certain, possibly none."""
        codes = tokens.codes[0][0] if isinstance(tokens, Tokens) and len(tokens) == 1 else tokens
        clips = self.flow.codes(tokens) if len(codes) else []
        if len(clips) > 1:
            raise TokensError(f"pushed tokens of {len(clips)} clips; a stream carries one")
        return self._give(clips[0], False) if clips else self._give(None, False)

    def finish(self) -> Tensor:
        """The frames (M, F) still held back; the stream is closed. Raises `TokensError` where nothing was pushed."""
        if self.open and not self.pushed:
            raise TokensError("the stream was given no tokens")
        frames = self._give(None, True)
        self.open = False
        return frames

    @torch.no_grad()
    def _give(self, codes: list[Tensor] | None, last: bool) -> Tensor:
        if not self.open:
            raise ModelError("this stream is finished; open another")
        none = torch.zeros(0, dtype=torch.int64)
        given = codes or [none] * len(self.flow.vocabulary(self.flow.config))
        self.pushed += len(given[0])
        return self.core.push([c[None].to(self.flow.device) for c in given], last)[0].T.float()


def _whole_numbers(tokens: Any) -> Tensor:
    """int64 of numpy, torch or lists. Raises `TokensError` for anything that holds no whole numbers."""
    try:
        array = np.asarray(tokens.cpu() if isinstance(tokens, Tensor) else tokens)
        return torch.from_numpy(array.astype(np.int64, casting="safe") if array.size else np.zeros(array.shape, np.int64))
    except (TypeError, ValueError):
        pass
    raise TokensError(f"cannot speak a {type(tokens).__name__}; expected Tokens, or whole numbers (N,) or (B, N)")


def _equal(clips: Sequence[Sequence[Tensor]]) -> list[list[int]]:
    """Indices of clips of equal lengths, which share a batch: no clip's frames then depend on another's."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, streams in enumerate(clips):
        groups.setdefault(tuple(len(codes) for codes in streams), []).append(i)
    return list(groups.values())
