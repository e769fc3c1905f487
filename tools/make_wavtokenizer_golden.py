"""Make `tests/golden/wavtokenizer.safetensors`: tiny WavTokenizers of the published code, their codes and their sound.

    git clone https://github.com/jishengpeng/WavTokenizer
    git -C WavTokenizer checkout 5cf440d91ac420ca338f117b7003a77450d64730
    python tools/make_wavtokenizer_golden.py WavTokenizer tests/golden/wavtokenizer.safetensors

Needs torch, einops, scipy, pyyaml and huggingface_hub. The code is no package and pins old versions of what it needs; of
torchaudio it needs nothing here but to be imported. Weights are random, and rounded to half precision, in which they are kept.
"""

from __future__ import annotations

import importlib
import math
import sys
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from safetensors.torch import save_file

SIZES = {"filters": 2, "codebook_dim": 8, "codebook_size": 64, "dim": 32, "hidden": 32, "layers": 2, "conditions": 4}
RATIOS = {"40": [3, 2, 2, 2], "75": [4, 2]}
FRAMES = 60


def reference(folder: str) -> dict[str, ModuleType]:
    """The published modules that make a model."""
    sys.path.insert(0, folder)
    stubs = ("torchaudio", "torchaudio.functional", "torchaudio.functional.functional", "torchaudio.transforms")
    with patch.dict(sys.modules, {name: MagicMock() for name in stubs}):
        names = ("feature_extractors", "models", "heads", "pretrained")
        return {name: importlib.import_module(f"decoder.{name}") for name in names}


def resized(cls: Any, sizes: dict[str, int]) -> Any:
    """The class, called with these sizes in place of those it is given."""
    return lambda **given: cls(**{**given, **sizes})


def build(modules: dict[str, ModuleType], ratios: list[int]) -> Any:
    """A small model: the published feature extractor fixes its sizes, which are changed on the way to its parts."""
    extractors, dim = modules["feature_extractors"], SIZES["codebook_dim"]
    small = {
        "SEANetEncoder": {"n_filters": SIZES["filters"], "dimension": dim},
        "SEANetDecoder": {"n_filters": 8, "dimension": 8},
        "ResidualVectorQuantizer": {"dimension": dim},
    }
    changed = {name: resized(getattr(extractors, name), sizes) for name, sizes in small.items()}
    with patch.multiple(extractors, **changed):
        features = extractors.EncodecFeatures(dowmsamples=ratios, vq_bins=SIZES["codebook_size"], vq_kmeans=10)
    hop = math.prod(ratios)
    backbone = modules["models"].VocosBackbone(
        dim, SIZES["dim"], SIZES["hidden"], SIZES["layers"], adanorm_num_embeddings=SIZES["conditions"]
    )
    head = modules["heads"].ISTFTHead(SIZES["dim"], 4 * hop, hop, "same")
    return modules["pretrained"].WavTokenizer(features, backbone, head).eval()


def randomise(model: Any, hop: int) -> None:
    """Weights under which codes vary and every parameter of the decoder is heard."""
    encoder = model.feature_extractor.encodec.encoder
    for key, value in model.state_dict().items():
        if key.endswith("inited"):
            value.fill_(1)
        elif ".encoder." in key and "bias" in key:
            value.zero_()  # or they would drown the sound
        elif key.endswith("_codebook.embed"):
            value.normal_(std=0.25)
        elif ".scale." in key or key.endswith("gamma") or ("norm" in key and key.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif ".shift." in key or ("norm" in key and key.endswith("bias")):
            value.normal_(std=0.2)
    latent = encoder(0.3 * torch.randn(1, 1, 40 * hop))
    encoder.model[-1].conv.conv.weight_g.mul_(0.25 / latent.std())
    for key, value in model.state_dict().items():
        if not key.endswith("window"):  # which is not learnt
            value.copy_(value.half().float())


@torch.no_grad()
def main() -> None:
    """Write the file."""
    modules = reference(sys.argv[1])
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}
    condition = torch.tensor([0])
    for name, ratios in RATIOS.items():
        hop = math.prod(ratios)
        model = build(modules, ratios)
        randomise(model, hop)
        backbone = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
        model.load_state_dict(backbone, strict=False)  # the two share it, which saves room
        for key, value in model.state_dict().items():
            if not key.startswith("feature_extractor.encodec.decoder."):
                tensors[f"weights.{key}" if key.startswith("backbone.") else f"{name}.weights.{key}"] = (
                    value.half().contiguous()
                )
        wav = 0.3 * torch.randn(1, FRAMES * hop)
        tensors[f"{name}.wav"] = wav[0]
        for samples in (1, hop - 1, hop, hop + 1, 6 * hop + 1, FRAMES * hop - 7):
            _, codes = model.encode_infer(wav[:, :samples], bandwidth_id=condition)
            tensors[f"{name}.codes.{samples}"] = codes[0, 0].to(torch.int16)
            if codes.shape[2] > 2:  # so few channels, normalised over fewer frames, are little but rounding
                tensors[f"{name}.sound.{samples}"] = model.decode(model.codes_to_features(codes), bandwidth_id=condition)[0]
    save_file(tensors, sys.argv[2])


if __name__ == "__main__":
    main()
