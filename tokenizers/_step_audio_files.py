"""Step-Audio's published files: FunASR's checkpoint and its normalisation, the centres, and the ONNX file of the other half.

In huggingface.co/stepfun-ai/Step-Audio-Tokenizer they lie like this; those of the Paraformer may also lie beside the others.

    linguistic_tokenizer.npy            the centres (1024, 512)
    speech_tokenizer_v1.onnx            CosyVoice's tokenizer at 25 Hz
    dengcunqin/speech_paraformer-.../   model.pt, am.mvn
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import WeightsError
from ..core.weights import read_state
from ._s3_onnx import read_onnx
from ._step_audio import STACK

__all__ = ["ONNX", "PARAFORMER", "holds", "read_centres", "read_cmvn", "read_linguistic", "read_semantic"]

CENTRES, ONNX, MODEL, CMVN = "linguistic_tokenizer.npy", "speech_tokenizer_v1.onnx", "model.pt", "am.mvn"
PARAFORMER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"
PREFIX = "encoder."


def holds(folder: Path) -> bool:
    """Whether the files of the linguistic half lie in a folder."""
    return (folder / CENTRES).is_file() and (_paraformer(folder) / MODEL).is_file()


def _paraformer(folder: Path) -> Path:
    inner = folder / PARAFORMER
    return inner if inner.is_dir() else folder


def read_linguistic(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state dict of the linguistic half.

    Of the checkpoint only the encoder is taken; its predictor and decoder are not used. Raises `WeightsError`.
    """
    inner = _paraformer(folder)
    state = {key: value.float() for key, value in read_state(inner / MODEL).items() if key.startswith(PREFIX)}
    centres = read_centres(folder / CENTRES)
    config = {**_sizes(state, inner / MODEL), "clusters": len(centres)}
    if centres.shape[1] != config["output_size"]:
        raise WeightsError(
            f"{str(folder / CENTRES)!r} holds centres of {centres.shape[1]} channels; the encoder beside them has "
            f"{config['output_size']}"
        )
    shift, scale = read_cmvn(inner / CMVN)
    if len(shift) != STACK * config["mels"]:
        raise WeightsError(f"{str(inner / CMVN)!r} is for {len(shift)} channels; the encoder takes {STACK * config['mels']}")
    return config, {**state, "shift": shift, "scale": scale, "centres": centres}


def _sizes(state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """What the tensors' shapes say; the number of heads, which they do not, is the published one."""

    def size(key: str, axis: int) -> int:
        found = state.get(PREFIX + key)
        if found is None or found.ndim <= axis:
            raise WeightsError(f"{str(path)!r} lacks the tensor {PREFIX + key!r}: it holds no streaming Paraformer")
        return found.shape[axis]

    inputs, first = size("encoders0.0.norm1.weight", 0), "encoders0.0"
    if inputs % STACK:
        raise WeightsError(f"{str(path)!r} takes features of {inputs} channels; expected stacks of {STACK} frames")
    return {
        "mels": inputs // STACK,
        "output_size": size("after_norm.weight", 0),
        "linear_units": size(f"{first}.feed_forward.w_1.weight", 0),
        "kernel_size": size(f"{first}.self_attn.fsmn_block.weight", 2),
        "num_blocks": 1 + len({found[1] for key in state if (found := re.match(r"encoder\.encoders\.(\d+)\.", key))}),
    }


def read_centres(path: Path) -> Tensor:
    """Centres of k-means, float32 (K, D), from a `.npy` file. Raises `WeightsError`; pickled objects are refused."""
    try:
        centres = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(f"{str(path)!r} is no readable .npy file of numbers: {error}") from None
    if not isinstance(centres, np.ndarray) or centres.ndim != 2 or centres.dtype.kind != "f" or not centres.size:
        raise WeightsError(f"{str(path)!r} does not hold a table of centres (K, D) in floating point")
    return torch.from_numpy(centres.astype(np.float32))


def read_cmvn(path: Path) -> tuple[Tensor, Tensor]:
    """What is added to the features, and what they are then multiplied by: float32 (I,) each, from Kaldi's text form."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{str(path)!r} is not readable: {error}") from None
    shift, scale = (_numbers(text, name, path) for name in ("AddShift", "Rescale"))
    if len(shift) != len(scale):
        raise WeightsError(f"{str(path)!r} has {len(shift)} numbers to add and {len(scale)} to multiply by")
    return shift, scale


def _numbers(text: str, name: str, path: Path) -> Tensor:
    found = re.search(rf"<{name}>[^\[<]*(?:<LearnRateCoef>[^\[<]*)?\[([^\]]*)\]", text)
    try:
        values = [float(word) for word in found[1].split()] if found else []
    except ValueError:
        values = []
    if not values:
        raise WeightsError(f"{str(path)!r} has no <{name}> with numbers in brackets: it is no am.mvn")
    return torch.tensor(values, dtype=torch.float32)


def read_semantic(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state dict of CosyVoice's half. Raises `WeightsError`, also for a version of another rate."""
    path = folder / ONNX
    if not path.is_file():
        raise WeightsError(f"{str(folder)!r} lacks {ONNX}, CosyVoice's tokenizer at 25 Hz; put it there")
    config, state = read_onnx(path)
    if config["version"] != "v1-25hz":
        raise WeightsError(
            f"{str(path)!r} holds S3 {config['version']}; Step-Audio has v1 at 25 Hz, whose file is called the same"
        )
    return config, state
