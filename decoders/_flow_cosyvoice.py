"""The flows of CosyVoice 1 and 2, and of GLM-4-Voice and Step-Audio, which are version 1's kin: one network of four settings.

Parameters have the published names, and `flow.pt` is read as it is. Clips are whole: no masks of padding are needed.
Letters: B batch, N tokens, F frames, M mel bands, D channels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ModelError, WeightsError
from ..core.mel import LogMel
from ._flow_conformer import Encoder, UpsampleEncoder
from ._flow_ode import euler, guided, times
from ._flow_unet import UNet

__all__ = ["CosyConfig", "CosyNetwork", "check_version"]

LONGEST = 15000  # frames of noise that CosyVoice 2 draws at once
EDGE = 20  # tokens at each end that CosyVoice 1 stretches by themselves


@dataclass(frozen=True)
class CosyConfig:
    """Every size of the network, and the ways of its kin; plain JSON values only."""

    version: int = 1  # 1: any ratio of frames to tokens, by interpolation; 2: two frames for a token, chunks
    codes: int = 4096  # V
    token_rate: str = "50"  # Hz, a fraction
    mel: Mapping[str, Any] = field(default_factory=dict)  # constants of the mel front end
    stretch: str = "parts"  # version 1: "parts", as CosyVoice; "halves", as Step-Audio; "nearest", as GLM-4-Voice
    block: int = 0  # version 1: tokens of a chunk that the encoder's attention always keeps to
    chunk: int = 25  # version 2: tokens of a chunk
    ahead: int = 3  # version 2: tokens the encoder looks ahead
    noise_seed: int = 0
    noise_buffer: bool = True  # noise by place, as CosyVoice 2; else by length, as GLM-4-Voice
    dual: int = 0  # codes of a first stream, 2 of whose tokens go with 3 of the second's (Step-Audio)
    speaker_dim: int = 192
    dim: int = 512
    heads: int = 8
    hidden: int = 2048
    layers: int = 6
    upper: int = 4  # version 2: layers at the frames' rate
    channels: tuple[int, ...] = (256, 256)
    blocks: int = 4  # Transformer blocks of each stage of the estimator
    middle: int = 12
    estimator_heads: int = 8
    head_dim: int = 64

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return {**asdict(self), "channels": list(self.channels), "mel": dict(self.mel)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know, and versions there are not."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"a flow of CosyVoice has no setting {', '.join(sorted(unknown))}")
        config = cls(**{**data, "channels": tuple(data.get("channels", cls.channels))})
        if config.version not in (1, 2) or config.stretch not in ("parts", "halves", "nearest"):
            raise ModelError(f"no flow of CosyVoice has version {config.version!r} and stretch {config.stretch!r}")
        return config

    @property
    def front(self) -> LogMel:
        """The mel front end."""
        return LogMel.from_dict(self.mel)

    def frames(self, tokens: int) -> int:
        """Mel frames for so many tokens; the published arithmetic, whose rounding is part of it."""
        if self.version == 2:
            return 2 * tokens
        over, _, under = self.token_rate.partition("/")
        return int(tokens / (int(over) / int(under or 1)) * self.front.sample_rate / self.front.hop)


class Regulator(nn.Module):
    """Frames (B, F, M) smoothed by convolutions; stretching them is done before."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(4):
            parts += [nn.Conv1d(bands, bands, 3, 1, 1), nn.GroupNorm(1, bands), nn.Mish()]
        self.model = nn.Sequential(*parts, nn.Conv1d(bands, bands, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, F, M) -> the same shape."""
        return self.model(x.transpose(1, 2)).transpose(1, 2)


class Decoder(nn.Module):
    """Holds the estimator, for its published name."""

    def __init__(self, c: CosyConfig) -> None:
        super().__init__()
        bands = c.front.bands
        self.estimator = UNet(4 * bands, bands, c.channels, c.blocks, c.middle, c.estimator_heads, c.head_dim, c.version == 2)


class CosyNetwork(nn.Module):
    """Tokens, a voice and perhaps a prompt to log-mel frames."""

    def __init__(self, config: CosyConfig) -> None:
        super().__init__()
        c = self.config = config
        bands = c.front.bands
        self.input_embedding = nn.Embedding(c.codes, c.dim)
        self.spk_embed_affine_layer = nn.Linear(c.speaker_dim, bands)
        self.encoder: Encoder | UpsampleEncoder
        if c.version == 1:
            self.encoder = Encoder(c.dim, c.heads, c.hidden, c.layers)
            self.length_regulator = Regulator(bands)
        else:
            self.encoder = UpsampleEncoder(c.dim, c.heads, c.hidden, c.layers, c.upper, c.ahead)
        self.encoder_proj = nn.Linear(c.dim, bands)
        self.decoder = Decoder(c)

    def guess(self, codes: Tensor, prompt: Tensor, frames: int, chunked: bool = False, more: bool = False) -> Tensor:
        """codes (B, N) that follow the prompt's (B, P), which has so many frames -> (B, frames + F, M).

        chunked: attention kept to chunks (version 2). more: the last `ahead` tokens are only looked at, the clip goes on.
        """
        c, count = self.config, prompt.shape[1]
        x = self.input_embedding(torch.cat([prompt, codes], 1))
        if isinstance(self.encoder, Encoder):
            hidden = self.encoder_proj(self.encoder(x, c.block))
            return self.length_regulator(self._stretched(hidden[:, :count], hidden[:, count:], frames))
        context = x[:, x.shape[1] - c.ahead :] if more else None
        x = x[:, : x.shape[1] - c.ahead] if more else x
        return self.encoder_proj(self.encoder(x, c.chunk if chunked else 0, context))

    def _stretched(self, prompt: Tensor, x: Tensor, frames: int) -> Tensor:
        """Hidden tokens to the number of frames, prompt and clip each by itself or together."""
        c, count = self.config, x.shape[1]
        if c.stretch == "nearest":
            both = torch.cat([prompt, x], 1)
            return _resized(both, c.frames(both.shape[1]), "nearest")
        length, edge = c.frames(count), c.frames(EDGE)
        if c.stretch == "parts" and count > 2 * EDGE:
            sizes = [edge, length - 2 * edge, edge]
            parts = [_resized(part, n) for part, n in zip(x.split([EDGE, count - 2 * EDGE, EDGE], 1), sizes, strict=True)]
        else:
            parts = [_resized(x, length)]
        return torch.cat([_resized(prompt, frames), *parts] if prompt.shape[1] else parts, 1)

    def follow(
        self,
        guess: Tensor,
        voice: Tensor,
        prompt: Tensor,
        steps: int,
        guidance: float,
        temperature: float,
        chunked: bool = False,
    ) -> Tensor:
        """guess (B, P + F, M), voices (B, S), the prompt's mel (B, P, M) -> log-mel (B, F, M)."""
        mu = guess.transpose(1, 2)
        who = self.spk_embed_affine_layer(F.normalize(voice, dim=1))[:, :, None].expand_as(mu)
        kept = F.pad(prompt.transpose(1, 2), (0, mu.shape[2] - prompt.shape[1]))
        known = torch.cat([mu, who, kept], 1)
        if guidance:
            known = torch.cat([known, torch.zeros_like(known)])
        chunk = 2 * self.config.chunk if chunked else 0

        def velocity(step: int, t: float, x: Tensor) -> Tensor:
            both = torch.cat([x, x]) if guidance else x
            given = self.decoder.estimator(torch.cat([both, known], 1), both.new_full((len(both),), t), chunk)
            return guided(given, guidance) if guidance else given

        start = temperature * self.noise(mu.shape[2]).to(mu.device).expand_as(mu)
        return euler(velocity, start, times(steps)).transpose(1, 2)[:, prompt.shape[1] :]

    def noise(self, frames: int) -> Tensor:
        """What every clip starts from, float32 (1, M, F)."""
        c = self.config
        if not c.noise_buffer:
            return torch.randn(1, c.front.bands, frames, generator=torch.Generator().manual_seed(c.noise_seed))
        blocks = [_noise_block(c.front.bands, c.noise_seed + i) for i in range(-(-frames // LONGEST))]
        return torch.cat(blocks, 2)[:, :, :frames]


@functools.lru_cache(maxsize=4)
def _noise_block(bands: int, seed: int) -> Tensor:
    return torch.randn(1, bands, LONGEST, generator=torch.Generator().manual_seed(seed))


def _resized(x: Tensor, size: int, mode: str = "linear") -> Tensor:
    """x (B, N, M) -> (B, size, M)."""
    return F.interpolate(x.transpose(1, 2), size=size, mode=mode).transpose(1, 2)


def check_version(state: Mapping[str, Tensor], config: CosyConfig, name: str) -> None:
    """Raise `WeightsError` where the names and sizes of a checkpoint are those of another version than `name` has."""
    norm = "decoder.estimator.down_blocks.0.0.block1.block"
    if "input_embedding.weight" not in state:
        found = "no flow of CosyVoice"
    elif any(key.startswith("decoder.estimator.transformer_blocks") for key in state):
        found = "the flow of CosyVoice 3, a diffusion Transformer, which is not read yet"
    else:
        version = 2 if f"{norm}.2.weight" in state or "encoder.up_layer.conv.weight" in state else 1
        codes = len(state["input_embedding.weight"])
        if (version, codes) == (config.version, config.codes):
            return
        found = f"a flow of CosyVoice {version} for {codes} tokens"
    raise WeightsError(f"this flow.pt is {found}; {name} is one of CosyVoice {config.version} for {config.codes}")
