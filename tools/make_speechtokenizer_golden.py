"""Make `tests/golden/speechtokenizer.safetensors`: tiny SpeechTokenizers of the published package, their codes and their sound.

    pip download speechtokenizer==1.0.1 --no-deps && unzip speechtokenizer-1.0.1-py3-none-any.whl -d speechtokenizer
    python tools/make_speechtokenizer_golden.py speechtokenizer tests/golden/speechtokenizer.safetensors

The package is that of github.com/ZhangXInFD/SpeechTokenizer at commit 30c96fb32a9fc06a2258c98119e237def051e46c. Needs torch and
einops: its trainer, which wants much more, is not imported. Weights are random, in the values that half precision has, and are
kept in it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

CONFIG: dict[str, Any] = {
    "sample_rate": 1600, "n_filters": 2, "strides": [4, 3, 2], "dimension": 16, "semantic_dimension": 12,
    "bidirectional": True, "lstm_layers": 2, "n_residual_layers": 1, "residual_kernel_size": 3, "dilation_base": 2,
    "n_q": 4, "codebook_size": 64,
}  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {"ELU": {"activation": "ELU"}, "Snake": {"activation": "Snake"}}
SAMPLES = 24 * 60
PART = 24 * 6 + 1  # of which the semantic stream is decoded alone, and what it leaves over
LENGTHS = (1, 2, 23, 24, 25, PART, SAMPLES - 7)


def published_class(folder: str) -> Any:
    """`SpeechTokenizer`, without the trainer that the package imports beside it."""
    package = ModuleType("speechtokenizer")
    package.__path__ = [str(Path(folder) / "speechtokenizer")]
    sys.modules["speechtokenizer"] = package
    from speechtokenizer.model import SpeechTokenizer  # type: ignore[import-not-found]

    return SpeechTokenizer


@torch.no_grad()
def randomise(model: Any) -> None:
    """Weights under which codes vary."""
    for key, value in model.state_dict().items():
        if key.endswith("conv.bias") and key.startswith("encoder"):
            value.mul_(0.05)  # or they would drown the sound
        elif key.endswith("weight_g"):
            value.mul_(1.7)
        elif key.endswith("alpha"):
            value.uniform_(0.5, 1.5)
    model.decoder.model[-1].conv.conv.weight_g.mul_(0.1)
    rounded(model)
    left = model.encoder(0.3 * torch.randn(1, 1, SAMPLES))[0].T
    for layer in model.quantizer.vq.layers:
        book = layer._codebook
        book.embed.copy_(
            left[torch.randint(len(left), (len(book.embed),))] * 0.9 + 0.3 * left.std() * torch.randn(book.embed.shape)
        )
        rounded(layer)
        left = left - book.embed[book.quantize(left)]


def rounded(module: Any) -> None:
    """Values that half precision has."""
    for value in module.state_dict().values():
        value.copy_(value.half().float())


@torch.no_grad()
def main() -> None:
    """Write the file."""
    torch.manual_seed(1)
    wav = 0.3 * torch.randn(SAMPLES)
    tensors: dict[str, Tensor] = {"wav": wav}
    for name, form in FORMS.items():
        model = published_class(sys.argv[1])({**CONFIG, **form}).eval()
        randomise(model)
        tensors |= {f"{name}.weights.{key}": value.half().contiguous() for key, value in model.state_dict().items()}
        for length in LENGTHS:
            codes = model.encode(wav[None, None, :length])
            tensors[f"{name}.codes.{length}"] = codes[:, 0].to(torch.int16)
            tensors[f"{name}.sound.{length}"] = model.decode(codes)[0, 0, :length]
        codes = model.encode(wav[None, None, :PART])
        tensors[f"{name}.semantic"] = model.decode(codes[:1])[0, 0, :PART]
        tensors[f"{name}.left"] = model.decode(codes[1:], st=1)[0, 0, :PART]
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, sys.argv[2])


if __name__ == "__main__":
    main()
