"""`BundleModel`: an exported bundle played with numpy and onnxruntime, behind the interface of `core.model.Model`.

    model = voxzoo.load("vox-rvq-16k.bundle")     # a folder that `voxzoo export` wrote; torch is not imported
    tokens = model.encode("speech.wav")           # `codes` are numpy arrays
    audio = model.decode(tokens)

Its tokens and those of the model that was exported are each other's: they carry one fingerprint. Clips are batched, padded and
windowed by the rules of the torch model, which the bundle states.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..core.audio import Audio, read_blocks
from ..core.batches import Checked, chain, fit, groups, time_slices
from ..core.errors import AudioError, ModelError, NotDecodableError
from ..core.registry import entry, models
from ..core.resampling import SOXR, check_resampler
from ..core.tokens import PADDING, Tokens
from .runtime_coded import Coded, EncoderCore, collated, padded_rows
from .runtime_parts import Parts
from .runtime_streams import BundleStreamDecoder, BundleStreamEncoder, StreamSlots

if TYPE_CHECKING:
    from ..core.model import Model
    from ..core.pairing import Speech
    from ..core.streaming import StreamDecoder

__all__ = ["BundleModel", "open_bundle"]


def open_bundle(
    folder: str | os.PathLike[str], *, device: str = "cpu", threads: int | None = None, resampler: str = SOXR
) -> BundleModel:
    """The model in a folder that `voxzoo export` wrote.

    Args:
        folder: the bundle.
        device: "cpu", "cuda", "cuda:1", or another provider of the installed onnxruntime by its name ("coreml", "openvino").
        threads: of each graph on a CPU; `OMP_NUM_THREADS` by default, or else as many as there are cores.
        resampler: what brings sound of other rates to the model's.

    Raises:
        ModelError: a file that is missing, changed, or not of the bundle; another version of the form; a device that is not
            there; a graph that is not what the bundle says it is.
        MissingExtraError: onnxruntime is not installed.
    """
    return BundleModel(Parts(Path(folder), device, threads), check_resampler(resampler))


class BundleModel(Checked):
    """A model of which only graphs are there. Built by `voxzoo.load(BUNDLE)`.

    Attributes:
        facts, fingerprint, config: of the model that was exported.
        precision: "fp32", "fp16", ...: of the graphs.
        engine: "onnx" and the precision.
        device: as it was asked for.
        batching, window, pad_multiple: see `core.model.Model`.
    """

    def __init__(self, parts: Parts, resampler: str = SOXR) -> None:
        manifest = parts.manifest
        self.parts, self.resampler = parts, resampler
        self.facts, self.fingerprint, self.config = manifest.facts, manifest.fingerprint, dict(manifest.config)
        self.precision, self.engine, self.device = manifest.precision, f"onnx {manifest.precision}", parts.device.name
        self.batching, self.window, self.pad_multiple = manifest.batching, float(manifest.window), manifest.pad_multiple

    @property
    def decodes(self) -> bool:
        """Whether the bundle has a decoder."""
        return self.parts.has("decoder")

    @property
    def undecodable(self) -> str:
        """What decoding would need, where there is none."""
        return self.parts.manifest.undecodable

    @property
    def exceptions(self) -> Mapping[str, str]:
        """Laws the model does not obey as stated, and why."""
        return entry(self.facts.name).exceptions if self.facts.name in models() else {}

    def frames(self, samples: int) -> tuple[int, ...]:
        """Length law: frames of each stream for `samples` samples."""
        return self.parts.frames(samples)

    # ------------------------------------------------------------------ encode
    def encode(self, audio: Any, sample_rate: int | None = None, *, streams: int | None = None) -> Tokens:
        """Tokens of one clip, or of several; see `core.model.Model.encode`. Torch tensors are taken as arrays.

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
        short: dict[int, np.ndarray] = {}
        for i, item in enumerate(items):
            wav = self._load(item, sample_rate, streams)
            if isinstance(wav, Tokens):
                done[i] = wav
            else:
                short[i] = wav
        for group in self._groups({i: self.padded(len(wav)) for i, wav in short.items()}):
            done |= zip(group, self._encode_group([short[i] for i in group], streams), strict=True)
        return collated([done[i] for i in range(len(items))], batched)

    def _streams(self, streams: int | None) -> int:
        if streams is None:
            return self.facts.streams
        if not 1 <= streams <= self.facts.streams:
            raise ModelError(f"streams={streams}; {self.facts.name} has 1 to {self.facts.streams}")
        return streams

    def padded(self, samples: int) -> int:
        """Samples that the encoder is given for a clip of so many."""
        return self.parts.padded(samples)

    def _groups(self, sizes: Mapping[int, int]) -> list[list[int]]:
        return groups(sizes, self.batching, free=self.parts.device.kind != "cpu")

    def _load(self, item: Any, sample_rate: int | None, streams: int) -> np.ndarray | Tokens:
        """A short clip (T,) at the model's rate, or the tokens of a long one."""
        if not isinstance(item, Audio) and (isinstance(item, (str, os.PathLike, bytes)) or hasattr(item, "read")):
            blocks, _ = read_blocks(item, self.facts.sample_rate, self.resampler)
            return self._from_blocks(blocks, streams)
        audio = item if isinstance(item, Audio) else _from_array(item, sample_rate)
        wav = audio.resample(self.facts.sample_rate, self.resampler).samples
        if not len(wav):
            raise AudioError("the clip holds no samples")
        return self._encode_long(iter([wav]), streams) if len(wav) > self._longest else wav

    def _from_blocks(self, blocks: Iterator[np.ndarray], streams: int) -> np.ndarray | Tokens:
        head: list[np.ndarray] = []
        for block in blocks:
            head.append(block)
            if sum(map(len, head)) > self._longest:
                return self._encode_long(chain(head, blocks), streams)
        return np.concatenate(head)

    @property
    def _longest(self) -> float:
        """Samples of a clip that is still run whole."""
        return self.window * self.facts.sample_rate

    def _encode_long(self, blocks: Iterator[np.ndarray], streams: int) -> Tokens:
        size = int(self._longest)
        with self.stream_encoder(streams=streams) as stream:
            parts = [stream.push(block[i : i + size]) for block in blocks for i in range(0, len(block), size)]
            parts.append(stream.finish())
        return Tokens.concatenate(parts)

    def _encode_group(self, wavs: Sequence[np.ndarray], streams: int) -> list[Tokens]:
        coded = self.encoded(wavs, streams)
        return [self._row(coded, i, len(wav)) for i, wav in enumerate(wavs)]

    def encoded(self, wavs: Sequence[np.ndarray], streams: int, *span: tuple[int, int]) -> Coded:
        """The encoder's graph on clips (T_i,) at once, each shorter than a window."""
        batch = np.zeros((len(wavs), max(self.padded(len(wav)) for wav in wavs)), np.float32)
        for row, wav in zip(batch, wavs, strict=True):
            row[: len(wav)] = wav
        return self.parts.encode(batch, np.array([len(wav) for wav in wavs], np.int64), streams, *span)

    def _row(self, coded: Coded, i: int, length: int) -> Tokens:
        frames = self.frames(length)
        codes = [c[i : i + 1, :n] for c, n in zip(coded.codes, frames, strict=False)]
        extras = {key: value[i : i + 1, : frames[0]] for key, value in coded.extras.items()}
        return self.tokens(Coded(codes, extras), length)

    def tokens(self, coded: Coded, length: int) -> Tokens:
        """Codes of one clip, or of a part of one, as this model's tokens."""
        return Tokens(coded.codes, np.array([length]), self.facts, self.fingerprint, self.resampler, coded.extras)

    # ------------------------------------------------------------------ decode
    def decode(self, tokens: Tokens, *, voice: Any = None) -> Any:
        """Sound of tokens: an `Audio`, or a list of them when a list was encoded, each of its clip's true length.

        voice: see `core.model.Model.decode`.

        Raises:
            NotDecodableError: the bundle has no decoder, and there is no flow and vocoder, or no torch, to speak its tokens.
            ModelError: a voice, for a model that has no use for one.
            WrongModelError: tokens of another fingerprint.
            TokensError: streams whose numbers of frames do not belong together.
        """
        if not self.decodes:
            return self.speech.decode(tokens, voice=voice)
        self._check_voice(voice)
        self.check(tokens)
        tokens = tokens.numpy()
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
        """What speaks the tokens of a tokenizer whose bundle has no decoder: its flow and vocoder, which need torch.

        Raises `NotDecodableError`.
        """
        if importlib.util.find_spec("torch") is None:
            raise NotDecodableError(f"this bundle of {self.facts.name} has no decoder: {self.undecodable}; and torch")
        from ..core.pairing import paired

        return paired(cast("Model", self))

    def check_decodes(self) -> None:
        """Raise `NotDecodableError` where there is no way back to sound."""
        if not self.decodes:
            self.speech  # noqa: B018

    def _decode_group(self, clips: Sequence[Tokens]) -> list[np.ndarray]:
        codes = [padded_rows([c.codes[k] for c in clips], PADDING) for k in range(len(clips[0].codes))]
        if not codes[0].shape[1]:
            return [np.zeros(0, np.float32) for _ in clips]
        extras = {key: padded_rows([c.extras[key] for c in clips], 0) for key in clips[0].extras}
        lengths = [self.facts.decoded_length(int(c.lengths[0])) for c in clips]
        wav = self.parts.decode(Coded(codes, extras), np.array(lengths, np.int64))
        return [fit(row, length) for row, length in zip(wav, lengths, strict=True)]

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
    def stream_encoder(self, *, streams: int | None = None) -> BundleStreamEncoder:
        """`push(samples at the model's rate) -> Tokens`, `finish() -> Tokens`; joined, they equal `encode`."""
        return BundleStreamEncoder(self, self._open_encoder(self._streams(streams)))

    def _open_encoder(self, streams: int) -> EncoderCore:
        return self.parts.open_encoder(streams, lambda wav, *span: self._whole(wav, streams, *span))

    def _whole(self, wav: np.ndarray, streams: int, *span: tuple[int, int]) -> Coded:
        """wav (1, T) of one clip or window -> its frames, none of them padding; or those of a span of its spectrogram."""
        return self.encoded([wav[0]], streams, *span).parted(self.frames(wav.shape[1]))[0]

    def stream_decoder(self, *, voice: Any = None) -> BundleStreamDecoder | StreamDecoder:
        """`push(tokens) -> Audio`, `finish() -> Audio`; joined, they equal `decode`. Raises as `decode` does."""
        if not self.decodes:
            return self.speech.stream(voice=voice)
        self._check_voice(voice)
        return BundleStreamDecoder(self, self.parts.open_decoder())

    def stream_encoders(self, slots: int, *, streams: int | None = None) -> StreamSlots:
        """Streams of many clips, each begun and ended at its own moment: see `core/stream_batches.py`."""
        return StreamSlots(lambda: self.stream_encoder(streams=streams), slots)

    def stream_decoders(self, slots: int) -> StreamSlots:
        """The way back for many clips. Raises `NotDecodableError`, and `ModelError` where a flow speaks the tokens."""
        self.check_decodes()
        if not self.decodes:
            raise ModelError(f"{self.facts.name} is heard through a flow, one clip at a time: use stream_decoder()")
        return StreamSlots(self.stream_decoder, slots)

    def _inference(self) -> AbstractContextManager[Any]:
        """For a flow's streams, which are torch's."""
        return importlib.import_module("torch").no_grad()


def _from_array(item: Any, sample_rate: int | None) -> Audio:
    if hasattr(item, "detach"):  # a torch tensor, whose module is imported then
        item = item.detach().cpu()
        item = (item.float() if item.is_floating_point() else item).numpy()
    if not isinstance(item, np.ndarray):
        raise AudioError(
            f"cannot encode a {type(item).__name__}; expected a path, Audio, numpy or torch array, or a list of these"
        )
    if sample_rate is None:
        raise AudioError("arrays need sample_rate=, the Hz they were sampled at")
    return Audio(item[0] if item.ndim == 2 and len(item) == 1 else item, sample_rate)
