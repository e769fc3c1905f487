"""Units: the features of a self-supervised model's layer, quantised; what GSLM, TWIST, SpeechGPT and their kin read.

Hsu et al. 2021, "HuBERT", arXiv:2106.07447; Lakhotia et al. 2021, "On Generative Spoken Language Modeling from Raw Audio",
arXiv:2102.01192; Hassid et al. 2023, "Textually Pretrained Speech Language Models", arXiv:2305.13009; Nguyen et al. 2024,
"SpiRit-LM", arXiv:2402.05755. Published at github.com/facebookresearch/textlesslib and /spiritlm.

The meaning of a layer is that of fairseq's `output_layer` and of `hidden_states` in transformers: 6 is the output of the sixth.
The sound is taken as it is, unless the checkpoint says that its model was trained on normalised sound; transformers' processors
normalise it always, which moves units.

Length law: a frame is made of 400 samples and starts 320 after the one before (720 and 640 at 25 frames/s); one that is not
whole is left out, unless it is the only one, which is completed with zeros. Everything in a clip moves everything else, also
the padding of a batch (there is a norm over time), so that only clips of equal length share one. Clips of up to 100 s are run
whole, as published; longer ones in windows of 100 s at fixed places with 5 s of context on each side, and every frame of the
law is there once. (The published code cuts at every 100 s without context, and loses a frame at each cut.)
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.facts import Facts
from ..core.fixed_windows import FixedWindows
from ..core.model import Encoded, Model
from ..core.weights import peek_config
from ._units import Network, complete
from ._units_backbones import hop
from ._units_files import read_published

__all__ = ["Units"]


class Units(Model):
    """Units behind the common interface; see the module for the length law."""

    network: Network
    batching: ClassVar = "length"
    decodes: ClassVar[bool] = False
    undecodable: ClassVar[str] = (
        "that would need a HiFi-GAN over units with a predictor of their durations, trained on these very units, such as those "
        "published with TWIST, SpeechGPT and textlesslib"
    )

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)

    @property
    def window(self) -> float:  # type: ignore[override]
        """Seconds: longer clips go by windows of this length."""
        return self.network.size * self.network.backbone.hop / self.facts.sample_rate

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = complete(config)
        return {
            "sample_rate": c["sample_rate"],
            "frame_rates": (Fraction(c["sample_rate"], hop(c["backbone"])),),
            "codebook_sizes": (c["codebook_size"],),
            "latency": c["window"],
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights; those after the convolutions are large, or any sound would be the same unit."""
        network = Network(config)
        with torch.no_grad():
            for name, parameter in network.backbone.named_parameters():
                if parameter.ndim > 1 and ("feature_projection" in name or "v_proj" in name or "_dense" in name):
                    parameter.mul_(4.0)
        return network

    @classmethod
    def read_as(cls, folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Published files, a backbone's and a quantizer's, whose layer is the entry's to know; or our own form."""
        return cls.read(folder) if "format" in peek_config(folder) else read_published(folder, complete(config))

    @property
    def pad_multiple(self) -> int:
        """1: zeros at the end would move every unit."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """See the module."""
        return (self.network.backbone.frames(samples),)

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([self.network.encode(wav)])

    def _open_encoder(self, streams: int) -> FixedWindows:
        network = self.network
        return FixedWindows(network.encode, network.size, network.context, network.backbone.hop, self.device)
