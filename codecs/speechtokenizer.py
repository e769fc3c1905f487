"""SpeechTokenizer: a residual codec at 16 kHz and 50 Hz whose first stream was taught what HuBERT knows.

Zhang, Zhang, Li, Zhou and Qiu 2023, "SpeechTokenizer: Unified Speech Tokenizer for Speech Large Language Models",
arXiv:2308.16692; published at github.com/ZhangXInFD/SpeechTokenizer (Apache-2.0). The first of the 8 streams carries what is
said, as semantic tokens do; the others add the voice. `encode(clip, streams=1)` gives the semantic tokens alone, which decode
too, and `decode(tokens, first=1)` the sound of what they leave over.

Codes are those of the published package for a clip of any length, without padding. The encoder's LSTM runs both ways over
the whole clip, so a token depends on all of it: clips of up to two minutes are encoded whole, longer ones in windows of two
minutes with ten seconds of context on each side, whose tokens may differ from those of a longer window. The decoder's LSTM
runs forwards, and clips of any length are decoded as the published package decodes them whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core import convs
from ..core.errors import ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Model
from ..core.streaming import Encoded
from ..core.tokens import Tokens
from ..core.weights import peek_config, read_json, read_state
from ._speechtokenizer import DEFAULTS, Network, Sliding, check_published, complete, from_published

__all__ = ["SpeechTokenizer"]

CONTEXT = 10.0  # seconds on each side of an encoder's window
CHECKPOINTS = (
    "SpeechTokenizer.pt",
    "ckpt.dev",
    "SpeechTokenizer_best_dev.pt",
)  # the third is what the published trainer writes


class SpeechTokenizer(Model):
    """Both published models, with ELU and with Snake. Parameters are counted as published, codebooks included.

    Length law: ceil(T / hop) frames in every stream.
    """

    network: Network
    batching: ClassVar = "length"
    window: ClassVar[float] = 120.0

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        # The base hashes the published tensors; folding comes after, so that its rounding is no part of the identity.
        super().__init__(facts, complete(config), network, device, dtype)
        self.network.fold()
        self.hop = math.prod(self.config["strides"])
        decoder = self.network.decoder
        waits = self._frames(self.window) + self._frames(CONTEXT) + decoder.head(1).after + decoder.tail(1).after
        self.facts = replace(self.facts, latency=waits * self.hop / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = complete(config)
        return {
            "sample_rate": c["sample_rate"],
            "frame_rates": (Fraction(c["sample_rate"], math.prod(c["strides"])),) * c["n_q"],
            "codebook_sizes": (c["codebook_size"],) * c["n_q"],
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """See `Model.build`; biases are zero, or they would drown the sound."""
        network = Network(complete(config))
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `config.json` with `SpeechTokenizer.pt` or `ckpt.dev`, or our own."""
        config = read_json(folder / "config.json")
        if "format" in config:
            return super().read(folder)
        files = [folder / name for name in CHECKPOINTS if (folder / name).is_file()]
        if len(files) != 1:
            raise WeightsError(
                f"{str(folder)!r} holds {len(files)} of {', '.join(CHECKPOINTS)}; expected one beside config.json"
            )
        return check_published(config), from_published(read_state(files[0]))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        published = {*DEFAULTS, "semantic_dimension"} <= set(peek_config(folder))
        return published and any((folder / name).is_file() for name in CHECKPOINTS)

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / hop) in every stream."""
        return (-(-samples // self.hop),) * self.facts.streams

    @property
    def pad_multiple(self) -> int:
        """1: the network itself completes the last frame."""
        return 1

    def _frames(self, seconds: float) -> int:
        return int(seconds * self.facts.frame_rates[0])

    @property
    def _piece(self) -> int:
        """Frames that the convolutions at the highest rates take at once. On a CPU their activations stay in its cache."""
        if self.device.type != "cpu":
            return self._frames(self.window)
        return max(1, convs.PIECE // (self.config["n_filters"] * self.hop))

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        """wav (B, T), not padded -> the first streams of codes, each (B, ceil(T / hop))."""
        return Encoded(list(self._codes(wav, streams).unbind(2)))

    def _codes(self, wav: Tensor, streams: int) -> Tensor:
        """wav (B, T) -> codes (B, N, K)."""
        encoder, quantizer = self.network.encoder, self.network.quantizer
        parts = [quantizer.encode(encoder(part, self._piece), streams) for part in wav.split(self._together)]
        return torch.cat([torch.stack(part, dim=2) for part in parts])

    @property
    def _together(self) -> int:
        """Clips that run at once. A CPU's cache holds one clip's activations, not a batch's."""
        return 1 if self.device.type == "cpu" else 64

    def decode(self, tokens: Tokens, *, voice: Any = None, first: int = 0) -> Any:
        """See `Model.decode`. `first` leaves out the streams before it: 1 gives what the semantic tokens leave over.

        Raises:
            ModelError: `first` is not one of the streams that `tokens` hold.
        """
        if first:
            self.check_fingerprint(tokens)
            if not 0 < first < len(tokens.codes):
                raise ModelError(f"first={first}; these tokens hold {len(tokens.codes)} streams, counted from 0")
            tokens = replace(tokens, extras={"first": torch.full(tokens.codes[0].shape, float(first))})
        return super().decode(tokens, voice=voice)

    def _latent(self, encoded: Encoded) -> Tensor:
        """(B, N, C); `extras["first"]` is what `decode` was asked for."""
        first = encoded.extras.get("first")
        return self.network.quantizer.decode(encoded.codes, 0 if first is None else int(first.max()))

    def _decode(self, encoded: Encoded) -> Tensor:
        parts = self._latent(encoded).split(self._together)
        return torch.cat([self.network.decoder(part, self._piece) for part in parts])

    def _open_encoder(self, streams: int) -> _Encoder:
        return _Encoder(self, streams)

    def _open_decoder(self) -> _Decoder:
        return _Decoder(self)


class _Encoder:
    """Windows of `Model.window` with `CONTEXT` on each side, cut at the same places however the clip is pushed."""

    def __init__(self, model: SpeechTokenizer, streams: int) -> None:
        context, most = model._frames(CONTEXT), model._frames(model.window)
        self.streams, self.device = streams, model.device
        self.windows = Sliding(lambda wav: model._codes(wav, streams), model.hop, 1, context, context, most, even=True)

    def push(self, wav: Tensor) -> Encoded:
        return self._run(wav, last=False)

    def finish(self) -> Encoded:
        return self._run(torch.zeros(1, 0, device=self.device), last=True)

    def _run(self, wav: Tensor, last: bool) -> Encoded:
        none = torch.zeros(1, 0, self.streams, dtype=torch.int64, device=self.device)
        return Encoded(list(torch.cat([none, *self.windows.push(wav, last)], dim=1).unbind(2)))


class _Decoder:
    """The LSTM keeps its state; the convolutions around it get the context they need."""

    def __init__(self, model: SpeechTokenizer) -> None:
        self.model, self.state = model, None
        decoder = model.network.decoder
        self.decoder, self.head, self.tail = decoder, decoder.head(model._frames(model.window)), decoder.tail(model._piece)

    def push(self, encoded: Encoded) -> Tensor:
        return self._run(self.model._latent(encoded), last=False)

    def finish(self) -> Tensor:
        return self._run(torch.zeros(1, 0, self.model.config["dimension"], device=self.model.device), last=True)

    def _run(self, latent: Tensor, last: bool) -> Tensor:
        parts = [part for part in self.head.push(latent, last) if part.shape[1]]
        x = latent.new_zeros(1, 0, self.decoder.width)
        for part in parts:
            y, self.state = self.decoder.recurrent(part, self.state)
            x = torch.cat([x, y], dim=1)
        none = latent.new_zeros(1, 0, 1)
        return torch.cat([none, *self.tail.push(x, last)], dim=1)[:, :, 0]
