"""The flows of CosyVoice 1 and 2, GLM-4-Voice and Step-Audio: their tokens to log-mel frames.

Du et al. 2024, "CosyVoice", arXiv:2407.05407, and "CosyVoice 2", arXiv:2412.10117; Zeng et al. 2024, "GLM-4-Voice",
arXiv:2412.02612; Huang et al. 2025, "Step-Audio", arXiv:2502.11946. The published `flow.pt` is read as it is, and told from
that of another version by its names. A voice is a vector of CAM++ (192 numbers); zeros where nobody is named.

The noise is fixed: that of CosyVoice 2 and GLM-4-Voice is the published one, CosyVoice 1's is drawn anew there at each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.audio import Audio
from ..core.errors import ModelError, TokensError
from ..core.flow import Flow, FlowSettings, StreamCore
from ..core.mel import LogMel
from ..core.weights import read_state
from ._flow_cosyvoice import CosyConfig, CosyNetwork, check_version
from .campplus import CamPlus

__all__ = ["CosyVoice1Flow", "CosyVoice2Flow", "Glm4VoiceFlow", "StepAudioFlow"]

PAIR, TRIPLE = 2, 3  # tokens of the first and of the second stream that go together in Step-Audio


class CosyFlow(Flow):
    """What the four have in common."""

    network: CosyNetwork
    prompts: ClassVar[bool] = True
    own: ClassVar[Mapping[str, Any]]  # the configuration of the published weights
    speakers: CamPlus | None = None  # set it, and a recording will do as voice

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return CosyNetwork(CosyConfig.from_dict(config))

    @classmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The constants under `mel`."""
        return CosyConfig.from_dict(config).front

    @classmethod
    def vocabulary(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """One stream, or Step-Audio's two."""
        c = CosyConfig.from_dict(config)
        return (c.dual, c.codes - c.dual) if c.dual else (c.codes,)

    @classmethod
    def rates(cls, config: Mapping[str, Any]) -> tuple[Fraction, ...]:
        """Of the one stream, or of Step-Audio's two, which the network takes as one."""
        c = CosyConfig.from_dict(config)
        rate = Fraction(c.token_rate)
        both = PAIR + TRIPLE
        return (rate * PAIR / both, rate * TRIPLE / both) if c.dual else (rate,)

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `flow.pt`, or our own."""
        if not (folder / "flow.pt").is_file():
            return super().read(folder)
        state = read_state(folder / "flow.pt")
        config = CosyConfig.from_dict(cls.own)
        check_version(state, config, cls.__name__)
        return config.to_dict(), {key: value.float() for key, value in state.items()}

    @property
    def voice_size(self) -> int:
        """Channels of CAM++'s vector."""
        return self.network.config.speaker_dim

    def _voice(self, wav: Tensor) -> Tensor:
        if self.speakers is None:
            raise ModelError(
                f"{self.facts.name} wants a vector of CAM++ as voice; to give a recording, set its `speakers` to "
                "voxzoo.decoders.campplus.CamPlus(PATH of campplus.onnx)"
            )
        return self.voice(self.speakers.embed(Audio(wav.cpu().numpy(), self.front.sample_rate)))[0]

    def _one(self, codes: list[Tensor]) -> Tensor:
        """The streams as the one sequence that the network takes, (B, N)."""
        return codes[0]

    def _frames(self, codes: list[Tensor], voice: Tensor, settings: FlowSettings, prompt: Any) -> Tensor:
        network = self.network
        one, mel = self._one(codes), voice.new_zeros(len(voice), 0, self.front.bands)
        before = one[:, :0]
        if prompt is not None:
            before, mel = self._one(prompt.codes), prompt.mel
            if network.config.version == 2:  # published: both cut to what they have in common
                count = min(before.shape[1], mel.shape[1] // 2)
                before, mel = before[:, :count], mel[:, : 2 * count]
        if network.config.frames(one.shape[1]) < 1:
            raise TokensError(f"{one.shape[1]} tokens make no frame of {self.facts.name}; expected more")
        guess = network.guess(one, before, mel.shape[1], settings.chunked)
        return network.follow(guess, voice, mel, settings.steps, settings.guidance, settings.temperature, settings.chunked)


_MEL_22K: dict[str, Any] = {"sample_rate": 22050, "n_fft": 1024, "hop": 256, "win": 1024}
_MEL_24K: dict[str, Any] = {"sample_rate": 24000, "n_fft": 1920, "hop": 480, "win": 1920}


class CosyVoice1Flow(CosyFlow):
    """CosyVoice-300M, of tokens at 50 Hz; the variant of 25 Hz has another `token_rate`."""

    own: ClassVar = {"version": 1, "codes": 4096, "token_rate": "50", "mel": _MEL_22K, "stretch": "parts"}


class CosyVoice1At25HzFlow(CosyVoice1Flow):
    """CosyVoice-300M-25Hz."""

    own: ClassVar = {**CosyVoice1Flow.own, "token_rate": "25"}


class Glm4VoiceFlow(CosyFlow):
    """GLM-4-Voice's decoder: attention of the encoder in blocks of 25 tokens."""

    own: ClassVar = {
        "version": 1,
        "codes": 16384,
        "token_rate": "25/2",
        "mel": _MEL_22K,
        "stretch": "nearest",
        "block": 25,
        "noise_seed": 42,
        "noise_buffer": False,
    }


class StepAudioFlow(CosyFlow):
    """Step-Audio's: two linguistic tokens and three semantic ones in turn, the latter after the former in one table."""

    own: ClassVar = {
        "version": 1,
        "codes": 5120,
        "dual": 1024,
        "token_rate": "125/3",
        "mel": _MEL_22K,
        "stretch": "halves",
    }

    def _one(self, codes: list[Tensor]) -> Tensor:
        first, second = codes[0], codes[1] + self.network.config.dual
        groups = min(first.shape[1] // PAIR, second.shape[1] // TRIPLE)
        if not groups:
            raise TokensError(f"Step-Audio's tokens go by {PAIR} linguistic and {TRIPLE} semantic ones; there are fewer")
        pairs = first[:, : PAIR * groups].unflatten(1, (groups, PAIR))
        triples = second[:, : TRIPLE * groups].unflatten(1, (groups, TRIPLE))
        return torch.cat([pairs, triples], 2).flatten(1)


class CosyVoice2Flow(CosyFlow):
    """CosyVoice 2, which streams in chunks of 25 tokens that see 3 more; equal to whole clips with `chunked` set."""

    own: ClassVar = {
        "version": 2,
        "codes": 6561,
        "token_rate": "25",
        "mel": _MEL_24K,
        "channels": [256],
        "chunk": 25,
        "ahead": 3,
    }

    def _open(self, voice: Tensor, settings: FlowSettings) -> StreamCore:
        return _Stream(self.network, voice, settings)


class _Stream(StreamCore):
    """All tokens so far are run again for each chunk, as published; what was given before does not change."""

    def __init__(self, network: CosyNetwork, voice: Tensor, settings: FlowSettings) -> None:
        self.network, self.voice, self.settings = network, voice, settings
        self.codes = torch.zeros(1, 0, dtype=torch.int64, device=voice.device)
        self.done = 0  # tokens whose frames were given

    def push(self, codes: list[Tensor], last: bool) -> Tensor:
        c, bands = self.network.config, self.network.config.front.bands
        self.codes = torch.cat([self.codes, codes[0]], 1)
        count = self.codes.shape[1]
        whole = count if last else max(0, count - c.ahead) // c.chunk * c.chunk
        if whole <= self.done:
            return self.voice.new_zeros(1, 0, bands)
        none, s = self.codes[:, :0], self.settings
        more = whole < count or not last
        guess = self.network.guess(self.codes[:, : whole + (c.ahead if more else 0)], none, 0, True, more)
        mel = self.network.follow(guess, self.voice, guess[:, :0], s.steps, s.guidance, s.temperature, True)
        given, self.done = mel[:, 2 * self.done :], whole
        return given
