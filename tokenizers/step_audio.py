"""Step-Audio's tokenizer: linguistic codes at 16 2/3 Hz and semantic codes at 25 Hz, 16 kHz. It encodes only.

Huang et al. 2025, "Step-Audio: Unified Understanding and Generation in Intelligent Speech Interaction", arXiv:2502.11946; code
at github.com/stepfun-ai/Step-Audio, weights at huggingface.co/stepfun-ai/Step-Audio-Tokenizer (both Apache-2.0).
Step-Audio-EditX and Step-Audio-TTS read the same tokens.

The first stream comes of a streaming Paraformer's encoder (see `_step_audio.py`): chunks of 240 ms that later sound never
changes, so that clips of any length are encoded exactly, whole or as they arrive. The second is CosyVoice's S3 at 25 Hz, which
takes 30 s at most. `StepAudio.long` says how it takes longer clips:

    "windows"  of 30 s every 26 s, of which the outer 2 s are left out, as `s3.py` does.
    "cuts"     every 30 s, as published: segments that know nothing of each other. Fewer than 480 samples at the end are
               dropped.

`interleave` and `deinterleave` make one sequence of ids of the two streams, 2 : 3, as Step-Audio's language model reads it, and
take it apart again; `to_text` and `from_text` do so for its text form.

The published script first brings a clip's peak to 0.999 and, by one of its two ways in, trims silence. Both need the whole
clip, and so neither is done here unless asked for: `model.encode(prepare(Audio.read(path), trim=True))`. It leaves the noise
(dither) of Kaldi's filterbank to the checkpoint's configuration; here there is none, so that equal sound has equal tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.registry import entry
from ..core.streaming import EncoderCore
from ..core.tokens import Tokens
from ..core.weights import peek_config
from . import _step_audio as half
from ._funasr import HOP, RATE
from ._s3 import Network as Semantic
from ._step_audio import Linguistic
from ._step_audio_files import ONNX, holds, read_linguistic, read_semantic
from ._step_audio_ids import OFFSET, deinterleave, from_text, interleave, to_text
from ._step_audio_sound import prepare
from ._step_audio_streams import SHORTEST, Both, Chunks, Cuts, codes_of
from .s3 import S3V1At25Hz

__all__ = ["OFFSET", "StepAudio", "StepAudioLinguistic", "deinterleave", "from_text", "interleave", "prepare", "to_text"]

FRAME_RATE = Fraction(RATE, HOP)
LONG = ("windows", "cuts")


class StepAudioLinguistic(Model):
    """The linguistic half alone.

    Length law: T' = max(T, 880); 4 tokens for each whole 3840 samples, and where r >= 880 are left of them,
    ceil(((r - 400) // 160 + 1) / 6) more.
    """

    network: Linguistic
    window: ClassVar[float] = 30.0
    decodes: ClassVar[bool] = False
    undecodable: ClassVar[str] = (
        "Step-Audio's flow-matching decoder takes both streams: encode with 'step-audio', and see what that would need"
    )

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, half.complete(config), network, device, dtype)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        return {"sample_rate": RATE, "frame_rates": (FRAME_RATE,), "codebook_sizes": (half.complete(config)["clusters"],)}

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Linguistic:
        """The network with random weights, without biases: torch's own give almost the same code for any sound."""
        network = Linguistic(half.complete(config))
        _vary(network)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form (see `_step_audio_files.py`), or our own."""
        return super().read(folder) if "format" in peek_config(folder) else read_linguistic(folder)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether it holds the files of this half, and not those of the other."""
        return holds(folder) and not (folder / ONNX).is_file()

    @property
    def pad_multiple(self) -> int:
        """1: zeros at the end would make tokens."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """See the class."""
        return (half.tokens(samples),)

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([codes_of(self.network, list(wav))])

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        with self._inference():
            encoded = Encoded([codes_of(self.network, wavs)])
        return [self._tokens(encoded, i, len(wav), self.frames(len(wav))) for i, wav in enumerate(wavs)]

    def _open_encoder(self, streams: int) -> EncoderCore:
        return Chunks(self.network, self.device)


class Dual(nn.Module):
    """Both networks."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.linguistic = Linguistic(config["linguistic"])
        self.semantic = Semantic(config["semantic"])


class StepAudio(Model):
    """Both streams, the linguistic one first.

    Length law: that of `StepAudioLinguistic`, and ceil(M / 4) with M = max(1, T // 160) for the second; where `long` is "cuts",
    so for each 30 s.
    """

    network: Dual
    window: ClassVar[float] = 30.0
    decodes: ClassVar[bool] = False
    undecodable: ClassVar[str] = "that would need Step-Audio's flow-matching decoder and its HiFT vocoder"

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, _complete(config), network, device, dtype)
        self.semantic = S3V1At25Hz(entry("s3-v1-25hz").facts, self.config["semantic"], self.network.semantic, device, dtype)
        self._long = "windows"

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = _complete(config)
        shapes = StepAudioLinguistic.shape(config["linguistic"]), S3V1At25Hz.shape(config["semantic"])
        return {
            "sample_rate": RATE,
            "frame_rates": shapes[0]["frame_rates"] + shapes[1]["frame_rates"],
            "codebook_sizes": shapes[0]["codebook_sizes"] + shapes[1]["codebook_sizes"],
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Dual:
        """The network with random weights, as each half has them alone."""
        config = _complete(config)
        network = Dual(config)
        _vary(network.linguistic)
        network.semantic = S3V1At25Hz.build(config["semantic"])  # type: ignore[assignment]
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form (see `_step_audio_files.py`), or our own."""
        if "format" in peek_config(folder):
            return super().read(folder)
        parts = {"linguistic": read_linguistic(folder), "semantic": read_semantic(folder)}
        state = {f"{name}.{key}": value for name, (_, tensors) in parts.items() for key, value in tensors.items()}
        return {name: config for name, (config, _) in parts.items()}, state

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether it holds the files of both halves."""
        return holds(folder) and (folder / ONNX).is_file()

    @property
    def long(self) -> str:
        """How the second stream takes more than 30 s, "windows" or "cuts": see the module.

        Raises `ModelError` for anything else.
        """
        return self._long

    @long.setter
    def long(self, how: str) -> None:
        if how not in LONG:
            raise ModelError(f"long={how!r}; expected 'windows', or 'cuts', as published")
        self._long = how

    @property
    def pad_multiple(self) -> int:
        """1: zeros at the end would make tokens."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """See the class."""
        if self.long == "windows" or samples <= (cut := self._cut):
            return half.tokens(samples), *self.semantic.frames(samples)
        whole, rest = divmod(samples, cut)
        last = self.semantic.frames(rest)[0] if rest >= SHORTEST else 0
        return half.tokens(samples), whole * self.semantic.frames(cut)[0] + last

    @property
    def _cut(self) -> int:
        return int(self.window * RATE)

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return self._both(list(wav), streams)

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        with self._inference():
            encoded = self._both(wavs, streams)
        return [self._tokens(encoded, i, len(wav), self.frames(len(wav))) for i, wav in enumerate(wavs)]

    def _both(self, wavs: list[Tensor], streams: int) -> Encoded:
        codes = [codes_of(self.network.linguistic, wavs)]
        if streams > 1:
            codes.append(self.semantic.codes([self.semantic.log_mel(wav[None]) for wav in wavs]))
        return Encoded(codes)

    def _open_encoder(self, streams: int) -> EncoderCore:
        first = Chunks(self.network.linguistic, self.device)
        if streams == 1:
            return first
        return Both(first, self.semantic._open_encoder(1) if self.long == "windows" else Cuts(self.semantic, self._cut))


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument of both halves filled in. Raises `ModelError`."""
    parts = {"linguistic": half.complete, "semantic": S3V1At25Hz._complete}
    if unknown := set(config) - set(parts):
        raise ModelError(f"Step-Audio has no configuration {sorted(unknown)[0]!r}; it has {', '.join(parts)}")
    full = {}
    for name, complete in parts.items():
        given = config.get(name, {})
        if not isinstance(given, Mapping):
            raise ModelError(f"Step-Audio got {name} {given!r}; expected the configuration of that half")
        full[name] = complete(given)
    if full["semantic"]["sample_rate"] != RATE:
        raise ModelError(f"Step-Audio's halves differ in sample rate: {RATE} and {full['semantic']['sample_rate']} Hz")
    return full


def _vary(network: Linguistic) -> None:
    """Random weights under which codes follow the sound: no biases, and features of about the size they have in training."""
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        network.shift.fill_(-10.0)
        network.scale.fill_(0.25)
