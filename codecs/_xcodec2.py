"""The network of X-Codec2 and NeuCodec: an acoustic and a semantic encoder, one scalar quantizer, a transformer decoder.

Ye et al. 2025, "Llasa: Scaling Train-Time and Inference-Time Compute for Llama-based Speech Synthesis", arXiv:2502.04128;
published at github.com/zhenye234/X-Codec-2.0 (MIT) and in `transformers` (Apache-2.0). NeuCodec (Julian et al. 2025,
arXiv:2509.09550) differs by the rate of its sound and by which samples its semantic features see.

Parameters have the names of `transformers`, but in the acoustic encoder, whose blocks are BigCodec's and have BigCodec's.

The published decoder turns queries and keys of each head by a rotary embedding (Su et al. 2021, arXiv:2104.09864) of the
head's number in place of the time. Both turned alike, their products stay what they were: the embedding is left out here.

Letters: B batch, T samples, N frames (50 Hz), D channels, H heads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.convs import chain
from ..core.errors import ModelError, WeightsError
from ..core.ssl import without_weight_norm
from ._bigcodec import Activation, check_sizes, conv, down, down_blocks, rename
from ._w2vbert import DEFAULTS as SEMANTIC
from ._w2vbert import FBANK_SHIFT, RATE, STACKED, Features, W2vBert

__all__ = ["Network", "complete", "from_published", "from_transformers", "transformers_sizes"]

# What shapes the network, and X-Codec2's sizes, under the names of `transformers`.
DEFAULTS: dict[str, Any] = {
    "sampling_rate": 16000,
    "output_sampling_rate": 16000,
    "encoder_hidden_size": 48,
    "downsampling_ratios": [2, 2, 4, 4, 5],
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "quantization_levels": [4] * 8,
    "semantic": {**SEMANTIC, "num_hidden_layers": 16},
    "half_hop": True,  # whether semantic features see half a frame of zeros around the clip
}
GROUPS = 32  # of channels, each normalised over the clip
SPAN = 4  # frames under a window of the inverse Fourier transform
LOUDEST = 100.0  # magnitude of a bin


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of a codec."""
    full = {**DEFAULTS, **config, "semantic": {**DEFAULTS["semantic"], **config.get("semantic", {})}}
    for known, given in ((DEFAULTS, full), (SEMANTIC, full["semantic"])):
        if unknown := set(given) - set(known):
            raise ModelError(f"X-Codec2 has no configuration {sorted(unknown)[0]!r}; it has {', '.join(known)}")
        for key, value in given.items():
            if key not in ("semantic", "half_hop", "layer_norm_eps"):
                check_sizes("X-Codec2", key, value, isinstance(known[key], list))
    hop = math.prod(full["downsampling_ratios"])
    if (full["sampling_rate"], hop) != (RATE, STACKED * FBANK_SHIFT):
        raise ModelError(
            f"X-Codec2 got sampling_rate {full['sampling_rate']} and downsampling_ratios of product {hop}; expected 16000 and "
            "320, which its semantic features have"
        )
    if full["hidden_size"] % math.lcm(GROUPS, full["num_attention_heads"]):
        raise ModelError(f"X-Codec2 got hidden_size {full['hidden_size']}; expected a multiple of {GROUPS} and of its heads")
    if hop * full["output_sampling_rate"] % (2 * full["sampling_rate"]):
        raise ModelError(
            f"X-Codec2 got output_sampling_rate {full['output_sampling_rate']}; expected even frames of {hop} samples"
        )
    return full


class AcousticEncoder(nn.Module):
    """BigCodec's blocks without its LSTM and its weight norm."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.rates, self.dim = config["downsampling_ratios"], config["encoder_hidden_size"]
        dim = self.dim * 2 ** len(self.rates)
        last: list[nn.Module] = [Activation(dim), conv(dim, config["hidden_size"], 3, norm=False)]
        self.block = nn.Sequential(*down_blocks(self.dim, self.rates, norm=False), *last)

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, T / hop, D)."""
        return chain(list(self.block)[-2:], down(list(self.block)[:-2], wav, self.rates, self.dim))


class SemanticAdapter(nn.Module):
    """Four convolutions, the middle two beside a shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name, bias in (("conv1", False), ("conv2", True), ("conv3", True), ("conv4", False)):
            self.add_module(name, nn.Conv1d(dim, dim, 3, padding=1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        first, second, third, fourth = self.children()
        x = first(x.transpose(1, 2)).relu_()  # the published ReLU works in place, so that the shortcut starts after it
        return fourth(third(second(x).relu_()) + x).transpose(1, 2)


class Quantizer(nn.Module):
    """Finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505): a few dimensions, each rounded to a few levels.

    A code is the levels as digits, the first dimension the lowest.
    """

    def __init__(self, dim: int, levels: list[int]) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, len(levels))
        self.project_out = nn.Linear(len(levels), dim)
        self.levels = levels
        self.places = [math.prod(levels[:i]) for i in range(len(levels))]

    def _bounded(self, x: Tensor, levels: Tensor) -> Tensor:
        """x (..., K) squeezed between the lowest level and the highest, a thousandth beyond both."""
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return (x + (offset / half).atanh()).tanh() * half - offset

    def encode(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> codes (B, N)."""
        with torch.autocast(x.device.type, enabled=False):
            levels = torch.tensor(self.levels, dtype=torch.int32, device=x.device)
            x = self.project_in(x.float())
            x = self._bounded(self._bounded(x, levels), levels)  # twice, as the published model does it
            digits = x.round().long() + levels // 2
            return (digits * torch.tensor(self.places, device=x.device)).sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> (B, N, D)."""
        levels, places = (torch.tensor(numbers, device=codes.device) for numbers in (self.levels, self.places))
        digits = codes[..., None] // places % levels
        return self.project_out((digits - levels // 2) / (levels // 2))


class ResidualConv(nn.Module):
    """Two convolutions, each of what a normalisation over the clip and Swish make of its input, beside a shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, dim, eps=1e-6)
        self.conv1 = nn.Conv1d(dim, dim, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, dim, eps=1e-6)
        self.conv2 = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, D, N) -> (B, D, N)."""
        y = self.conv1(F.silu(self.norm1(x), inplace=True))
        return x + self.conv2(F.silu(self.norm2(y), inplace=True))


class Attention(nn.Module):
    """Self-attention over the whole clip, which knows nothing of time (see the module's docstring)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.add_module(name, nn.Linear(dim, dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        *inputs, output = self.children()
        q, k, v = (matrix(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for matrix in inputs)
        return output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two matrices with Swish between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        return self.fc2(F.silu(self.fc1(x), inplace=True))


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a normalisation and beside a shortcut."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim = config["hidden_size"]
        self.self_attn = Attention(dim, config["num_attention_heads"])
        self.mlp = FeedForward(dim, config["intermediate_size"])
        self.input_layernorm = nn.RMSNorm(dim, eps=1e-6)
        self.post_attention_layernorm = nn.RMSNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Spectrum(nn.Module):
    """Frames to sound: magnitude and phase of each bin, and the inverse short-time Fourier transform."""

    window: Tensor

    def __init__(self, dim: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.linear = nn.Linear(dim, SPAN * hop + 2)
        self.register_buffer("window", torch.hann_window(SPAN * hop), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> wav (B, N hop)."""
        size = SPAN * self.hop
        magnitude, phase = self.linear(x).float().chunk(2, 2)
        spectrum = torch.polar(magnitude.exp().clamp(max=LOUDEST), phase)
        sound = self._overlapped(torch.fft.irfft(spectrum, size) * self.window)
        cover = self._overlapped(self.window.square().expand(1, x.shape[1], -1)).clamp(min=1e-11)
        edge = (size - self.hop) // 2
        return (sound / cover)[:, edge : sound.shape[1] - edge]

    def _overlapped(self, frames: Tensor) -> Tensor:
        """frames (B, N, SPAN hop), added up where they overlap -> (B, (N + SPAN - 1) hop)."""
        batch, count, _ = frames.shape
        out = frames.new_zeros(batch, count + SPAN - 1, self.hop)
        for i, part in enumerate(frames.unflatten(2, (SPAN, self.hop)).unbind(2)):
            out[:, i : i + count] += part
        return out.flatten(1)


class Decoder(nn.Module):
    """What codes stand for, to sound."""

    def __init__(self, config: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        width = config["hidden_size"]
        hop = math.prod(config["downsampling_ratios"]) * config["output_sampling_rate"] // config["sampling_rate"]
        self.fc = nn.Linear(dim, width)
        self.embed = nn.Conv1d(width, width, 7, padding=3)
        self.prior_net = nn.Sequential(ResidualConv(width), ResidualConv(width))
        self.layers = nn.Sequential(*(Layer(config) for _ in range(config["num_hidden_layers"])))
        self.post_net = nn.Sequential(ResidualConv(width), ResidualConv(width))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = Spectrum(width, hop)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> wav (B, N hop)."""
        x = self.prior_net(self.embed(self.fc(x).transpose(1, 2))).transpose(1, 2)
        x = self.post_net(self.layers(x).transpose(1, 2)).transpose(1, 2)
        return self.head(self.norm(x))


class Network(nn.Module):
    """Plain weights; `fold` before use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        semantic = config["semantic"]["hidden_size"]
        dim = config["hidden_size"] + semantic
        self.around = math.prod(config["downsampling_ratios"]) // 2 if config["half_hop"] else 0
        self.features = Features()
        self.semantic_encoder = W2vBert(config["semantic"])
        self.semantic_adapter = SemanticAdapter(semantic)
        self.acoustic_encoder = AcousticEncoder(config)
        self.fc_encoder = nn.Linear(dim, dim)
        self.quantizer = Quantizer(dim, config["quantization_levels"])
        self.acoustic_decoder = Decoder(config, dim)

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T), T whole frames -> codes (B, N), N one fewer than these frames where semantic features see no zeros."""
        meaning = self.semantic_adapter(self.semantic_encoder(self.features(F.pad(wav, (self.around, self.around)))))
        sound = self.acoustic_encoder(wav)
        frames = min(meaning.shape[1], sound.shape[1])
        return self.quantizer.encode(self.fc_encoder(torch.cat([meaning[:, :frames], sound[:, :frames]], 2)))

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> wav (B, N hop)."""
        return self.acoustic_decoder(self.quantizer.decode(codes))


# ------------------------------------------------------------------ published forms
HEAD = 64  # channels of a head of the published decoder
# Names of `transformers` in the acoustic encoder, and the places of these layers in BigCodec's.
RESIDUAL = {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}
BLOCK = {"res_unit1": 0, "res_unit2": 1, "res_unit3": 2, "snake1": 3, "conv1": 4}
# Pattern -> replacement: from the publisher's names to those of `transformers`, and to BigCodec's in the acoustic encoder.
PUBLISHED = {
    r"^semantic_model\.": "semantic_encoder.",
    r"^SemanticEncoder_module\.initial_conv\.": "semantic_adapter.conv1.",
    r"^SemanticEncoder_module\.residual_blocks\.1\.": "semantic_adapter.conv2.",
    r"^SemanticEncoder_module\.residual_blocks\.3\.": "semantic_adapter.conv3.",
    r"^SemanticEncoder_module\.final_conv\.": "semantic_adapter.conv4.",
    r"^CodecEnc\.conv_blocks\.": "acoustic_encoder.block.",
    r"^fc_prior\.": "fc_encoder.",
    r"^fc_post_a\.": "acoustic_decoder.fc.",
    r"^generator\.quantizer\.": "quantizer.",
    r"^generator\.backbone\.final_layer_norm\.": "acoustic_decoder.norm.",
    r"^generator\.backbone\.transformers\.": "acoustic_decoder.layers.",
    r"^generator\.backbone\.": "acoustic_decoder.",
    r"^generator\.head\.out\.": "acoustic_decoder.head.linear.",
    r"\.att\.c_proj\.": ".self_attn.o_proj.",
    r"\.att_norm\.": ".input_layernorm.",
    r"\.ffn_norm\.": ".post_attention_layernorm.",
}
# Left out: what training alone uses (the embedding of masked frames, the reconstruction of semantic features) and constants.
UNUSED = re.compile(
    r"^semantic_(model|encoder)\.masked_spec_embed$|^fc_post_s\.|^SemanticDecoder|^generator\.head\.istft\.window$"
    r"|^generator\.quantizer\.(layers\.0\.)?(_?levels|_?basis|(implicit_)?codebook|scales)$"
)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `transformers` checkpoint under our names."""
    last = 1 + max((int(key.split(".")[2]) for key in state if key.startswith("acoustic_encoder.block.")), default=-1)
    return rename({_ours(key, last): value for key, value in state.items() if not UNUSED.match(key)})


def _ours(key: str, blocks: int) -> str:
    """A name of `transformers`, in an acoustic encoder of so many blocks, as ours."""
    parts = key.split(".")
    if parts[0] != "acoustic_encoder" or len(parts) < 3:
        return key
    ends = {"conv1": 0, "snake1": blocks + 1, "conv2": blocks + 2}
    if parts[1] in ends:
        return ".".join(["acoustic_encoder", "block", str(ends[parts[1]]), *parts[2:]])
    _, _, block, part, *rest = parts
    where = ["acoustic_encoder", "block", str(int(block) + 1), "block", str(BLOCK.get(part, part))]
    if part.startswith("res_unit") and rest:
        where += ["block", str(RESIDUAL.get(rest[0], rest[0]))]
        rest = rest[1:]
    return ".".join(where + rest)


def from_published(state: Mapping[str, Tensor], semantic_layers: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors, under our names, of a publisher's own checkpoint.

    It holds all layers of w2v-BERT, of which the first `semantic_layers` count; the decoder's queries, keys and values in one
    matrix, rotary pairs side by side; and weight norm apart, under names old or new. A plain weight beside the parts of a norm
    is what the publishers' packages take.
    """
    state = {**without_weight_norm(state), **{key: value for key, value in state.items() if key.endswith(".weight")}}
    last = _count(state, r"CodecEnc\.conv_blocks\.(\d+)\.")
    out = {}
    for key, value in state.items():
        found = re.match(r"semantic_model\.encoder\.layers\.(\d+)\.", key)
        if UNUSED.match(key) or (found and int(found[1]) >= semantic_layers):
            continue
        name = re.sub(r"^CodecEnc\.conv_final_block\.(\d)", lambda m: f"acoustic_encoder.block.{last + int(m[1])}", key)
        for pattern, replacement in PUBLISHED.items():
            name = re.sub(pattern, replacement, name)
        if name.endswith(".att.c_attn.weight"):
            stem = name.removesuffix("att.c_attn.weight")
            q, k, v = value.chunk(3)
            for matrix, part in (("q_proj", _halved(q)), ("k_proj", _halved(k)), ("v_proj", v)):
                out[f"{stem}self_attn.{matrix}.weight"] = part.contiguous()
        else:
            out[name] = value
    return _published_sizes(state, semantic_layers), rename(out)


def _halved(matrix: Tensor) -> Tensor:
    """Rows of each head, rotary pairs side by side, with the first of all pairs before the second of all."""
    return matrix.unflatten(0, (-1, HEAD // 2, 2)).transpose(1, 2).flatten(0, 2)


def _published_sizes(state: Mapping[str, Tensor], semantic_layers: int) -> dict[str, Any]:
    """The configuration of a publisher's checkpoint with weight norm multiplied in, as far as its tensors tell."""
    semantic, width = state["fc_prior.weight"].shape[0], state["fc_post_a.weight"].shape[0]
    semantic -= width
    blocks = _count(state, r"CodecEnc\.conv_blocks\.(\d+)\.") - 1
    names = [f"CodecEnc.conv_blocks.{i + 1}.block.4.weight" for i in range(blocks)]
    head = state["semantic_model.encoder.layers.0.self_attn.distance_embedding.weight"].shape[1]
    return {
        "encoder_hidden_size": state["CodecEnc.conv_blocks.0.weight"].shape[0],
        "downsampling_ratios": [state[name].shape[2] // 2 for name in names],
        "hidden_size": width,
        "intermediate_size": state["generator.backbone.transformers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _count(state, r"generator\.backbone\.transformers\.(\d+)\."),
        "num_attention_heads": width // HEAD,
        "quantization_levels": [4] * state["generator.quantizer.project_in.weight"].shape[0],
        "semantic": {
            "hidden_size": semantic,
            "num_hidden_layers": min(semantic_layers, _count(state, r"semantic_model\.encoder\.layers\.(\d+)\.")),
            "num_attention_heads": semantic // head,
            "intermediate_size": state["semantic_model.encoder.layers.0.ffn1.intermediate_dense.weight"].shape[0],
            "conv_depthwise_kernel_size": state["semantic_model.encoder.layers.0.conv_module.depthwise_conv.weight"].shape[2],
        },
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the greatest number at the group of `pattern` in a name."""
    return 1 + max((int(found[1]) for key in state if (found := re.match(pattern, key))), default=-1)


# What is known of the rest of a `transformers` configuration; another value would be another network.
FIXED: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "rms_norm_eps": 1e-6}
FIXED_SEMANTIC: dict[str, Any] = {
    "hidden_act": "swish", "position_embeddings_type": "relative_key", "add_adapter": False,
    "use_intermediate_ffn_before_adapter": False, "feature_projection_input_dim": 160,
}  # fmt: skip


def transformers_sizes(data: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` of `transformers` as our configuration. Raises `WeightsError` for a network of another kind."""
    semantic = data.get("semantic_model_config") or {}
    ours = {key: data[key] for key in DEFAULTS if key in data}
    ours["semantic"] = {"num_hidden_layers": 16, **{key: semantic[key] for key in SEMANTIC if key in semantic}}
    ours["sampling_rate"] = data.get("input_sampling_rate", data.get("sampling_rate", 16000))
    try:
        full = complete(ours)
    except (ModelError, TypeError) as error:
        raise WeightsError(f"config.json is of no codec that is known: {error}") from None
    width, heads = full["hidden_size"], full["num_attention_heads"]
    derived = {"num_key_value_heads": heads, "head_dim": width // heads,
               "quantization_dim": width + full["semantic"]["hidden_size"]}  # fmt: skip
    for wanted, given in (({**FIXED, **derived}, data), (FIXED_SEMANTIC, semantic)):
        for key, value in wanted.items():
            if given.get(key) not in (None, value):
                raise WeightsError(f"config.json has {key}={given[key]!r}; only {value!r} is known")
    return full
