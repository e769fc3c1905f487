"""Agreement of codes against plain loops, and each check of stability on models that are known to pass or fail it."""

from __future__ import annotations

import functools
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import voxzoo
from voxzoo import Audio, Tokens, TokensError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.eval.agreement import Agreement, agreement, agreement_of_clips, clip_codes
from voxzoo.eval.stability import Check, default_checks, engine, slice_samples, slices, stability, streaming

RATE = 16000
FACTS = replace(voxzoo.entry("vox-rvq-16k").facts, frame_rates=(Fraction(100), Fraction(50)), codebook_sizes=(1000, 8))
streams = st.lists(st.integers(0, 3), max_size=9).map(lambda x: np.array(x, np.int64))


def speech(seconds: float, seed: int = 0, rate: int = RATE) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((0.2 * rng.standard_normal(round(seconds * rate))).astype(np.float32), rate)


class Levels:
    """A tokenizer that can be reasoned about: the loudest sample of 10 ms, in 1000 steps, and of 20 ms, in 8."""

    facts, fingerprint, resampler = FACTS, "f" * 64, "soxr-hq"
    exceptions: ClassVar[dict[str, str]] = {}
    dtype = torch.float32

    def encode(self, audio: Any, *, streams: int | None = None) -> Tokens:
        clips = audio if isinstance(audio, list) else [audio]
        rows = [[self.levels(c.samples, hop, size) for c in clips] for hop, size in ((160, 1000), (320, 8))]
        codes = [np.full((len(clips), max(map(len, row))), -1, np.int64) for row in rows[:streams]]
        for array, row in zip(codes, rows, strict=False):
            for i, levels in enumerate(row):
                array[i, : len(levels)] = levels
        return Tokens(codes, np.array([len(c) for c in clips]), self.facts, self.fingerprint, batched=isinstance(audio, list))

    def levels(self, samples: np.ndarray, hop: int, size: int) -> np.ndarray:
        padded = np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop)
        return np.minimum(np.abs(padded).max(1) * size, size - 1).astype(np.int64)


class Contextual(Levels):
    """The loudest sample so far, which a slice cannot know."""

    def levels(self, samples: np.ndarray, hop: int, size: int) -> np.ndarray:
        return np.maximum.accumulate(super().levels(samples, hop, size))


@functools.cache
def tiny(name: str = "vox-rvq-16k") -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


# ------------------------------------------------------------------ the function
@given(st.lists(st.tuples(streams, streams), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_agreement_against_a_loop(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = agreement([a for a, _ in pairs], [b for _, b in pairs])
    for k, (a, b) in enumerate(pairs):
        same = sum(1 for x, y in zip(a.tolist(), b.tolist(), strict=False) if x == y)
        common = min(len(a), len(b))
        assert (found.equal[k], found.frames[k], found.difference[k]) == (same, common, abs(len(a) - len(b)))
        assert found.streams[k] == (same / common if common else None)
    codes = sum(found.frames)
    assert found.share == (sum(found.equal) / codes if codes else None)


def test_itself_and_a_single_change() -> None:
    codes = [np.arange(10), np.arange(5)]
    assert agreement(codes, codes) == Agreement((10, 5), (10, 5), (0, 0))
    other = [codes[0].copy(), codes[1]]
    other[0][3] = 99
    assert agreement(codes, other).streams == [0.9, 1.0]
    assert agreement(codes, [codes[0][:8], codes[1]]) == Agreement((8, 5), (8, 5), (2, 0))


def test_tokens_of_several_clips_without_their_padding() -> None:
    model = Levels()
    clips = [speech(0.5), speech(0.1, 1)]
    tokens = model.encode(clips)
    assert agreement(tokens, tokens).frames == (60, 30)
    assert [len(c) for c in clip_codes(tokens)[1]] == [10, 5]
    assert agreement(tokens, tokens.torch()).share == 1


def test_what_cannot_be_compared() -> None:
    codes = [np.arange(3), np.arange(3)]
    with pytest.raises(TokensError, match=r"1 clip\(s\) of 2 stream\(s\) with 1 clip\(s\) of 1"):
        agreement(codes, codes[:1])
    with pytest.raises(TokensError, match="cannot add up 0"):
        Agreement.total([])
    with pytest.raises(TokensError, match="2 clip"):
        agreement(Levels().encode([speech(1), speech(1)]), codes)


def test_sums_over_clips_count_what_failed() -> None:
    found = agreement_of_clips([Agreement((1,), (4,), (0,)), "too short", Agreement((3,), (4,), (2,)), "too short"])
    assert (found["clips"], found["failed"]) == (2, {"too short": 2})
    assert (found["share"], found["streams"], found["frames"], found["difference"]) == (0.5, [0.5], [8], [2])
    assert agreement_of_clips(["too short"]) == {"missing": "too short"}


# ------------------------------------------------------------------ the checks
def test_stability_of_a_model_that_obeys_the_laws() -> None:
    clips = [speech(2.3), speech(1.2, 1)]
    found = stability(tiny(), clips, default_checks(rounds=2))
    for name in ("repeat", "batch", "streaming_100ms", "streaming_1000ms", "threads"):
        assert found[name]["share"] == 1, name
        assert found[name]["clips"] == 2
    assert 0 <= found["reencode_2"]["share"] < 1
    assert found["slice_1s"]["clips"] == 1
    assert found["slice_1s"]["failed"] == {"the clip is too short: it takes two slices of 1 s": 1}
    assert found["onnx"] == {"missing": "no model with engine='onnx' was given to compare with"}
    assert set(found) == {name for check in default_checks(2) for name in check.definitions}
    assert torch.get_num_threads() >= 1


def test_reencoding_compares_with_the_first_tokens() -> None:
    model, clip = tiny(), speech(1)
    first = model.encode(clip)
    second = model.encode(model.decode(first))
    third = model.encode(model.decode(second))
    found = stability(model, [clip], default_checks(rounds=2))
    for name, tokens in (("reencode_1", second), ("reencode_2", third)):
        shares = [float((a == b).float().mean()) for a, b in zip(first.codes, tokens.codes, strict=True)]
        assert found[name]["streams"] == pytest.approx(shares)


def test_streams_at_unequal_rates() -> None:
    model = tiny("snac-24k")
    clip = speech(2.5, rate=model.facts.sample_rate)
    found = stability(model, [clip], [slices(0.5), streaming(0.1)])
    assert len(set(found["streaming_100ms"]["frames"])) > 1
    assert found["streaming_100ms"]["share"] == 1
    assert len(set(found["slice_0.5s"]["frames"])) > 1


def test_slices_know_a_context_when_they_see_it() -> None:
    clip = speech(3.5)
    plain = stability(Levels(), [clip], [slices(1)])["slice_1s"]  # type: ignore[arg-type]
    assert plain["streams"] == [1, 1]
    assert plain["frames"] == [300, 150]
    assert plain["difference"] == [0, 0]
    quiet_end = Audio(clip.samples * np.linspace(1, 0.1, len(clip), dtype=np.float32), RATE)
    moved = stability(Contextual(), [quiet_end], [slices(1)])["slice_1s"]  # type: ignore[arg-type]
    assert moved["streams"][0] < 0.5
    first = agreement(
        [c[:100] for c in clip_codes(Contextual().encode(quiet_end))[0]], clip_codes(Contextual().encode(clip))[0]
    )
    assert first.frames[0] == 100


@pytest.mark.parametrize(
    ("rates", "rate", "seconds", "samples"),
    [(("50",), 16000, 1.0, 16000), (("25/2", "75/2"), 24000, 0.5, 11520), (("11025/128",), 44100, 1.0, 44032)],
)
def test_slices_hold_whole_frames(rates: tuple[str, ...], rate: int, seconds: float, samples: int) -> None:
    facts = replace(FACTS, frame_rates=tuple(map(Fraction, rates)), codebook_sizes=(8,) * len(rates), sample_rate=rate)
    size = slice_samples(facts, seconds)
    assert size == samples
    assert all((size * r / rate).denominator == 1 for r in facts.frame_rates)


def test_precision_changes_only_what_is_asked() -> None:
    class Coarse(Levels):
        def levels(self, samples: np.ndarray, hop: int, size: int) -> np.ndarray:
            return super().levels(torch.from_numpy(samples).to(self.dtype).float().numpy(), hop, size)

    lower: Any = [c for c in default_checks() if {"bfloat16", "float16"} & set(c.definitions)]
    model: Any = Coarse()
    found = stability(model, [speech(5)], lower)
    assert found["bfloat16"]["streams"][0] < found["float16"]["streams"][0] <= 1
    assert model.dtype == torch.float32
    model.dtype = torch.bfloat16
    assert stability(model, [speech(1)], lower)["float16"] == {"missing": "the model itself runs in bfloat16"}
    real = stability(tiny(), [speech(1)], lower)
    assert real["bfloat16"]["frames"] == real["float16"]["frames"]


def test_another_engine_must_be_the_same_model() -> None:
    model, clip = tiny(), speech(1)
    assert stability(model, [clip], [engine("onnx", model)])["onnx"]["share"] == 1
    found = stability(model, [clip], [engine("onnx", tiny("snac-24k"))])
    assert found["onnx"] == {"missing": "the model with engine='onnx' has other weights than this one"}


def test_threads_are_put_back_even_after_an_error() -> None:
    def broken(self: Any, audio: Any, *, streams: int | None = None) -> Tokens:
        if torch.get_num_threads() != before:
            raise RuntimeError("other threads\nand more")
        return Levels.encode(self, audio, streams=streams)

    before = torch.get_num_threads()
    model = type("Broken", (Levels,), {"encode": broken})()
    found = stability(model, [speech(1)], [c for c in default_checks() if "threads" in c.definitions])
    assert found["threads"] == {"missing": "RuntimeError: other threads"}
    assert torch.get_num_threads() == before


def test_a_tokenizer_without_decoder_or_streams_has_reasons() -> None:
    found = stability(Levels(), [speech(2.5)], default_checks())  # type: ignore[arg-type]
    assert "decode" in found["reencode_1"]["missing"]
    assert "stream_encoder" in found["streaming_100ms"]["missing"]
    assert found["slice_1s"]["share"] == found["batch"]["share"] == 1


def test_progress_and_no_clips() -> None:
    told: list[tuple[int, int, str]] = []
    check = Check({"x": "nothing"}, lambda model, clip, tokens: {"x": agreement(tokens, tokens)})
    model: Any = Levels()
    stability(model, [speech(1)] * 3, [check], progress=lambda *args: told.append(args))
    assert told == [(i, 3, "stability") for i in (1, 2, 3)]
    with pytest.raises(voxzoo.AudioError, match="no clips"):
        stability(model, [], [check])
