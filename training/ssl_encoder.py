"""Encoders that are trained by the stages of DC-Spin: our own small one, or a backbone of units that somebody trained before.

Letters: B batch, T samples, N frames, D channels.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from ..tokenizers._dcspin import DCSpin, DCSpinConfig, Encoder
from ..tokenizers._units import Network
from ..tokenizers._units_quantizers import Quantizer
from ..tokenizers._vox_s3 import State, VoxS3Config, run_layers

LAYER = re.compile(r"network\.encoder\.layers\.(\d+)\.")


class Trained(nn.Module, ABC):
    """Sound to features, in training.

    Attributes:
        sample_rate: Hz.
        step: samples from one frame to the next.
        dim: D.
        frozen: layers that do not learn, and all below them; 0 where everything does.
    """

    sample_rate: int
    step: int
    dim: int
    frozen: int = 0

    @property
    @abstractmethod
    def layers_in_all(self) -> int:
        """Layers there are."""

    @abstractmethod
    def counts(self, lengths: np.ndarray) -> np.ndarray:
        """Frames of clips of so many samples."""

    def frames_of(self, wav: Tensor) -> int:
        """Frames made of a batch (B, T)."""
        return int(self.counts(np.array([wav.shape[1]]))[0])

    @abstractmethod
    def forward(self, wav: Tensor, drop: float = 0.0, hidden: Tensor | None = None) -> Tensor:
        """wav (B, T) -> float32 (B, N, D), `frames_of` of them. hidden (B, N): frames whose sound is kept from the layers."""

    @abstractmethod
    def tokenizer(self, quantizer: Quantizer, told: Mapping[str, Any]) -> tuple[dict[str, Any], nn.Module]:
        """Configuration and network of the tokenizer that this encoder makes with a quantiser; told: its settings."""

    def freeze(self, layers: int) -> None:
        """Keep the first so many layers, and all below them, as they are. Raises `ModelError` if nothing is left."""
        if not 0 <= layers < self.layers_in_all:
            raise ModelError(f"{layers} frozen layers of {self.layers_in_all}; expected 0 to {self.layers_in_all - 1}")
        self.frozen = layers
        self._freeze(layers)

    @abstractmethod
    def _freeze(self, layers: int) -> None: ...


class VoxTrained(Trained):
    """Our own encoder, with the vector that stands for sound that is hidden."""

    def __init__(self, config: VoxS3Config) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.hidden = nn.Parameter(0.1 * torch.randn(config.dim))
        self.sample_rate, self.step, self.dim = config.sample_rate, 4 * config.hop, config.dim

    @property
    def layers_in_all(self) -> int:
        """Layers there are."""
        return self.encoder.config.layers

    def counts(self, lengths: np.ndarray) -> np.ndarray:
        """ceil(T / step)."""
        return -(-lengths // self.step)

    def frames_of(self, wav: Tensor) -> int:
        """Those of whole blocks."""
        c = self.encoder.config
        return -(-wav.shape[1] // c.block_samples) * c.block

    def forward(self, wav: Tensor, drop: float = 0.0, hidden: Tensor | None = None) -> Tensor:
        """See `Trained.forward`; the frames are those of whole blocks."""
        encoder, c, n = self.encoder, self.encoder.config, self.frozen
        with torch.set_grad_enabled(torch.is_grad_enabled() and not n):
            wav = encoder.padded(wav)
            x, _ = encoder.heard(wav, State.empty(c, wav, 0).maxima)
            if hidden is not None:
                x = torch.where(hidden[..., None], self.hidden.to(x.dtype), x)
            x, _ = run_layers(encoder.layers[:n], c, x, State.empty(c, x, n))
        x, _ = run_layers(encoder.layers[n:], c, x, State.empty(c, x, c.layers - n), drop if self.training else 0.0)
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = encoder.norm(x.float())
        return out

    def tokenizer(self, quantizer: Quantizer, told: Mapping[str, Any]) -> tuple[dict[str, Any], nn.Module]:
        """See `Trained.tokenizer`."""
        config = DCSpinConfig(self.encoder.config, **told)
        network = DCSpin(config)
        network.encoder.load_state_dict(self.encoder.state_dict())
        network.quantizer.load_state_dict(quantizer.state_dict())
        return config.to_dict(), network

    def _freeze(self, layers: int) -> None:
        below = [self.encoder.front, *self.encoder.layers[:layers]] if layers else []
        self.requires_grad_(True)
        for module in below:
            module.requires_grad_(False)
        self.hidden.requires_grad_(not layers)


class UnitsTrained(Trained):
    """A backbone of units up to the layer that its `Network` was opened for."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.sample_rate = network.config["sample_rate"]
        self.step, self.dim = network.backbone.hop, network.backbone.dim
        self.network.quantizer.requires_grad_(False)

    @property
    def layers_in_all(self) -> int:
        """Layers up to the one whose output is taken."""
        return int(self.network.config["layer"])

    def counts(self, lengths: np.ndarray) -> np.ndarray:
        """As the backbone has it."""
        return np.array([self.network.backbone.frames(int(n)) for n in lengths])

    def forward(self, wav: Tensor, drop: float = 0.0, hidden: Tensor | None = None) -> Tensor:
        """See `Trained.forward`; nothing can be hidden, and the backbone's own dropout is used."""
        if hidden is not None:
            raise ModelError("sound cannot be hidden from a backbone of units; masked prediction trains our own encoder alone")
        return self.network.features(wav)

    def tokenizer(self, quantizer: Quantizer, told: Mapping[str, Any]) -> tuple[dict[str, Any], nn.Module]:
        """See `Trained.tokenizer`."""
        own = {**told, "hidden": [told["hidden"]] if told["quantizer"] == "cosine" else []}
        config = {**self.network.config, **own}
        network = Network(config)
        network.backbone.load_state_dict(self.network.backbone.state_dict())
        network.quantizer.load_state_dict(quantizer.state_dict())
        return config, network

    def _freeze(self, layers: int) -> None:
        for name, parameter in self.network.backbone.named_parameters():
            found = LAYER.match(name)
            parameter.requires_grad_(not layers or (found is not None and int(found[1]) >= layers))
