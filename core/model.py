"""`Model`: the one interface of every tokenizer and codec. `encode` and `decode` are here; families fill in the network.

A family subclasses `Model`, says in `batching` what right-padding does to its tokens, and implements:

    shape(config)          facts that follow from a configuration: sample rate, frame rates, codebook sizes
    build(config)          the network with random weights
    frames(n)              the length law: frames of each stream for n samples
    _encode(wav, streams)  wav (B, T), T a multiple of `pad_multiple` -> Encoded
    _decode(encoded)       -> wav (B, at least T); with batching "pad", codes of shorter clips end in -1, which is no code
    _open_encoder / _open_decoder   the streaming forms (see streaming.py)
    read(folder), recognises(folder)   the form in which its weights are published

One that cannot be decoded sets `decodes` to False, says in `undecodable` what it would take, and leaves out the decoding.

Two models are compatible, that is, decode each other's tokens, only when their fingerprints are equal.
"""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .audio import Audio, read_blocks
from .batches import Checked, chain, fit, groups, time_slices
from .errors import AudioError, ModelError
from .facts import Facts
from .registry import entry
from .resampling import SOXR
from .stream_batches import StreamDecoders, StreamEncoders
from .streaming import DecoderCore, Encoded, EncoderCore, StreamDecoder, StreamEncoder
from .tokens import PADDING, Tokens
from .weights import FORMAT, fingerprint, read_json, read_state, save_folder

if TYPE_CHECKING:
    from .pairing import Speech

__all__ = ["Encoded", "Model"]


class Model(Checked):
    """A tokenizer or codec. Built by `voxzoo.load`; see the module docstring for what a family implements.

    Attributes:
        facts: of this very model (its params are counted).
        fingerprint: sha256 of config and weights.
        network: the torch module, in eval mode.
        config: the JSON-able configuration it was built from.
        resampler: what brings sound of other rates to the model's; recorded in tokens.
    """

    resampler: str = SOXR

    # What zero-padding on the right does: "pad", nothing, so clips of any length share a batch; "length", it moves tokens
    # near the end, so only clips of equal padded length do.
    batching: ClassVar[Literal["pad", "length"]] = "pad"

    # Seconds: longer clips go through the streaming form, in pieces of this length and in bounded memory.
    window: ClassVar[float] = 20.0

    decodes: ClassVar[bool] = True
    undecodable: ClassVar[str] = ""  # what decoding would need, where `decodes` is False

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        self.config = dict(config)
        self.network = network.eval().requires_grad_(False)
        self.fingerprint = fingerprint(self.config, network)
        params = sum(t.numel() for t in network.parameters())
        self.facts = replace(facts, **self.shape(self.config), params=params)
        self.device = torch.device(device)
        self.dtype = _dtype(dtype)
        self.network.to(self.device)

    # ------------------------------------------------------------------ what a family implements
    @classmethod
    @abstractmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """`sample_rate`, `frame_rates`, `codebook_sizes` (and `latency`, `channels` where they follow) of a configuration."""

    @classmethod
    @abstractmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights, codebooks included (never all zero). Raises `ModelError` on unknown keys."""

    @property
    @abstractmethod
    def pad_multiple(self) -> int:
        """Samples; wav given to `_encode` is right-padded with zeros to a multiple of it."""

    @abstractmethod
    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        """wav float32 (B, T) -> the first `streams` streams."""

    def _decode(self, encoded: Encoded) -> Tensor:
        """-> wav float32 (B, T') at the output rate."""
        raise NotImplementedError

    @abstractmethod
    def _open_encoder(self, streams: int) -> EncoderCore:
        """A fresh streaming encoder."""

    def _open_decoder(self) -> DecoderCore:
        """A fresh streaming decoder."""
        raise NotImplementedError

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Config and state dict of a folder in our own form; families add the form their weights are published in."""
        data = read_json(folder / "config.json")
        if data.get("format") != FORMAT or not isinstance(data.get("config"), dict):
            raise ModelError(f"{str(folder)!r} is not a voxzoo model folder: config.json has no format {FORMAT} config")
        return data["config"], read_state(folder / "model.safetensors")

    @classmethod
    def read_as(cls, folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """As `read`, of a folder said to be of an entry with this `config`; for families whose files do not tell it all."""
        return cls.read(folder)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether `folder` holds weights in the form this family publishes them, by its config and file names alone."""
        return False

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`; `voxzoo.load(folder)` gives this model again."""
        save_folder(Path(folder), self.facts.name, self.config, self.network.state_dict())

    @property
    def exceptions(self) -> Mapping[str, str]:
        """Laws this model does not obey as stated, and why."""
        return entry(self.facts.name).exceptions

    # ------------------------------------------------------------------ encode
    def encode(self, audio: Any, sample_rate: int | None = None, *, streams: int | None = None) -> Tokens:
        """Tokens of one clip, or of several.

        Args:
            audio: a path, an `Audio`, or a numpy or torch array (T,) or (B, T) in [-1, 1]; or a list of these.
            sample_rate: Hz of arrays; files and `Audio` know theirs.
            streams: only the first so many streams (codebooks); all by default.

        Returns:
            `Tokens` with B = number of clips. A clip's tokens do not depend on what it is batched with.

        Raises:
            AudioError: sound that cannot be read, is empty, holds NaN, or is not in [-1, 1].
            ModelError: `streams` out of range.
        """
        streams = self._streams(streams)
        items = list(audio) if isinstance(audio, (list, tuple)) else [audio]
        batched = isinstance(audio, (list, tuple))
        if not batched and getattr(audio, "ndim", 1) == 2:
            items, batched = list(audio), len(audio) > 1
        if not items:
            raise AudioError("no clips were given; expected at least one")
        done: dict[int, Tokens] = {}
        short: dict[int, Tensor] = {}
        for i, item in enumerate(items):
            wav = self._load(item, sample_rate, streams)
            if isinstance(wav, Tokens):
                done[i] = wav
            else:
                short[i] = wav
        for group in self._groups({i: self._padded(len(wav)) for i, wav in short.items()}):
            done |= zip(group, self._encode_group([short[i] for i in group], streams), strict=True)
        return self._collate([done[i] for i in range(len(items))], batched)

    def _streams(self, streams: int | None) -> int:
        if streams is None:
            return self.facts.streams
        if not 1 <= streams <= self.facts.streams:
            raise ModelError(f"streams={streams}; {self.facts.name} has 1 to {self.facts.streams}")
        return streams

    def _padded(self, samples: int) -> int:
        return -(-samples // self.pad_multiple) * self.pad_multiple

    def _groups(self, sizes: Mapping[int, int]) -> list[list[int]]:
        """Indices that share a batch, by their padded size."""
        return groups(sizes, self.batching, free=self.device.type != "cpu")

    def _load(self, item: Any, sample_rate: int | None, streams: int) -> Tensor | Tokens:
        """A short clip as a tensor (T,) at the model's rate, or the tokens of a long one."""
        if isinstance(item, Audio):  # first: it has a `read` too, as a file object has
            wav: Any = torch.from_numpy(item.resample(self.facts.sample_rate, self.resampler).samples)
        elif isinstance(item, (str, os.PathLike, bytes)) or hasattr(item, "read"):
            blocks, _ = read_blocks(item, self.facts.sample_rate, self.resampler)
            return self._from_blocks(blocks, streams)
        else:
            wav = self._from_array(item, sample_rate)
        if not len(wav):
            raise AudioError("the clip holds no samples")
        if len(wav) > self.window * self.facts.sample_rate:
            return self._encode_long(iter([wav]), streams)
        return wav.to(self.device)

    def _from_array(self, item: Any, sample_rate: int | None) -> Tensor:
        if not isinstance(item, (np.ndarray, Tensor)):
            raise AudioError(
                f"cannot encode a {type(item).__name__}; expected a path, Audio, numpy or torch array, or a list of these"
            )
        if sample_rate is None:
            raise AudioError("arrays need sample_rate=, the Hz they were sampled at")
        if isinstance(item, Tensor):
            if item.ndim == 1 and item.is_floating_point() and sample_rate == self.facts.sample_rate and item.is_cuda:
                return item.float()  # stays on its device
            item = item.detach().cpu()
            item = (item.float() if item.is_floating_point() else item).numpy()
        if item.ndim == 2 and len(item) == 1:
            item = item[0]
        return torch.from_numpy(Audio(item, sample_rate).resample(self.facts.sample_rate, self.resampler).samples)

    def _from_blocks(self, blocks: Iterator[np.ndarray], streams: int) -> Tensor | Tokens:
        head: list[np.ndarray] = []
        for block in blocks:
            head.append(block)
            if sum(map(len, head)) > self.window * self.facts.sample_rate:
                return self._encode_long((torch.from_numpy(b) for b in chain(head, blocks)), streams)
        return torch.from_numpy(np.concatenate(head)).to(self.device)

    def _encode_long(self, blocks: Iterator[Tensor], streams: int) -> Tokens:
        size = int(self.window * self.facts.sample_rate)
        with self.stream_encoder(streams=streams) as stream:
            parts = [stream.push(block[i : i + size]) for block in blocks for i in range(0, len(block), size)]
            parts.append(stream.finish())
        return Tokens.concatenate(parts)

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        batch = torch.zeros(len(wavs), max(self._padded(len(w)) for w in wavs), device=self.device)
        for row, wav in zip(batch, wavs, strict=True):
            row[: len(wav)] = wav
        with self._inference():
            encoded = self._encode(batch, streams)
        return [self._tokens(encoded, i, len(wav), self.frames(len(wav))) for i, wav in enumerate(wavs)]

    def _tokens(self, encoded: Encoded, i: int, length: int, frames: Sequence[int]) -> Tokens:
        codes = [c[i : i + 1, :n] for c, n in zip(encoded.codes, frames, strict=False)]
        extras = {key: value[i : i + 1, : frames[0]] for key, value in encoded.extras.items()}
        return Tokens(codes, np.array([length]), self.facts, self.fingerprint, self.resampler, extras)

    def _collate(self, clips: list[Tokens], batched: bool) -> Tokens:
        if len(clips) == 1:
            return replace(clips[0], batched=batched)
        codes = [_pad_rows([c.codes[k] for c in clips], PADDING) for k in range(len(clips[0].codes))]
        extras = {key: _pad_rows([c.extras[key] for c in clips], 0) for key in clips[0].extras}
        return replace(clips[0], codes=codes, lengths=np.concatenate([c.lengths for c in clips]), extras=extras, batched=True)

    # ------------------------------------------------------------------ decode
    def decode(self, tokens: Tokens, *, voice: Any = None) -> Any:
        """Sound of tokens: an `Audio`, or a list of them when a list was encoded, each of its clip's true length.

        Args:
            tokens: made by this very model.
            voice: who speaks, where the tokens do not tell: a path or an `Audio` of a few seconds, or a vector. Only for
                tokenizers that are heard through a flow and a vocoder (see `pairing`).

        Raises:
            NotDecodableError: the model has no way back to sound.
            ModelError: a voice, for a model that has no use for one.
            WrongModelError: tokens of another fingerprint.
            TokensError: streams whose numbers of frames do not belong together.
        """
        if not self.decodes:
            return self.speech.decode(tokens, voice=voice)
        self._check_voice(voice)
        self.check(tokens)
        tokens = tokens.torch(self.device)
        clips = [tokens[i] for i in range(len(tokens))]
        counts = tokens.frames
        rate = float(self.facts.frame_rates[0])
        long = {i for i in range(len(clips)) if counts[i, 0] / rate > self.window}
        out = {i: self._decode_long(clips[i]) for i in long}
        for group in self._groups({i: int(counts[i, 0]) for i in range(len(clips)) if i not in long}):
            out |= zip(group, self._decode_group([clips[i] for i in group]), strict=True)
        audios = [Audio(out[i], self.facts.output_rate) for i in range(len(clips))]
        return audios if tokens.batched else audios[0]

    @functools.cached_property
    def speech(self) -> Speech:
        """What speaks the tokens of a tokenizer without a decoder of its own. Raises `NotDecodableError`."""
        from .pairing import paired  # which needs decoders, which most models do not

        return paired(self)

    def check_decodes(self) -> None:
        """Raise `NotDecodableError` where there is no decoder."""
        if not self.decodes:
            self.speech  # noqa: B018

    def _decode_group(self, clips: list[Tokens]) -> list[np.ndarray]:
        codes = [_pad_rows([c.codes[k] for c in clips], PADDING) for k in range(len(clips[0].codes))]
        extras = {k: _pad_rows([torch.as_tensor(c.extras[k]) for c in clips], 0).to(self.device) for k in clips[0].extras}
        if not codes[0].shape[1]:
            return [np.zeros(0, np.float32) for _ in clips]
        with self._inference():
            wav = self._decode(Encoded(codes, extras)).float().cpu().numpy()
        return [fit(row, self.facts.decoded_length(int(c.lengths[0]))) for row, c in zip(wav, clips, strict=True)]

    def _decode_long(self, clip: Tokens) -> np.ndarray:
        out = np.zeros(self.facts.decoded_length(int(clip.lengths[0])), np.float32)
        done = 0
        with self.stream_decoder() as stream:
            for part in time_slices(clip, self.facts, self.window):
                audio = stream.push(part)
                out[done : done + len(audio)] = audio.samples
                done += len(audio)
            out[done:] = stream.finish().samples
        return out

    # ------------------------------------------------------------------ streaming
    def stream_encoder(self, *, streams: int | None = None) -> StreamEncoder:
        """`push(samples at the model's rate) -> Tokens`, `finish() -> Tokens`; joined, they equal `encode`."""
        return StreamEncoder(self, self._open_encoder(self._streams(streams)), self._streams(streams))

    def stream_decoder(self, *, voice: Any = None) -> StreamDecoder:
        """`push(tokens) -> Audio`, `finish() -> Audio`; joined, they equal `decode`. Raises as `decode` does."""
        if not self.decodes:
            return self.speech.stream(voice=voice)
        self._check_voice(voice)
        return StreamDecoder(self, self._open_decoder())

    def stream_encoders(self, slots: int, *, streams: int | None = None) -> StreamEncoders:
        """Streams of many clips in one batch, each begun and ended at its own moment: see `stream_batches`."""
        return StreamEncoders(self, slots, self._streams(streams))

    def stream_decoders(self, slots: int) -> StreamDecoders:
        """The way back for many clips. Raises `NotDecodableError`, and `ModelError` where a flow speaks the tokens."""
        self.check_decodes()
        if not self.decodes:
            raise ModelError(f"{self.facts.name} is heard through a flow, one clip at a time: use stream_decoder()")
        return StreamDecoders(self, slots)

    def _push_encoders(self, cores: Sequence[Any], wavs: Sequence[Tensor]) -> list[Encoded]:
        """`push` of each core; families that can do these together do."""
        return [core.push(wav) for core, wav in zip(cores, wavs, strict=True)]

    def _push_decoders(self, cores: Sequence[Any], parts: Sequence[Encoded]) -> list[Tensor]:
        """`push` of each core; families that can do these together do."""
        return [core.push(part) for core, part in zip(cores, parts, strict=True)]

    def _inference(self) -> AbstractContextManager[Any]:
        return _Inference(self.device, self.dtype)


class _Inference:
    """No gradients, and autocast where a lower precision was asked for."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.grad = torch.no_grad()
        self.cast: Any = nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)

    def __enter__(self) -> None:
        self.grad.__enter__()
        self.cast.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.cast.__exit__(*error)
        self.grad.__exit__(*error)


def _dtype(name: str) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ModelError(f"dtype={name!r}; expected one of {', '.join(known)}")
    return known[name]


def _pad_rows(rows: Sequence[Any], value: float) -> Tensor:
    """Rows (1, n_i) -> (B, max n_i), padded on the right."""
    tensors = [torch.as_tensor(row)[0] for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
