"""Step-Audio's published files: FunASR's checkpoint and its normalisation, the centres, and the ONNX file of the other half.

In huggingface.co/stepfun-ai/Step-Audio-Tokenizer they lie like this; those of the Paraformer may also lie beside the others.

    linguistic_tokenizer.npy            the centres (1024, 512)
    speech_tokenizer_v1.onnx            CosyVoice's tokenizer at 25 Hz
    dengcunqin/speech_paraformer-.../   model.pt, am.mvn
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import WeightsError
from ..core.weights import read_state
from ._funasr import CMVN, MODEL, PREFIX, STACK, read_cmvn, sizes
from ._s3_onnx import read_onnx

__all__ = ["ONNX", "PARAFORMER", "holds", "read_centres", "read_linguistic", "read_semantic"]

CENTRES, ONNX = "linguistic_tokenizer.npy", "speech_tokenizer_v1.onnx"
PARAFORMER = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"


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
    config = {**sizes(state, inner / MODEL), "clusters": len(centres)}
    if centres.shape[1] != config["output_size"]:
        raise WeightsError(
            f"{str(folder / CENTRES)!r} holds centres of {centres.shape[1]} channels; the encoder beside them has "
            f"{config['output_size']}"
        )
    shift, scale = read_cmvn(inner / CMVN)
    if len(shift) != STACK * config["mels"]:
        raise WeightsError(f"{str(inner / CMVN)!r} is for {len(shift)} channels; the encoder takes {STACK * config['mels']}")
    return config, {**state, "shift": shift, "scale": scale, "centres": centres}


def read_centres(path: Path) -> Tensor:
    """Centres of k-means, float32 (K, D), from a `.npy` file. Raises `WeightsError`; pickled objects are refused."""
    try:
        centres = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(f"{str(path)!r} is no readable .npy file of numbers: {error}") from None
    if not isinstance(centres, np.ndarray) or centres.ndim != 2 or centres.dtype.kind != "f" or not centres.size:
        raise WeightsError(f"{str(path)!r} does not hold a table of centres (K, D) in floating point")
    return torch.from_numpy(centres.astype(np.float32))


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
