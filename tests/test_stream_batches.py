"""Many streams in one batch: what each slot gives is what a stream of its own gives, whenever its clip begins and ends."""

from __future__ import annotations

from dataclasses import replace

import conformance
import numpy as np
import pytest
import torch

import voxzoo
from voxzoo import ModelError, NotDecodableError, Tokens
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model


def tiny(name: str) -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


def converse(model: Model, rng: np.random.Generator) -> None:
    """Five clips over three slots, pushed in pieces of any length, a slot silent now and then."""
    unit = conformance.hop(model)
    sizes = (9 * unit + 5, 21 * unit, 14 * unit + 1, 3, 12 * unit + 7)
    clips = [conformance.sound(model, n, i) for i, n in enumerate(sizes)]
    waiting, at = list(range(len(clips))), {}
    parts: dict[int, list[Tokens]] = {i: [] for i in waiting}
    with model.stream_encoders(3) as batch:
        while waiting or at:
            for slot in range(3):
                if slot not in at and waiting and rng.random() < 0.7:
                    at[slot] = (waiting.pop(0), 0)
            pushed = {}
            for slot, (clip, start) in at.items():
                if rng.random() < 0.8:
                    n = int(rng.choice([unit, unit, 2 * unit, unit // 2]))
                    pushed[slot] = clips[clip].samples[start : start + n]
                    at[slot] = (clip, start + n)
            for slot, tokens in batch.push(pushed).items():
                parts[at[slot][0]].append(tokens)
            for slot, (clip, start) in list(at.items()):
                if start >= len(clips[clip]):
                    parts[clip].append(batch.finish(slot))
                    del at[slot]
    for i, clip in enumerate(clips):
        assert conformance.same_codes(Tokens.concatenate(parts[i]), model.encode(clip)), i


@pytest.mark.parametrize("name", ["mimi", "vox-snac-16k"])
@pytest.mark.parametrize("seed", range(2))
def test_slots_encode_as_streams_of_their_own(name: str, seed: int) -> None:
    converse(tiny(name), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(2))
def test_slots_decode_as_streams_of_their_own(seed: int) -> None:
    model = tiny("mimi")
    rng = np.random.default_rng(seed)
    unit = conformance.hop(model)
    tokens = [model.encode(conformance.sound(model, n * unit, n)) for n in (4, 17, 9)]
    wanted = [model.decode(clip).samples for clip in tokens]
    heard: list[list[np.ndarray]] = [[] for _ in tokens]
    at = [0] * len(tokens)
    with model.stream_decoders(len(tokens)) as batch:
        while any(start < len(w) // unit for start, w in zip(at, wanted, strict=True)):
            pushed = {}
            for i, clip in enumerate(tokens):
                n = int(rng.integers(1, 3))
                if at[i] < clip.codes[0].shape[1] and rng.random() < 0.7:
                    pushed[i] = cut(clip, at[i], at[i] + n)
                    at[i] += n
            for i, audio in batch.push(pushed).items():
                heard[i].append(audio.samples)
        for i in range(len(tokens)):
            heard[i].append(batch.finish(i).samples)
    for parts, want in zip(heard, wanted, strict=True):
        assert np.abs(np.concatenate(parts) - want).max() <= 1e-5


def cut(clip: Tokens, start: int, end: int) -> Tokens:
    codes = [c[:, start:end] for c in clip.codes]
    return replace(clip, codes=codes, lengths=np.array([codes[0].shape[1] * int(clip.lengths[0]) // clip.codes[0].shape[1]]))


def test_slots_that_get_as_much_share_one_run_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("mimi")
    unit = conformance.hop(model)
    sizes: list[int] = []
    encode = model.network.encode
    monkeypatch.setattr(model.network, "encode", lambda wav, state=None: (sizes.append(len(wav)), encode(wav, state))[1])
    with model.stream_encoders(3) as batch:
        batch.push({0: torch.zeros(2 * unit)})
        batch.push({1: torch.zeros(unit)})
        batch.push({slot: torch.zeros(unit) for slot in (0, 1, 2)})  # 2 is at its beginning
        batch.push({slot: torch.zeros(unit) for slot in (0, 1, 2)})
    assert sizes == [1, 1, 2, 1, 3]


def test_slots_refuse_what_they_cannot_do() -> None:
    model = tiny("mimi")
    with pytest.raises(ModelError, match="slots=0"):
        model.stream_encoders(0)
    with pytest.raises(NotDecodableError):
        tiny("baichuan-audio").stream_decoders(2)
    with model.stream_encoders(2) as batch:
        with pytest.raises(ModelError, match="no slot 2; there are 0 to 1"):
            batch.push({2: torch.zeros(5)})
        with pytest.raises(ModelError, match="slot 1 carries no clip"):
            batch.finish(1)
    with pytest.raises(ModelError, match="finished"):
        batch.push({0: torch.zeros(5)})
