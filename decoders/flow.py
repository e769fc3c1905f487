"""`vox-flow-16k`: the tokens of `vox-s3-16k` and anybody's voice to log-mel frames, by flow matching.

Conditional flow matching with optimal-transport paths (Lipman et al. 2022, arXiv:2210.02747; as in Matcha-TTS and CosyVoice),
by a network of convolutions only (`_flow_vox.py`). Any recording of a few seconds gives the voice. The noise is fixed, and
frames come in chunks of 16 tokens that see 4 more: a stream gives exactly what the whole clip gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import AudioError, WrongModelError
from ..core.flow import Flow, FlowSettings, StreamCore
from ..core.mel import LogMel
from ..core.tokens import Tokens
from ._flow_sampling import FlowStream, sample
from ._flow_vox import FlowConfig, FlowNetwork

__all__ = ["VoxFlow"]

LEVEL = -23.0  # dBFS of the active speech in recordings that the network has heard, and speaks at
LONGEST = 10.0  # seconds of a recording that are heard
PIECE = 1000  # frames made at a time, so that memory is bounded


class VoxFlow(Flow):
    """Our own flow behind the common interface."""

    network: FlowNetwork

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return FlowNetwork(FlowConfig.from_dict(config))

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return LogMel.from_dict(FlowConfig.from_dict(config).mel)

    @classmethod
    def vocabulary(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """One stream."""
        return (FlowConfig.from_dict(config).codebook_size,)

    @classmethod
    def rates(cls, config: Mapping[str, Any]) -> tuple[Fraction, ...]:
        """One stream."""
        c, front = FlowConfig.from_dict(config), cls.front_end(config)
        return (Fraction(front.sample_rate, front.hop * c.stack * c.frames_per_token),)

    @property
    def voice_size(self) -> int:
        """Channels of the vector that says who speaks."""
        return self.network.config.speaker_dim

    def check_origin(self, tokens: Tokens) -> None:
        """Raise `WrongModelError` unless the very tokenizer it was trained with made the tokens."""
        c = self.network.config
        if tokens.fingerprint != c.fingerprint:
            raise WrongModelError(
                f"these tokens were made by {tokens.facts.name} (fingerprint {tokens.fingerprint[:16]}); {self.facts.name} "
                f"speaks those of {c.tokenizer} (fingerprint {c.fingerprint[:16]}) alone"
            )

    def _default_voice(self) -> Tensor:
        return self.network.voice

    def _voice(self, wav: Tensor) -> Tensor:
        wav = wav[: int(LONGEST * self.front.sample_rate)]
        if self.front.frames(len(wav)) < self.network.config.stack:
            raise AudioError(f"{len(wav)} samples are too few to tell a voice from; a few seconds are wanted")
        wav = (wav * (10 ** (LEVEL / 20) / active_level(wav))).clamp(-1, 1)
        mel = self.network.stacked(self.front(wav[None]).transpose(1, 2))
        return self.network.embed(mel)[0]

    def _frames(self, codes: list[Tensor], voice: Tensor, settings: FlowSettings, prompt: Any) -> Tensor:
        if codes[0].shape[1] * self.network.config.frames_per_token <= PIECE or not self.network.config.chunk:
            mel = sample(self.network, codes[0], voice, settings.steps, settings.guidance, settings.temperature)
            return self.network.unstacked(mel)
        return torch.stack([self._long(row, who, settings) for row, who in zip(codes[0], voice, strict=True)])

    def _long(self, codes: Tensor, voice: Tensor, settings: FlowSettings) -> Tensor:
        """One long clip, as a stream makes it."""
        core = self._open(voice[None], settings)
        pieces = codes[None].split(PIECE // self.network.config.frames_per_token, dim=1)
        return torch.cat([core.push([piece], i == len(pieces) - 1) for i, piece in enumerate(pieces)], 1)[0]

    def _open(self, voice: Tensor, settings: FlowSettings) -> StreamCore:
        return _Stream(self.network, voice, settings)


class _Stream(StreamCore):
    """Frames as the vocoder takes them."""

    def __init__(self, network: FlowNetwork, voice: Tensor, settings: FlowSettings) -> None:
        self.network = network
        self.stream = FlowStream(network, voice, settings.steps, settings.guidance, settings.temperature)

    def push(self, codes: list[Tensor], last: bool) -> Tensor:
        return self.network.unstacked(self.stream.push(codes[0], last))


def active_level(wav: Tensor) -> float:
    """RMS of the frames (20 ms at 16 kHz) within 20 dB of the loudest tenth, at least -80 dBFS."""
    frames = wav[: max(320, len(wav) // 320 * 320)]
    rms = (frames.unfold(0, 320, 320) if len(frames) >= 320 else frames[None]).square().mean(1).sqrt()
    loud = torch.quantile(rms, 0.9)
    return max(float(rms[rms >= 0.1 * loud].square().mean().sqrt()), 1e-4)
