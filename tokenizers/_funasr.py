"""What FunASR's models have in common: their front end, and the files they are published in.

The front end is Kaldi's filterbank, of which seven frames of 10 ms are stacked every six; constants are added to the stacks,
and multiplied by. There is no dither, so that equal sound has equal features. Published in github.com/modelscope/FunASR (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import WeightsError
from ..core.kaldi_fbank import kaldi_fbank

__all__ = ["CMVN", "HOP", "MODEL", "PREFIX", "RATE", "STACK", "STEP", "read_cmvn", "sizes", "stacks"]

MODEL, CMVN = "model.pt", "am.mvn"
PREFIX = "encoder."  # of the tensors of an encoder
RATE = 16000
STACK, STEP = 7, 6  # frames of 10 ms in a stack, and from one to the next
HOP = STEP * 160  # samples
SCALE = 32768.0  # Kaldi's range


def stacks(wav: Tensor, mels: int, first: bool = True, last: bool = True) -> Tensor:
    """Stacks (B, N, 7 mels) of a clip, or of a part of one.

    Args:
        wav: (B, T), at least 25 ms; but for the first part, with the samples of the three frames before it.
        mels: bands of the filterbank.
        first: whether the clip begins here: its first frame is then taken three times more.
        last: whether it ends here: where the last stack lacks frames, the last one is then taken again.
    """
    frames = kaldi_fbank(wav * SCALE, mels, RATE, "hamming")
    if first:
        frames = torch.cat([frames[:, :1].expand(-1, STACK // 2, -1), frames], 1)
    count = -(-(frames.shape[1] - STACK // 2) // STEP) if last else (frames.shape[1] - STACK) // STEP + 1
    missing = STEP * (count - 1) + STACK - frames.shape[1]
    if missing > 0:
        frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1)], 1)
    return frames.unfold(1, STACK, STEP)[:, :count].transpose(2, 3).flatten(2)


def sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Of an encoder, by its tensors' shapes; the number of heads, which they do not tell, is 4 in all published ones.

    Raises `WeightsError` for tensors of something else; `path` is named in it.
    """

    def size(key: str, axis: int) -> int:
        found = state.get(PREFIX + key)
        if found is None or found.ndim <= axis:
            raise WeightsError(f"{str(path)!r} lacks the tensor {PREFIX + key!r}: it holds no encoder of FunASR")
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
