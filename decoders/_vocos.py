"""Vocos's network with its configuration, and the form in which it is published: `config.yaml` and `pytorch_model.bin`.

Siuzdak 2023, arXiv:2306.00814; github.com/gemelo-ai/vocos (MIT). The blocks are those of `core.vocos`. A centred inverse
transform, which `padding: center` asks for, is the other one less half a hop at both ends.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import MissingExtraError, ModelError, WeightsError
from ..core.mel import LogMel
from ..core.vocos import AdaNorm, Backbone, Head
from ..core.weights import read_state

__all__ = ["CodesNetwork", "VocosConfig", "VocosNetwork", "published_config", "published_state"]

SKIPPED = ("feature_extractor.mel_spec.", "feature_extractor.encodec.", "head.istft.")  # constants, and another model


@dataclass(frozen=True)
class VocosConfig:
    """Every size of the network; plain JSON values only."""

    sample_rate: int = 24000
    mel: Mapping[str, Any] = field(default_factory=dict)  # of the variant that takes mel; else `streams` and `codes`
    streams: int = 0  # codebooks of EnCodec at the highest of its bandwidths
    codes: int = 1024  # in each
    inputs: int = 100  # channels of a frame
    dim: int = 512
    hidden: int = 1536
    layers: int = 8
    conditions: int = 0  # bandwidths told apart, each of twice the streams of the one before
    fft: int = 1024
    hop: int = 256
    centred: bool = True

    def to_dict(self) -> dict[str, Any]:
        """For `config.json`: JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `ModelError` for keys it does not know and sizes that do not fit together."""
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ModelError(f"Vocos has no setting {', '.join(sorted(unknown))}")
        c = cls(**data)
        if c.fft < c.hop or (c.fft - c.hop) % 2 or (c.centred and c.hop % 2):
            raise ModelError(f"frames of fft={c.fft} do not stand out evenly over a hop of {c.hop}")
        if c.mel and (c.front.bands != c.inputs or c.front.hop != c.hop):
            raise ModelError(
                f"a mel of {c.front.bands} bands at hop {c.front.hop} is not what inputs={c.inputs}, hop={c.hop} want"
            )
        if c.streams and c.conditions and c.streams % 2 ** (c.conditions - 1):
            raise ModelError(f"streams={c.streams} cannot be halved for conditions={c.conditions}")
        return c

    @property
    def front(self) -> LogMel:
        """The mel front end."""
        return LogMel.from_dict(self.mel)

    @property
    def counts(self) -> tuple[int, ...]:
        """Streams of each condition."""
        return tuple(self.streams // 2 ** (self.conditions - 1 - i) for i in range(self.conditions))

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and after one that its sound depends on."""
        cut = (self.fft - self.hop) // 2
        more = 3 + 3 * self.layers
        return (self.fft - 1 - cut) // self.hop + more, (self.hop - 1 + cut) // self.hop + more


class VocosNetwork(nn.Module):
    """Frames (B, C, F) -> wav (B, hop F), to be trimmed where the transform is centred."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        c = config
        self.backbone = Backbone(c.inputs, c.dim, c.hidden, c.layers, c.conditions or None)
        self.head = Head(c.dim, c.fft, c.hop)

    def forward(self, frames: Tensor) -> Tensor:
        """frames (B, C, F) -> wav (B, hop F)."""
        return self.head(self.backbone(frames.transpose(1, 2)))


class CodesNetwork(VocosNetwork):
    """With EnCodec's codebooks before it."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__(config)
        self.codebooks = nn.Parameter(torch.randn(config.streams * config.codes, config.inputs))
        self.size = config.codes

    def features(self, codes: Tensor) -> Tensor:
        """codes (K, N) -> frames (1, C, N), the sum of the codewords."""
        offsets = self.size * torch.arange(len(codes), device=codes.device)[:, None]
        return F.embedding(codes + offsets, self.codebooks).sum(0).T[None]

    def condition(self, number: int) -> None:
        """Choose among the scales and shifts of the norms."""
        for module in self.modules():
            if isinstance(module, AdaNorm):
                module.condition = number


def published_config(folder: Path) -> dict[str, Any]:
    """What a published `config.yaml` says, under our names. Raises `WeightsError` for one of something else."""
    path = folder / "config.yaml"
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise MissingExtraError("yaml", "hub") from None
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        kinds = {part: data[part]["class_path"].rpartition(".")[2] for part in ("feature_extractor", "backbone", "head")}
        front, body, head = (data[part].get("init_args", {}) for part in kinds)
        if (kinds["backbone"], kinds["head"]) != ("VocosBackbone", "ISTFTHead"):
            raise WeightsError(
                f"{str(path)!r} is of a {kinds['backbone']} with {kinds['head']}; expected VocosBackbone, ISTFTHead"
            )
        config = {
            "inputs": body["input_channels"],
            "dim": body["dim"],
            "hidden": body["intermediate_dim"],
            "layers": body["num_layers"],
            "conditions": body.get("adanorm_num_embeddings") or 0,
            "fft": head["n_fft"],
            "hop": head["hop_length"],
            "centred": head.get("padding", "same") == "center",
        }
        if kinds["feature_extractor"] == "MelSpectrogramFeatures":
            return config | _mel(front)
        if kinds["feature_extractor"] == "EncodecFeatures" and front.get("encodec_model", "encodec_24khz") == "encodec_24khz":
            most = max(front.get("bandwidths", [1.5, 3.0, 6.0, 12.0]))
            return config | {
                "sample_rate": 24000,
                "mel": {},
                "streams": round(most / 0.75),
                "codes": 1024,
            }  # 75 Hz x 10 bit each
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable YAML file: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{str(path)!r} is no configuration of Vocos: it lacks {error}") from None
    raise WeightsError(f"{str(path)!r} takes {kinds['feature_extractor']}; mel and the codes of EnCodec at 24 kHz are read")


def _mel(front: Mapping[str, Any]) -> dict[str, Any]:
    rate, fft = front.get("sample_rate", 24000), front.get("n_fft", 1024)
    mel = {
        "sample_rate": rate, "n_fft": fft, "hop": front.get("hop_length", 256), "win": fft, "bands": front.get("n_mels", 100),
        "fmax": rate / 2, "scale": "htk", "unit_area": False, "inner": 0.0, "floor": 1e-7,
        "centred": front.get("padding", "center") == "center",
    }  # fmt: skip
    return {"sample_rate": rate, "mel": mel}


def published_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of `pytorch_model.bin` under our names."""
    names = ("pytorch_model.bin", "model.safetensors")
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    state = {key: value for key, value in read_state(path).items() if not key.startswith(SKIPPED)}
    return {"codebooks" if key == "feature_extractor.codebook_weights" else key: value for key, value in state.items()}
