"""X-Codec2: 16 kHz, 50 frames/s, one scalar-quantized stream of 65536 codes, 0.8 kbit/s; the codec of Llasa.

Ye et al. 2025, "Llasa: Scaling Train-Time and Inference-Time Compute for Llama-based Speech Synthesis", arXiv:2502.04128;
published at github.com/zhenye234/X-Codec-2.0 (MIT) and in `transformers` (Apache-2.0). A code says what BigCodec's encoder and
w2v-BERT 2.0 hear in 20 ms.

A clip is padded with zeros beyond its end to whole frames of 320 samples, by 320 where it has whole ones already, as the
published code does it; so its codes are the published ones, one more than there are whole frames.

Features, attention and normalisation see the whole clip. Clips of up to 60 s are run whole; longer ones, and streams, in
windows of 60 s with 5 s of context on each side, whose codes near the joints are not those of the whole clip.

Checkpoints are read as published: that of `transformers`, or the publisher's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.convs import fold
from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import peek_config, read_json, read_state
from ..core.windows import Blocks, WindowedDecoder, WindowedEncoder
from ._xcodec2 import Network, complete, from_published, from_transformers, transformers_sizes

__all__ = ["XCodec2"]

CONTEXT = 5.0  # seconds on each side of a window
SEMANTIC_LAYERS = 16  # of w2v-BERT's 24


class XCodec2(Model):
    """X-Codec2 behind the common interface. Length law: floor(T / 320) + 1 frames."""

    network: Network
    batching: ClassVar = "length"  # zeros at the end of a clip move all its tokens
    window: ClassVar = 60.0
    kind: ClassVar = "xcodec2"  # `model_type` in `transformers`
    differs: ClassVar[dict[str, Any]] = {}  # from X-Codec2's configuration

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        fold(self.network)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        rate, decoded = config["sampling_rate"], config["output_sampling_rate"]
        return {
            "sample_rate": rate,
            "decoded_sample_rate": None if decoded == rate else decoded,
            "frame_rates": (Fraction(rate, math.prod(config["downsampling_ratios"])),),
            "codebook_sizes": (math.prod(config["quantization_levels"]),),
            "latency": 2 * (cls.window + CONTEXT),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights, wide enough before the quantizer that sounds differ in their codes."""
        network = Network(complete(config))
        for name, parameter in network.named_parameters():
            if name.startswith("acoustic_encoder") or name in ("fc_encoder.weight", "quantizer.project_in.weight"):
                parameter.data.mul_(0 if name.endswith("bias") else 3**0.5)
            elif name.startswith("semantic_adapter"):
                parameter.data.mul_(0 if name.endswith("bias") else 6**0.5)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The form of `transformers`, the publisher's own, or ours."""
        config = peek_config(folder)
        if config.get("model_type") == cls.kind:
            return transformers_sizes(config) | cls.differs, from_transformers(read_state(folder / "model.safetensors"))
        if "format" in config:
            return super().read(folder)
        return cls._published(folder)

    @classmethod
    def _published(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The publisher's own form."""
        config = read_json(folder / "config.json")
        if not _is_published(config):
            raise WeightsError(f"config.json is of a {config.get('model_type')!r} model; expected {cls.kind!r}")
        return cls._of_published(read_state(folder / "model.safetensors"), folder)

    @classmethod
    def _of_published(cls, state: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        try:
            config, ours = from_published(state, SEMANTIC_LAYERS)
            return complete(config | cls.differs), ours
        except (KeyError, IndexError, RuntimeError, ModelError) as error:
            raise WeightsError(f"{str(folder)!r} holds no checkpoint of {cls.__name__}: {error}") from None

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        return config.get("model_type") == cls.kind or _is_published(config)

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return math.prod(self.config["downsampling_ratios"])

    def frames(self, samples: int) -> tuple[int, ...]:
        """floor(T / 320) + 1."""
        return (samples // self.pad_multiple + 1,)

    def _padded(self, samples: int) -> int:
        return (samples // self.pad_multiple + 1) * self.pad_multiple

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        together = 1 if self.device.type == "cpu" else 16  # a CPU's cache holds one clip's activations, not a batch's
        return Encoded([torch.cat([self.network.encode(part) for part in wav.split(together)])])

    def _decode(self, encoded: Encoded) -> Tensor:
        return torch.cat([self.network.decode(part) for part in encoded.codes[0].split(1 if self.device.type == "cpu" else 16)])

    def _open_encoder(self, streams: int) -> WindowedEncoder:
        return _Encoder(self, self._blocks(self.pad_multiple))

    def _open_decoder(self) -> WindowedDecoder:
        return WindowedDecoder(self._decode, self._blocks(self.pad_multiple * self.facts.output_rate // self.facts.sample_rate))

    def _blocks(self, samples: int) -> Blocks:
        """Frames of so many samples; a window holds every clip that is run whole."""
        rate = self.facts.frame_rates[0]
        context, most = int(CONTEXT * rate), int(self.window * rate) + 1
        return Blocks(samples, [1], context, context, most, fixed=True)


def _is_published(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is the publisher's own."""
    return config.get("model_type") == "xcodec" and "codec_encoder_hidden_size" in config


class _Encoder(WindowedEncoder):
    """Completes the clip with zeros as `encode` does."""

    def __init__(self, model: XCodec2, blocks: Blocks) -> None:
        super().__init__(lambda wav: model._encode(wav, 1), blocks)
        self.model, self.samples = model, 0

    def push(self, wav: Tensor) -> Encoded:
        """See `WindowedEncoder.push`."""
        self.samples += wav.shape[1]
        return super().push(wav)

    def finish(self) -> Encoded:
        """See `WindowedEncoder.finish`."""
        missing = self.model._padded(self.samples) - self.samples
        if self.wav is not None:
            self.wav = nn.functional.pad(self.wav, (0, missing))
        return super().finish()
