"""What `Model.encode` and `Model.decode` take, give, and refuse, on a small model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import voxzoo
from voxzoo import Audio, AudioError, ModelError, TokensError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model

ENTRY = voxzoo.entry("vox-rvq-16k")
WAV = (0.1 * np.random.default_rng(0).standard_normal(900)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(ENTRY, {**ENTRY.config, **ENTRY.tiny})


@pytest.mark.parametrize(
    "form",
    [
        WAV,
        WAV.astype(np.float64),
        WAV[None],
        torch.from_numpy(WAV),
        torch.from_numpy(WAV)[None],
        torch.from_numpy(WAV.copy()).requires_grad_(),
        Audio(WAV, 1600),
    ],
)
def test_forms_of_one_clip(model: Model, form: Any) -> None:
    tokens = model.encode(form, sample_rate=1600)
    assert len(tokens) == 1
    assert isinstance(tokens.codes[0], torch.Tensor)
    audio = model.decode(tokens)
    assert isinstance(audio, Audio)
    assert len(audio) == len(WAV)
    assert all(bool((a == b).all()) for a, b in zip(tokens.codes, model.encode(WAV, 1600).codes, strict=True))


def test_several_clips(model: Model, tmp_path: Path) -> None:
    Audio(WAV, 1600).write(tmp_path / "a.wav", "FLOAT")
    clips = [tmp_path / "a.wav", str(tmp_path / "a.wav"), (tmp_path / "a.wav").read_bytes(), Audio(WAV[:1], 1600), WAV[:333]]
    tokens = model.encode(clips, sample_rate=1600)
    assert tokens.lengths.tolist() == [900, 900, 900, 1, 333]
    assert [len(audio) for audio in model.decode(tokens)] == [900, 900, 900, 1, 333]
    assert len(model.decode(model.encode(np.stack([WAV, WAV]), 1600))) == 2
    assert len(model.decode(model.encode([WAV], 1600))) == 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.encode(WAV), AudioError, "need sample_rate="),
        (lambda m: m.encode((WAV * 32768).astype(np.int16), 1600), AudioError, "divide int16 by 32768"),
        (lambda m: m.encode(WAV * 32768, 1600), AudioError, "the peak is"),
        (lambda m: m.encode([]), AudioError, "no clips"),
        (lambda m: m.encode(WAV[:0], 1600), AudioError, "no samples"),
        (lambda m: m.encode(np.zeros((2, 2, 2)), 1600), AudioError, r"expected \(T,\)"),
        (lambda m: m.encode(5), AudioError, "cannot encode a int"),
        (lambda m: m.encode(np.full(9, np.nan, np.float32), 1600), AudioError, "sample 0 is nan"),
        (lambda m: m.encode(WAV, 1600, streams=9), ModelError, "has 1 to 8"),
        (lambda m: m.encode(WAV, 0), AudioError, "sample_rate is 0"),
        (lambda m: m.decode("tokens.safetensors"), TokensError, r"Tokens\.load"),
        (lambda m: m.stream_decoder().push(m.encode([WAV, WAV], 1600)), TokensError, "2 clips"),
        (lambda m: m.stream_encoder().finish(), AudioError, "no samples"),
        (lambda m: m.stream_encoder().push(WAV[None]), AudioError, r"expected float \(T,\)"),
    ],
)
def test_what_is_refused(model: Model, call: Callable[[Model], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(model)


def test_tokens_that_break_the_length_law(model: Model) -> None:
    tokens = model.encode(WAV, 1600)
    short = voxzoo.Tokens([c[:, :-1] for c in tokens.codes], tokens.lengths, tokens.facts, tokens.fingerprint)
    with pytest.raises(TokensError, match="the tokens are damaged"):
        model.decode(short)


def test_a_closed_stream(model: Model) -> None:
    with model.stream_encoder() as stream:
        stream.push(WAV)
    with pytest.raises(ModelError, match="open a new one"):
        stream.push(WAV)
