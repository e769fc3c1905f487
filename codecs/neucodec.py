"""NeuCodec: 16 kHz in, 24 kHz out, 50 frames/s, one scalar-quantized stream of 65536 codes, 0.8 kbit/s.

Julian, Beeson, Konathala, Ulin and Gao 2025, "Finite Scalar Quantization Enables Redundant and Transmission-Robust Neural Audio
Compression at Low Bit-rates", arXiv:2509.09550; published at github.com/neuphonic/neucodec (Apache-2.0) and in `transformers`
(Apache-2.0). The network is X-Codec2's (`xcodec2.py`) with a decoder to 24 kHz.

As published, a clip is padded to one frame more than its whole ones, and w2v-BERT's features, which see no zeros beyond that,
come to one frame fewer: a clip has as many codes as it has whole frames of 320 samples, and the last part of a frame is not
coded; it comes back as silence. Clips shorter than one frame, which the published code cannot take, are padded to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ..core.errors import WeightsError
from ..core.weights import peek_config, read_state
from .xcodec2 import XCodec2

__all__ = ["NeuCodec"]

FILE = "pytorch_model.bin"
W2V_BERT = "w2v-bert-2.0"  # folder beside it


class NeuCodec(XCodec2):
    """NeuCodec behind the common interface. Length law: floor(T / 320) frames, at least 1."""

    kind: ClassVar = "neucodec"
    differs: ClassVar[dict[str, Any]] = {"output_sampling_rate": 24000, "half_hop": False}

    def frames(self, samples: int) -> tuple[int, ...]:
        """floor(T / 320), at least 1."""
        return (max(1, samples // self.pad_multiple),)

    def _padded(self, samples: int) -> int:
        return (self.frames(samples)[0] + 1) * self.pad_multiple

    @classmethod
    def _published(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The publisher's `pytorch_model.bin`, to which w2v-BERT belongs as it was published itself."""
        state: Mapping[str, Tensor] = read_state(folder / FILE)
        if not any(key.startswith("semantic_model.") for key in state):
            path = folder / W2V_BERT / "model.safetensors"
            if not path.is_file():
                raise WeightsError(
                    f"{str(folder / FILE)!r} holds no w2v-BERT; put model.safetensors of facebook/w2v-bert-2.0 at {str(path)!r}"
                )
            backbone = {
                f"semantic_model.{key.removeprefix('wav2vec2_bert.')}": value for key, value in read_state(path).items()
            }
            state = {**state, **backbone}
        return cls._of_published(state, folder)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        return config.get("model_type") == cls.kind or (
            not config and (folder / FILE).is_file() and (folder / "meta.yaml").is_file()
        )
