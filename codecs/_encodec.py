"""EnCodec's configuration, its network, and the names its checkpoints were published under."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.errors import ModelError, WeightsError
from ._seanet import Activation, Codebook, Conv, Quantizer, Recurrent, Residual, Stack, Upsample


@dataclass(frozen=True)
class EncodecConfig:
    """Every size of the codec, under the names of the published `config.json`."""

    sampling_rate: int = 24000  # Hz
    audio_channels: int = 1
    target_bandwidths: tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)  # kbit/s; the last one is that of all streams
    normalize: bool = False  # each segment is divided by its RMS
    chunk_length_s: float | None = None  # seconds of a segment
    overlap: float | None = None  # of a segment, shared with the next
    num_filters: int = 32
    hidden_size: int = 128  # channels of the latent and of the codewords
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)  # of the decoder; the encoder takes them in reverse
    num_residual_layers: int = 1
    dilation_growth_rate: int = 2
    kernel_size: int = 7  # of the first convolutions
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    compress: int = 2  # of the width inside residual layers
    num_lstm_layers: int = 2
    use_conv_shortcut: bool = True
    use_causal_conv: bool = True
    norm_type: str = "weight_norm"  # or "time_group_norm"
    codebook_size: int = 1024

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> EncodecConfig:
        """Raises `ModelError` on a key that is not known."""
        if unknown := set(config) - {f.name for f in fields(cls)}:
            raise ModelError(f"EnCodec has no setting {', '.join(sorted(unknown))}")
        kept: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        for key in {"chunk_length_s", "overlap"} & set(kept):
            kept[key] = None if kept[key] is None else float(kept[key])
        if "target_bandwidths" in kept:
            kept["target_bandwidths"] = tuple(map(float, kept["target_bandwidths"]))
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with every field, so that equal models have equal fingerprints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsampling_ratios)

    @property
    def stream_kbps(self) -> Fraction:
        """kbit/s of one stream."""
        return Fraction(math.ceil(self.sampling_rate / self.hop) * math.ceil(math.log2(self.codebook_size)), 1000)

    @property
    def streams(self) -> int:
        """K."""
        return int(Fraction(str(self.target_bandwidths[-1])) // self.stream_kbps)

    @property
    def segment(self) -> int:
        """Samples of a segment."""
        return int((self.chunk_length_s or 0) * self.sampling_rate)

    @property
    def step(self) -> int:
        """Samples from the start of a segment to that of the next."""
        return max(1, int((1 - (self.overlap or 0)) * self.segment))


class EncodecNetwork(nn.Module):
    """Encoder, quantiser and decoder."""

    def __init__(self, c: EncodecConfig) -> None:
        super().__init__()
        self.encoder = Stack(_encoder(c))
        self.decoder = Stack(_decoder(c))
        self.quantizer = Quantizer(c.streams, c.codebook_size, c.hidden_size)

    def fold(self) -> None:
        """Compute what follows from the parameters alone; to be called when these have changed."""
        for module in self.modules():
            if isinstance(module, (Conv, Upsample, Codebook)):
                module.fold()


def _encoder(c: EncodecConfig) -> list[nn.Module]:
    kind: dict[str, Any] = {"causal": c.use_causal_conv, "norm": c.norm_type}
    width = c.num_filters
    layers: list[nn.Module] = [Conv(c.audio_channels, width, c.kernel_size, **kind)]
    for ratio in reversed(c.upsampling_ratios):
        layers += _residuals(c, width, kind)
        layers += [Activation(), Conv(width, 2 * width, 2 * ratio, ratio, **kind)]
        width *= 2
    return [*layers, Recurrent(width, c.num_lstm_layers), Activation(), Conv(width, c.hidden_size, c.last_kernel_size, **kind)]


def _decoder(c: EncodecConfig) -> list[nn.Module]:
    kind: dict[str, Any] = {"causal": c.use_causal_conv, "norm": c.norm_type}
    width = c.num_filters * 2 ** len(c.upsampling_ratios)
    layers: list[nn.Module] = [Conv(c.hidden_size, width, c.kernel_size, **kind), Recurrent(width, c.num_lstm_layers)]
    for ratio in c.upsampling_ratios:
        layers += [Activation(), Upsample(width, width // 2, ratio, **kind)]
        width //= 2
        layers += _residuals(c, width, kind)
    return [*layers, Activation(), Conv(width, c.audio_channels, c.last_kernel_size, **kind)]


def _residuals(c: EncodecConfig, width: int, kind: dict[str, Any]) -> list[nn.Module]:
    return [
        Residual(width, c.residual_kernel_size, c.dilation_growth_rate**i, c.compress, c.use_conv_shortcut, **kind)
        for i in range(c.num_residual_layers)
    ]


def hub_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """The hub's `config.json` as ours. Raises `WeightsError` for a network of another kind."""
    fixed = {"pad_mode": "reflect", "trim_right_ratio": 1.0, "codebook_dim": data.get("hidden_size", 128)}
    for key, wanted in fixed.items():
        if data.get(key) not in (None, wanted):
            raise WeightsError(f"config.json has {key}={data[key]!r}; only {wanted!r} is known")
    return EncodecConfig.of({f.name: data[f.name] for f in fields(EncodecConfig) if f.name in data}).to_dict()


def check_name(file: Path) -> None:
    """Raise `WeightsError` unless an original checkpoint's sha256 begins as its name ends (`encodec_24khz-d7cc33bc.th`)."""
    if found := re.search(r"-([0-9a-f]{8})$", file.stem):
        with open(file, "rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
        if not digest.startswith(found[1]):
            raise WeightsError(f"{str(file)!r} has sha256 {digest}, not the {found[1]}... of its name; fetch it again")


# Pattern -> replacement: from the original package's names and from those of newer weight norm to the hub's.
_RENAMED = {
    r"^(encoder|decoder)\.model\.": r"\1.layers.",
    r"\.(conv|convtr)\.(conv|convtr)\.": ".conv.",
    r"\.(conv|convtr)\.norm\.": ".norm.",
    r"^quantizer\.vq\.layers\.(\d+)\._codebook\.": r"quantizer.layers.\1.codebook.",
    r"\.parametrizations\.weight\.original0$": ".weight_g",
    r"\.parametrizations\.weight\.original1$": ".weight_v",
}
_TRAINING_ONLY = re.compile(r"\.codebook\.(inited|cluster_size|embed_avg)$")


def published_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names, without the moving averages that only training needs."""
    out = {}
    for key, value in state.items():
        for pattern, replacement in _RENAMED.items():
            key = re.sub(pattern, replacement, key)
        if not _TRAINING_ONLY.search(key):
            out[key] = value
    return out
