"""Graphs of the S3 tokenizers: the whole batch at once, none of its clips seeing what lies beyond its end.

`span` is what windows of long clips ask for: codes of the spectrogram's frames from the first number up to the second.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.model import Model
from ..core.whisper_mel import normalise
from ..tokenizers._s3 import Attention, Block, Network, angles, rotated, token_frames
from ..tokenizers.s3 import LEAD, MARGIN, S3, WINDOW
from .plain_mel import PlainLogMel, loudest
from .plan import Plan
from .trace import Port

__all__ = ["plan"]

ALL = 1 << 62  # the end of a span that has none


class Encode(nn.Module):
    """wav (B, T), lengths (B,), span (2,) -> codes (B, N) of the frames in the span, which may be longer than the clip."""

    def __init__(self, model: S3, least: int) -> None:
        super().__init__()
        c = model.config
        self.network: Network = model.network
        self.mel = PlainLogMel(c["mels"], c["sample_rate"], c["n_fft"], c["hop"])
        self.hop, self.least = c["hop"], least

    def forward(self, wav: Tensor, lengths: Tensor, span: Tensor) -> Tensor:
        """See the class."""
        log = self.mel.log_mel(wav, lengths.clamp(min=self.least))
        place = torch.arange(log.shape[2], device=wav.device)
        log = log.index_select(2, torch.minimum(place + span[0], place[-1]))
        frames = torch.minimum((lengths // self.hop).clamp(min=1), span[1]) - span[0]
        mel = normalise(log, loudest(log, frames))
        return self.network.quantizer["_codebook"](encoded(self.network, mel, frames))


def encoded(network: Network, mel: Tensor, frames: Tensor) -> Tensor:
    """mel (B, M, L), of which each clip has so many frames (B,) -> (B, N, D)."""
    encoder = network.encoder
    x = F.gelu(encoder.conv1(sounding(mel, frames)))
    frames = (frames - 1) // encoder.conv1.stride[0] + 1
    x = F.gelu(encoder.conv2(sounding(x, frames))).transpose(1, 2)
    frames = (frames - 1) // 2 + 1
    held = torch.arange(x.shape[1], device=x.device) < frames[:, None]
    turn = None
    if encoder.rotary:
        angle = angles(x.shape[1], encoder.head)[:, None]
        turn = angle.cos(), angle.sin()
    else:
        place = torch.arange(x.shape[1], device=x.device).clamp(max=len(encoder.positional_embedding) - 1)
        x = x + F.embedding(place, encoder.positional_embedding)
    for block in encoder.blocks:
        x = passed(cast(Block, block), x, turn, held)
    return x


def sounding(x: Tensor, frames: Tensor) -> Tensor:
    """x (B, D, L), zero beyond each clip's end."""
    return x * (torch.arange(x.shape[2], device=x.device) < frames[:, None])[:, None]


def passed(block: Block, x: Tensor, turn: tuple[Tensor, Tensor] | None, held: Tensor) -> Tensor:
    """x (B, N, D) through a block; held (B, N): where there is sound."""
    x = attended(block.attn, block.attn_ln(x), x, turn, held)
    return x + block.mlp["2"](F.gelu(block.mlp["0"](block.mlp_ln(x))))


def attended(layer: Attention, x: Tensor, shortcut: Tensor, turn: tuple[Tensor, Tensor] | None, held: Tensor) -> Tensor:
    """shortcut + attention, as `Attention` has it."""
    q, k, v = (part.unflatten(2, (layer.heads, -1)) for part in (layer.query(x), layer.key(x), layer.value(x)))
    if turn is not None:
        q, k = rotated(q, *turn), rotated(k, *turn)
    q, k, inner = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    y = F.scaled_dot_product_attention(q, k, inner, held[:, None, None]).transpose(1, 2).flatten(2)
    if layer.memory:
        values = v.flatten(2).transpose(1, 2) * held[:, None]
        weight = layer.fsmn_block.weight
        memory = F.conv1d(values, weight, padding=weight.shape[2] // 2, groups=weight.shape[0])
        shortcut = shortcut + (values + memory).transpose(1, 2)
    return shortcut + layer.out(y)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    tokenizer, made = cast(S3, model), Plan.of(model)
    config = tokenizer.config
    least = max(config["n_fft"] // 2 + 1, config["hop"])
    made.padding = {"multiple": made.hop, "span": 1, "more": 0, "least": -(-least // made.hop) * made.hop}
    span = Port("span", [2], torch.tensor([0, ALL]))
    made.encoder(Encode(tokenizer, least), lengths=True, frames=11, inputs=[span])
    second, per = config["sample_rate"] // config["hop"], token_frames(config)
    sizes = {"size": WINDOW * second, "step": (WINDOW - 2 * MARGIN) * second, "margin": MARGIN * second // per}
    made.long["encoder"] = {"kind": "spectrogram", "hop": config["hop"], "lead": LEAD, "per": per, **sizes}
    return made
