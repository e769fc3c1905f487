"""`Decoder`: what turns frames back into sound, and the loading of one from the decoders' registry or from a folder.

    vocoder = load_decoder("vox-hifigan-16k")       # a name of the decoders' registry, or a folder
    mel = vocoder.mel(audio)                        # Mel: frames (1, M, F) and every constant they were made with
    audio = vocoder.synthesize(mel)                 # Audio of hop F samples
    with vocoder.stream() as s: ...                 # push(frames) -> Audio, finish() -> Audio; joined, they equal `synthesize`

One whose frames are log-mel is a `Vocoder` (vocoder.py), one that takes the codes of a tokenizer a `CodeDecoder`
(code_decoder.py).
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .decoders import DecoderEntry, DecoderFacts, decoder_entry, decoders
from .errors import ModelError, VoxzooError, WeightsError
from .loading import check_device
from .weights import FORMAT, check_fit, find, fingerprint, load_strict, peek_config, read_json, read_state, save_folder

__all__ = ["Decoder", "decoder_class", "load_decoder", "random_decoder"]


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

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether `folder` holds weights in the form this family publishes them, by its config alone."""
        return False

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`; `load_decoder(folder)` gives this decoder again."""
        save_folder(Path(folder), self.facts.name, self.config, self.network.state_dict())


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
        name: a name of the decoders' registry, or a folder, in our own form or in a published one.
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
        return _read(_entry_of(folder), folder, device)
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


def _entry_of(folder: Path) -> DecoderEntry:
    """Of our own form, the entry it names; of a published one, the first of the family that knows it."""
    known = peek_config(folder).get("model")
    if known in decoders():
        return decoder_entry(known)
    for item in map(decoder_entry, decoders()):
        if decoder_class(item).recognises(folder):
            unknown = "not known: ask where these weights come from"
            return replace(item, facts=replace(item.facts, weights_licence=unknown))
    raise ModelError(f"{str(folder)!r} holds no decoder in a form that is known; with a name it may be: NAME, weights=FOLDER")


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
