"""Layouts give back what was packed, for every length; what they cannot hold is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxzoo import CorpusError, Facts, TokensError
from voxzoo.corpus.layout import SequenceLayout, Utterance
from voxzoo.corpus.layouts import LAYOUTS, layout_from, layout_kind, layout_names, make_layout

from layout_facts import SPIRIT, STEP, equal, facts, tree  # isort: skip


CASES: list[tuple[str, Facts, dict[str, Any]]] = [
    ("flat", equal(1), {}), ("flat", equal(4), {"offset": 7}), ("flat", equal(3), {"stride": 0}),
    ("parallel", equal(4), {}), ("parallel", equal(4), {"first": True}), ("delay", equal(4), {}),
    ("delay", equal(1), {}), ("delay", equal(3), {"delays": "2,0,5", "first": False}),
    ("coarse-first", equal(4), {}), ("coarse-first", equal(3), {"delays": (1, 4), "first": False}),
    ("valle", equal(8), {}), ("valle", equal(2), {}),
    ("snac", tree(3), {}), ("snac", tree(4), {"offset": 10, "stride": 4096}), ("orpheus", tree(3), {}),
    ("mini-omni", tree(3), {}), ("mini-omni", tree(4), {"shift": False}),
    ("moshi", equal(8, 2048), {}), ("moshi", equal(8, 2048), {"acoustic_delay": 2, "first": True}),
    ("moshi", equal(1, 2048), {}), ("glm-4-voice", equal(1, 16384), {}), ("glm-4-voice", equal(1), {"text_turn": 1}),
    ("cosyvoice2", equal(1, 6561), {}), ("cosyvoice2", equal(1, 6561), {"stream": "false"}), ("cosyvoice3", equal(1, 6561), {}),
    ("minmo", equal(1, 6561), {}), ("omniflatten", equal(1), {}), ("omniflatten-3", equal(1), {}),
    ("omniflatten-2", equal(1), {}),
    ("minicpm-o", equal(1, 6561), {}), ("minicpm-o", equal(1, 6561), {"chunk": 3}), ("step-audio", STEP, {}),
    ("csm", equal(32, 2048), {}), ("dedup", equal(1, 500), {}), ("dedup", equal(1, 500), {"ends": True, "offset": 9}),
    ("spirit-lm", equal(1, 501), {}), ("spirit-lm", SPIRIT, {"order": "text-speech"}),
    ("spirit-lm", SPIRIT, {"order": "speech-text"}),
]  # fmt: skip
NAMES = [f"{name} {len(toy.frame_rates)} {options}" for name, toy, options in CASES]


@pytest.fixture(params=CASES, ids=NAMES)
def layout(request: pytest.FixtureRequest) -> SequenceLayout:
    name, toy, options = request.param
    return make_layout(name, toy, **options)


def said(layout: SequenceLayout, frames: int, texts: int, others: int, other_texts: int, seed: int, few: bool) -> Utterance:
    """Tokens of `frames` of the first stream; `few`: of few codes, so that there are repetitions."""
    rng = np.random.default_rng(seed)

    def streams(count: int) -> tuple[np.ndarray, ...]:
        ratio = [rate / layout.rates[0] for rate in layout.rates]
        return tuple(rng.integers(0, 2 if few else size, int(count * r)) for size, r in zip(layout.sizes, ratio, strict=True))

    def text(count: int, wanted: bool) -> np.ndarray:
        ids = rng.integers(0, 2 if few else 30000, count if wanted else 0)
        return ids + (ids == 3)

    return Utterance(
        streams(frames),
        text(texts, layout.text_kind == "ids"),
        streams(others) if layout.takes_other and others else (),
        text(other_texts, layout.takes_other_text),
        "w" * texts if layout.text_kind == "words" else "",
    )


def test_other_names_of_layouts() -> None:
    assert layout_kind("musicgen") is LAYOUTS["delay"]
    assert layout_kind("vall-e") is LAYOUTS["valle"]


def test_every_layout_is_tried() -> None:
    assert {name for name, _, _ in CASES} == set(layout_names()) == set(LAYOUTS)


LENGTHS = st.integers(0, 70)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=LENGTHS, texts=LENGTHS, others=LENGTHS, other_texts=LENGTHS, seed=st.integers(0, 1 << 30), few=st.booleans())
def test_what_was_packed_comes_back(
    layout: SequenceLayout, frames: int, texts: int, others: int, other_texts: int, seed: int, few: bool
) -> None:
    utterance = said(layout, frames, texts, others, other_texts, seed, few)
    packed = layout.pack(utterance)
    assert layout.unpack(packed) == utterance
    assert list(packed) == list(layout.sequences)
    for name, form in layout.sequences.items():
        if not form.is_text:
            ids = packed[name]
            assert ids.dtype == np.int64
            assert ids.shape == ((len(ids),) if form.width == 1 else (len(ids), form.width))
            assert not ids.size or (ids.min() >= form.low and ids.max() < form.high)


def test_the_shortest_clips(layout: SequenceLayout) -> None:
    for frames, texts, others in itertools.product((0, 1, 2), (0, 1), (0, 1)):
        utterance = said(layout, frames, texts, others, 0, 0, False)
        assert layout.unpack(layout.pack(utterance)) == utterance


def test_the_parameters_are_data(layout: SequenceLayout) -> None:
    again = layout_from(layout.to_dict())
    assert again == layout
    assert type(again) is type(layout)


def test_another_sequence_is_refused(layout: SequenceLayout) -> None:
    packed = layout.pack(said(layout, 8, 8, 8, 0, 1, False))
    for name, form in layout.sequences.items():
        old = packed[name]
        more = old + "[Hu501]" if form.is_text else np.concatenate([old, np.full_like(old[:1], form.high)])
        with pytest.raises(TokensError):
            layout.unpack({**packed, name: more})
        with pytest.raises(TokensError, match=f"{layout.name} needs the sequence {name!r}"):
            layout.unpack({key: value for key, value in packed.items() if key != name})


def test_codes_that_are_none_are_refused(layout: SequenceLayout) -> None:
    utterance = said(layout, 4, 4, 0, 0, 1, False)
    for wrong in (-1, layout.sizes[0]):
        codes = (np.full_like(utterance.codes[0], wrong), *utterance.codes[1:])
        with pytest.raises(TokensError, match=f"code of stream 0 {wrong} is outside the vocabulary; expected 0 to"):
            layout.pack(Utterance(codes, utterance.text, words=utterance.words))
    with pytest.raises(TokensError, match=rf"is for {len(layout.sizes)} streams; got {len(layout.sizes) + 1}"):
        layout.pack(Utterance((*utterance.codes, utterance.codes[0])))


def test_text_ids_outside_the_vocabulary_are_refused(layout: SequenceLayout) -> None:
    if layout.text_kind == "ids":
        utterance = said(layout, 4, 0, 0, 0, 1, False)
        with pytest.raises(TokensError, match=r"text id -1 is outside the vocabulary"):
            layout.pack(Utterance(utterance.codes, np.array([-1])))
        if layout.name != "valle":
            with pytest.raises(TokensError, match=r"text id 160000 is outside the vocabulary; expected 0 to"):
                layout.pack(Utterance(utterance.codes, np.array([160000])))


@pytest.mark.parametrize(
    ("name", "toy", "options", "message"),
    [
        ("orpheus", equal(3), {}, "orpheus needs 2 to 8 streams, each at twice the frame rate"),
        ("mini-omni", equal(1), {}, "mini-omni needs 2 to 8 streams"),
        ("delay", tree(3), {}, "delay needs streams of one frame rate; the tokens have 3"),
        ("delay", equal(3), {"delays": "1,2"}, "needs one delay of at least 0 for each stream"),
        ("valle", equal(1), {}, "valle needs at least two streams"),
        ("glm-4-voice", equal(2), {}, "glm-4-voice needs a single stream"),
        ("cosyvoice2", equal(1), {"fill": 3}, "needs four specials that are no codes"),
        ("step-audio", equal(2), {}, "as 2 to 3"),
        ("csm", equal(2, 4096), {}, "has 2051 ids for a stream"),
        ("spirit-lm", equal(2), {}, "needs one stream .units. or three"),
        ("omniflatten", equal(1), {"text_silence": 5}, "silences that are neither codes nor text"),
        ("moshi", equal(2), {"audio_initial": 5}, "an audio_initial that is no code"),
        ("orpheus", tree(3), {"audio_offset": 100}, "needs six marks between text and audio"),
        ("mini-omni", tree(3), {"text_padding": 151936}, "needs an end_of_text and a text_padding"),
        ("orpheus", facts((8192,) * 3, (1, 2, 4)), {}, "has 4096 ids for a slot"),
        ("orpheu", tree(3), {}, "no layout 'orpheu', did you mean 'orpheus'"),
        ("step-audio", STEP, {"offset": "-1"}, "offset=-1 of the layout step-audio; expected at least 0"),
        ("dedup", equal(1), {"size": 3}, "has no parameter 'size'; it has offset, ends"),
        ("dedup", equal(1), {"ends": "yes"}, "ends='yes' of the layout dedup; expected bool"),
    ],
)
def test_wrong_streams_and_parameters(name: str, toy: Facts, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        make_layout(name, toy, **options)


def test_lengths_that_do_not_belong_together() -> None:
    with pytest.raises(TokensError, match=r"streams of N, 2 N, 4 N ... frames; got \[1, 2, 3\]"):
        make_layout("snac", tree(3)).pack(Utterance((np.zeros(1), np.zeros(2), np.zeros(3))))
    with pytest.raises(TokensError, match=r"needs streams of one length; got \[1, 2\] frames"):
        make_layout("parallel", equal(2)).pack(Utterance((np.zeros(1), np.zeros(2))))


def test_what_has_no_place() -> None:
    one = (np.zeros(3, np.int64),)
    for name, said, what in (
        ("glm-4-voice", Utterance(one, other=one), "a second speaker"),
        ("omniflatten-3", Utterance(one, other_text=one[0]), "the other speaker's text"),
        ("omniflatten-2", Utterance(one, one[0]), "text ids"),
        ("flat", Utterance(one, one[0]), "text ids"),
        ("minicpm-o", Utterance(one, words="hello"), "words"),
        ("spirit-lm", Utterance(one, words="hello"), "words"),
    ):
        with pytest.raises(TokensError, match=f"the layout {name}, as it is set, has no place for {what}"):
            make_layout(name, equal(1)).pack(said)
    with pytest.raises(TokensError, match="holds marks of the layout"):
        make_layout("spirit-lm", equal(1), order="text-speech").pack(Utterance(one, words="say [Hu3]"))
    with pytest.raises(TokensError, match=r"the padding 3; text with padding in it is aligned=true"):
        make_layout("moshi", equal(8)).pack(Utterance(one * 8, np.array([5, 3, 6])))
    with pytest.raises(TokensError, match="aligned text has 2 ids; expected one for each of 3 frames"):
        make_layout("moshi", equal(8), aligned=True).pack(Utterance(one * 8, np.array([5, 3])))


def test_aligned_text_of_moshi_keeps_its_padding() -> None:
    layout = make_layout("moshi", equal(8, 2048), aligned=True)
    for text in ([3, 3, 3], [7, 3, 3], [3, 0, 9]):
        utterance = Utterance(tuple(np.arange(3) + k for k in range(8)), np.array(text))
        packed = layout.pack(utterance)
        assert packed["ids"][:, 0].tolist() == [*text, 3]
        assert layout.unpack(packed) == utterance
