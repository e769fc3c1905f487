"""WavTokenizer at 24 kHz: one codebook of 4096, 40 or 75 frames/s.

Ji et al. 2024, "WavTokenizer: an Efficient Acoustic Discrete Codec Tokenizer for Audio Language Modeling", arXiv:2408.16532;
published at github.com/jishengpeng/WavTokenizer (MIT).

Codes and sound are those of the published code (with its `bandwidth_id` 0) for a clip of any length: sound is padded by
reflection at every layer, down to the last, incomplete frame, and a clip of T samples has ceil(T / hop) frames.

A code depends on all the sound before it, through an LSTM, and on a little after it; the encoder therefore streams exactly.
Sound depends on every code of its clip, through norms and an attention over the whole of it. Clips of up to `window` seconds
are decoded whole, as the published code does; longer ones in windows of that length, each with a twelfth of it as context on
either side, whose frames are joined before the ConvNeXt blocks, which smooth the join. The published models learnt on
clips of 3 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import peek_config
from ._seanet import run
from ._wavtokenizer import Network, complete, random, sees
from ._wavtokenizer_files import checkpoints, configuration, published_network, read_yaml

__all__ = ["WavTokenizer"]

CONTEXT = Fraction(1, 12)  # of a window of the decoder, on each side
PIECE = 2.0  # seconds of sound that a convolution works on at once


class WavTokenizer(Model):
    """WavTokenizer behind the common interface. Its parameters are counted with the gains of weight norm."""

    network: Network
    batching: ClassVar = "length"  # the sound's own end is mirrored, and the decoder sees whole clips
    window: ClassVar[float] = 60.0

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        self.network.fold()
        self.hop = math.prod(self.config["ratios"])
        encoder = _Encoder(self)
        waits = 1 + encoder.front.right + encoder.last.right  # frames; the decoder's window comes on top
        self.facts = replace(self.facts, latency=self.window + waits * self.hop / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = complete(config)
        rate = Fraction(c["sample_rate"], math.prod(c["ratios"]))
        return {"sample_rate": c["sample_rate"], "frame_rates": (rate,), "codebook_sizes": (c["codebook_size"],)}

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """See `Model.build`."""
        return random(complete(config))

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """One published checkpoint, and YAMLs if any; or our own form.

        Raises `WeightsError` for several checkpoints, or one that no YAML beside it fits.
        """
        if (folder / "config.json").is_file():
            return super().read(folder)
        files = checkpoints(folder)
        if len(files) != 1:
            names = f" ({', '.join(file.name for file in files)})" if files else ""
            raise WeightsError(
                f"{str(folder)!r} holds {len(files)} checkpoints{names}; expected one .ckpt or .safetensors file"
            )
        state = published_network(files[0])
        config = configuration(state, str(files[0]))
        return _agreed(config, files[0], sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])), state

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`: by the published files' names."""
        names = [file.name.lower() for file in [*checkpoints(folder), *folder.glob("*.yaml")]]
        return not peek_config(folder) and bool(checkpoints(folder)) and any(name.startswith("wavtokenizer") for name in names)

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / hop)."""
        return (-(-samples // self.hop),)

    @property
    def pad_multiple(self) -> int:
        """1: the network itself completes the last frame."""
        return 1

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return _Encoder(self).take(wav, last=True)

    def _decode(self, encoded: Encoded) -> Tensor:
        return self.network.decode(encoded.codes)

    def _open_encoder(self, streams: int) -> _Encoder:
        return _Encoder(self)

    def _open_decoder(self) -> _Decoder:
        return _Decoder(self)


def _agreed(config: dict[str, Any], checkpoint: Path, files: list[Path]) -> dict[str, Any]:
    """`config`, with the sample rate of a YAML that agrees with it. Raises `WeightsError` where none of them does."""
    differences = []
    for file in files:
        stated = read_yaml(file)
        differing = [key for key in stated if key not in ("sample_rate", "filters") and stated[key] != config[key]]
        if not differing:
            return {**config, "sample_rate": stated["sample_rate"]}
        key = differing[0]
        differences.append(f"{file.name} states {key}={stated[key]}, {checkpoint.name} has {key}={config[key]}")
    if differences:
        raise WeightsError(f"{'; '.join(differences)}: they are of different models; take the one away that does not belong")
    return config


class _Sliding:
    """Layers over a clip that comes in parts: every output frame sees `left` frames before it and `right` after it.

    Args:
        layers: maps x (B, n unit, C) to (B, n, D), and a last, incomplete frame too; the ends of x are ends of a clip to it.
        unit: positions of the input in a frame.
        dim: D.
        most: frames computed at once.
    """

    def __init__(self, layers: Callable[[Tensor], Tensor], unit: int, left: int, right: int, dim: int, most: int) -> None:
        self.layers, self.unit, self.left, self.right, self.dim, self.most = layers, unit, left, right, dim, most
        self.held: Tensor | None = None  # from a whole frame on
        self.given = 0  # frames given out that it still begins with, as context

    def push(self, x: Tensor, last: bool) -> Tensor:
        """x (B, T, C) -> the frames that are now certain."""
        x = x if self.held is None else torch.cat([self.held, x], 1)
        whole = -(-x.shape[1] // self.unit) if last else x.shape[1] // self.unit - self.right
        out = [x.new_zeros(len(x), 0, self.dim)]
        while self.given < whole:
            stop, start = min(self.given + self.most, whole), max(0, self.given - self.left)
            y = self.layers(x[:, start * self.unit : (stop + self.right) * self.unit])
            out.append(y[:, self.given - start : stop - start])
            self.given = stop
        done = max(0, self.given - self.left)
        self.held, self.given = x[:, done * self.unit :].clone(), self.given - done
        return torch.cat(out, 1)


class _Encoder:
    """An `EncoderCore`, exact: the convolutions slide, and the LSTM between them keeps its state."""

    def __init__(self, model: WavTokenizer) -> None:
        network, hop = model.network, model.hop
        self.network, self.state, self.empty = network, None, torch.zeros(1, 0, device=model.device)
        left, right = (-(-samples // hop) for samples in sees(network.front))
        most = max(1, round(PIECE * model.facts.frame_rates[0]))
        width = network.recurrent.lstm.hidden_size
        self.front = _Sliding(lambda x: run(network.front, x, None, None)[0], hop, left, right, width, most)
        left, right = sees(network.last)
        dim = model.config["codebook_dim"]
        self.last = _Sliding(lambda x: run(network.last, x, None, None)[0], 1, left, right, dim, 100 * most)

    def push(self, wav: Tensor) -> Encoded:
        return self.take(wav, last=False)

    def finish(self) -> Encoded:
        return self.take(self.empty, last=True)

    def take(self, wav: Tensor, last: bool) -> Encoded:
        """wav (B, T) -> the frames that are now certain."""
        x = self.front.push(wav[:, :, None], last)
        if x.shape[1]:
            x, self.state, _ = self.network.recurrent(x, self.state, None)
        return Encoded(self.network.quantizer.encode(self.last.push(x, last), 1))


class _Decoder:
    """A `DecoderCore`: the part of the decoder that sees whole clips works on windows, the rest slides over what these give.

    The first window begins with the clip, and the last one ends with it. Which windows a clip has follows from its length
    alone; one begins to be computed when the clip is known to go on after it.
    """

    def __init__(self, model: WavTokenizer) -> None:
        self.network = model.network
        self.size = int(model.window * model.facts.frame_rates[0])
        self.context = int(self.size * CONTEXT)
        self.codes = torch.zeros(1, 0, dtype=torch.int64, device=model.device)
        self.first = 0  # frame of the clip that `codes` begin with
        self.done = 0  # frames of the clip that went through a window
        self.nothing = torch.zeros(1, 0, model.config["dim"], device=model.device)
        context, most = self.network.context, max(1, round(PIECE * model.facts.frame_rates[0]))
        self.sound = _Sliding(self._sound, 1, context, context, model.hop, 10 * most)

    def _sound(self, x: Tensor) -> Tensor:
        return self.network.sound(x).unflatten(1, (x.shape[1], -1))

    def push(self, encoded: Encoded) -> Tensor:
        self.codes = torch.cat([self.codes, encoded.codes[0]], 1)
        parts = []
        while self.first + self.codes.shape[1] > (end := max(self.size, self.done + self.size - self.context)):
            parts.append(self._window(end, end - self.context))
        spare = max(0, self.codes.shape[1] - self.size)
        self.codes, self.first = self.codes[:, spare:].clone(), self.first + spare
        return self._joined(parts, last=False)

    def finish(self) -> Tensor:
        end = self.first + self.codes.shape[1]
        return self._joined([self._window(end, end)] if end else [], last=True)

    def _window(self, end: int, keep: int) -> Tensor:
        """The frames up to `keep` that the window before `end` gives."""
        start = max(0, end - self.size)
        x = self.network.quantizer.decode([self.codes[:, start - self.first : end - self.first]])
        y, self.done = self.network.backbone.start(x)[:, self.done - start : keep - start], keep
        return y

    def _joined(self, parts: list[Tensor], last: bool) -> Tensor:
        return self.sound.push(torch.cat([self.nothing, *parts], 1), last).flatten(1)
