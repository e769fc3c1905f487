"""The forms in which HiFi-GAN generators are published: their configurations under our names, and their weights.

A checkpoint of github.com/jik876/hifi-gan and of all that follow it is a file that holds {"generator": tensors}, under weight
norm, and a `config.json` beside it. transformers' SpeechT5HifiGan is a folder of `config.json` and safetensors or `.bin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import WeightsError
from ..core.ssl import without_weight_norm
from ..core.weights import read_checkpoint, read_json, read_state

__all__ = ["checkpoint", "generator_config", "mel_config", "published_config", "speecht5", "speecht5_config"]

SETTINGS = {
    "upsample_initial_channel": "channels",
    "upsample_rates": "rates",
    "upsample_kernel_sizes": "kernels",
    "resblock_kernel_sizes": "block_kernels",
    "resblock_dilation_sizes": "block_dilations",
}
MEL = {
    "sampling_rate": "sample_rate",
    "n_fft": "n_fft",
    "hop_size": "hop",
    "win_size": "win",
    "num_mels": "bands",
    "fmin": "fmin",
    "fmax": "fmax",
}
OTHERS = ("config.json", "discriminator", "do_", "optim")  # of the files beside a generator


def published_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a published HiFi-GAN. Raises `WeightsError` when it is none."""
    data = read_json(folder / "config.json")
    lacking = [key for key in SETTINGS if key not in data]
    if lacking:
        raise WeightsError(f"{str(folder / 'config.json')!r} is no configuration of a HiFi-GAN: it lacks {', '.join(lacking)}")
    return data


def generator_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """The generator's sizes, under our names."""
    return {ours: data[theirs] for theirs, ours in SETTINGS.items()} | {"block": int(data.get("resblock", 1))}


def mel_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """The mel front end of the published code, whose constants the configuration states."""
    lacking = [key for key in MEL if key not in data]
    if lacking:
        raise WeightsError(f"this configuration of a HiFi-GAN lacks {', '.join(lacking)} of its mel")
    mel = {ours: data[theirs] for theirs, ours in MEL.items()}
    return {**mel, "fmax": mel["sample_rate"] / 2 if mel["fmax"] is None else mel["fmax"]}


def checkpoint(folder: Path) -> dict[str, Tensor]:
    """The generator's tensors, weight norm multiplied in, of the one file in a folder that may hold them.

    Of several, such as `g_00500000` and `g_01000000`, the last one is meant.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", *OTHERS)))
    files = [path for path in files if path.suffix in ("", ".pt", ".pth", ".ckpt", ".bin") or path.name.startswith("generator")]
    if not files:
        raise WeightsError(f"{str(folder)!r} holds no generator; expected a file such as g_02500000 or generator.pt")
    data = read_checkpoint(files[-1])
    state = data.get("generator") if isinstance(data, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{str(files[-1])!r} holds no tensors under 'generator': it is no checkpoint of a HiFi-GAN")
    return without_weight_norm(state)


def speecht5_config(data: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' SpeechT5HifiGanConfig under our names; the mel is that of its feature extractor."""
    hop = 1
    for rate in data["upsample_rates"]:
        hop *= rate
    mel = {
        "sample_rate": data.get("sampling_rate", 16000),
        "n_fft": 4 * hop,
        "hop": hop,
        "win": 4 * hop,
        "bands": data.get("model_in_dim", 80),
        "fmin": 80.0,
        "fmax": 7600.0,
        "inner": 0.0,
        "floor": 1e-10,
        "base10": True,
        "centred": True,
    }
    settings = {"normalise": bool(data.get("normalize_before", True)), "slope": data.get("leaky_relu_slope", 0.1)}
    return {**generator_config({**data, "resblock": 1}), **settings, "mel": mel}


def speecht5(folder: Path, normalise: bool) -> dict[str, Tensor]:
    """Tensors of transformers' SpeechT5HifiGan under our names."""
    names = ("model.safetensors", "pytorch_model.bin")
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    state = {key.replace("upsampler.", "ups.", 1): value for key, value in without_weight_norm(read_state(path)).items()}
    return {key: value for key, value in state.items() if normalise or key not in ("mean", "scale")}
