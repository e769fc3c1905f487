"""`vox-flow-16k`'s network: tokens at 25 Hz and a voice to log-mel frames, by flow matching with convolutions only.

Three parts. A speaker encoder makes one vector of a few seconds of anybody's log-mel. A token encoder, which looks a fixed
number of tokens ahead, makes hidden frames and a first guess of the mel. An estimator of ConvNeXt blocks (Liu et al. 2022)
gives the velocity of the flow; time and speaker scale and shift its norms. Its convolutions see all that came before, and
ahead only as far as the chunk of frames goes in which a frame lies (as CosyVoice 2's masks do, Du et al. 2024,
arXiv:2412.10117): run chunk by chunk with the tails of what each convolution saw, it gives what the whole clip gives.

Letters: B batch, N tokens, F frames, M channels of a frame, S channels of the speaker's vector, D channels. A frame in here
is of 20 ms, two for a token; where the vocoder's mel has a finer grid, `stack` of its frames lie side by side in one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError

__all__ = ["Condition", "FlowConfig", "FlowNetwork"]


@dataclass(frozen=True)
class FlowConfig:
    """Every size of the network, and what it was made for; plain JSON values only."""

    codebook_size: int = 729  # V of the tokenizer
    tokenizer: str = ""  # its registry name
    fingerprint: str = ""  # its fingerprint; tokens of another are refused
    mel: Mapping[str, Any] = field(default_factory=dict)  # constants of the mel front end, as `core.mel` takes them
    bands: int = 80  # of the mel front end
    stack: int = 2  # of its frames in one of ours
    frames_per_token: int = 2
    embedding: int = 96  # channels of a token
    encoder_dim: int = 192
    encoder_layers: int = 4  # at the tokens' rate, each looking one token ahead
    frame_layers: int = 1  # at the frames' rate, looking back only
    encoder_kernel: int = 7
    dim: int = 256  # channels of the estimator
    layers: int = 8
    expansion: int = 3  # hidden width of a block / its channels
    kernel: int = 7
    dilations: tuple[int, ...] = (1, 2, 4)  # of the estimator's blocks, in turn
    speaker_dim: int = 128
    chunk_tokens: int = 16  # of a chunk; 0 for the whole clip

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return {**asdict(self), "dilations": list(self.dilations), "mel": dict(self.mel)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"the flow's config has unknown keys: {', '.join(sorted(unknown))}")
        return cls(**{**data, "dilations": tuple(data.get("dilations", cls.dilations))})

    @property
    def mels(self) -> int:
        """M, channels of a frame."""
        return self.bands * self.stack

    @property
    def chunk(self) -> int:
        """Frames of a chunk."""
        return self.chunk_tokens * self.frames_per_token

    @property
    def lookahead(self) -> int:
        """Tokens that have to be known beyond a frame's own."""
        return self.encoder_layers


class Condition(NamedTuple):
    """What the estimator is told of frames: a first guess of the mel (B, F, M), hidden (B, F, D), the voice (B, S)."""

    guess: Tensor
    hidden: Tensor
    speaker: Tensor

    def without(self, dropped: Tensor) -> Condition:
        """Zeros for the clips where `dropped` (B,) holds."""
        kept = (~dropped).to(self.guess.dtype)
        return Condition(self.guess * kept[:, None, None], self.hidden * kept[:, None, None], self.speaker * kept[:, None])

    def doubled(self) -> Condition:
        """The batch twice, the second time told nothing."""
        return Condition(*(torch.cat([part, torch.zeros_like(part)]) for part in self))


class Depthwise(nn.Module):
    """A convolution of each channel over time, (B, F, D) -> the same shape; it sees `before` frames back and `after` ahead."""

    def __init__(self, dim: int, kernel: int, after: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, 1, kernel) / kernel**0.5)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dilation = dilation
        self.before, self.after = (kernel - 1 - after) * dilation, after * dilation

    def forward(self, x: Tensor, chunk: int = 0) -> Tensor:
        """chunk: frames beyond the end of a frame's own chunk of so many count as zero; 0 for one chunk."""
        if not chunk or chunk >= x.shape[1] or not self.after:
            return self._run(F.pad(x, (0, 0, self.before, self.after)))
        batch, frames, dim = x.shape
        missing = -frames % chunk
        windows = F.pad(x, (0, 0, self.before, missing)).unfold(1, self.before + chunk, chunk)  # (B, chunks, D, before + chunk)
        windows = F.pad(windows.transpose(2, 3).flatten(0, 1), (0, 0, 0, self.after))
        return self._run(windows).reshape(batch, frames + missing, dim)[:, :frames]

    def step(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk, with the `before` frames that came before it; gives the next tail too."""
        seen = torch.cat([tail, x], 1)
        return self._run(F.pad(seen, (0, 0, 0, self.after))), seen[:, seen.shape[1] - self.before :]

    def _run(self, seen: Tensor) -> Tensor:
        dim = seen.shape[2]
        if seen.device.type == "cpu":  # as a picture of height 1 with channels last, ten times as fast there
            weight = self.weight[:, :, None].contiguous(memory_format=torch.channels_last)
            picture = seen.transpose(1, 2)[:, :, None]
            return F.conv2d(picture, weight, self.bias, dilation=(1, self.dilation), groups=dim).squeeze(2).transpose(1, 2)
        x = seen.transpose(1, 2).contiguous()
        return F.conv1d(x, self.weight, self.bias, dilation=self.dilation, groups=dim).transpose(1, 2)


class Block(nn.Module):
    """ConvNeXt: a depthwise convolution, then a layer for each frame, beside the input. (B, F, D) -> the same shape."""

    def __init__(self, dim: int, kernel: int, after: int, expansion: int, dilation: int = 1, modulated: bool = False) -> None:
        super().__init__()
        self.conv = Depthwise(dim, kernel, after, dilation)
        self.norm = nn.LayerNorm(dim, elementwise_affine=not modulated)
        self.up = nn.Linear(dim, expansion * dim)
        self.down = nn.Linear(expansion * dim, dim)
        # scale, shift and gate: of the norm and of the branch; a modulated block adds what time and speaker say
        self.table = nn.Parameter(torch.zeros(3, dim)) if modulated else None
        self.gate = None if modulated else nn.Parameter(torch.full((dim,), 0.3))

    def forward(self, x: Tensor, mask: Tensor, chunk: int = 0, modulation: Tensor | None = None) -> Tensor:
        """mask (B, F, 1): 0 where a clip has ended; modulation (B, 3, D)."""
        return x + self._frames(self.conv(x * mask, chunk), modulation)

    def step(self, x: Tensor, tail: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of a clip and the tail of its convolution."""
        y, tail = self.conv.step(x, tail)
        return x + self._frames(y, modulation), tail

    def _frames(self, y: Tensor, modulation: Tensor | None) -> Tensor:
        y = self.norm(y)
        if modulation is None or self.table is None:
            return self.gate * self.down(F.gelu(self.up(y)))
        scale, shift, gate = (modulation + self.table)[:, :, None].unbind(1)
        return gate * self.down(F.gelu(self.up(y * (1 + scale) + shift)))


class SpeakerEncoder(nn.Module):
    """Normalised mel of a few seconds (B, R, M) -> one vector (B, S) of length sqrt(S), by attentive mean and deviation.

    The pooling is that of Okabe et al. 2018, arXiv:1803.10963.
    """

    def __init__(self, mels: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(mels, dim)
        self.blocks = nn.ModuleList(Block(dim, 5, 2, 2, dilation) for dilation in (1, 2, 3))
        self.attention = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 64), nn.Tanh(), nn.Linear(64, dim))
        self.out = nn.Linear(2 * dim, dim)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """mask (B, R, 1): 0 beyond the end of a clip."""
        x = self.embed(mel)
        for block in self.blocks:
            x = block(x, mask)
        weights = self.attention(x).float().masked_fill(mask == 0, -1e4).softmax(1)
        x = x.float()
        mean = (weights * x).sum(1)
        deviation = ((weights * x.square()).sum(1) - mean.square()).clamp(min=1e-5).sqrt()
        return F.layer_norm(self.out(torch.cat([mean, deviation], 1)).float(), (self.out.out_features,))


class TokenEncoder(nn.Module):
    """Tokens (B, N) and a voice (B, S) -> a first guess of the mel (B, F, M) and hidden frames (B, F, D)."""

    def __init__(self, c: FlowConfig) -> None:
        super().__init__()
        dim, kernel = c.encoder_dim, c.encoder_kernel
        self.rate = c.frames_per_token
        self.tokens = nn.Embedding(c.codebook_size, c.embedding)
        self.embed = nn.Linear(c.embedding, dim)
        self.speaker = nn.Linear(c.speaker_dim, dim, bias=False)
        self.blocks = nn.ModuleList(Block(dim, kernel, 1, c.expansion) for _ in range(c.encoder_layers))
        self.spread = nn.Linear(dim, c.frames_per_token * dim)
        self.fine = nn.ModuleList(Block(dim, kernel, 0, c.expansion) for _ in range(c.frame_layers))
        self.norm = nn.LayerNorm(dim)
        self.guess = nn.Linear(dim, c.mels)
        past = (kernel - 2) * c.encoder_layers * self.rate + (kernel - 1) * c.frame_layers
        self.before = past  # frames back that one depends on

    def forward(self, codes: Tensor, speaker: Tensor, dropped: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """codes: -1 where a clip has ended. dropped (B, N): tokens that are hidden, in training."""
        known = (codes >= 0)[..., None]
        seen = known if dropped is None else known & ~dropped[..., None]
        voice = self.speaker(speaker)[:, None]
        x = self.embed(self.tokens(codes.clamp(min=0)) * seen) + voice
        mask = known.to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        x = self.spread(x).reshape(x.shape[0], x.shape[1] * self.rate, -1)
        mask = mask.repeat_interleave(self.rate, 1)
        for block in self.fine:
            x = block(x, mask)
        x = self.norm(x)
        return self.guess(x), x


class Estimator(nn.Module):
    """The flow's velocity: x (B, F, M) at time t (B,) and what is known -> (B, F, M)."""

    def __init__(self, c: FlowConfig) -> None:
        super().__init__()
        dim = c.dim
        self.embed = nn.Linear(2 * c.mels + c.encoder_dim, dim)
        self.time = nn.Sequential(nn.Linear(128, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.speaker = nn.Linear(c.speaker_dim, dim, bias=False)
        self.modulate = nn.Linear(dim, 3 * dim)
        after = (c.kernel - 1) // 2
        self.blocks = nn.ModuleList(
            Block(dim, c.kernel, after, c.expansion, c.dilations[i % len(c.dilations)], modulated=True) for i in range(c.layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, c.mels)
        for layer in (self.modulate, self.out):  # at first every block passes its input on, and the velocity is zero
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def start(self, x: Tensor, t: Tensor, known: Condition) -> tuple[Tensor, Tensor]:
        """The first hidden frames (B, F, D), and the modulation of the blocks (B, 3, D)."""
        hidden = self.embed(torch.cat([x, known.guess, known.hidden], -1))
        told = self.time(sinusoids(t)) + self.speaker(known.speaker)
        return hidden, self.modulate(F.silu(told)).unflatten(1, (3, -1))

    def forward(self, x: Tensor, t: Tensor, known: Condition, mask: Tensor, chunk: int) -> Tensor:
        """mask (B, F, 1): 0 where a clip has ended."""
        hidden, modulation = self.start(x, t, known)
        for block in self.blocks:
            hidden = block(hidden, mask, chunk, modulation)
        return self.out(self.norm(hidden))

    def step(self, x: Tensor, t: Tensor, known: Condition, tails: list[Tensor]) -> Tensor:
        """One chunk; `tails`, one of each block, are replaced by the next."""
        hidden, modulation = self.start(x, t, known)
        for i, block in enumerate(self.blocks):
            hidden, tails[i] = cast(Block, block).step(hidden, tails[i], modulation)
        return self.out(self.norm(hidden))

    def silence(self, batch: int, like: Tensor) -> list[Tensor]:
        """The tails before a clip's first chunk."""
        return [like.new_zeros(batch, cast(Block, b).conv.before, self.out.in_features) for b in self.blocks]


class FlowNetwork(nn.Module):
    """The whole model. Mels (B, F, M) are the vocoder's log-mels, stacked; inside they have mean 0 and deviation 1."""

    mean: Tensor
    deviation: Tensor
    voice: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.mels))
        self.register_buffer("deviation", torch.ones(config.mels))
        self.register_buffer("voice", torch.zeros(config.speaker_dim))  # who speaks where nobody was named
        self.speaker = SpeakerEncoder(config.mels, config.speaker_dim)
        self.encoder = TokenEncoder(config)
        self.estimator = Estimator(config)

    def stacked(self, mel: Tensor) -> Tensor:
        """The front end's frames (B, F stack + rest, bands) -> (B, F, M)."""
        whole = mel.shape[1] // self.config.stack * self.config.stack
        return mel[:, :whole].reshape(len(mel), -1, self.config.mels)

    def unstacked(self, mel: Tensor) -> Tensor:
        """The inverse of `stacked`."""
        return mel.reshape(len(mel), -1, self.config.bands)

    def normalise(self, mel: Tensor) -> Tensor:
        """Log-mel to the network's own scale."""
        return (mel - self.mean) / self.deviation

    def restore(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.deviation + self.mean

    def embed(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Log-mel of somebody speaking (B, R, M), of so many true frames (B,) -> vectors of the voice (B, S)."""
        mask = mel.new_ones(*mel.shape[:2], 1)
        if lengths is not None:
            mask = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None])[..., None].to(mel.dtype)
        return self.speaker(self.normalise(mel), mask)

    def condition(self, codes: Tensor, speaker: Tensor) -> Condition:
        """Tokens (B, N), -1 where a clip has ended, and voices (B, S)."""
        guess, hidden = self.encoder(codes, speaker)
        return Condition(guess, hidden, speaker)


def sinusoids(t: Tensor, channels: int = 128) -> Tensor:
    """Times (B,) in 0 to 1 -> (B, channels)."""
    half = channels // 2
    rates = torch.exp(torch.arange(half, device=t.device) * (-math.log(10000.0) / half))
    angles = 1000.0 * t[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
