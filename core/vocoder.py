"""`Vocoder`: log-mel frames to sound, behind one interface, whole or in streams.

A family implements `build`, `front_end` and `reach`, and reads its published form in `read`; its network takes frames (B, M, F)
and gives wav (B, hop F). Letters: B batch, M mel bands, F frames, T samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Self

import torch
from torch import Tensor, nn

from .audio import Audio
from .decoder import Decoder
from .decoders import DecoderFacts
from .errors import AudioError, ModelError
from .mel import LogMel, Mel

__all__ = ["Vocoder", "VocoderStream", "windowed"]

WINDOW = 2000  # frames that are made into sound at a time, beside their context


class Vocoder(Decoder):
    """Log-mel frames to sound: hop F samples of F frames, less `edge` at both ends.

    Attributes:
        front: the mel front end, every constant of it.
        edge: samples that are cut from both ends of a clip's sound.
    """

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        super().__init__(facts, config, network, device)
        self.front = self.front_end(self.config)
        self.edge = self.trim(self.config)

    @classmethod
    @abstractmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The mel front end of a configuration."""

    @classmethod
    @abstractmethod
    def reach(cls, config: Mapping[str, Any]) -> tuple[int, int] | None:
        """Frames before and after one that its sound depends on; None where that is all of them."""

    @classmethod
    def trim(cls, config: Mapping[str, Any]) -> int:
        """Samples that are cut from both ends of a clip's sound."""
        return 0

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        front = cls.front_end(config)
        rate = Fraction(front.sample_rate, front.hop)
        return {"sample_rate": front.sample_rate, "frame_rate": rate, "context": cls.reach(config)}

    def mel(self, audio: Any) -> Mel:
        """Log-mel frames of a path or an `Audio`, resampled to the vocoder's rate if need be.

        Raises `AudioError` for sound that is shorter than one frame.
        """
        sound = audio if isinstance(audio, Audio) else Audio.read(audio)
        wav = torch.from_numpy(sound.resample(self.facts.sample_rate).samples)[None].to(self.device)
        if not wav.shape[1] or self.front.frames(wav.shape[1]) < self.least:
            raise AudioError(f"{wav.shape[1]} samples are too few for {self.facts.name}; expected at least {self.front.hop}")
        with torch.no_grad():
            return Mel(self.front(wav), self.front)

    def synthesize(self, mel: Any) -> Any:
        """Sound of log-mel frames, `samples(F)` long.

        Args:
            mel: a `Mel`, whose constants must be this vocoder's, or bare frames (M, F) or (B, M, F), numpy or torch.

        Returns:
            `Audio`; a list of them where B > 1.

        Raises:
            ModelError: constants of another front end, another number of bands, no frames, or values that are not finite.
        """
        frames = self.frames(mel, self.least)
        with torch.no_grad():
            wav = windowed(self.network, frames, self.front.hop, self.facts.context)
        wavs = wav[:, self.edge : wav.shape[1] - self.edge].float().cpu().numpy()
        audios = [Audio(wav, self.facts.sample_rate) for wav in wavs]
        return audios if len(audios) > 1 else audios[0]

    @property
    def least(self) -> int:
        """The fewest frames that make a sound."""
        return 1 + 2 * self.edge // self.front.hop

    def samples(self, frames: int) -> int:
        """Length law: of the sound of so many frames."""
        return max(0, frames * self.front.hop - 2 * self.edge)

    def stream(self) -> VocoderStream:
        """Frames in, sound out, exact. Raises `ModelError` where the sound depends on all frames."""
        return VocoderStream(self)

    def frames(self, mel: Any, least: int = 1) -> Tensor:
        """Frames (B, M, F) on the vocoder's device, checked as `synthesize` says; `least`: the fewest frames there may be."""
        if isinstance(mel, Mel):
            if mel.front != self.front:
                differing = mel.front.differences(self.front)
                raise ModelError(f"this mel is not of {self.facts.name}'s front end: {differing}")
            mel = mel.frames
        try:
            frames = torch.as_tensor(mel, dtype=torch.float32, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise ModelError(f"cannot make sound of a {type(mel).__name__}; expected frames (M, F) or (B, M, F)") from None
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.shape[1] != self.front.bands or not len(frames):
            raise ModelError(
                f"mel of shape {tuple(frames.shape)}; {self.facts.name} takes {self.front.bands} bands: "
                f"({self.front.bands}, F) or (B, {self.front.bands}, F)"
            )
        if frames.shape[2] < least:
            raise ModelError(f"a mel of {frames.shape[2]} frames; {self.facts.name} wants at least {least}")
        if not bool(torch.isfinite(frames).all()):
            raise ModelError("the mel holds NaN or infinity")
        return frames


def windowed(network: Callable[[Tensor], Tensor], frames: Tensor, hop: int, context: tuple[int, int] | None) -> Tensor:
    """frames (B, C, F) -> wav (B, hop F); long clips in windows with their context, in bounded memory."""
    count = frames.shape[2]
    if context is None or count <= WINDOW + sum(context):
        return network(frames)
    before, after = context
    parts = []
    for start in range(0, count, WINDOW):
        begin, end = max(0, start - before), min(count, start + WINDOW)
        wav = network(frames[:, :, begin : min(count, end + after)])
        parts.append(wav[:, (start - begin) * hop : (end - begin) * hop].cpu())
    return torch.cat(parts, 1)


class VocoderStream:
    """Holds back the frames whose sound is not certain yet, and as many before them as that sound needs."""

    def __init__(self, vocoder: Vocoder) -> None:
        if vocoder.facts.context is None:
            raise ModelError(f"{vocoder.facts.name} cannot stream: its sound depends on all frames; use synthesize")
        self.vocoder = vocoder
        self.before, self.after = vocoder.facts.context
        self.held = torch.zeros(1, vocoder.front.bands, 0, device=vocoder.device)
        self.done = 0  # frames of `held` whose sound was made
        self.lead = vocoder.edge  # samples still to be cut at the start
        self.tail = torch.zeros(0, device=vocoder.device)  # samples that may have to be cut at the end
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def push(self, mel: Any) -> Audio:
        """Frames (M, n), any n -> the sound that is now certain, possibly none."""
        frames = self.vocoder.frames(mel, 0)
        if len(frames) != 1:
            raise ModelError(f"a stream takes one clip; {len(frames)} were pushed")
        return self._give(frames, self.after)

    def finish(self) -> Audio:
        """The sound of the frames still held back; the stream is closed."""
        audio = self._give(self.held[:, :, :0], 0)
        self.open = False
        return audio

    @torch.no_grad()
    def _give(self, frames: Tensor, after: int) -> Audio:
        if not self.open:
            raise ModelError("this stream is finished; open another")
        self.held = torch.cat([self.held, frames], 2)
        count, hop = self.held.shape[2], self.vocoder.front.hop
        sure = max(self.done, count - after)
        wav = self.held.new_zeros(0)
        if sure > self.done:
            wav = self.vocoder.network(self.held)[0, self.done * hop : sure * hop]
        drop = max(0, sure - self.before)
        self.held, self.done = self.held[:, :, drop:], sure - drop
        wav, self.lead = wav[self.lead :], max(0, self.lead - len(wav))
        wav = torch.cat([self.tail, wav])
        keep = max(0, len(wav) - self.vocoder.edge)
        wav, self.tail = wav[:keep], wav[keep:]
        return Audio(wav.float().cpu().numpy(), self.vocoder.facts.sample_rate)
