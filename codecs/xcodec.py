"""X-Codec, with a semantic branch beside DAC's: 16 kHz, 50 frames/s, 1 to 8 streams.

Ye et al. 2024, "Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language Model", arXiv:2408.17175;
published at github.com/zhenye234/xcodec and in `transformers` (Apache-2.0), whose checkpoints are read. HuBERT, or WavLM,
tells what is said, so that the first stream already holds it. Encoding needs `transformers`, for that backbone.

A clip is padded with zeros to whole frames, as the published feature extractor does it. The backbone looks at the whole clip
(attention over everything, and a normalisation over time): longer clips than `window` are encoded in windows of that length
with context, which is not the same. Decoding is convolutions alone, and exact at any length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.convs import receptive
from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import peek_config, read_json, read_state
from ..core.windows import Blocks, WindowedDecoder, WindowedEncoder
from ._xcodec import Network, XcodecConfig, plain_state

__all__ = ["Xcodec"]

BEFORE, AFTER = 10.0, 4.0  # seconds a window of a long clip sees before and after what it keeps
PIECE = 20.0  # seconds that a decoding window keeps at most
# Names of the published config.json that are ours too, its own and those of its acoustic model.
SHARED = ("codebook_size", "kernel_size", "unit_kernel_size", "block_dilations", "strides", "channel_ratios")
DAC = ("encoder_hidden_size", "downsampling_ratios", "decoder_hidden_size", "upsampling_ratios", "hidden_size")


class Xcodec(Model):
    """X-Codec behind the common interface. Length law: ceil(T / 320) frames."""

    network: Network
    batching = "length"  # zeros at the end of a clip move all its tokens
    window = 60.0
    model_type: ClassVar = "xcodec"  # in the published config.json

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        self.settings = XcodecConfig.of(config)
        super().__init__(facts, self.settings.to_dict(), network, device, dtype)
        self.network.fold()  # after the base has hashed the tensors, so that rounding is no part of the identity
        heard = encoder_blocks(self.settings, self.window)
        waits = heard.left + heard.most + heard.right + 1 + decoder_blocks(self.settings, self.network).right
        self.facts = replace(self.facts, latency=waits * self.pad_multiple / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = XcodecConfig.of(config)
        return {
            "sample_rate": c.sample_rate,
            "frame_rates": (Fraction(c.sample_rate, c.hop),) * c.num_quantizers,
            "codebook_sizes": (c.codebook_size,) * c.num_quantizers,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights, on the way to the codes without biases of its own: these would drown the sound."""
        network = Network(XcodecConfig.of(config))
        for part in (network.acoustic_encoder, network.encoder_semantic, network.fc):
            for name, parameter in part.named_parameters():
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The form of `transformers`, `config.json` with `model.safetensors`, or our own."""
        config = read_json(folder / "config.json")
        if "format" in config:
            return super().read(folder)
        if config.get("model_type") != cls.model_type:
            raise WeightsError(f"config.json is of a {config.get('model_type')!r} model; expected {cls.model_type!r}")
        try:
            settings = XcodecConfig.of(cls.published(config))
        except (ModelError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise WeightsError(f"config.json is of no {cls.model_type} that is known: {error}") from None
        return settings.to_dict(), plain_state(read_state(folder / "model.safetensors"))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`. X-Codec2 was first published as 'xcodec' too, with another configuration."""
        config = peek_config(folder)
        return config.get("model_type") == cls.model_type and "acoustic_model_config" in config

    @classmethod
    def published(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """The published `config.json` as ours; raises all kinds of errors for what is none."""
        acoustic = data["acoustic_model_config"]
        if acoustic.get("model_type", "dac") != "dac":
            raise ModelError(f"its acoustic model is a {acoustic['model_type']!r}; expected 'dac'")
        shared = {key: data[key] for key in SHARED if key in data}
        dac = {key: acoustic[key] for key in DAC if key in acoustic}
        rate, semantic = data["sample_rate"], data["semantic_model_config"]
        bare = XcodecConfig.of({**shared, **dac, "sample_rate": rate, "semantic": semantic})
        bits = math.ceil(bare.sample_rate / bare.hop) * math.ceil(math.log2(bare.codebook_size))  # of a stream, per second
        streams = int(1000 * data["target_bandwidths"][-1] // bits)
        return {**bare.to_dict(), "num_quantizers": streams, **cls.particular(data, bare)}

    @classmethod
    def particular(cls, data: Mapping[str, Any], bare: XcodecConfig) -> dict[str, Any]:
        """What the published `config.json` means in this family alone; `bare` is the rest of it."""
        return {
            "codebook_dim": data.get("codebook_dim") or bare.width,
            "semantic_sample_rate": bare.sample_rate,
            "semantic_pad": bare.hop // 2,
            "downsample_factor": bare.hop,
        }

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return self.settings.hop

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / hop) in every stream."""
        return (-(-samples // self.pad_multiple),) * self.facts.streams

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        parts = [self.network.quantizer.encode(self.network.encode(part), streams) for part in wav.split(self._together)]
        return Encoded([torch.cat(stream) for stream in zip(*parts, strict=True)])

    def _decode(self, encoded: Encoded) -> Tensor:
        parts = zip(*(codes.split(self._together) for codes in encoded.codes), strict=True)
        return torch.cat([self.network.decode(part) for part in parts])

    @property
    def _together(self) -> int:
        """Clips that run at once. A CPU's cache holds one clip's activations, not a batch's."""
        return 1 if self.device.type == "cpu" else 16

    def _open_encoder(self, streams: int) -> WindowedEncoder:
        blocks = encoder_blocks(self.settings, self.window, streams)
        return WindowedEncoder(lambda wav: self._encode(wav, streams), blocks)

    def _open_decoder(self) -> WindowedDecoder:
        return WindowedDecoder(self._decode, decoder_blocks(self.settings, self.network))


def encoder_blocks(c: XcodecConfig, window: float, streams: int | None = None) -> Blocks:
    """Windows of `window` seconds, their context included, for what looks at the whole clip."""
    rate = Fraction(c.sample_rate, c.hop)
    whole, left, right = (max(1, int(seconds * rate)) for seconds in (window, BEFORE, AFTER))
    return Blocks(c.hop, (1,) * (streams or c.num_quantizers), left, right, max(1, whole - left - right), fixed=True)


def decoder_blocks(c: XcodecConfig, network: Network) -> Blocks:
    """Windows for decoding, with the context that the convolutions add up to."""
    first, last = receptive([network.acoustic_decoder], 0, c.hop - 1)
    return Blocks.reaching(c.hop, (1,) * c.num_quantizers, -first, last, 1, max(1, int(PIECE * c.sample_rate) // c.hop))
