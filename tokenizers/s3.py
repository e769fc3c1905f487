"""The S3 tokenizers of CosyVoice, v1 to v3: speech to one stream of semantic codes, 16 kHz. They encode only.

Du et al. 2024, "CosyVoice: A Scalable Multilingual Zero-shot Text-to-speech Synthesizer based on Supervised Semantic Tokens",
arXiv:2407.05407 (v1: 4096 codewords, at 50 and at 25 Hz); "CosyVoice 2", arXiv:2412.10117 (v2: 6561 scalar-quantised codes at
25 Hz); "CosyVoice 3", arXiv:2505.17589 (v3: the same with twice the blocks). The encoder of a speech recogniser up to a
quantizer, published as ONNX files, which are read here as they are; which version a file holds is told by its graph.

The spectrogram is cut off 80 dB below the loudest place of the clip, and attention goes over the whole clip. The published
models take 30 s at most. A longer clip goes by windows of 30 s, every 26 s, of which the outer 2 s are left out where another
window covers them; the last window ends where the clip does and may be shorter. So does the package s3tokenizer, which loses up
to 2 s of sound where a window of less than 4 s comes last; there is none here. It cuts off below the loudest place of the whole
clip, this below that of each window, so that a clip can be encoded as it arrives.

A clip shorter than a frame of the spectrogram is completed with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.tokens import Tokens
from ..core.weights import peek_config
from ..core.whisper_mel import log_mel, normalise
from ._s3 import Network, complete, token_frames
from ._s3_onnx import read_onnx, version_of

__all__ = ["S3V1", "S3V2", "S3V3", "S3V1At25Hz"]

WINDOW, MARGIN = 30, 2  # seconds of a window, and of what is left out at an inner edge
LEAD = 2  # frames of the spectrogram before a window, so that its first frames see the sound before them


class S3(Model):
    """What the versions share. Length law: M = max(1, T // 160) frames of the spectrogram, ceil(M / 4) tokens, at 50 Hz
    ceil(M / 2)."""

    network: Network
    window: ClassVar[float] = float(WINDOW)
    decodes: ClassVar[bool] = False
    version: ClassVar[str]

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, self._complete(config), network, device, dtype)

    @classmethod
    def _complete(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        full = complete({"version": cls.version, **config})
        if full["version"] != cls.version:
            raise ModelError(f"this is S3 {full['version']}, not {cls.version}: load it as 's3-{full['version']}'")
        return full

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = cls._complete(config)
        return {
            "sample_rate": config["sample_rate"],
            "frame_rates": (Fraction(config["sample_rate"], config["hop"] * token_frames(config)),),
            "codebook_sizes": (config["codes"],),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights, without biases: torch's own give almost the same code for any sound."""
        network = Network(cls._complete(config))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, one ONNX file (others may lie beside it), or our own."""
        if "format" in peek_config(folder):
            return super().read(folder)
        files = sorted(folder.glob("*.onnx"), key=lambda path: (len(path.name), path.name))
        other: list[str] = []
        for path in files:
            try:
                found = version_of(path)
            except WeightsError as error:
                other.append(str(error))
                continue
            if found == cls.version:
                return read_onnx(path)
            other.append(f"{path.name!r} holds S3 {found}: load it as 's3-{found}'")
        raise WeightsError(f"{str(folder)!r} holds no ONNX file of S3 {cls.version}{''.join(f'; {line}' for line in other)}")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the graph of an ONNX file is this version's."""
        return any(_holds(path, cls.version) for path in folder.glob("*.onnx"))

    @property
    def pad_multiple(self) -> int:
        """1: zeros at the end make new frames."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """See the class."""
        return (-(-self._mel_frames(samples) // token_frames(self.config)),)

    def _mel_frames(self, samples: int) -> int:
        return int(max(1, samples // self.config["hop"]))

    def log_mel(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> log10 of the power in mel bands (B, M, L), not yet cut off."""
        config = self.config
        least = max(config["n_fft"] // 2 + 1, config["hop"])
        wide = nn.functional.pad(wav, (0, max(0, least - wav.shape[1])))
        with torch.autocast(wav.device.type, enabled=False):
            log = log_mel(wide.float(), config["mels"], config["sample_rate"], config["n_fft"], config["hop"])
        return log[:, :, : self._mel_frames(wav.shape[1])]

    def codes(self, logs: list[Tensor]) -> Tensor:
        """Log-mels (1, M, L_i), each cut off by its own loudest place -> codes (B, longest)."""
        lengths = torch.tensor([log.shape[2] for log in logs], device=self.device)
        mel = torch.zeros(len(logs), logs[0].shape[1], max(log.shape[2] for log in logs), device=self.device)
        for row, log in zip(mel, logs, strict=True):
            row[:, : log.shape[2]] = normalise(log)[0]
        codes: Tensor = self.network(mel, lengths)
        return codes

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([self.codes([self.log_mel(row[None]) for row in wav])])

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        with self._inference():
            encoded = Encoded([self.codes([self.log_mel(wav[None]) for wav in wavs])])
        return [self._tokens(encoded, i, len(wav), self.frames(len(wav))) for i, wav in enumerate(wavs)]

    def _open_encoder(self, streams: int) -> _Encoder:
        return _Encoder(self)


class _Encoder:
    """Windows of a clip, each run when there is sound beyond it, or as the last. Their places depend on the clip alone."""

    def __init__(self, model: S3) -> None:
        self.model = model
        self.hop, second = model.config["hop"], model.config["sample_rate"] // model.config["hop"]
        self.size, self.step = WINDOW * second, (WINDOW - 2 * MARGIN) * second  # frames of the spectrogram
        self.margin = MARGIN * second // token_frames(model.config)  # tokens
        self.held = torch.zeros(1, 0, device=model.device)
        self.lead = 0  # frames held before the next window; none before the first

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        parts = [torch.zeros(1, 0, dtype=torch.int64, device=self.held.device)]
        while self.held.shape[1] >= (whole := (self.lead + self.size + 1) * self.hop):
            log = self.model.log_mel(self.held[:, :whole])[:, :, self.lead : self.lead + self.size]
            parts.append(self._inner(self.model.codes([log]))[:, : -self.margin])
            self.held = self.held[:, (self.lead + self.step - LEAD) * self.hop :].clone()
            self.lead = LEAD
        return Encoded([torch.cat(parts, 1)])

    def finish(self) -> Encoded:
        return Encoded([self._inner(self.model.codes([self.model.log_mel(self.held)[:, :, self.lead :]]))])

    def _inner(self, codes: Tensor) -> Tensor:
        return codes[:, self.margin if self.lead else 0 :]


class S3V1(S3):
    """CosyVoice's tokenizer at 50 Hz."""

    version: ClassVar[str] = "v1"
    undecodable: ClassVar[str] = "that would need CosyVoice-300M's flow-matching decoder and HiFT vocoder"


class S3V1At25Hz(S3):
    """CosyVoice's tokenizer at 25 Hz."""

    version: ClassVar[str] = "v1-25hz"
    undecodable: ClassVar[str] = "that would need CosyVoice-300M-25Hz's flow-matching decoder and HiFT vocoder"


class S3V2(S3):
    """CosyVoice 2's tokenizer."""

    version: ClassVar[str] = "v2"
    undecodable: ClassVar[str] = "that would need CosyVoice 2's flow-matching decoder and HiFT vocoder"


class S3V3(S3):
    """CosyVoice 3's tokenizer."""

    version: ClassVar[str] = "v3"
    undecodable: ClassVar[str] = "that would need CosyVoice 3's flow-matching decoder and HiFT vocoder"


def _holds(path: Path, version: str) -> bool:
    try:
        return version_of(path) == version
    except WeightsError:
        return False
