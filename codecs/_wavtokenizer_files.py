"""WavTokenizer's published checkpoints: what their tensors are called here, and which configuration these make.

Most are published alone, and the YAML of another one is to be used with them, so that the tensors' own shapes are asked and
a YAML that lies beside them must agree. Neither is ever run: a class path is a word like any other.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import MissingExtraError, WeightsError
from ..core.weights import read_checkpoint, read_state
from ._encodec import published_state
from ._wavtokenizer import DEFAULTS, complete

__all__ = ["checkpoints", "configuration", "published_network", "read_yaml"]

CODEC = "feature_extractor.encodec."
TRAINING_ONLY = (  # discriminators, losses, and EnCodec's own decoder, which the Vocos one stands in for
    "multiperioddisc.", "multiresddisc.", "dac.", "dacdiscriminator.", "melspec_loss.", f"{CODEC}decoder.",
)  # fmt: skip
COMPUTED = ("head.istft.window",)  # a Hann window
KINDS = ("*.ckpt", "*.safetensors", "*.bin")


def checkpoints(folder: Path) -> list[Path]:
    """The files in a folder that may be one."""
    return sorted(file for kind in KINDS for file in folder.glob(kind))


def published_network(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names. Raises `WeightsError`."""
    state = read_state(path) if path.suffix == ".safetensors" else _lightning(path)
    kept = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY) and key not in COMPUTED}
    codec = {key.removeprefix(CODEC): value for key, value in kept.items() if key.startswith(CODEC)}
    return {**published_state(codec), **{key: value for key, value in kept.items() if not key.startswith(CODEC)}}


def _lightning(path: Path) -> dict[str, Tensor]:
    try:
        checkpoint = read_checkpoint(path)
    except WeightsError as error:
        if "pickled code" not in str(error):
            raise
        raise WeightsError(
            f"{error}. If you trust where it comes from, keep its tensors alone, once, by: "
            "torch.save({'state_dict': torch.load(FILE, 'cpu', weights_only=False)['state_dict']}, FILE)"
        ) from None
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{str(path)!r} does not hold a state dict of tensors")
    return state


def configuration(state: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """What the shapes of a network's tensors say of it; the sample rate, which they do not, is the published one.

    Raises `WeightsError` for tensors of something else.
    """
    try:
        count = next(int(found[1]) // 3 for key in state if (found := re.match(r"encoder\.layers\.(\d+)\.lstm\.", key)))
        ratios = [state[f"encoder.layers.{3 * i}.conv.weight_v"].shape[2] // 2 for i in range(1, count + 1)]
        codebook = state["quantizer.layers.0.codebook.embed"]
        config = {
            "filters": state["encoder.layers.0.conv.weight_v"].shape[0],
            "ratios": ratios[::-1],
            "codebook_size": codebook.shape[0],
            "codebook_dim": codebook.shape[1],
            "dim": state["backbone.embed.weight"].shape[0],
            "intermediate_dim": state["backbone.convnext.0.pwconv1.weight"].shape[0],
            "layers": len({found[1] for key in state if (found := re.match(r"backbone\.convnext\.(\d+)\.", key))}),
            "conditions": state["backbone.norm.scale.weight"].shape[0],
            "fft": state["head.out.weight"].shape[0] - 2,
        }
    except (KeyError, IndexError, StopIteration) as error:
        lacks = f": it lacks {error}" if isinstance(error, KeyError) else ""
        raise WeightsError(f"{name!r} is no checkpoint of WavTokenizer{lacks}") from None
    return complete(config)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings that a published YAML states, under our names. Raises `WeightsError` for one of something else."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise MissingExtraError("yaml", "hub") from None
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = data["model"]["init_args"]
        parts = {part: given[part]["init_args"] for part in ("feature_extractor", "backbone", "head")}
        stated = {
            "sample_rate": given.get("sample_rate", DEFAULTS["sample_rate"]),
            "ratios": parts["feature_extractor"]["dowmsamples"],  # so it is spelt
            "codebook_size": parts["feature_extractor"]["vq_bins"],
            "codebook_dim": parts["backbone"]["input_channels"],
            "dim": parts["backbone"]["dim"],
            "intermediate_dim": parts["backbone"]["intermediate_dim"],
            "layers": parts["backbone"]["num_layers"],
            "conditions": parts["backbone"]["adanorm_num_embeddings"],
            "fft": parts["head"]["n_fft"],
        }
        hop, padding = parts["head"]["hop_length"], parts["head"].get("padding", "same")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable YAML file: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{str(path)!r} is no configuration of WavTokenizer: it lacks {error}") from None
    config = complete(stated)
    if hop != math.prod(config["ratios"]) or padding != "same":
        raise WeightsError(
            f"{str(path)!r} has hop_length={hop!r}, padding={padding!r} and ratios of {config['ratios']}; expected the product "
            "of the ratios, and 'same'"
        )
    return config
