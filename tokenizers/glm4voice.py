"""GLM-4-Voice's tokenizer: 12.5 tokens/s of 16384 kinds, by Whisper's encoder made causal in blocks of 4 s. Encodes only.

Zeng et al. 2024, "GLM-4-Voice: Towards Intelligent and Human-Like End-to-End Spoken Chatbot", arXiv:2412.02612; code at
github.com/zai-org/GLM-4-Voice (Apache-2.0), weights at huggingface.co/zai-org/glm-4-voice-tokenizer. Kimi-Audio, VITA-Audio
and others read the same tokens.

Positions reach for 30 s. A longer clip is cut every 30 s, as the published script cuts it: segments that know nothing of each
other, in which blocks of 4 s are counted anew, so that a segment's last block is one of 2 s.

What is published as causal in blocks is so but for one thing: the spectrogram is cut off 80 dB below its loudest place, which
may come last. `Glm4Voice.normalisation` says of what:

    "segment"  of the 30 s, as published. Tokens come, in a stream, when their 30 s are complete.
    "running"  of the blocks so far. The tokens of a block come with its last sample and 40 more (n_fft / 2 - hop), and nothing
               that follows changes them; keys and values of earlier blocks are kept, so that no sound is encoded twice.

In both a stream's tokens are those of `encode`. They are the same in both for a clip whose first block is its loudest, and
where nothing is 80 dB below the loudest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.shards import read_shards
from ..core.streaming import EncoderCore
from ..core.tokens import Tokens
from ..core.weights import peek_config, read_json
from ..core.whisper import STRIDE
from ..core.whisper_mel import normalise
from ._glm4voice import Network, Past, complete, segment_samples, token_samples
from ._glm4voice_files import from_published, own_names

__all__ = ["Glm4Voice"]

MODES = ("segment", "running")
AT_ONCE = 12000  # frames of a batch, eight full segments: what bounds the memory


class Glm4Voice(Model):
    """The tokenizer behind the common interface. Length law: ceil(T / 1280) tokens."""

    network: Network
    window: ClassVar[float] = 30.0
    decodes: ClassVar[bool] = False
    undecodable: ClassVar[str] = "that would need GLM-4-Voice's flow-matching decoder and its HiFT vocoder"

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        self.network.fold()
        self.segment = segment_samples(self.config)
        self._running = False

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        return {
            "sample_rate": config["sampling_rate"],
            "frame_rates": (Fraction(config["sampling_rate"], token_samples(config)),),
            "codebook_sizes": (config["quantize_vocab_size"],),
            "latency": segment_samples(config) / config["sampling_rate"],
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights. Its convolutions, large and without a mean, tell sounds apart: torch's own starting
        values give almost any sound the codes of its place."""
        network = Network(complete(config))
        with torch.no_grad():
            for conv, scale in ((network.conv1, 32.0), (network.conv2, 4.0)):
                conv.weight.sub_(conv.weight.mean((1, 2), keepdim=True)).mul_(scale)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `config.json` with `model.safetensors` (or the files its index names), or our own."""
        published = read_json(folder / "config.json")
        if "format" in published:
            return super().read(folder)
        config = from_published(published, folder)
        return config, own_names(read_shards(folder, [""]), config["quantize_position"])

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        return config.get("model_type") == "whisper" and {"quantize_vocab_size", "quantize_causal_block_size"} <= set(config)

    @property
    def normalisation(self) -> str:
        """Of what the loudest place is taken, "segment" or "running": see the module. Setting it sets the latency too.

        Raises `ModelError` for anything else.
        """
        return MODES[self._running]

    @normalisation.setter
    def normalisation(self, mode: str) -> None:
        if mode not in MODES:
            raise ModelError(f"normalisation={mode!r}; expected 'segment', as published, or 'running'")
        self._running = mode == "running"
        block = self.block_samples + self.ahead if self._running else self.segment
        self.facts = replace(self.facts, latency=block / self.facts.sample_rate)

    @property
    def block_samples(self) -> int:
        """Samples of a block of attention."""
        return int(self.config["quantize_causal_block_size"] * STRIDE * self.config["hop_length"])

    @property
    def ahead(self) -> int:
        """Samples after a block that its last window holds."""
        return max(0, int(self.config["n_fft"] // 2 - self.config["hop_length"]))

    @property
    def pad_multiple(self) -> int:
        """1: sound is told from padding to the sample."""
        return 1

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / 1280)."""
        return (-(-samples // token_samples(self.config)),)

    def sounding(self, samples: int) -> int:
        """Of the encoder's frames, those that begin within so many samples."""
        return -(-samples // (STRIDE * self.config["hop_length"]))

    # ------------------------------------------------------------------ encode
    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        with self._inference():
            codes = self._clips(wavs)
        return [self._tokens(Encoded([c]), 0, len(w), self.frames(len(w))) for c, w in zip(codes, wavs, strict=True)]

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        return Encoded([torch.cat(self._clips(list(wav)))])

    def _clips(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Clips (T,) of any lengths -> codes (1, N) of each."""
        segments = [part for wav in wavs for part in wav.split(self.segment)]
        done: dict[int, Tensor] = {}
        for batch in self._batches([len(part) for part in segments]):
            done |= zip(batch, self._batch([segments[i] for i in batch]), strict=True)
        rows = iter(done[i] for i in range(len(segments)))
        return [torch.cat([next(rows) for _ in wav.split(self.segment)], 1) for wav in wavs]

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Indices that are run together: those of like length, within `AT_ONCE`."""
        batches: list[list[int]] = []
        for group in self._groups({i: lengths[i] for i in sorted(range(len(lengths)), key=lambda i: lengths[i])}):
            batches.append([])
            for i in group:
                if batches[-1] and (len(batches[-1]) + 1) * self.sounding(lengths[i]) > AT_ONCE:
                    batches.append([])
                batches[-1].append(i)
        return batches

    def _batch(self, segments: Sequence[Tensor]) -> list[Tensor]:
        """Segments (T,) -> codes (1, N) of each. Each has the spectrogram it has alone."""
        mels = [self.network.spectrogram(part, self._running)[0].T for part in segments]
        mel = nn.utils.rnn.pad_sequence(mels, batch_first=True).transpose(1, 2)
        codes = self.network(mel, [self.sounding(len(part)) for part in segments])
        return [codes[i : i + 1, : self.frames(len(part))[0]] for i, part in enumerate(segments)]

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _Blocks(self) if self._running else _Segments(self)


class _Segments:
    """Segments as they are complete."""

    def __init__(self, model: Glm4Voice) -> None:
        self.model = model
        self.held = torch.zeros(1, 0, device=model.device)

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        return self._take(self.held.shape[1] // self.model.segment * self.model.segment)

    def finish(self) -> Encoded:
        return self._take(self.held.shape[1])

    def _take(self, samples: int) -> Encoded:
        if not samples:
            return Encoded([torch.zeros(1, 0, dtype=torch.int64, device=self.model.device)])
        wav, self.held = self.held[:, :samples], self.held[:, samples:].clone()
        return self.model._encode(wav, 1)


class _Blocks:
    """Blocks as they and the sound their last window holds are there, each after those before it."""

    def __init__(self, model: Glm4Voice) -> None:
        self.model, self.network = model, model.network
        hop = model.config["hop_length"]
        self.lead = -(-model.config["n_fft"] // 2 // hop) * hop  # samples before a block that its first window holds
        self.held = torch.zeros(1, 0, device=model.device)  # from `lead` before the next block, or the segment's start
        self.none = torch.zeros(1, 0, dtype=torch.int64, device=model.device)
        self._start()

    def _start(self) -> None:
        """A new segment."""
        self.done = 0  # samples of it that are encoded
        self.past = Past()
        self.loudest = torch.full((1, 1, 1), -torch.inf, device=self.model.device)

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], 1)
        codes = [self.none]
        while (stop := self._stop()) <= self._there() - (0 if stop == self.model.segment else self.model.ahead):
            codes.append(self._block(stop, self.model.sounding(stop)))
        return Encoded([torch.cat(codes, 1)])

    def finish(self) -> Encoded:
        there = self._there()
        self.held = nn.functional.pad(self.held, (0, -there % self.network.token))
        codes = [self.none]
        while self.done < there:
            stop = min(self._stop(), self._there())
            codes.append(self._block(stop, self.model.sounding(min(stop, there))))
        return Encoded([torch.cat(codes, 1)])

    def _stop(self) -> int:
        """Where the next block ends, in samples of the segment."""
        return min(self.done + self.model.block_samples, self.model.segment)

    def _there(self) -> int:
        """Samples of the segment, and after it, that have come."""
        return self.done - min(self.done, self.lead) + self.held.shape[1]

    def _block(self, stop: int, frames: int) -> Tensor:
        """Codes of the block up to `stop`, of which the segment has so many sounding frames by then."""
        lead, hop = min(self.done, self.lead), self.network.hop
        size = lead + stop - self.done
        wav = self.held[:, : size if stop == self.model.segment else size + self.model.ahead]
        log = self.network.log_mel(wav)[:, :, lead // hop : size // hop]
        self.loudest = torch.maximum(self.loudest, log.amax((1, 2), keepdim=True))
        codes = self.network(normalise(log, self.loudest), [frames], self.past)
        self.done = stop
        if stop == self.model.segment:
            self.held = self.held[:, size:].clone()
            self._start()
        else:
            self.held = self.held[:, size - self.lead :].clone()
        return codes
