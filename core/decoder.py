"""`Decoder`: what turns frames back into sound, behind one interface; `Vocoder` is one whose frames are log-mel.

    vocoder = load_decoder("vox-hifigan-16k")       # a name of the decoders' registry, or a folder
    mel = vocoder.mel(audio)                        # Mel: frames (1, M, F) and every constant they were made with
    audio = vocoder.synthesize(mel)                 # Audio of hop F samples
    with vocoder.stream() as s: ...                 # push(frames) -> Audio, finish() -> Audio; joined, they equal `synthesize`

A family of vocoders implements `build`, `front_end` and `reach`, and reads its published form in `read`; its network takes
frames (B, M, F) and gives wav (B, hop F). Letters as everywhere: B batch, M mel bands, F frames, T samples.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from .audio import Audio
from .decoders import DecoderEntry, DecoderFacts, decoder_entry, decoders
from .errors import AudioError, ModelError, VoxzooError, WeightsError
from .loading import check_device
from .mel import LogMel, Mel
from .weights import FORMAT, check_fit, find, fingerprint, load_strict, peek_config, read_json, read_state, save_folder

__all__ = ["Decoder", "Vocoder", "VocoderStream", "decoder_class", "load_decoder", "random_decoder"]

WINDOW = 2000  # frames that are made into sound at a time, beside their context


class Decoder(ABC):
    """A decoder. Built by `load_decoder`.

    Attributes:
        facts: of this very decoder (its params are counted).
        fingerprint: sha256 of config and weights.
        network: the torch module, in eval mode.
        config: the JSON-able configuration it was built from.
    """

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        self.config = dict(config)
        self.network = network.eval().requires_grad_(False)
        self.fingerprint = fingerprint(self.config, network)
        params = sum(t.numel() for t in network.parameters())
        self.facts = replace(facts, **self.shape(self.config), params=params)
        self.device = torch.device(device)
        self.network.to(self.device)

    @classmethod
    @abstractmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """`sample_rate`, `frame_rate` and `context` of a configuration."""

    @classmethod
    @abstractmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights. Raises `ModelError` on unknown keys."""

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Config and state dict of a folder in our own form; families add the form their weights are published in."""
        data = read_json(folder / "config.json")
        if data.get("format") != FORMAT or not isinstance(data.get("config"), dict):
            raise ModelError(f"{str(folder)!r} is not a voxzoo folder: config.json has no format {FORMAT} config")
        return data["config"], read_state(folder / "model.safetensors")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`; `load_decoder(folder)` gives this decoder again."""
        save_folder(Path(folder), self.facts.name, self.config, self.network.state_dict())


class Vocoder(Decoder):
    """Log-mel frames to sound, hop samples for each frame.

    Attributes:
        front: the mel front end, every constant of it.
    """

    def __init__(self, facts: DecoderFacts, config: Mapping[str, Any], network: nn.Module, device: str = "cpu") -> None:
        super().__init__(facts, config, network, device)
        self.front = self.front_end(self.config)

    @classmethod
    @abstractmethod
    def front_end(cls, config: Mapping[str, Any]) -> LogMel:
        """The mel front end of a configuration."""

    @classmethod
    @abstractmethod
    def reach(cls, config: Mapping[str, Any]) -> tuple[int, int] | None:
        """Frames before and after one that its sound depends on; None where that is all of them."""

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration."""
        front = cls.front_end(config)
        rate = Fraction(front.sample_rate, front.hop)
        return {"sample_rate": front.sample_rate, "frame_rate": rate, "context": cls.reach(config)}

    def mel(self, audio: Any) -> Mel:
        """Log-mel frames of a path or an `Audio`, resampled to the vocoder's rate if need be.

        Raises `AudioError` for sound that is shorter than one frame.
        """
        sound = audio if isinstance(audio, Audio) else Audio.read(audio)
        wav = torch.from_numpy(sound.resample(self.facts.sample_rate).samples)[None].to(self.device)
        if self.front.frames(wav.shape[1]) < 1:
            raise AudioError(f"{wav.shape[1]} samples are too few for {self.facts.name}; expected at least {self.front.hop}")
        with torch.no_grad():
            return Mel(self.front(wav), self.front)

    def synthesize(self, mel: Any) -> Any:
        """Sound of log-mel frames, hop samples for each.

        Args:
            mel: a `Mel`, whose constants must be this vocoder's, or bare frames (M, F) or (B, M, F), numpy or torch.

        Returns:
            `Audio`; a list of them where B > 1.

        Raises:
            ModelError: constants of another front end, another number of bands, no frames, or values that are not finite.
        """
        frames = self.frames(mel)
        with torch.no_grad():
            wavs = self._windowed(frames).float().cpu().numpy()
        audios = [Audio(wav, self.facts.sample_rate) for wav in wavs]
        return audios if len(audios) > 1 else audios[0]

    def stream(self) -> VocoderStream:
        """Frames in, sound out, exact. Raises `ModelError` where the sound depends on all frames."""
        return VocoderStream(self)

    def frames(self, mel: Any, least: int = 1) -> Tensor:
        """Frames (B, M, F) on the vocoder's device, checked as `synthesize` says; `least`: the fewest frames there may be."""
        if isinstance(mel, Mel):
            if mel.front != self.front:
                differing = mel.front.differences(self.front)
                raise ModelError(f"this mel is not of {self.facts.name}'s front end: {differing}")
            mel = mel.frames
        try:
            frames = torch.as_tensor(mel, dtype=torch.float32, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise ModelError(f"cannot make sound of a {type(mel).__name__}; expected frames (M, F) or (B, M, F)") from None
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.shape[1] != self.front.bands or not len(frames):
            raise ModelError(
                f"mel of shape {tuple(frames.shape)}; {self.facts.name} takes {self.front.bands} bands: "
                f"({self.front.bands}, F) or (B, {self.front.bands}, F)"
            )
        if frames.shape[2] < least:
            raise ModelError(f"a mel of no frames; {self.facts.name} wants at least one")
        if not bool(torch.isfinite(frames).all()):
            raise ModelError("the mel holds NaN or infinity")
        return frames

    def _windowed(self, frames: Tensor) -> Tensor:
        """frames (B, M, F) -> wav (B, hop F); long clips in windows with their context, in bounded memory."""
        count, context = frames.shape[2], self.facts.context
        if context is None or count <= WINDOW + sum(context):
            return self.network(frames)
        before, after = context
        parts = []
        for start in range(0, count, WINDOW):
            begin, end = max(0, start - before), min(count, start + WINDOW)
            wav = self.network(frames[:, :, begin : min(count, end + after)])
            parts.append(wav[:, (start - begin) * self.front.hop : (end - begin) * self.front.hop].cpu())
        return torch.cat(parts, 1)


class VocoderStream:
    """Holds back the frames whose sound is not certain yet, and as many before them as that sound needs."""

    def __init__(self, vocoder: Vocoder) -> None:
        if vocoder.facts.context is None:
            raise ModelError(f"{vocoder.facts.name} cannot stream: its sound depends on all frames; use synthesize")
        self.vocoder = vocoder
        self.before, self.after = vocoder.facts.context
        self.held = torch.zeros(1, vocoder.front.bands, 0, device=vocoder.device)
        self.done = 0  # frames of `held` whose sound was given
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def push(self, mel: Any) -> Audio:
        """Frames (M, n), any n -> the sound that is now certain, possibly none."""
        frames = self.vocoder.frames(mel, 0)
        if len(frames) != 1:
            raise ModelError(f"a stream takes one clip; {len(frames)} were pushed")
        return self._give(frames, self.after)

    def finish(self) -> Audio:
        """The sound of the frames still held back; the stream is closed."""
        audio = self._give(self.held[:, :, :0], 0)
        self.open = False
        return audio

    @torch.no_grad()
    def _give(self, frames: Tensor, after: int) -> Audio:
        if not self.open:
            raise ModelError("this stream is finished; open another")
        self.held = torch.cat([self.held, frames], 2)
        count, hop = self.held.shape[2], self.vocoder.front.hop
        sure = max(self.done, count - after)
        wav = self.held.new_zeros(0)
        if sure > self.done:
            wav = self.vocoder.network(self.held)[0, self.done * hop : sure * hop]
        drop = max(0, sure - self.before)
        self.held, self.done = self.held[:, :, drop:], sure - drop
        return Audio(wav.float().cpu().numpy(), self.vocoder.facts.sample_rate)


def decoder_class(item: DecoderEntry) -> type[Decoder]:
    """Import the class that builds `item`."""
    module, _, name = item.build.partition(":")
    cls: type[Decoder] = getattr(importlib.import_module(module), name)
    return cls


def load_decoder(
    name: str | os.PathLike[str], *, weights: str | os.PathLike[str] | None = None, device: str = "cpu"
) -> Decoder:
    """Load a decoder.

    Args:
        name: a name of the decoders' registry, or a folder in our own form.
        weights: a folder with the checkpoint, as published or in our own form; "random" builds the real-size network with
            random weights (seed 0). By default `$VOXZOO_WEIGHTS/<name>`, the bundled weights, or the hub.
        device: "cpu", "cuda", "cuda:1", ...

    Raises:
        UnknownModelError: no such name; near matches are given.
        WeightsError: weights missing, damaged, of another shape, or unsafe.
        ModelError: a device that is not there, or a folder that holds no decoder.
    """
    check_device(device)
    text, folder = os.fspath(name), Path(name)
    if text not in decoders() and folder.is_dir():
        if weights is not None:
            raise ModelError(f"{text!r} is a folder, which holds its weights; leave out weights={os.fspath(weights)!r}")
        known = peek_config(folder).get("model")
        if known not in decoders():
            raise ModelError(
                f"{text!r} holds no decoder in our own form; for a published one give its name: NAME, weights=FOLDER"
            )
        return _read(decoder_entry(known), folder, device)
    item = decoder_entry(text)
    if weights == "random":
        return random_decoder(item, item.config, device=device)
    return _read(item, find(item, weights), device)


def random_decoder(item: DecoderEntry, config: Mapping[str, Any], seed: int = 0, device: str = "cpu") -> Decoder:
    """A decoder of this configuration with random weights; the global random state is left as it was."""
    cls = decoder_class(item)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cls.build(config)
    return cls(item.facts, config, network, device)


def _read(item: DecoderEntry, folder: Path, device: str) -> Decoder:
    try:
        cls = decoder_class(item)
        config, state = cls.read(folder)
        with torch.device("meta"):
            check_fit(cls.build(config), state, item.name)
        network = cls.build(config)
        load_strict(network, state, item.name)
        return cls(item.facts, config, network, device)
    except VoxzooError:
        raise
    except Exception as error:  # a configuration is a stranger's data, and may hold anything
        raise WeightsError(f"{str(folder)!r} makes no {item.name}: {type(error).__name__}: {error}") from error
