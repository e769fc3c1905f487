"""Spin: units of HuBERT or WavLM that say what is said and little of who says it.

Chang, Liu and Glass 2023, "Self-supervised Fine-tuning for Improved Content Representations by Speaker-invariant
Clustering", arXiv:2305.11072; published at github.com/vectominist/spin (MIT). The output of the twelfth layer goes through one
linear layer to 256 numbers, which are normalised; the unit is the codeword with the largest product. Sound is taken as it is.
Lengths, long clips and batches as in units.py.

Read are the published checkpoints of Lightning, whose optimiser state and settings are passed over, and those of R-Spin
(Chang and Glass 2024, arXiv:2311.09117), the same network tuned to noise as well; of neither is any code run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ..core.errors import WeightsError
from ..core.fairseq_names import backbone_state, read_inert
from ..core.ssl import without_weight_norm
from ..core.weights import peek_config
from ._units import complete
from ._units_files import first_layers_of
from .units import Units

__all__ = ["Spin"]

HEAD = re.compile(r"pred_head\.(?:layers\.(\d+)\.)?(weight|bias)$")  # R-Spin has one layer and no number
CODEBOOKS = ("loss_module.codebook.weight", "codebook.weight")
ENCODER = re.compile(r"^encoder\.(?:model\.)?")


class Spin(Units):
    """Spin behind the common interface."""

    undecodable: ClassVar[str] = "that would need a HiFi-GAN over units trained on Spin's; none is published"

    @classmethod
    def read_as(cls, folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published checkpoint in a folder, the only `.ckpt` or `.pt` there; or our own form."""
        return cls.read(folder) if "format" in peek_config(folder) else _published(folder, complete(config))


def _published(folder: Path, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".ckpt", ".pt"))
    if len(files) != 1:
        raise WeightsError(f"{str(folder)!r} must hold one checkpoint of Spin (.ckpt); there is {len(files) or 'none'}")
    state = read_inert(files[0]).get("state_dict")
    if not isinstance(state, dict):
        raise WeightsError(f"{str(files[0])!r} is no checkpoint of Spin: it has no state_dict")
    codebook = next((state[key] for key in CODEBOOKS if isinstance(state.get(key), Tensor)), None)
    if codebook is None:
        raise WeightsError(f"{str(files[0])!r} is no checkpoint of Spin: it has no {CODEBOOKS[0]}")
    if len(codebook) != config["codebook_size"]:
        raise WeightsError(
            f"{str(files[0])!r} has {len(codebook)} codewords, expected {config['codebook_size']}: it is another Spin"
        )
    ours = {"quantizer.codebook": codebook.float()}
    encoder: dict[str, Tensor] = {}
    for key, value in state.items():
        if found := HEAD.match(key):
            ours[f"quantizer.head.{found[1] or 0}.{found[2]}"] = value.float()
        elif ENCODER.match(key):
            encoder[ENCODER.sub("", key)] = value
    layers = first_layers_of(without_weight_norm(backbone_state(encoder)), config)
    return config, ours | {f"backbone.{key}": value for key, value in layers.items()}
