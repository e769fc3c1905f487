"""Graphs of units: HuBERT, wav2vec 2.0 and WavLM, Whisper's encoder, and spectra, with what makes units of their features."""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ExportError
from ..core.model import Model
from ..core.wavlm_attention import WavLMAttention
from ..tokenizers._units import Network
from ..tokenizers._units_backbones import SelfSupervised, Spectrum
from ..tokenizers._units_quantizers import Classifier, KMeans
from ..tokenizers.units import Units
from .plan import Plan

__all__ = ["PlainWavLMAttention", "plan", "without_loops"]

EPSILON = 1e-5  # of the norm of sound


class Encode(nn.Module):
    """wav (B, T) of at least a frame, lengths (B,) -> units (B, N)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.normalize = network.config["normalize"]
        self.backbone = without_loops(network.backbone)
        quantizer = network.quantizer
        self.quantizer: nn.Module = quantizer
        if isinstance(quantizer, KMeans):
            self.quantizer = PlainKMeans(quantizer)
        elif isinstance(quantizer, Classifier):
            self.quantizer = PlainClassifier(quantizer)

    def forward(self, wav: Tensor, lengths: Tensor) -> Tensor:
        """See the class."""
        if self.normalize:
            wav = normalised(wav, lengths)
        return self.quantizer(self.backbone(wav))


class Features(nn.Module):
    """wav (B, T) -> features (B, N, D), of a self-supervised backbone."""

    def __init__(self, backbone: SelfSupervised) -> None:
        super().__init__()
        self.network = copy.deepcopy(backbone.network)
        with_plain_attention(self.network)

    def forward(self, wav: Tensor) -> Tensor:
        """See the class."""
        return self.network(wav).last_hidden_state


class PlainKMeans(nn.Module):
    """The nearest codeword, about the middle of all."""

    middle: Tensor
    words: Tensor
    energy: Tensor

    def __init__(self, kmeans: KMeans) -> None:
        super().__init__()
        middle = kmeans.codebook.detach().mean(0)
        words = kmeans.codebook.detach() - middle
        self.register_buffer("middle", middle)
        self.register_buffer("words", words.t().contiguous())
        self.register_buffer("energy", words.square().sum(1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N)."""
        return (self.energy - 2 * ((x - self.middle) @ self.words)).argmin(2)


class PlainClassifier(nn.Module):
    """The most likely class, blanks filled from before; those at the start from after."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.layers, self.blank = classifier.layers, classifier.blank

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N)."""
        codes = self.layers(x).argmax(2)
        place = torch.arange(codes.shape[1], device=codes.device)
        full = torch.where(codes != self.blank, place, -1)
        earlier = place <= place[:, None]
        last = torch.where(earlier, full[:, None], -1).amax(2)
        first = (codes != self.blank).int().argmax(1, keepdim=True)
        return codes.gather(1, torch.where(last < 0, first, last))


class PlainWavLMAttention(nn.Module):
    """`WavLMAttention` over all queries at once."""

    def __init__(self, lean: WavLMAttention) -> None:
        super().__init__()
        self.lean = lean

    def forward(
        self, hidden_states: Tensor, attention_mask: None = None, position_bias: Tensor | None = None, **_: object
    ) -> tuple[Tensor, None, Tensor]:
        """hidden_states (B, N, D) -> the same shape, nothing, and the bias (H, N, N) for the layers that follow."""
        x, lean = hidden_states, self.lean
        if position_bias is None:
            place = torch.arange(x.shape[1], device=x.device)
            position_bias = self._biases(place[None] - place[:, None])
        q, k, v = (lean._heads(name, x) for name in ("q_proj", "k_proj", "v_proj"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=lean._gate(x) * position_bias)
        return lean.get_submodule("out_proj")(y.transpose(1, 2).flatten(2)), None, position_bias

    def _biases(self, ahead: Tensor) -> Tensor:
        """Of distances (N, N): (H, N, N)."""
        table = cast(nn.Embedding, self.lean.get_submodule("rel_attn_embed"))
        half = table.num_embeddings // 2
        exact = half // 2
        distance = ahead.abs()
        scale = math.log(self.lean.distance / exact)
        far = (distance.clamp(min=1).float() / exact).log() / scale * (half - exact) + exact
        bucket = torch.where(distance < exact, distance, far.long().clamp(max=half - 1)) + half * (ahead > 0)
        return table(bucket).permute(2, 0, 1)


def with_plain_attention(network: nn.Module) -> None:
    """Replace WavLM's attention in a copy of a network."""
    for layer in getattr(network.encoder, "layers", []):
        if isinstance(layer.attention, WavLMAttention):
            layer.attention = PlainWavLMAttention(layer.attention)


def without_loops(backbone: nn.Module) -> nn.Module:
    """The form of a backbone for a graph. Raises `ExportError` where there is none."""
    if isinstance(backbone, SelfSupervised):
        return Features(backbone)
    if isinstance(backbone, Spectrum):
        return backbone
    raise ExportError(f"units of a {type(backbone).__name__} cannot be exported: there is no plain form of this backbone")


def normalised(wav: Tensor, lengths: Tensor) -> Tensor:
    """wav (B, T) of zero mean and unit variance over its own samples, zeros after them."""
    held = torch.arange(wav.shape[1], device=wav.device) < lengths[:, None]
    count = lengths[:, None].float()
    about = (wav - wav.sum(1, keepdim=True) / count) * held
    return about * torch.rsqrt(about.square().sum(1, keepdim=True) / count + EPSILON)


def plan(model: Model, streaming: bool) -> Plan:
    """See `graphs.plan_of`."""
    network, made = cast(Units, model).network, Plan.of(model)
    made.padding["least"] = network.backbone.span
    made.encoder(Encode(network), lengths=True, frames=23)
    made.long["encoder"] = {"kind": "frames", "size": network.size, "context": network.context, "hop": network.backbone.hop}
    return made
