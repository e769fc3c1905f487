"""TiCodec as Freeze-Omni speaks with it: one stream at 40 frames/s for what is said, and a fixed code for who says it.

Ren et al. 2024, "Fewer-token Neural Speech Codec with Time-invariant Codes", arXiv:2310.00014; published at
github.com/y-ren16/TiCodec (Apache-2.0 by its README). Freeze-Omni's weights come with a configuration that also holds the
code of its voice: Wang et al. 2024, "Freeze-Omni", arXiv:2411.00774, github.com/VITA-MLLM/Freeze-Omni.

Tokens hold what is said only, and `decode` speaks them in the voice that came with the weights. Another voice can be taken from
a clip, since the encoder finds a voice's code as well:

    other = model.with_voice(model.voice_of("speaker.wav"))
    audio = other.decode(tokens)

A clip is padded with zeros to whole frames of 600 samples; the published encoder drops the rest of a clip instead. The encoder
normalises over the whole clip, so every token depends on all of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.audio import Audio, AudioSource
from ..core.convs import fold, receptive
from ..core.errors import AudioError, ModelError, WeightsError
from ..core.facts import Facts
from ..core.model import Encoded, Model
from ..core.weights import read_checkpoint, read_json
from ..core.windows import Blocks, WindowedDecoder, WindowedEncoder
from ._ticodec import DEFAULTS, Network, complete, from_published

__all__ = ["Ticodec"]

CONTEXT = 10.0  # seconds of sound on each side of a window of a long clip
PARTS = ("encoder", "quantizer", "generator")  # of a checkpoint


class Ticodec(Model):
    """TiCodec behind the common interface. Its parameters are counted with weight norm multiplied in.

    Attributes:
        voice: the code of the voice that `decode` speaks in, one number for each of its codebooks.
    """

    network: Network
    batching: ClassVar = "length"  # zeros at the end of a clip are normalised with it
    window: ClassVar[float] = 40.0

    def __init__(
        self, facts: Facts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        super().__init__(facts, complete(config), network, device, dtype)
        fold(self.network)
        self.voice: tuple[int, ...] = tuple(self.config["global_tokens"])
        waits = self._encoder_blocks().right + self._encoder_blocks().most + self._decoder_blocks().right
        self.facts = replace(self.facts, latency=waits * self.pad_multiple / self.facts.sample_rate)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Model.shape`."""
        config = complete(config)
        streams = config["n_code_groups"] * config["residul_layer"]
        return {
            "sample_rate": config["sampling_rate"],
            "frame_rates": (Fraction(config["sampling_rate"], math.prod(config["upsample_rates"])),) * streams,
            "codebook_sizes": (config["n_codes"],) * streams,
        }

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Network:
        """The network with random weights, on the way to the codes without biases and with codewords of the size of frames:
        torch's own starting values give almost the same codes for any sound."""
        network = Network(complete(config))
        for name, parameter in network.named_parameters():
            if name.startswith("encoder") and name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "quantizer_modules" in name:
                nn.init.normal_(parameter, std=0.05)
        return network

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The published form, `model.json` with `final.pt`, or our own."""
        if not (folder / "model.json").is_file():
            return super().read(folder)
        published = read_json(folder / "model.json")
        if str(published.get("resblock")) != "1":
            raise WeightsError(
                f"model.json has resblock {published.get('resblock')!r}; TiCodec as Freeze-Omni has it is of '1'"
            )
        if "global_tokens" not in published:
            raise WeightsError("model.json has no global_tokens, the code of the voice that decoding speaks in; add them")
        config = complete({key: published[key] for key in DEFAULTS if key in published})
        checkpoint = read_checkpoint(folder / "final.pt")
        if not isinstance(checkpoint, dict) or not all(_is_state(checkpoint.get(part)) for part in PARTS):
            raise WeightsError(f"{str(folder / 'final.pt')!r} is no checkpoint of TiCodec: it needs {', '.join(PARTS)}")
        state = {f"{part}.{key}": value for part in PARTS for key, value in checkpoint[part].items()}
        return config, from_published(state, len(config["resblock_kernel_sizes"]))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Model.recognises`."""
        try:
            return "global_feature_conv" in read_json(folder / "model.json") and (folder / "final.pt").is_file()
        except WeightsError:
            return False

    @property
    def pad_multiple(self) -> int:
        """Samples per frame."""
        return math.prod(self.config["upsample_rates"])

    def frames(self, samples: int) -> tuple[int, ...]:
        """ceil(T / 600) in every stream."""
        return (-(-samples // self.pad_multiple),) * self.facts.streams

    def voice_of(self, audio: Audio | AudioSource) -> tuple[int, ...]:
        """The code of the voice that speaks in a clip (an `Audio` or a file; of a clip longer than 40 s the start), for
        `with_voice`. Raises `AudioError`."""
        clip = audio if isinstance(audio, Audio) else Audio.read(audio)
        clip = Audio(clip.samples[: int(self.window * clip.sample_rate)], clip.sample_rate)
        samples = torch.from_numpy(clip.resample(self.facts.sample_rate, self.resampler).samples).to(self.device)
        if not len(samples):
            raise AudioError("the clip holds no samples")
        with self._inference():
            wav = F.pad(samples, (0, -len(samples) % self.pad_multiple))[None]
            codes = self.network.quantizer.find_voice(self.network.encoder.voice(wav).float())
        return tuple(codes[0].tolist())

    def with_voice(self, voice: Sequence[int]) -> Ticodec:
        """This model, decoding in another voice. It decodes the same tokens: weights and fingerprint are shared.

        Raises `ModelError` for what is no voice's code.
        """
        books, size = self.config["global_code_num"], self.config["n_codes"]
        if len(voice) != books or not all(0 <= code < size for code in voice):
            raise ModelError(f"voice {tuple(voice)}; expected {books} numbers from 0 to {size - 1}, as voice_of gives them")
        other = copy.copy(self)
        other.voice = tuple(voice)
        return other

    def _encode(self, wav: Tensor, streams: int) -> Encoded:
        frames = torch.cat([self.network.encoder(part) for part in wav.split(self._together)])
        return Encoded(self.network.quantizer.encode(frames, streams))

    def _decode(self, encoded: Encoded) -> Tensor:
        voice = self.network.quantizer.voice(torch.tensor(self.voice, device=self.device))[None]
        parts = zip(*(codes.split(self._together) for codes in encoded.codes), strict=True)
        return torch.cat([self.network.generator(self.network.quantizer.decode(part), voice) for part in parts])

    @property
    def _together(self) -> int:
        """Clips that run at once. A CPU's cache holds one clip's activations, not a batch's."""
        return 1 if self.device.type == "cpu" else 64

    def _encoder_blocks(self, streams: int | None = None) -> Blocks:
        size = self.pad_multiple
        around, most = (int(seconds * self.facts.sample_rate) // size for seconds in (CONTEXT, self.window))
        return Blocks(size, (1,) * (streams or self.facts.streams), around, around, most, fixed=True)

    def _decoder_blocks(self) -> Blocks:
        size = self.pad_multiple
        first, last = receptive(self.network.generator.layers, 0, size - 1)
        most = max(1, int(self.window * self.facts.sample_rate) // size)
        return Blocks.reaching(size, (1,) * self.facts.streams, -first, last, 1, most)

    def _open_encoder(self, streams: int) -> WindowedEncoder:
        return WindowedEncoder(lambda wav: self._encode(wav, streams), self._encoder_blocks(streams))

    def _open_decoder(self) -> WindowedDecoder:
        return WindowedDecoder(self._decode, self._decoder_blocks())


def _is_state(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(value, Tensor) for value in part.values())
