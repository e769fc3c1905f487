"""The network of `vox-dcspin-16k`: a block-causal encoder at 50 frames/s, and the codebook that its frames are looked up in.

The encoder's parts are those of `vox-s3-16k` (see `_vox_s3.py`) with mel frames every 5 ms, so that four of them make 20 ms.
What a frame depends on is bounded and streams compute the very numbers that whole clips do. Frames are quantised as Spin does
it, by the codeword most alike a projection of them, or, to compare with, by the nearest mean of k-means.

Letters: B batch, T samples, N frames, P blocks, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ModelError
from ._units_quantizers import Cosine, KMeans, Quantizer
from ._vox_s3 import FrontEnd, Layer, State, VoxS3Config, run_layers

QUANTIZERS = ("cosine", "kmeans")


@dataclass(frozen=True)
class DCSpinConfig:
    """Every size of the network.

    Attributes:
        encoder: sizes of the encoder; its `levels`, which are those of another quantiser, are of no account.
        quantizer: "cosine", Spin's, or "kmeans".
        codebook_size: codewords.
        hidden: channels of the projection that the codewords are compared with; of "cosine" alone.
    """

    encoder: VoxS3Config
    quantizer: str = "cosine"
    codebook_size: int = 500
    hidden: int = 256

    def __post_init__(self) -> None:
        if self.quantizer not in QUANTIZERS:
            raise ModelError(f"quantizer {self.quantizer!r}; expected {' or '.join(map(repr, QUANTIZERS))}")
        for key in ("codebook_size", "hidden"):
            if type(getattr(self, key)) is not int or getattr(self, key) < 1:
                raise ModelError(f"{key} {getattr(self, key)!r}; expected a whole number above 0")

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        encoder = {key: value for key, value in self.encoder.to_dict().items() if key != "levels"}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "encoder"}
        return {"encoder": encoder, **own}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` on keys it does not know."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown or not isinstance(data.get("encoder"), Mapping):
            told = f"has unknown keys: {', '.join(sorted(unknown))}" if unknown else "has no `encoder`"
            raise ModelError(f"the tokenizer's config {told}; it holds {', '.join(f.name for f in fields(cls))}")
        return cls(**{**data, "encoder": VoxS3Config.from_dict(data["encoder"])})

    @property
    def step(self) -> int:
        """Samples from one frame to the next."""
        return 4 * self.encoder.hop

    def chunked(self, seconds: float) -> Self:
        """The same for streams in other chunks: blocks of so many seconds, the context that attention looks back on kept."""
        e = self.encoder
        block = round(seconds * e.sample_rate / self.step)
        if block < 1:
            raise ModelError(f"chunks of {seconds} s; expected at least a frame, {self.step / e.sample_rate} s")
        context, reference = (max(1, -(-blocks * e.block // block)) for blocks in (e.context, e.reference))
        return replace(self, encoder=replace(e, block=block, context=context, reference=reference))


class Encoder(nn.Module):
    """Sound -> features of frames."""

    def __init__(self, config: VoxS3Config) -> None:
        super().__init__()
        self.config = config
        self.front = FrontEnd(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def padded(self, wav: Tensor) -> Tensor:
        """wav (B, T) with what the front end wants around whole blocks."""
        c = self.config
        return F.pad(wav, (c.left, -wav.shape[1] % c.block_samples + c.ahead))

    def heard(self, wav: Tensor, maxima: Tensor) -> tuple[Tensor, Tensor]:
        """wav (B, left + P block + ahead), maxima of the blocks before -> what layers read (B, N, D), and the next maxima."""
        with torch.autocast(wav.device.type, enabled=False):
            mel, maxima = self.front.relative(self.front.log_mel(wav), maxima)
        return self.front(mel), maxima

    def step(self, wav: Tensor, state: State) -> tuple[Tensor, State]:
        """wav (B, left + P block + ahead) -> features float32 (B, N, D), and the next state."""
        x, maxima = self.heard(wav, state.maxima)
        x, kept = run_layers(self.layers, self.config, x, state)
        blocks = min(self.config.context, state.blocks + x.shape[1] // self.config.block)
        with torch.autocast(x.device.type, enabled=False):
            return self.norm(x.float()), State(maxima, kept, blocks)

    def forward(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> (B, N, D), as many frames as make whole blocks."""
        return self.step(self.padded(wav), State.empty(self.config, wav))[0]


class DCSpin(nn.Module):
    """wav -> codes."""

    def __init__(self, config: DCSpinConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.encoder.dim
        self.encoder = Encoder(config.encoder)
        size = config.codebook_size
        self.quantizer: Quantizer = KMeans(dim, size) if config.quantizer == "kmeans" else Cosine(dim, [config.hidden], size)

    def encode_step(self, wav: Tensor, state: State) -> tuple[Tensor, State]:
        """wav (B, left + P block + ahead) -> codes (B, N) and the next state."""
        x, state = self.encoder.step(wav, state)
        with torch.autocast(x.device.type, enabled=False):
            return self.quantizer(x), state

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, P block) -> codes (B, N)."""
        return self.encode_step(self.encoder.padded(wav), State.empty(self.config.encoder, wav))[0]
