"""Make `tests/golden/vocos.safetensors`: tiny networks of the vocos package, random weights, and their sound.

    pip install vocos==0.1.0
    python tools/make_vocos_golden.py tests/golden/vocos.safetensors

Needs torch and safetensors as well. Weights are named `mel.*` and `codes.*`; so are frames or codes and sounds.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vocos.heads import ISTFTHead  # type: ignore[import-not-found]
from vocos.models import VocosBackbone  # type: ignore[import-not-found]

FRAMES = (2, 3, 40)  # of mel: a centred transform makes nothing of one
CODES = (1, 2, 40)  # frames


def randomised(module: nn.Module) -> nn.Module:
    """Weights that leave neither scales nor shifts at their start."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    return module.eval()


@torch.no_grad()
def main() -> None:
    """Write the file."""
    torch.manual_seed(0)
    saved: dict[str, Tensor] = {}
    backbone, head = randomised(VocosBackbone(10, 16, 24, 2)), randomised(ISTFTHead(16, 64, 16, "center"))
    saved |= {f"mel.backbone.{key}": value for key, value in backbone.state_dict().items()}
    saved |= {f"mel.head.{key}": value for key, value in head.state_dict().items()}
    for count in FRAMES:
        frames = torch.randn(1, 10, count)
        saved |= {f"mel.frames.{count}": frames[0], f"mel.sound.{count}": head(backbone(frames))[0]}
    backbone = randomised(VocosBackbone(4, 16, 24, 2, adanorm_num_embeddings=2))
    head, books = randomised(ISTFTHead(16, 80, 20, "same")), torch.randn(4 * 1024, 4)
    saved |= {f"codes.backbone.{key}": value for key, value in backbone.state_dict().items()}
    saved |= {f"codes.head.{key}": value for key, value in head.state_dict().items()}
    saved["codes.feature_extractor.codebook_weights"] = books
    for count in CODES:
        codes = torch.randint(0, 1024, (4, count))
        saved[f"codes.codes.{count}"] = codes.to(torch.int16)
        for number, streams in enumerate((2, 4)):
            features = torch.stack([books[1024 * k + codes[k]] for k in range(streams)]).sum(0).T[None]
            hidden = backbone(features, bandwidth_id=torch.tensor([number]))
            saved[f"codes.sound.{count}.{streams}"] = head(hidden)[0]
    save_file({key: value.contiguous() for key, value in saved.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
