"""The graph of Baichuan-Audio's tokenizer: segments, the batch's clips of one length."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs._baichuan import Network
from ..codecs.baichuan import Baichuan
from ..core.model import Model
from ..core.whisper_mel import normalise
from .plain_mel import PlainLogMel, loudest
from .plan import Plan

__all__ = ["plan"]


class Encode(nn.Module):
    """wav (B, T), lengths (B,), all alike -> codes.

    The spectrogram is that of the segment which zeros fill up, of which only so many frames are looked at.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.mel = PlainLogMel(network.mels, network.rate, network.n_fft, network.hop)
        self.frame = 2 * network.hop  # samples of a frame of the encoder

    def forward(self, wav: Tensor, lengths: Tensor) -> list[Tensor]:
        """See the class."""
        net, model, bridge = self.network, self.network.audio_model, self.network.audio_bridge_model
        ends = torch.minimum(lengths + net.n_fft, torch.full_like(lengths, net.longest))
        log = self.mel.log_mel(F.pad(wav, (0, net.n_fft)), ends)
        most = net.longest // net.hop
        held = torch.minimum(ends // net.hop + 1, torch.full_like(ends, most))
        place = torch.arange(log.shape[2], device=wav.device)
        mel = normalise(log, loudest(log, held))
        frames = torch.minimum(lengths // net.hop + 1, torch.full_like(lengths, most))
        x = F.gelu(model.conv1(mel * (place < frames[:, None])[:, None]))
        x = F.gelu(model.conv2(x * (place < frames[:, None])[:, None])).transpose(1, 2)
        place = torch.arange(x.shape[1], device=wav.device)
        sounding = place < ((frames + 1) // 2)[:, None]
        x = x + F.embedding(place.clamp(max=len(model.positional_embedding) - 1), model.positional_embedding)
        for layer in model.layers:
            x = layer(x, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, sounding[:, None, None]))
        x = model.layer_norm(x) * sounding[..., None]
        x = x[:, : wav.shape[1] // self.frame]
        gate, up = (proj(x.transpose(1, 2)).transpose(1, 2) for proj in (bridge.gate_proj, bridge.up_proj))
        left = bridge.layer_norm(bridge.down_proj(F.silu(gate) * up) + x.unflatten(1, (-1, bridge.pool)).flatten(2))
        codes = []
        for book in bridge.books:
            distance = left.pow(2).sum(2, keepdim=True) + book.energy - 2 * (left @ book.embed.T)
            codes.append(distance.clamp(min=0).sqrt().argmin(2))
            left = left - F.embedding(codes[-1], book.embed)
        return codes


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    tokenizer, made = cast(Baichuan, model), Plan.of(model)
    made.padding = {"multiple": tokenizer.network.token, "span": 1, "more": 0}
    made.encoder(Encode(tokenizer.network), lengths=True)
    made.long["encoder"] = {"kind": "cuts", "samples": tokenizer.segment}
    return made
