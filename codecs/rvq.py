"""`vox-rvq-16k`: our own streaming acoustic codec, 16 kHz, 50 frames/s, 8 x 1024 residual codebooks (4 kbit/s).

Everything runs at frame rate: a causal STFT front end, causal ConvNeXt blocks (Liu et al. 2022), residual vector
quantisation (Zeghidour et al. 2021, through `vector_quantize_pytorch`) and an inverse-STFT head (Siuzdak 2023, Vocos).
Frame n sees samples below 320(n+1) only. The decoder is causal too and aims at the input delayed by `lookahead` frames,
so streaming equals offline exactly: every causal part takes the tail of its past input and returns the next one.

Letters: B batch, T samples, N frames, K streams, D channels, M sub-frames, W window and h hop of the synthesis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError, TokensError
from ..core.model import Model
from ..core.streaming import DecoderCore, Encoded, EncoderCore

State = list[Tensor]
STEADY = 16  # rows: matrix products of fewer are rounded otherwise, which now and then moves a code


@dataclass(frozen=True)
class RVQConfig:
    """Every size of the codec; plain JSON values only."""

    sample_rate: int = 16000  # Hz
    hop: int = 320  # samples per frame
    analysis_window: int = 640  # samples, ends at the frame's last sample
    encoder_dim: int = 256  # channels
    encoder_layers: int = 5
    decoder_dim: int = 256  # channels at the frame rate
    decoder_layers: int = 5
    fine_dim: int = 224  # channels at the sub-frame rate
    fine_layers: int = 2
    kernel: int = 5  # frames (or sub-frames) a block looks back on, itself included
    expansion: int = 3  # hidden width of a block / its channels
    subframes: int = 2  # synthesis sub-frames per frame
    synthesis_window: int = 640  # samples
    lookahead: int = 2  # frames the decoder's target is delayed by
    streams: int = 8  # codebooks
    codebook_size: int = 1024
    codebook_dim: int = 64  # channels

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"the codec's config has unknown keys: {', '.join(sorted(unknown))}")
        return cls(**data)

    @property
    def steps(self) -> tuple[int, ...]:
        """Frames that one code of each stream stands for."""
        return (1,) * self.streams

    @property
    def block(self) -> int:
        """Samples of the slowest stream's code: sound is encoded in whole blocks."""
        return self.hop * max(self.steps)

    @property
    def delay(self) -> int:
        """Samples by which the streaming decoder's sound trails its tokens."""
        return self.lookahead * self.hop


def fourier_basis(window: int) -> Tensor:
    """Real DFT as a matrix (W, 2F), F = W/2+1: cosines then minus sines, times a periodic Hann window."""
    bins = torch.arange(window // 2 + 1, dtype=torch.float64)
    time = torch.arange(window, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(time, bins) / window
    basis = torch.cat([angle.cos(), -angle.sin()], dim=1)
    return (basis * torch.hann_window(window, dtype=torch.float64)[:, None]).float()


class Block(nn.Module):
    """Causal ConvNeXt block on (B, N, D): depthwise convolution over the past, then a per-frame MLP."""

    def __init__(self, dim: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.past = kernel - 1
        self.taps = nn.Parameter(torch.randn(kernel, dim) / kernel**0.5)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, expansion * dim)
        self.down = nn.Linear(expansion * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.3))

    def forward(self, x: Tensor, state: Tensor | None = None, count: int | None = None) -> tuple[Tensor, Tensor]:
        """x (B, N, D), state (B, kernel-1, D) or None for silence; gives the same two, the state after `count` frames."""
        if state is None:
            state = x.new_zeros(x.shape[0], self.past, x.shape[2])
        seen = torch.cat([state, x], dim=1)
        y = seen[:, : x.shape[1]] * self.taps[0]
        for i in range(1, self.past + 1):
            y = y + seen[:, i : i + x.shape[1]] * self.taps[i]
        y = self.down(F.gelu(self.up(self.norm(y))))
        end = x.shape[1] if count is None else count
        return x + self.scale * y, seen[:, end : end + self.past]


def run_blocks(blocks: nn.ModuleList, x: Tensor, state: State | None, count: int | None = None) -> tuple[Tensor, State]:
    """Blocks in a row, each with its own tensor of state."""
    following = []
    for i, block in enumerate(blocks):
        x, tail = block(x, None if state is None else state[i], count)
        following.append(tail)
    return x, following


class Encoder(nn.Module):
    """wav (B, 320 N) -> latents (B, N, codebook_dim)."""

    basis: Tensor

    def __init__(self, c: RVQConfig) -> None:
        super().__init__()
        self.hop, self.past = c.hop, c.analysis_window - c.hop
        self.register_buffer("basis", fourier_basis(c.analysis_window), persistent=False)
        self.embed = nn.Linear(3 * (c.analysis_window // 2 + 1), c.encoder_dim)
        self.norm = nn.LayerNorm(c.encoder_dim)
        self.blocks = nn.ModuleList(Block(c.encoder_dim, c.kernel, c.expansion) for _ in range(c.encoder_layers))
        self.out_norm = nn.LayerNorm(c.encoder_dim)
        self.out = nn.Linear(c.encoder_dim, c.codebook_dim)

    def features(self, frames: Tensor) -> Tensor:
        """frames (B, N, W) -> (B, N, 3F): log power, and the spectrum with its magnitude raised to 0.3."""
        re, im = (frames @ self.basis).chunk(2, dim=-1)
        power = re * re + im * im + 1e-6
        gain = power**-0.35
        return torch.cat([0.25 * torch.log(power), re * gain, im * gain], dim=-1)

    def forward(self, wav: Tensor, state: State | None = None, count: int | None = None) -> tuple[Tensor, State]:
        """state: [last samples (B, W-320)] + one tensor per block; the one given back is that after `count` frames."""
        seen = F.pad(wav, (self.past, 0)) if state is None else torch.cat([state[0], wav], dim=1)
        frames = seen.unfold(1, self.past + self.hop, self.hop)
        x = self.norm(self.embed(self.features(frames)))
        x, tails = run_blocks(self.blocks, x, None if state is None else state[1:], count)
        end = self.hop * (frames.shape[1] if count is None else count)
        return self.out(self.out_norm(x)), [seen[:, end : end + self.past], *tails]


class Decoder(nn.Module):
    """latents (B, N, codebook_dim) -> wav (B, 320 N), which trails by `lookahead` frames."""

    basis: Tensor

    def __init__(self, c: RVQConfig) -> None:
        super().__init__()
        self.subframes, self.window, self.step = c.subframes, c.synthesis_window, c.hop // c.subframes
        self.embed = nn.Linear(c.codebook_dim, c.decoder_dim)
        self.norm = nn.LayerNorm(c.decoder_dim)
        self.blocks = nn.ModuleList(Block(c.decoder_dim, c.kernel, c.expansion) for _ in range(c.decoder_layers))
        self.spread = nn.Linear(c.decoder_dim, c.subframes * c.fine_dim)
        self.fine = nn.ModuleList(Block(c.fine_dim, c.kernel, c.expansion) for _ in range(c.fine_layers))
        self.out_norm = nn.LayerNorm(c.fine_dim)
        self.out = nn.Linear(c.fine_dim, 2 * (self.window // 2 + 1))
        with torch.no_grad():
            self.out.bias[: self.window // 2 + 1] = -3.0  # start near the level of speech, not 40 dB above
        self.register_buffer("basis", self._synthesis_basis(), persistent=False)

    def _synthesis_basis(self) -> Tensor:
        """Inverse real DFT (2F, W) with the window, over the sum of squared windows (constant for Hann at W/h >= 3)."""
        fold = torch.full((self.window // 2 + 1, 1), 2.0)
        fold[0] = fold[-1] = 1.0
        overlap = torch.hann_window(self.window).square().sum() / self.step
        return fourier_basis(self.window).T * torch.cat([fold, fold]) / (self.window * overlap)

    def frames(self, x: Tensor) -> Tensor:
        """x (B, M, fine_dim) -> windowed stretches of sound (B, M, W)."""
        level, phase = self.out(self.out_norm(x)).float().chunk(2, dim=-1)
        magnitude = torch.exp(level.clamp(max=6.0))
        return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=-1) @ self.basis

    def overlap_add(self, frames: Tensor, tail: Tensor | None) -> tuple[Tensor, Tensor]:
        """frames (B, M, W), tail (B, W-h): what earlier sub-frames left; gives sound (B, M h) and the next tail."""
        batch, count, _ = frames.shape
        parts = frames.reshape(batch, count, -1, self.step)
        overlaps = parts.shape[2]
        total = frames.new_zeros(batch, count + overlaps - 1, self.step)
        for i in range(overlaps):
            total = total + F.pad(parts[:, :, i], (0, 0, i, overlaps - 1 - i))
        sound = total.flatten(1)
        if tail is not None:
            sound = sound + F.pad(tail, (0, sound.shape[1] - tail.shape[1]))
        return sound[:, : count * self.step], sound[:, count * self.step :]

    def forward(self, latent: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """state: one tensor per block, then the tail of the overlap-add."""
        split = len(self.blocks)
        x = self.norm(self.embed(latent))
        x, coarse = run_blocks(self.blocks, x, None if state is None else state[:split])
        x = self.spread(x).reshape(x.shape[0], x.shape[1] * self.subframes, -1)
        x, fine = run_blocks(self.fine, x, None if state is None else state[split:-1])
        sound, tail = self.overlap_add(self.frames(x), None if state is None else state[-1])
        return sound, [*coarse, *fine, tail]


def pooled(latent: Tensor, step: int) -> Tensor:
    """latent (B, N, C) -> (B, N/step, C), the mean of each `step` frames; summed in a fixed order, whatever N is."""
    if step == 1:
        return latent
    total = latent[:, ::step]
    for i in range(1, step):
        total = total + latent[:, i::step]
    return total / step


def repeated(latent: Tensor, step: int) -> Tensor:
    """latent (B, N, C) -> (B, N step, C), each frame `step` times."""
    return latent if step == 1 else latent.repeat_interleave(step, dim=1)


def nearest(latent: Tensor, book: Tensor) -> Tensor:
    """latent (B, N, C), book (V, C) -> code of the nearest codeword (B, N)."""
    rows = latent.flatten(0, 1)
    rows = F.pad(rows, (0, 0, 0, max(0, STEADY - len(rows))))
    # squared distance less |row|^2, in one pass over the (B N, V) matrix: it is what encoding waits for
    distance = torch.addmm(book.square().sum(-1), rows, -2 * book.T)
    return distance.argmin(-1)[: latent.shape[0] * latent.shape[1]].view(latent.shape[:2])


class RVQCodec(nn.Module):
    """The codec as one module. Sounds are float32 (B, T) in [-1, 1]; codes are K tensors int64 (B, N_k), N_k = N / steps[k].

    `codebooks` is plain weight here; how it is learnt is the trainer's business (`training.codec.CodecTraining`).
    """

    def __init__(self, config: RVQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        books = torch.randn(config.streams, config.codebook_size, config.codebook_dim)
        self.codebooks = nn.Parameter(books, requires_grad=False)  # learnt by moving averages, not by gradient
        self.decoder = Decoder(config)

    def latent(self, wav: Tensor) -> Tensor:
        """wav (B, T), whole frames -> latent (B, N, C)."""
        latent: Tensor = self.encoder(wav)[0]
        return latent

    def set_codebooks(self, books: Sequence[Tensor]) -> None:
        """Take over K codebooks (V, C)."""
        self.codebooks.data.copy_(torch.stack(list(books)))

    def quantize(self, latent: Tensor, n_streams: int | None = None) -> list[Tensor]:
        """Greedy residual search: latent (B, N, C), whole blocks -> codes. A prefix of the streams is itself a code."""
        codes = []
        residual = latent
        for book, step in zip(self.codebooks[:n_streams], self.config.steps, strict=False):
            codes.append(nearest(pooled(residual, step), book))
            residual = residual - repeated(F.embedding(codes[-1], book), step)
        return codes

    def lookup(self, codes: Sequence[Tensor]) -> Tensor:
        """Codes of the first streams -> latent (B, N, C), the sum of the codewords; zero where codes are -1."""
        steps = self.config.steps
        latent = repeated(F.embedding(codes[0].clamp(min=0), self.codebooks[0]), steps[0])
        for stream, book, step in zip(codes[1:], self.codebooks[1:], steps[1:], strict=False):
            latent = latent + repeated(F.embedding(stream.clamp(min=0), book), step)
        return latent * repeated((codes[0] >= 0)[..., None], steps[0])

    def encode(self, wav: Tensor, n_streams: int | None = None) -> list[Tensor]:
        """wav (B, T) -> codes, T completed to whole blocks by zeros."""
        wav = F.pad(wav, (0, -wav.shape[1] % self.config.block))
        return self.encode_step(wav, None, n_streams)[0]

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Codes of N frames -> wav (B, 320 N)."""
        return self.synthesize(self.lookup(codes))

    def synthesize(self, latent: Tensor) -> Tensor:
        """latent (B, N, C) -> wav (B, 320 N) in step with the input: flush frames added, the lead-in dropped."""
        wav, _ = self.decoder(F.pad(latent, (0, 0, 0, self.config.lookahead)))
        return wav[:, self.config.delay :]

    def encode_step(self, wav: Tensor, state: State | None, n_streams: int | None = None) -> tuple[list[Tensor], State]:
        """wav (B, whole blocks) -> codes and the next state; None is the state before the first sample."""
        count = wav.shape[1] // self.config.hop
        steady = F.pad(wav, (0, self.config.hop * max(0, STEADY - count)))
        latent, state = self.encoder(steady, state, count)
        return self.quantize(latent[:, :count], n_streams), state

    def decode_step(self, codes: Sequence[Tensor], state: State | None) -> tuple[Tensor, State]:
        """Codes of n frames -> wav (B, 320 n). The first `config.delay` samples of a stream are lead-in: drop them."""
        return self.decoder(self.lookup(codes), state)

    def flush(self, state: State) -> Tensor:
        """The last `config.delay` samples of a stream (B, delay), after its last `decode_step`."""
        silence = state[0].new_zeros(state[0].shape[0], self.config.lookahead, self.config.codebook_dim)
        return self.decoder(silence, state)[0]


class RVQ(Model):
    """The codec behind Voxzoo's interface. Frames: ceil(T / block) times the frames of a block, in each stream.

    `configuration`: what reads the config of the family's members.
    """

    network: RVQCodec
    configuration: ClassVar[type[RVQConfig]] = RVQConfig

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        c = cls.configuration.from_dict(config)
        return {
            "sample_rate": c.sample_rate,
            "frame_rates": tuple(Fraction(c.sample_rate, c.hop * step) for step in c.steps),
            "codebook_sizes": (c.codebook_size,) * c.streams,
            "latency": (c.block + c.delay) / c.sample_rate,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> RVQCodec:
        """The network with random weights."""
        return RVQCodec(cls.configuration.from_dict(config))

    def frames(self, samples: int) -> tuple[int, ...]:
        """Whole blocks: ceil(samples / block) * block / (hop * step) for each stream."""
        c = self.network.config
        blocks = -(-samples // c.block)
        return tuple(blocks * (c.block // (c.hop * step)) for step in c.steps)

    @property
    def pad_multiple(self) -> int:
        """Samples of a block."""
        return self.network.config.block

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded(self.network.encode(wav, streams))

    def _decode(self, encoded: Encoded) -> Tensor:
        # padding (-1) looks up as zero latents, which are also what `synthesize` flushes each clip with
        return self.network.decode(encoded.codes)

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Encoder(self.network, streams)

    def _open_decoder(self) -> DecoderCore:
        return _Decoder(self.network)


class _Encoder:
    """Holds back the samples of an unfinished block."""

    def __init__(self, network: RVQCodec, streams: int) -> None:
        self.network, self.streams = network, streams
        self.state: State | None = None
        self.rest: Tensor | None = None

    def push(self, wav: Tensor) -> Encoded:
        wav = wav if self.rest is None else torch.cat([self.rest, wav], dim=1)
        whole = wav.shape[1] // self.network.config.block * self.network.config.block
        self.rest = wav[:, whole:]
        if not whole:
            return Encoded([wav.new_zeros(1, 0, dtype=torch.int64)] * self.streams)
        codes, self.state = self.network.encode_step(wav[:, :whole], self.state, self.streams)
        return Encoded(codes)

    def finish(self) -> Encoded:
        missing = 0 if self.rest is None else -self.rest.shape[1] % self.network.config.block
        return self.push(next(self.network.parameters()).new_zeros(1, missing))


class _Decoder:
    """Drops the lead-in: the network's sound trails its tokens by `config.delay` samples."""

    def __init__(self, network: RVQCodec) -> None:
        self.network = network
        self.state: State | None = None
        self.lead_in = network.config.delay

    def push(self, encoded: Encoded) -> Tensor:
        counts, steps = [c.shape[1] for c in encoded.codes], self.network.config.steps
        if any(count * step != counts[0] * steps[0] for count, step in zip(counts, steps, strict=False)):
            ratio = ":".join(str(max(steps) // step) for step in steps[: len(counts)])
            raise TokensError(f"pushed {counts} frames; the streams belong together in the ratio {ratio}")
        if not counts[0]:
            return encoded.codes[0].new_zeros(1, 0, dtype=torch.float32)
        wav, self.state = self.network.decode_step(encoded.codes, self.state)
        dropped = min(self.lead_in, wav.shape[1])
        self.lead_in -= dropped
        return wav[:, dropped:]

    def finish(self) -> Tensor:
        if self.state is None:
            return next(self.network.parameters()).new_zeros(1, 0)
        return self.network.flush(self.state)[:, self.lead_in :]
