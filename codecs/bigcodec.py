"""BigCodec: 16 kHz, 80 frames/s, one codebook of 8192 codes, 1.04 kbit/s.

Xin, Tan, Takamichi and Saruwatari 2024, "BigCodec: Pushing the Limits of Low-Bitrate Neural Speech Codec", arXiv:2409.05377;
published at github.com/Aria-K-Alethia/BigCodec (MIT).

A clip is padded with zeros beyond its end to whole frames of 200 samples, by 200 where it has whole ones already, as the
published script does it; so its codes are the script's, one more than there are whole frames.

The two LSTMs run forward only. Streaming carries their state and gives the convolutions before and after them the context
they need, so it is exact both ways in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.convs import fold, receptive
from ..core.errors import WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import peek_config, read_checkpoint
from ._bigcodec import Network, complete, rename, sizes

__all__ = ["BigCodec"]

FILE = "bigcodec.pt"


class BigCodec(Model):
    """BigCodec behind the common interface. Length law: floor(T / 200) + 1 frames.

    Its parameters are counted as published, weight norm's gains included.
    """

    network: Network
    batching: ClassVar = "length"  # zeros at the end of a clip move its last tokens

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        # The base hashes the published tensors; folding comes after, so that its rounding is no part of the identity.
        super().__init__(facts, complete(config), network, device, dtype)
        fold(self.network)
        self.contexts = Contexts.of(self.network)
        self.facts = replace(self.facts, latency=self.contexts.waits * self.pad_multiple / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        hop = math.prod(config["encoder_rates"])
        return {
            "sample_rate": config["sampling_rate"],
            "frame_rates": (Fraction(config["sampling_rate"], hop),),
            "codebook_sizes": (config["codebook_size"],),
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights, on the way to the codes without biases and with weights that keep the sound's level:
        torch's own starting values give the same code for any sound."""
        network = Network(complete(config))
        for name, parameter in network.named_parameters():
            if not name.startswith("decoder") and "bias" in name:
                nn.init.zeros_(parameter)
            elif name.startswith("encoder") and name.endswith("original0"):
                parameter.data.mul_(3**0.5)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published `bigcodec.pt`, whose tensors tell its sizes, or our own form."""
        if (folder / "config.json").is_file():
            return super().read(folder)
        checkpoint = read_checkpoint(folder / FILE)
        try:
            encoder, generator = checkpoint["CodecEnc"], checkpoint["generator"]
            config = sizes(encoder, generator)
            state = {f"encoder.{key}": value for key, value in encoder.items()}
            for key, value in generator.items():
                ours = key.replace("quantizer.layers.0.", "quantizer.").replace("._codebook.", ".codebook.")
                state[ours if key.startswith("quantizer.") else f"decoder.{key}"] = value
            return config, rename(state)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise WeightsError(f"{str(folder / FILE)!r} is no checkpoint of BigCodec: {type(error).__name__} {error}") from None

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        return not peek_config(folder) and (folder / FILE).is_file()

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return math.prod(self.config["encoder_rates"])

    def frames(self, samples: int) -> tuple[int, ...]:
        """floor(T / 200) + 1."""
        return (samples // self.pad_multiple + 1,)

    def _padded(self, samples: int) -> int:
        return self.frames(samples)[0] * self.pad_multiple

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        together = 1 if self.device.type == "cpu" else 64  # a CPU's cache holds one clip's activations, not a batch's
        return Encoded([torch.cat([self.network.quantizer.encode(self.network.encoder(part)) for part in wav.split(together)])])

    def _decode(self, encoded: Encoded) -> Tensor:
        together = 1 if self.device.type == "cpu" else 64
        codes = encoded.codes[0]
        return torch.cat([self.network.decoder(self.network.quantizer.decode(part)) for part in codes.split(together)])

    def _open_encoder(self, streams: int) -> _Encoder:
        return _Encoder(self)

    def _open_decoder(self) -> _Decoder:
        return _Decoder(self)


@dataclass(frozen=True)
class Context:
    """Frames on each side that a run of layers needs beside those it is asked for."""

    before: int
    after: int

    @classmethod
    def of(cls, layers: Iterable[nn.Module], made: int, unit: int = 1) -> Context:
        """Of layers that make `made` outputs of `unit` inputs, for each frame."""
        first, last = receptive(layers, 0, made - 1)
        return cls(max(0, -(first // unit)), max(0, -(-(last - unit + 1) // unit)))


@dataclass(frozen=True)
class Contexts:
    """Of the convolutions before and after each LSTM."""

    encoder_before: Context
    encoder_after: Context
    decoder_before: Context
    decoder_after: Context

    @classmethod
    def of(cls, network: Network) -> Contexts:
        """As the network's layers add up to."""
        hop, encoder, decoder = math.prod(network.encoder.rates), list(network.encoder.block), list(network.decoder.model)
        return cls(
            Context.of(encoder[:-3], 1, hop),
            Context.of(encoder[-2:], 1),
            Context.of(decoder[:1], 1),
            Context.of(decoder[2:], hop),
        )

    @property
    def waits(self) -> int:
        """Frames between a sample's coming and its being heard."""
        parts = (self.encoder_before, self.encoder_after, self.decoder_before, self.decoder_after)
        return 1 + sum(part.after for part in parts)


class _Run:
    """Layers over frames as they come, in pieces with the context that makes the joins exact."""

    def __init__(self, run: Callable[[Tensor], Tensor], context: Context, unit: int, made: int, most: int) -> None:
        """`run` makes `made` outputs of each frame of `unit` inputs; a piece keeps at most `most` frames."""
        self.run, self.context, self.unit, self.made, self.most = run, context, unit, made, most
        self.held: Tensor | None = None
        self.first = 0  # frame at which `held` starts
        self.done = 0  # frames whose outputs were given

    def push(self, x: Tensor, last: bool) -> Tensor | None:
        """x (1, L, ...) -> the outputs of the frames whose context is now complete, or None."""
        self.held = x if self.held is None else torch.cat([self.held, x], 1)
        end = self.first + self.held.shape[1] // self.unit - (0 if last else self.context.after)
        parts = []
        while self.done < end:
            stop = min(self.done + self.most, end)
            start = max(0, self.done - self.context.before)
            piece = self.held[:, (start - self.first) * self.unit : (stop + self.context.after - self.first) * self.unit]
            parts.append(self.run(piece)[:, (self.done - start) * self.made : (stop - start) * self.made])
            self.done = stop
        start = max(self.first, self.done - self.context.before)
        self.held, self.first = self.held[:, (start - self.first) * self.unit :].clone(), start
        return torch.cat(parts, 1) if parts else None


class _Stream:
    """What comes before an LSTM, the LSTM with its state, and what comes after it."""

    def __init__(self, before: _Run, lstm: nn.Module, after: _Run) -> None:
        self.before, self.lstm, self.after = before, lstm, after
        self.state: Any = None

    def push(self, x: Tensor, last: bool) -> Tensor | None:
        """x (1, L, ...) -> what is now certain of the output, or None."""
        y = self.before.push(x, last)
        if y is None:
            return self.after.push(self.after.held[:, :0], True) if last and self.after.held is not None else None
        y, self.state, _ = self.lstm(y, self.state, None)
        return self.after.push(y, last)


class _Encoder:
    """Whole frames as they come; the last one, or one more, is completed with zeros."""

    def __init__(self, model: BigCodec) -> None:
        self.model, network, hop = model, model.network, model.pad_multiple
        most = int(model.window * model.facts.sample_rate) // hop
        before = _Run(network.encoder.before, model.contexts.encoder_before, hop, 1, most)
        after = _Run(lambda x: network.quantizer.encode(network.encoder.after(x)), model.contexts.encoder_after, 1, 1, most)
        self.stream = _Stream(before, network.encoder.lstm, after)
        self.samples = 0

    def push(self, wav: Tensor) -> Encoded:
        self.samples += wav.shape[1]
        return self._encoded(self.stream.push(wav, last=False))

    def finish(self) -> Encoded:
        missing = self.model._padded(self.samples) - self.samples
        return self._encoded(self.stream.push(torch.zeros(1, missing, device=self.model.device), last=True))

    def _encoded(self, codes: Tensor | None) -> Encoded:
        return Encoded([torch.zeros(1, 0, dtype=torch.int64, device=self.model.device) if codes is None else codes])


class _Decoder:
    """The sound of frames as they come."""

    def __init__(self, model: BigCodec) -> None:
        self.model, network, hop = model, model.network, model.pad_multiple
        most = int(model.window * model.facts.sample_rate) // hop
        before = _Run(lambda x: network.decoder.before(network.quantizer.decode(x)), model.contexts.decoder_before, 1, 1, most)
        after = _Run(network.decoder.after, model.contexts.decoder_after, 1, hop, most)
        self.stream = _Stream(before, network.decoder.lstm, after)

    def push(self, encoded: Encoded) -> Tensor:
        return self._sound(self.stream.push(encoded.codes[0], last=False))

    def finish(self) -> Tensor:
        return self._sound(self.stream.push(torch.zeros(1, 0, dtype=torch.int64, device=self.model.device), last=True))

    def _sound(self, wav: Tensor | None) -> Tensor:
        return torch.zeros(1, 0, device=self.model.device) if wav is None else wav
