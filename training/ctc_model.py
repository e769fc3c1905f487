"""What a semantic tokenizer is trained by: phones recognised from its tokens alone, and the same tokens from harder sound.

Three readings of the tokens are scored. Each token by itself names the phones under its two halves: that is the information
between tokens and phones, as it is measured. A small block-causal network names the same with context, and the sequence by
connectionist temporal classification (Graves et al. 2006), which also learns from texts without times. None of it is shipped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..tokenizers._vox_s3 import FrontEnd, Layer, State, VoxS3, VoxS3Config, bounded, run_layers
from .augment import Augmenter, Hardness
from .ctc_data import GRID, UNKNOWN, Batch

HALVES = 2  # labels of a token
WIDTH = 0.8  # standard deviation of the quantiser's input: at it, three levels are used about alike
EPSILON = 1e-5
SOFT = 0.35  # how far a level reaches where codes are counted softly
ENOUGH = 0.65  # entropy of the codes, of the most there can be, beyond which no more is asked for
MOMENTUM = 0.02  # of its running mean and variance


@dataclass(frozen=True)
class CTCWeights:
    """Weights of the terms."""

    ctc: float = 1.0
    alone: float = 0.7  # phones from a token by itself
    context: float = 0.5  # phones from tokens in context
    same: float = 2.0  # the harder view's scalars at the lighter one's codes
    commit: float = 0.1  # the lighter view's own
    spread: float = 1.0  # entropy of the codes over the batch, as far as it is missing


class Recognizer(nn.Module):
    """Codes -> phones."""

    def __init__(self, config: VoxS3Config, labels: int, layers: int = 2) -> None:
        """labels: classes, silence included as class 0, which is CTC's blank."""
        super().__init__()
        self.config = replace(config, layers=layers)
        width = len(config.levels)
        self.alone = nn.Sequential(nn.Linear(width, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim), nn.GELU())
        self.alone_out = nn.Linear(config.dim, HALVES * labels)
        self.embed = nn.Linear(width, config.dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.dim)
        self.context_out = nn.Linear(config.dim, HALVES * labels)
        self.ctc_out = nn.Linear(config.dim, labels)

    def forward(self, scalars: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Rounded scalars (B, N, dimensions) -> logits of tokens alone, in context (B, 2N, labels), of CTC (B, N, labels)."""
        alone = self.alone_out(self.alone(scalars)).unflatten(2, (HALVES, -1)).flatten(1, 2)
        x = self.embed(scalars)
        x, _ = run_layers(self.layers, self.config, x, State.empty(self.config, x), drop)
        x = self.norm(x)
        return alone, self.context_out(x).unflatten(2, (HALVES, -1)).flatten(1, 2), self.ctc_out(x)


@dataclass
class View:
    """One hearing of a batch: scalars as they were and rounded (B, N, dimensions), and what was recognised."""

    scalars: Tensor
    rounded: Tensor
    logits: tuple[Tensor, Tensor, Tensor]


class CTCTraining(nn.Module):
    """Tokenizer and recognizer in one module."""

    mean: Tensor
    variance: Tensor

    def __init__(self, config: VoxS3Config, labels: int, weights: CTCWeights, drop: float = 0.1, jitter: float = 0.3) -> None:
        """drop: of dropout. jitter: uniform noise, at most so much, on the scalars before they are rounded."""
        super().__init__()
        self.config, self.weights, self.drop, self.jitter = config, weights, drop, jitter
        self.tokenizer = VoxS3(config)
        self.recognizer = Recognizer(config, labels)
        self.register_buffer("mean", torch.zeros(len(config.levels)))
        self.register_buffer("variance", torch.ones(len(config.levels)))

    @torch.no_grad()
    def shipped(self) -> VoxS3:
        """The tokenizer with the standardisation of its scalars multiplied into its last layer."""
        tokenizer = copy.deepcopy(self.tokenizer)
        scale = WIDTH / (self.variance + EPSILON).sqrt()
        tokenizer.project.weight.mul_(scale[:, None])
        tokenizer.project.bias.sub_(self.mean).mul_(scale)
        return tokenizer.eval()

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a shipped tokenizer's weights, whose scalars are at the quantiser's scale already."""
        self.tokenizer.load_state_dict(state)
        self.mean.zero_()
        self.variance.fill_(WIDTH**2 - EPSILON)

    def standard(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """x (B, N, dimensions) with mean and variance taken out, of this batch's sound in training: no level dies out."""
        mean, variance = self.mean, self.variance
        if self.training and valid is not None:
            weight = valid[..., None] / valid.sum()
            mean = (x * weight).sum((0, 1))
            variance = ((x - mean).square() * weight).sum((0, 1))
            with torch.no_grad():
                self.mean.lerp_(mean, MOMENTUM)
                self.variance.lerp_(variance, MOMENTUM)
        return (x - mean) * (WIDTH / (variance + EPSILON).sqrt())

    def padded(self, wav: Tensor, hop: int) -> Tensor:
        """wav (B, T) with what the front end wants around whole blocks, at another hop than the tokenizer's as well."""
        c = self.config
        size = 4 * hop * c.block
        return F.pad(wav, (c.window - hop + c.past * hop, -wav.shape[1] % size + c.ahead // c.hop * hop))

    def features(
        self, wav: Tensor, hop: int, augmenter: Augmenter | None, hard: Hardness | None, rng: np.random.Generator
    ) -> Tensor:
        """wav (B, T) -> relative log-mel (B, P, M, mels), its spectrum moved, coloured and masked where `hard` is given."""
        front: FrontEnd = self.tokenizer.front
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            wav = self.padded(wav, hop)
            filters = augmenter.filters(len(wav), hard, rng) if augmenter is not None and hard is not None else None
            mel = front.log_mel(wav, hop, filters)
            if augmenter is not None and hard is not None:
                mel = augmenter.bands(mel, hard, rng)
            mel, _ = front.relative(mel, State.empty(self.config, wav, 0).maxima)
            if augmenter is not None and hard is not None and hard.masks:
                mel = augmenter.masked(mel, hard, rng)
        return mel

    def forward(self, mel: Tensor, valid: Tensor | None = None, smooth: Tensor | None = None) -> View:
        """Relative log-mel -> what is made of it, gradients passing through the rounding as if it were not there.

        valid (B, N): which tokens are sound. smooth (B,): 1 for clips whose scalars reach the recognizer without rounding.
        """
        drop = self.drop if self.training else 0.0
        features = self.tokenizer.front(mel)
        projected, _ = self.tokenizer.projected(features, State.empty(self.config, features), drop)
        scalars = bounded(self.standard(projected, valid), self.config.levels)
        seen = scalars
        if self.training:
            top = torch.tensor([level / 2 - 1e-3 for level in self.config.levels], device=mel.device)
            seen = (scalars + (2 * torch.rand_like(scalars) - 1) * self.jitter).clamp(-top, top)
        rounded = scalars + (seen.round() - scalars).detach()
        if smooth is not None:
            rounded = torch.where(smooth[:, None, None] > 0, scalars, rounded)
        return View(scalars, rounded, self.recognizer(rounded, drop))

    def recognition(self, view: View, batch: Batch, hop: int) -> dict[str, Tensor]:
        """Losses of one view against its labels."""
        alone, context, ctc = view.logits
        labels = halves(batch.grid, alone.shape[1], hop)
        lengths = torch.tensor(token_lengths(batch.lengths, hop))
        logs = ctc.float().log_softmax(-1).transpose(0, 1)
        sizes = torch.tensor(batch.target_lengths)  # these and `lengths` stay on the host, where CTC wants them
        each = F.ctc_loss(logs, batch.targets, lengths, sizes, reduction="none", zero_infinity=True)
        share = ((sizes > 0) / sizes.sum().clamp(min=1)).to(each.device, non_blocking=True)
        return {
            "ctc": (each * share).sum(),
            "alone": framewise(alone, labels),
            "context": framewise(context, labels),
        }

    def agreement(self, light: View, hard: View, valid: Tensor) -> dict[str, Tensor]:
        """Losses between two views of the same clips; valid (B, N): tokens of sound."""
        code = light.scalars.detach().round()
        weight = valid[..., None] / (valid.sum() * code.shape[-1])
        return {
            "same": ((hard.scalars - code).square() * weight).sum(),
            "commit": ((light.scalars - code).square() * weight).sum(),
            "spread": F.relu(ENOUGH - code_entropy(light.scalars, valid, self.config.levels)),
        }


def framewise(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy where there is a label, 0 where there is none."""
    loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=UNKNOWN, reduction="sum")
    return loss / (labels != UNKNOWN).sum().clamp(min=1)


def halves(grid: Tensor, count: int, hop: int) -> Tensor:
    """grid (B, cells) -> the labels under the middles of the tokens' halves (B, count), `UNKNOWN` after the end."""
    place = torch.arange(count, device=grid.device)
    cell = (2 * place + 1) * hop // GRID  # half n begins at sample 2 n hop
    labels = grid[:, cell.clamp(max=grid.shape[1] - 1)]
    return torch.where(cell < grid.shape[1], labels, UNKNOWN)


def token_lengths(lengths: np.ndarray, hop: int) -> list[int]:
    """Tokens of clips of so many samples."""
    return [int(n) for n in -(-lengths // (4 * hop))]


def code_entropy(scalars: Tensor, valid: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Entropy of the codes' use over the batch, softly counted: 1 where all are used alike. scalars (B, N, dimensions)."""
    joint = valid.new_ones(*valid.shape, 1)
    for j, level in enumerate(levels):
        places = torch.arange(level, device=scalars.device) - level // 2
        near = (-(((scalars[..., j, None] - places) / SOFT) ** 2)).softmax(-1)
        joint = (joint[..., None] * near[:, :, None]).flatten(2)
    share = (joint * valid[..., None]).sum((0, 1)) / valid.sum()
    return -(share * share.clamp(min=1e-9).log()).sum() / math.log(math.prod(levels))
