"""EnCodec (Defossez et al. 2022, github.com/facebookresearch/encodec): 24 kHz mono, causal; 48 kHz stereo, in segments.

Codes and sound are those of the published implementations, for a clip of any length: the network pads by reflection at
every layer, and that is followed to the last, incomplete frame. Batches and streams give what a clip gives alone.

Checkpoints are read as published: the hub's `config.json` with `model.safetensors` or `pytorch_model.bin`, or the
original `encodec_24khz-*.th` / `encodec_48khz-*.th`; weight norm under its old or its new names.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.audio import Audio
from ..core.errors import ModelError, TokensError, WeightsError
from ..core.facts import Facts
from ..core.model import Model
from ..core.registry import entry
from ..core.streaming import DecoderCore, Encoded, EncoderCore, StreamDecoder, StreamEncoder
from ..core.tokens import Tokens
from ..core.weights import peek_config, read_json, read_state
from ._encodec import EncodecConfig, EncodecNetwork, check_name, hub_config, published_state

SEGMENTS = 8  # of the 48 kHz network computed at once on a GPU; on a CPU one by one is faster, for its caches


class Encodec(Model):
    """What the two have in common. `bandwidth=` may be given to `encode` in place of `streams=`."""

    network: EncodecNetwork
    segmented: ClassVar[bool] = False

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        cast(EncodecNetwork, network).fold()  # on the CPU, so that the weights are the same on every device
        super().__init__(facts, config, network, device, dtype)
        self.settings = EncodecConfig.of(self.config)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        c = EncodecConfig.of(config)
        return {
            "sample_rate": c.sampling_rate,
            "frame_rates": (Fraction(c.sampling_rate, c.hop),) * c.streams,
            "codebook_sizes": (c.codebook_size,) * c.streams,
            "latency": (c.segment or c.hop) / c.sampling_rate,
            "channels": c.audio_channels,
        }

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Our own form, the hub's, or the original `.th` file. Raises `WeightsError` for what is not EnCodec."""
        if (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
            if config.get("model_type") != "encodec":
                return super().read(folder)
            names = [folder / "model.safetensors", folder / "pytorch_model.bin"]
            file = next((name for name in names if name.is_file()), names[0])
            return hub_config(config), published_state(read_state(file))
        files = sorted(folder.glob("encodec_*khz*.th"))
        if len(files) != 1:
            raise WeightsError(
                f"{str(folder)!r} holds no config.json and {len(files)} encodec_*khz*.th files; expected one of these"
            )
        check_name(files[0])
        name = "encodec-48k" if "48khz" in files[0].name else "encodec-24k"
        return EncodecConfig.of(entry(name).config).to_dict(), published_state(read_state(files[0]))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        config = peek_config(folder)
        if config:
            return config.get("model_type") == "encodec" and bool(config.get("chunk_length_s")) == cls.segmented
        return len(list(folder.glob("encodec_48khz*.th" if cls.segmented else "encodec_24khz*.th"))) == 1

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return self.settings.hop

    @property
    def bandwidths(self) -> dict[float, int]:
        """Published bandwidths (kbit/s) and the number of streams of each; every number of streams in between works too."""
        c = self.settings
        return {kbps: max(1, int(Fraction(str(kbps)) // c.stream_kbps)) for kbps in c.target_bandwidths}

    def streams_for(self, bandwidth: float) -> int:
        """Number of streams of a published bandwidth in kbit/s. Raises `ModelError` for another bandwidth."""
        if bandwidth not in self.bandwidths:
            allowed = ", ".join(f"{kbps:g}" for kbps in self.bandwidths)
            raise ModelError(
                f"bandwidth={bandwidth}; {self.facts.name} has {allowed} (kbit/s); streams= takes any number of streams"
            )
        return self.bandwidths[bandwidth]

    def encode(
        self, audio: Any, sample_rate: int | None = None, *, streams: int | None = None, bandwidth: float | None = None
    ) -> Tokens:
        """See `Model.encode`. `bandwidth` (kbit/s) names the number of streams as the publishers do."""
        if bandwidth is not None:
            if streams is not None:
                raise ModelError(f"streams={streams} and bandwidth={bandwidth} were both given; give one")
            streams = self.streams_for(bandwidth)
        return super().encode(audio, sample_rate, streams=streams)


class Encodec24(Encodec):
    """The causal network: 75 frames/s, 32 streams (1.5/3/6/12/24 kbit/s are 2/4/8/16/32 streams).

    Length law: ceil(T / 320) frames.
    """

    batching = "pad"

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> EncodecNetwork:
        """See `Model.build`."""
        c = EncodecConfig.of(config)
        if not c.use_causal_conv or c.norm_type != "weight_norm" or c.normalize or c.segment or c.audio_channels != 1:
            raise ModelError("this is not the configuration of a causal EnCodec (24 kHz); load it as encodec-48k")
        network = EncodecNetwork(c)
        network.fold()
        return network

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / 320) in every stream."""
        return (-(-samples // self.settings.hop),) * self.facts.streams

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        lengths = [len(wav) for wav in wavs]
        with self._inference():
            batch = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
            encoded = self._encode(batch, streams, None if min(lengths) == max(lengths) else lengths)
        return [self._tokens(encoded, i, n, self.frames(n)) for i, n in enumerate(lengths)]

    def _encode(self, wav: Tensor, streams: int, lengths: list[int] | None = None) -> Encoded:
        latent, _, _ = self.network.encoder(wav[:, :, None], None, lengths)
        return Encoded(self.network.quantizer.encode(latent, streams))

    def _decode(self, encoded: Encoded) -> Tensor:
        lengths: list[int] = (encoded.codes[0] >= 0).sum(1).tolist()
        latent = self.network.quantizer.decode([c.clamp(min=0) for c in encoded.codes])
        return self.network.decoder(latent, None, None if min(lengths) == max(lengths) else lengths)[0][:, :, 0]

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _CausalEncoder(self.network, self.settings, streams, self.device)

    def _open_decoder(self) -> DecoderCore:
        return _CausalDecoder(self.network, self.settings, self.device)


class _CausalEncoder:
    """Waits for as many frames as the reflection at the start mirrors, then goes frame by frame."""

    def __init__(self, network: EncodecNetwork, c: EncodecConfig, streams: int, device: torch.device) -> None:
        self.network, self.streams, self.hop = network, streams, c.hop
        self.start = max(c.kernel_size, c.last_kernel_size) * c.hop
        self.held = torch.zeros(1, 0, device=device)
        self.state: list[Any] | None = None

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], dim=1)
        ready = self.held.shape[1] // self.hop * self.hop
        return self._take(ready if self.state is not None or ready >= self.start else 0)

    def finish(self) -> Encoded:
        return self._take(self.held.shape[1])

    def _take(self, samples: int) -> Encoded:
        if not samples:
            return Encoded([self.held.new_zeros(1, 0, dtype=torch.int64)] * self.streams)
        wav, self.held = self.held[:, :samples], self.held[:, samples:].clone()
        latent, self.state, _ = self.network.encoder(wav[:, :, None], self.state)
        return Encoded(self.network.quantizer.encode(latent, self.streams))


class _CausalDecoder:
    """The same in the other direction."""

    def __init__(self, network: EncodecNetwork, c: EncodecConfig, device: torch.device) -> None:
        self.network, self.start = network, max(c.kernel_size, c.last_kernel_size)
        self.held = torch.zeros(1, 0, c.hidden_size, device=device)
        self.state: list[Any] | None = None

    def push(self, encoded: Encoded) -> Tensor:
        self.held = torch.cat([self.held, self.network.quantizer.decode(encoded.codes)], dim=1)
        return self._take(self.state is not None or self.held.shape[1] >= self.start)

    def finish(self) -> Tensor:
        return self._take(True)

    def _take(self, ready: bool) -> Tensor:
        if not ready or not self.held.shape[1]:
            return self.held.new_zeros(1, 0)
        latent, self.held = self.held, self.held[:, :0]
        wav, self.state, _ = self.network.decoder(latent, self.state)
        return wav[:, :, 0]


class Encodec48(Encodec):
    """The stereo network on segments of 1 s that overlap by 1 %: 150 frames/s, 16 streams (3/6/12/24 kbit/s are 2/4/8/16).

    Mono sound is given to both channels, and the two decoded channels are averaged. Each segment is divided by its RMS,
    which `Tokens.extras["scales"]` carries (repeated over the segment's frames), and normalised over its whole length
    inside the network: segments know nothing of each other, and only equally long ones share a batch.

    Length law: one segment at every multiple of 47,520 below T, of n = min(48,000, what is left) samples, makes
    ceil(n / 320) frames. The overlap makes long clips 1 % longer than 150 frames/s. (At some lengths, where the last
    segment is shorter than the overlap, the published implementations fail; the law holds there too.)
    """

    batching = "length"
    segmented = True

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> EncodecNetwork:
        """See `Model.build`."""
        c = EncodecConfig.of(config)
        if c.use_causal_conv or not c.normalize or not c.segment or c.segment % c.hop or 2 * c.step < c.segment:
            raise ModelError(
                "this is not the configuration of an EnCodec that works in segments (48 kHz); load it as encodec-24k"
            )
        network = EncodecNetwork(c)
        network.fold()
        return network

    @property
    def group(self) -> int:
        """Segments computed at once."""
        return 1 if self.device.type == "cpu" else SEGMENTS

    def segments(self, samples: int) -> list[tuple[int, int]]:
        """(start, end) in samples of each segment of a clip, as the reference cuts it: the last may be a single sample."""
        c = self.settings
        return [(start, min(start + c.segment, samples)) for start in range(0, samples, c.step)]

    def frames(self, samples: int) -> tuple[int, ...]:
        """The sum over segments of ceil(n / 320), in every stream."""
        return (sum(-(-(end - start) // self.settings.hop) for start, end in self.segments(samples)),) * self.facts.streams

    def _encode_group(self, wavs: list[Tensor], streams: int) -> list[Tokens]:
        """Clips of one padded length; full segments are batched, others are computed singly."""
        out = []
        for wav in wavs:
            with self._inference():
                encoded = self._encode_segments([wav[start:end] for start, end in self.segments(len(wav))], streams)
            out.append(self._tokens(encoded, 0, len(wav), self.frames(len(wav))))
        return out

    def _encode_segments(self, segments: list[Tensor], streams: int) -> Encoded:
        """Segments (n,) in order -> their frames one after another, (1, N)."""
        parts = []
        full = [s for s in segments if len(s) == self.settings.segment]
        for i in range(0, len(full), self.group):
            parts.append(self._encode(torch.stack(full[i : i + self.group]), streams))
        parts += [self._encode(s[None], streams) for s in segments[len(full) :]]
        empty = torch.zeros(1, 0, device=self.device)
        codes = [torch.cat([empty.long(), *(p.codes[k].reshape(1, -1) for p in parts)], dim=1) for k in range(streams)]
        return Encoded(codes, {"scales": torch.cat([empty, *(p.extras["scales"].reshape(1, -1) for p in parts)], dim=1)})

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        """Segments of one length (B, n <= 48,000), each with its scale over its frames."""
        scale = wav.pow(2).mean(dim=1, keepdim=True).sqrt() + 1e-8
        latent, _, _ = self.network.encoder((wav / scale)[:, :, None].expand(-1, -1, self.settings.audio_channels))
        return Encoded(self.network.quantizer.encode(latent, streams), {"scales": scale.expand(-1, latent.shape[1])})

    def _decode(self, encoded: Encoded) -> Tensor:
        """Segments of one number of frames (B, N <= 150) -> (B, 320 N)."""
        wav, _, _ = self.network.decoder(self.network.quantizer.decode(encoded.codes))
        return wav.mean(dim=2) * encoded.extras["scales"][:, :1]

    def _decode_group(self, clips: list[Tokens]) -> list[np.ndarray]:
        return [self._decode_long(clip) for clip in clips]

    def _decode_long(self, clip: Tokens) -> np.ndarray:
        core = _SegmentDecoder(self, int(clip.lengths[0]))
        step = self.group * self.settings.segment // self.settings.hop
        out = []
        with self._inference():
            for i in range(0, clip.codes[0].shape[1], step):
                extras = {key: value[:, i : i + step].to(self.device) for key, value in clip.extras.items()}
                out.append(core.push(Encoded([c[:, i : i + step] for c in clip.codes], extras)).cpu())
            out.append(core.finish().cpu())
        return torch.cat(out, dim=1)[0, : core.samples].float().numpy()

    def stream_encoder(self, *, streams: int | None = None) -> StreamEncoder:
        """See `Model.stream_encoder`; tokens come segment by segment."""
        streams = self._streams(streams)
        return _SegmentStreamEncoder(self, self._open_encoder(streams), streams)

    def stream_decoder(self, *, voice: Any = None) -> StreamDecoder:
        """See `Model.stream_decoder`; sound comes segment by segment."""
        self._check_voice(voice)
        return _SegmentStreamDecoder(self, _SegmentDecoder(self))

    def _open_encoder(self, streams: int) -> EncoderCore:
        return _SegmentEncoder(self, streams)

    def _open_decoder(self) -> DecoderCore:
        return _SegmentDecoder(self)


class _SegmentEncoder:
    """Gives a segment's frames when all its samples are there."""

    def __init__(self, model: Encodec48, streams: int) -> None:
        self.model, self.streams = model, streams
        self.held = torch.zeros(1, 0, device=model.device)

    def push(self, wav: Tensor) -> Encoded:
        self.held = torch.cat([self.held, wav], dim=1)
        c = self.model.settings
        ready = [s for s in self.model.segments(self.held.shape[1]) if s[1] - s[0] == c.segment]
        encoded = self.model._encode_segments([self.held[0, start:end] for start, end in ready], self.streams)
        self.held = self.held[:, len(ready) * c.step :].clone()
        return encoded

    def finish(self) -> Encoded:
        rest = self.model.segments(self.held.shape[1])
        return self.model._encode_segments([self.held[0, start:end] for start, end in rest], self.streams)


class _SegmentDecoder:
    """Decodes segments and adds them up under triangular weights, which are then divided out.

    `samples` is how much of the clip is known to exist: frames alone do not tell where its last two segments end.
    """

    def __init__(self, model: Encodec48, samples: int = 0) -> None:
        c = model.settings
        self.model, self.samples, self.hop, self.step, self.segment = model, samples, c.hop, c.step, c.segment
        self.held = Encoded([], {})
        self.given = 0  # samples up to the start of the next segment
        self.weights = torch.zeros(0)
        self.tail = torch.zeros(2, 0, device=model.device)  # weighted sound, and weights, from `given` on

    def push(self, encoded: Encoded) -> Tensor:
        scales = encoded.extras.get("scales")
        if scales is None or scales.shape != encoded.codes[0].shape:
            raise TokensError(
                f"tokens of {self.model.facts.name} need extras['scales'], a level per frame; these have none that fits"
            )
        self.held = _joined(self.held, encoded)
        certain = max(0, (self.samples - self.given - self.segment) // self.step + 1)  # so many are whole
        frames = self.segment // self.hop
        return self._take([frames] * min(certain, self.held.codes[0].shape[1] // frames))

    def finish(self) -> Tensor:
        sizes = [-(-(end - start) // self.hop) for start, end in self.model.segments(self.samples - self.given)]
        held = self.held.codes[0].shape[1] if self.held.codes else 0
        if sum(sizes) != held:
            raise TokensError(
                f"the clip ends in {held} frames; {self.samples} samples make it {sum(sizes)}: the tokens are damaged"
            )
        return torch.cat([self._take(sizes), (self.tail[0] / self.tail[1])[None]], dim=1)

    def _take(self, sizes: list[int]) -> Tensor:
        """Sound (1, T) that the next segments, of so many frames each, make certain."""
        out = [self.tail.new_zeros(0)]
        if sizes and not self.given:  # the reference makes the triangle as long as the first segment comes out
            ramp = torch.linspace(0, 1, sizes[0] * self.hop + 2, device=self.tail.device)[1:-1]
            self.weights = 0.5 - (ramp - 0.5).abs()
        while sizes:
            count = sum(size == sizes[0] for size in sizes[: self.model.group])  # the shorter ones come last
            part, self.held = _split(self.held, count * sizes[0])
            batch = Encoded([c.view(count, -1) for c in part.codes], {"scales": part.extras["scales"].view(count, -1)})
            out += [self._overlap(wav) for wav in self.model._decode(batch)]
            sizes = sizes[count:]
        return torch.cat(out)[None]

    def _overlap(self, wav: Tensor) -> Tensor:
        """wav (n,) of the next segment -> the samples up to the start of the one after it."""
        weights, left = self.weights[: len(wav)], self.tail.shape[1]
        both = F.pad(torch.stack([weights * wav, weights]), (0, max(0, left - len(wav))))
        both[:, :left] += self.tail
        sound, self.tail = both[:, : self.step], both[:, self.step :].clone()
        self.given += self.step
        return sound[0] / sound[1]


def _joined(a: Encoded, b: Encoded) -> Encoded:
    if not a.codes:
        return b
    codes = [torch.cat(pair, dim=1) for pair in zip(a.codes, b.codes, strict=True)]
    return Encoded(codes, {"scales": torch.cat([a.extras["scales"], b.extras["scales"]], dim=1)})


def _split(a: Encoded, frames: int) -> tuple[Encoded, Encoded]:
    head = Encoded([c[:, :frames] for c in a.codes], {"scales": a.extras["scales"][:, :frames]})
    return head, Encoded([c[:, frames:] for c in a.codes], {"scales": a.extras["scales"][:, frames:]})


class _SegmentStreamEncoder(StreamEncoder):
    """Counts samples by segments: the first covers 48,000, every other 47,520 more."""

    model: Encodec48

    def _span(self, encoded: Encoded) -> int:
        c = self.model.settings
        count = encoded.codes[0].shape[1] // (c.segment // c.hop)
        return count * c.step + (c.segment - c.step if count and not self.covered else 0)


class _SegmentStreamDecoder(StreamDecoder):
    """Tells the core how long the clip is known to be."""

    core: _SegmentDecoder

    def push(self, tokens: Tokens) -> Audio:
        """See `StreamDecoder.push`."""
        self.core.samples = self.length + int(tokens.lengths.sum())
        return super().push(tokens)
