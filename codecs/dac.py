"""DAC, the Descript Audio Codec, at 16, 24 and 44.1 kHz.

Kumar, Seetharaman, Luebs, Kumar and Kumar 2023, "High-Fidelity Audio Compression with Improved RVQGAN", arXiv:2306.06546;
published at github.com/descriptinc/descript-audio-codec (MIT). A convolutional autoencoder with a residual quantizer that
searches codes by cosine in 8 dimensions. SNAC was made from it, and shares its blocks here.

A clip is padded with zeros to whole frames. The published 16 and 24 kHz decoders give 8 samples fewer than the frames stand
for; here those last samples are zeros, so that a decoded clip is as long as what went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ..core.errors import WeightsError
from ..core.weights import peek_config, read_checkpoint, read_json, read_state
from ._dac import DEFAULTS, TRANSFORMERS, Network, complete, from_descript, from_transformers
from .snac import Snac

__all__ = ["Dac"]


class Dac(Snac):
    """DAC behind the common interface. Its parameters are counted with weight norm multiplied in."""

    network: Network
    Network: ClassVar = Network
    complete: ClassVar = staticmethod(complete)

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Either published form, `config.json` with `model.safetensors` or descript's one `.pth`, or our own."""
        if (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
            if "format" in config:
                return super().read(folder)
            return _config(config), from_transformers(read_state(folder / "model.safetensors"))
        found = sorted(folder.glob("*.pth"))
        if len(found) != 1:
            raise WeightsError(
                f"{str(folder)!r} holds {len(found)} .pth files and no config.json; expected descript's one, or "
                "config.json with model.safetensors"
            )
        return _descript(found[0])

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        return config.get("model_type") == "dac" or (not config and len(list(folder.glob("weights*.pth"))) == 1)


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of `transformers`. Its `hop_length` is stale in published files: the ratios tell."""
    if config.get("model_type") != "dac":
        raise WeightsError(f"config.json is of a {config.get('model_type')!r} model; expected 'dac'")
    ours = {name: config[theirs] for theirs, name in TRANSFORMERS.items() if theirs in config}
    ours["encoder_rates"] = list(ours.get("encoder_rates", DEFAULTS["encoder_rates"]))
    return complete({**ours, "decoder_rates": ours["encoder_rates"][::-1]})


def _descript(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    checkpoint = read_checkpoint(path)
    try:
        arguments = checkpoint["metadata"]["kwargs"]
        config = {"sampling_rate" if key == "sample_rate" else key: arguments[key] for key in arguments}
        known = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items() if key in DEFAULTS}
        return complete(known), from_descript(checkpoint["state_dict"])
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{str(path)!r} is no checkpoint of descript's codec: it lacks {error}") from None
