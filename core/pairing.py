"""How a tokenizer without a decoder of its own is heard: through a flow that speaks its tokens, and a vocoder.

Which flow plays which tokenizer is data of the decoders' registry: a flow's entry names the tokenizers in `plays`, and the
vocoder that takes its mel in `vocoder`. Nothing is fetched here: what is not on this machine is named in the error.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from .audio import Audio
from .decoder import load_decoder
from .decoders import DecoderEntry, decoder_entry, decoders
from .errors import ModelError, NotDecodableError
from .flow import Flow, FlowSettings
from .mel import Mel
from .streaming import DecoderCore, Encoded, StreamDecoder
from .tokens import Tokens
from .vocoder import Vocoder
from .weights import bundled_folder

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Speech", "paired", "players", "present"]


class Speech:
    """A tokenizer's tokens to sound.

    Attributes:
        flow, vocoder: tokens to mel, and mel to sound.
    """

    def __init__(self, model: Model, flow: Flow, vocoder: Vocoder) -> None:
        """Raises `ModelError` where the vocoder takes another mel than the flow gives."""
        if flow.front != vocoder.front:
            differing = flow.front.differences(vocoder.front)
            raise ModelError(f"{vocoder.facts.name} does not take the mel of {flow.facts.name}: {differing}")
        self.model, self.flow, self.vocoder = model, flow, vocoder

    def decode(self, tokens: Tokens, *, voice: Any = None, settings: FlowSettings | None = None) -> Any:
        """Sound of tokens at the vocoder's rate: an `Audio`, or a list of them when a list was encoded.

        Each is as long as its clip was. voice, settings: see `Flow.mel`, whose errors this raises; beside those of
        `Model.check`, for tokens that the model did not make or that do not obey its length law.
        """
        self.model.check(tokens)
        mels = self.flow.mel(tokens, voice=voice, settings=settings)
        audios = [self._sound(mel) for mel in (mels if isinstance(mels, list) else [mels])]
        rate, ours = self.vocoder.facts.sample_rate, self.model.facts.sample_rate
        lengths = [-(-int(n) * rate // ours) for n in tokens.lengths]
        fitted = [Audio(_fit(audio.samples, n), rate) for audio, n in zip(audios, lengths, strict=True)]
        return fitted if tokens.batched else fitted[0]

    def _sound(self, mel: Mel) -> Audio:
        return cast(Audio, self.vocoder.synthesize(mel))

    def stream(self, *, voice: Any = None, settings: FlowSettings | None = None) -> StreamDecoder:
        """`push(tokens) -> Audio`, `finish() -> Audio`. Raises `ModelError` where flow or vocoder do not stream."""
        rate, ours = self.vocoder.facts.sample_rate, self.model.facts.output_rate
        if rate != ours:
            raise ModelError(f"{self.vocoder.facts.name} sounds at {rate} Hz, and a stream at {self.model.facts.name}'s {ours}")
        return StreamDecoder(self.model, _Core(self, voice, settings or FlowSettings()))


class _Core(DecoderCore):
    """Tokens through both streams."""

    def __init__(self, speech: Speech, voice: Any, settings: FlowSettings) -> None:
        self.flow = speech.flow.stream(voice=voice, settings=settings)
        self.vocoder = speech.vocoder.stream()

    def push(self, encoded: Encoded) -> Tensor:
        if not encoded.codes[0].shape[1]:
            return torch.zeros(1, 0)
        return self._wav(self.vocoder.push(self.flow.push(encoded.codes[0][0])))

    def finish(self) -> Tensor:
        if not self.flow.pushed:
            return torch.zeros(1, 0)
        return torch.cat([self._wav(self.vocoder.push(self.flow.finish())), self._wav(self.vocoder.finish())], 1)

    def _wav(self, audio: Audio) -> Tensor:
        return torch.from_numpy(audio.samples)[None]


def players(name: str) -> list[DecoderEntry]:
    """The flows that speak the tokens of the tokenizer called `name`."""
    return [item for item in map(decoder_entry, decoders()) if name in item.plays]


def paired(model: Model) -> Speech:
    """The flow and the vocoder on this machine that play the model's tokens.

    Raises `NotDecodableError`, which names what would be needed, where there is no such pair.
    """
    found = players(model.facts.name)
    if not found:
        raise NotDecodableError(f"{model.facts.name} has no decoder: {model.undecodable}")
    missing: list[str] = []
    for item in found:
        lacking = [part for part in (item, decoder_entry(item.vocoder)) if not present(part)]
        if lacking:
            missing += [part.name for part in lacking if part.name not in missing]
            continue
        device = str(model.device)
        flow, vocoder = load_decoder(item.name, device=device), load_decoder(item.vocoder, device=device)
        speech = Speech(model, cast(Flow, flow), cast(Vocoder, vocoder))
        wanted = flow.config.get("fingerprint")
        if wanted and wanted != model.fingerprint:
            raise NotDecodableError(
                f"{item.name} speaks the tokens of the bundled {model.facts.name} (fingerprint {wanted[:16]}), not of this one "
                f"({model.fingerprint[:16]}): train one for it with `voxzoo train {item.name} --tokenizer FOLDER`"
            )
        return speech
    raise NotDecodableError(
        f"{model.facts.name} has no decoder of its own, and the weights of {' and '.join(missing)}, which would speak its "
        "tokens, are not on this machine: put them into $VOXZOO_WEIGHTS/NAME, or load them with load_decoder"
    )


def present(item: DecoderEntry) -> bool:
    """Whether the decoder's weights are on this machine, in `$VOXZOO_WEIGHTS`, inside the package or in the hub's cache."""
    root = os.environ.get("VOXZOO_WEIGHTS")
    if root and (Path(root) / item.name).is_dir():
        return True
    if item.bundled:
        return (bundled_folder(item.name) / "config.json").is_file()
    if item.weights is None or importlib.util.find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    weights = item.weights
    return all(
        isinstance(try_to_load_from_cache(weights.repo, weights.path(file), revision=weights.revision), str)
        for file in weights.files
    )


def _fit(samples: Any, length: int) -> Any:
    """Cut to `length`, or zero-padded: a clip's last token may stand for less than a whole one."""
    if len(samples) >= length:
        return samples[:length].copy()
    return torch.nn.functional.pad(torch.from_numpy(samples), (0, length - len(samples))).numpy()
