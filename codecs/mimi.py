"""Mimi, the causal codec of Moshi and CSM: 24 kHz, 12.5 frames/s, one semantic and up to 31 acoustic streams.

Défossez et al. 2024, "Moshi: a speech-text foundation model for real-time dialogue", arXiv:2410.00037; published at
github.com/kyutai-labs/moshi (MIT) and in `transformers` (Apache-2.0). Moshi uses the first 8 streams: `streams=8`.

A clip is padded with zeros to whole frames of 1920 samples, as moshi does it, so that batching changes nothing. Both directions
stream frame by frame with all state kept, the decoder's convolutions included.

Checkpoints are read as published: the hub's `config.json` with `model.safetensors`, or moshi's own
`tokenizer-*.safetensors`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.streaming import DecoderCore, EncoderCore
from ..core.weights import peek_config, read_json, read_state
from ._mimi import MimiConfig, Network

__all__ = ["Mimi"]


class Mimi(Model):
    """Mimi behind the common interface. Length law: ceil(T / 1920) frames."""

    network: Network
    batching = "pad"

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        cast(Network, network).fold()  # on the CPU, so that the weights are the same on every device
        self.settings = MimiConfig.of(config)
        super().__init__(facts, self.settings.to_dict(), network, device, dtype)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = MimiConfig.of(config)
        return {
            "sample_rate": c.sampling_rate,
            "frame_rates": (Fraction(c.sampling_rate, c.hop),) * c.num_quantizers,
            "codebook_sizes": (c.codebook_size,) * c.num_quantizers,
            "latency": c.hop / c.sampling_rate,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """See `Model.build`."""
        network = Network(MimiConfig.of(config))
        network.fold()
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The hub's form, moshi's one file, or our own. Raises `WeightsError` for what is not Mimi."""
        if (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
            if config.get("model_type") != "mimi":
                return super().read(folder)
            return _hub_config(config), _published_state(read_state(folder / "model.safetensors"))
        files = sorted(folder.glob("tokenizer-*.safetensors"))
        if len(files) != 1:
            raise WeightsError(
                f"{str(folder)!r} holds no config.json and {len(files)} tokenizer-*.safetensors files; expected one of these"
            )
        config = MimiConfig().to_dict()
        return config, _published_state(_from_moshi(read_state(files[0]), config["num_attention_heads"]))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        return peek_config(folder).get("model_type") == "mimi" or bool(list(folder.glob("tokenizer-*-checkpoint*.safetensors")))

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return self.settings.hop

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / 1920) in every stream."""
        return (-(-samples // self.pad_multiple),) * self.facts.streams

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded(self.network.quantizer.encode(self.network.encode(wav)[0], streams))

    def _decode(self, encoded: Encoded) -> Tensor:
        return self.network.decode(self.network.quantizer.decode([c.clamp(min=0) for c in encoded.codes]))[0]

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Encoder(self, streams)

    def _open_decoder(self) -> DecoderCore:
        return _Decoder(self)

    def _push_encoders(self, cores: Sequence[Any], wavs: Sequence[Tensor]) -> list[Encoded]:
        whole = [core.take(wav) for core, wav in zip(cores, wavs, strict=True)]
        return self._together(cores, whole, [wav.shape[1] for wav in whole])

    def _push_decoders(self, cores: Sequence[Any], parts: Sequence[Encoded]) -> list[Tensor]:
        return self._together(cores, parts, [part.codes[0].shape[1] * len(part.codes) for part in parts])

    def _together(self, cores: Sequence[Any], parts: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
        """Clips that got as much, wherever each one is, in one batch; those at their beginning apart from the others."""
        groups: dict[tuple[int, bool], list[int]] = {}
        for i, (core, size) in enumerate(zip(cores, sizes, strict=True)):
            groups.setdefault((size, core.state is None), []).append(i)
        out: dict[int, Any] = {}
        for rows in groups.values():
            out |= zip(rows, type(cores[0]).run(self, [cores[i] for i in rows], [parts[i] for i in rows]), strict=True)
        return [out[i] for i in range(len(cores))]


class _Encoder:
    """Whole frames as they come; the last one is completed with zeros."""

    def __init__(self, model: Mimi, streams: int) -> None:
        self.model, self.streams = model, streams
        self.held = torch.zeros(1, 0, device=model.device)
        self.state: list[Any] | None = None

    def push(self, wav: Tensor) -> Encoded:
        return self.run(self.model, [self], [self.take(wav)])[0]

    def finish(self) -> Encoded:
        return self.push(self.held.new_zeros(1, -self.held.shape[1] % self.model.pad_multiple))

    def take(self, wav: Tensor) -> Tensor:
        """The whole frames (1, T) that there are now."""
        self.held = torch.cat([self.held, wav], dim=1)
        whole = self.held.shape[1] // self.model.pad_multiple * self.model.pad_multiple
        wav, self.held = self.held[:, :whole], self.held[:, whole:].clone()
        return wav

    @staticmethod
    def run(model: Mimi, cores: Sequence[_Encoder], wavs: Sequence[Tensor]) -> list[Encoded]:
        """Whole frames (1, T) of each clip, as many of all, all at their beginning or none."""
        if not wavs[0].shape[1]:
            return [Encoded([wavs[0].new_zeros(1, 0, dtype=torch.int64)] * core.streams) for core in cores]
        latent = _run(cores, lambda state: model.network.encode(torch.cat(list(wavs)), state), True)
        codes = model.network.quantizer.encode(latent, max(core.streams for core in cores))
        return [Encoded([c[i : i + 1] for c in codes[: core.streams]]) for i, core in enumerate(cores)]


class _Decoder:
    """Each frame's sound at once."""

    def __init__(self, model: Mimi) -> None:
        self.model = model
        self.state: list[Any] | None = None

    def push(self, encoded: Encoded) -> Tensor:
        return self.run(self.model, [self], [encoded])[0]

    def finish(self) -> Tensor:
        return torch.zeros(1, 0, device=self.model.device)

    @staticmethod
    def run(model: Mimi, cores: Sequence[_Decoder], parts: Sequence[Encoded]) -> list[Tensor]:
        """As many frames of as many streams of each clip, all at their beginning or none."""
        codes = [torch.cat(list(rows)) for rows in zip(*(part.codes for part in parts), strict=True)]
        if not codes[0].shape[1]:
            return [core.finish() for core in cores]
        wav = _run(cores, lambda state: model.network.decode(model.network.quantizer.decode(codes), state), False)
        return list(wav.split(1))


def _run(cores: Sequence[Any], step: Callable[[list[Any] | None], tuple[Tensor, list[Any]]], encoding: bool) -> Tensor:
    """A step of the network for the clips of all cores, which keep their states."""
    network: Network = cores[0].model.network
    if len(cores) == 1:
        out, cores[0].state = step(cores[0].state)
        return out
    fresh = cores[0].state is None
    out, state = step(None if fresh else network.joined([core.state for core in cores], encoding))
    if fresh:  # one position for all of them
        state[1] = (torch.full((len(cores),), state[1][0]), state[1][1])
    for core, row in zip(cores, network.parted(state, encoding), strict=True):
        core.state = row
    return out


# ------------------------------------------------------------------ published forms
FIXED = {"audio_channels": 1, "use_causal_conv": True, "pad_mode": "constant", "trim_right_ratio": 1.0, "hidden_act": "gelu",
         "use_conv_shortcut": False, "attention_bias": False}  # fmt: skip


def _hub_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """The hub's `config.json` as ours. Raises `WeightsError` for a network of another kind."""
    heads, width = data.get("num_attention_heads", 8), data.get("hidden_size", 512)
    derived = {"num_key_value_heads": heads, "head_dim": width // heads, "upsample_groups": width,
               "vector_quantization_hidden_dimension": data.get("codebook_dim", 256)}  # fmt: skip
    for key, wanted in {**FIXED, **derived}.items():
        if data.get(key) not in (None, wanted):
            raise WeightsError(f"config.json has {key}={data[key]!r}; only {wanted!r} is known")
    theta = (data.get("rope_parameters") or {}).get("rope_theta", data.get("rope_theta"))
    known = {name: data[name] for name in MimiConfig.__dataclass_fields__ if name in data and name != "rope_theta"}
    try:
        return MimiConfig.of(known if theta is None else {**known, "rope_theta": float(theta)}).to_dict()
    except (ModelError, TypeError, ValueError) as error:
        raise WeightsError(f"config.json is of no Mimi that is known: {error}") from None


def _published_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The hub's names, the flat ones of the published file or the nested ones of newer `transformers`, as ours.

    Codewords are stored as sums and counts; their quotient is taken here.
    """
    nested = {
        r"^encoder\.encoder_seanet\.": "encoder.",
        r"^decoder\.decoder_seanet\.": "decoder.",
        r"^encoder\.(encoder_transformer|downsample)\.": r"\1.",
        r"^decoder\.(decoder_transformer|upsample)\.": r"\1.",
    }
    flat = {_renamed(key, nested): value for key, value in state.items()}
    out = {}
    for key, value in flat.items():
        if key.endswith(".codebook.embed_sum"):
            counts = flat.get(key.replace("embed_sum", "cluster_usage"))
            if counts is None:
                raise WeightsError(f"the weights lack {key.replace('embed_sum', 'cluster_usage')}")
            out[key.replace("embed_sum", "embed")] = value / counts.clamp(min=1e-5)[:, None]
        elif not re.search(r"\.codebook\.(cluster_usage|initialized)$", key):
            out[key] = value
    return out


# Pattern -> replacement: from moshi's names to the hub's.
MOSHI: dict[str, str | Callable[[re.Match[str]], str]] = {
    r"^(encoder|decoder)\.model\.": r"\1.layers.",
    r"\.(conv|convtr)\.(conv|convtr)\.weight$": ".conv.weight",
    r"\.(conv|convtr)\.(conv|convtr)\.bias$": ".conv.bias",
    r"^(downsample|upsample)\.(conv|convtr)\..*weight$": r"\1.conv.weight",
    r"_transformer\.transformer\.": "_transformer.",
    r"\.norm1\.": ".input_layernorm.",
    r"\.norm2\.": ".post_attention_layernorm.",
    r"\.layer_scale_1\.": ".self_attn_layer_scale.",
    r"\.layer_scale_2\.": ".mlp_layer_scale.",
    r"\.(?:gating\.)?linear([12])\.": r".mlp.fc\1.",
    r"\.self_attn\.out_projs?\.(?:0\.)?weight$": ".self_attn.o_proj.weight",
    r"^quantizer\.rvq_first\.": "quantizer.semantic_residual_vector_quantizer.",
    r"^quantizer\.rvq_rest\.": "quantizer.acoustic_residual_vector_quantizer.",
    r"\.vq\.layers\.(\d+)\._codebook\.": r".layers.\1.codebook.",
    r"\.codebook\.embedding_sum$": ".codebook.embed_sum",
    r"\.codebook\._initialized$": ".codebook.initialized",
}


def _renamed(key: str, patterns: Mapping[str, Any]) -> str:
    for pattern, replacement in patterns.items():
        key = re.sub(pattern, replacement, key)
    return key


def _from_moshi(state: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Moshi's tensors under the hub's names. It has queries, keys and values in one matrix, and rotary pairs side by side."""
    out = {}
    for key, value in state.items():
        if found := re.search(r"\.self_attn\.in_proj(?:s\.0\.weight|_weight|\.weight)$", key):
            stem = _renamed(key[: found.start()], MOSHI)
            q, k, v = value.chunk(3)
            pairs = {"q_proj": q, "k_proj": k}
            for name, matrix in pairs.items():
                apart = matrix.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
                out[f"{stem}.self_attn.{name}.weight"] = apart.contiguous()
            out[f"{stem}.self_attn.v_proj.weight"] = v.contiguous()
        else:
            out[_renamed(key, MOSHI)] = value
    return out
