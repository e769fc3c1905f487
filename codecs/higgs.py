"""The tokenizer of Higgs Audio v2: 24 kHz, 25 frames/s, 1 to 8 streams.

Boson AI 2025, "Higgs Audio V2", github.com/boson-ai/higgs-audio (Apache-2.0); published in `transformers` (Apache-2.0), whose
checkpoints are read. X-Codec's network with two changes: quantizers search a projection to 64 channels, and HuBERT hears the
sound at 16 kHz, brought there inside the model by torchaudio's sinc resampler (ours, equal to 1e-7). Its every second frame
is taken.

Padding, windows and streams are X-Codec's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._xcodec import XcodecConfig
from .xcodec import Xcodec

__all__ = ["Higgs"]

PAD = 160  # zeros at each end of HuBERT's sound


class Higgs(Xcodec):
    """Higgs Audio's tokenizer behind the common interface. Length law: ceil(T / 960) frames."""

    model_type: ClassVar = "higgs_audio_v2_tokenizer"

    @classmethod
    def particular(cls, data: Mapping[str, Any], bare: XcodecConfig) -> dict[str, Any]:
        """See `Xcodec.particular`."""
        own = {key: data[key] for key in ("codebook_dim", "semantic_sample_rate", "downsample_factor")}
        return {**own, "projected": True, "semantic_pad": PAD}
