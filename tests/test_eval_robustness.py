"""The robustness section: its counts, its reasons for what is missing, and known figures on labelled speech."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import replace
from fractions import Fraction
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio, AudioError, ModelError, Tokens, VoxzooError
from voxzoo.core.loading import random_model
from voxzoo.core.model import Model
from voxzoo.eval.degradations import gain
from voxzoo.eval.edit_distance import unit_edit_distance
from voxzoo.eval.metric import MetricError
from voxzoo.eval.robustness import robustness, robustness_section
from voxzoo.eval.time_pitch import shift, tempo
from voxzoo.eval.transforms import Transform, default_transforms

RATE = 16000  # Hz, of labelled speech


@functools.cache
def tiny(name: str = "vox-rvq-16k") -> Model:
    item = voxzoo.entry(name)
    return random_model(item, {**item.config, **item.tiny})


def sound(seconds: float, seed: int = 0, rate: int = 0) -> Audio:
    """At the rate of the small model, or another."""
    rate = rate or tiny().facts.sample_rate
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * rate)) * (1 + np.sin(np.arange(round(seconds * rate)) / 900))
    return Audio((0.1 * samples).astype(np.float32), rate)


def same(name: str = "same", **options: Any) -> Transform:
    return Transform(name, "nothing is done", lambda samples, rate, rng: samples, **options)


def backwards() -> Transform:
    return Transform("backwards", "played backwards", lambda samples, rate, rng: samples[::-1])


def only(least: int) -> Transform:
    def change(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        if len(samples) < least:
            raise MetricError("the clip is too short")
        return samples

    return Transform("only_long", "nothing is done to long clips", change)


# ------------------------------------------------------------------ counts
def test_what_is_counted_is_what_a_loop_counts() -> None:
    model, clips = tiny(), [sound(0.7), sound(1.2, 1), sound(0.31, 2)]
    found = robustness(model, clips, [backwards(), same()])
    assert found["unit_edit_distance"]["same"]["deduplicated"]["streams"][0]["weighted"] == 0
    assert found["agreement"]["same"]["share"] == 1
    clean = [model.encode(clip) for clip in clips]
    other = [model.encode(Audio(clip.samples[::-1], clip.sample_rate)) for clip in clips]
    for k in range(model.facts.streams):
        pairs = [(a.codes[k][0].numpy(), b.codes[k][0].numpy()) for a, b in zip(clean, other, strict=True)]
        for coding, dedup in (("deduplicated", True), ("raw", False)):
            wanted = unit_edit_distance([a for a, _ in pairs], [b for _, b in pairs], deduplicated=dedup)
            assert found["unit_edit_distance"]["backwards"][coding]["streams"][k] == wanted._asdict()
        equal = sum(int((a == b).sum()) for a, b in pairs)
        assert found["agreement"]["backwards"]["streams"][k] == equal / sum(len(a) for a, _ in pairs)
    assert found["clips"] == 3
    assert found["seconds"] == pytest.approx(2.21)
    assert found["failed"] == {}


def test_whole_frames_move_when_any_stream_does() -> None:
    found = robustness(tiny(), [sound(1), sound(1, 1)], [gain(-6)])["unit_edit_distance"]["gain_-6dB"]
    raw = found["raw"]
    assert raw["frames"]["units"] == raw["streams"][0]["units"]
    assert raw["frames"]["weighted"] >= max(stream["weighted"] for stream in raw["streams"])


def test_streams_at_unequal_rates_have_no_common_frames() -> None:
    model = tiny("snac-24k")
    found = robustness(model, [sound(1, rate=24000)], [gain(-6)])
    distance = found["unit_edit_distance"]["gain_-6dB"]["deduplicated"]
    assert "streams of one rate" in distance["frames"]["missing"]
    assert len(distance["streams"]) == model.facts.streams
    one = robustness(model, [sound(1, rate=24000)], [gain(-6)], streams=1)["unit_edit_distance"]["gain_-6dB"]
    assert len(one["raw"]["streams"]) == 1
    assert "frames" not in one["raw"]


def test_transforms_that_move_time_have_no_agreement() -> None:
    pytest.importorskip("librosa")
    found = robustness(tiny(), [sound(1)], [tempo(0.9), shift(0.002)])
    assert set(found["agreement"]) == {"shift_2ms"}
    assert set(found["unit_edit_distance"]) == {"tempo_0.9", "shift_2ms"}


def test_clips_come_at_any_rate_and_the_seed_repeats() -> None:
    model, clips = tiny(), [sound(0.5, rate=44100), sound(0.4, 1, rate=8000)]
    noise = [t for t in default_transforms() if t.name == "noise_white_5dB"]
    first, again, other = (robustness(model, clips, noise, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first["unit_edit_distance"] != other["unit_edit_distance"]


def test_order_and_company_of_clips_do_not_matter() -> None:
    model, clips = tiny(), [sound(0.5), sound(1.1, 1), sound(0.2, 2)]
    noise = [t for t in default_transforms() if t.name == "noise_pink_10dB"]
    forth, back = robustness(model, clips, noise), robustness(model, clips[::-1], noise)
    assert forth["agreement"] == back["agreement"]


def test_chance() -> None:
    model, clips = tiny(), [sound(1.5, seed) for seed in range(4)]
    found = robustness(model, clips, [same()])["chance"]
    units = [model.encode(clip).codes[0][0].numpy() for clip in clips]
    wanted = unit_edit_distance(units, [*units[1:], units[0]])
    assert found["unit_edit_distance"]["deduplicated"]["streams"][0] == wanted._asdict()
    uniform = [float(((np.bincount(u) / len(u)) ** 2).sum()) for u in units]
    assert found["agreement"]["streams"][0] == pytest.approx(np.mean(uniform), abs=0.1)
    alone = robustness(model, clips[:1], [same()])["chance"]["unit_edit_distance"]
    assert alone == {"missing": "there is one clip, and none to compare it with"}


# ------------------------------------------------------------------ what fails
class Fragile:
    """Breaks on loud clips, alone or in a batch."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.facts, self.resampler, self.exceptions = model.facts, model.resampler, model.exceptions

    def encode(self, audio: Any, *, streams: int | None = None) -> Tokens:
        for clip in audio if isinstance(audio, list) else [audio]:
            if len(clip) and np.abs(clip.samples).max() > 0.99:
                raise RuntimeError("too loud\nwith a long story")
        return self.model.encode(audio, streams=streams)


def test_a_clip_that_breaks_the_model_costs_that_clip() -> None:
    model: Any = Fragile(tiny())
    quiet = [Audio(0.9 * s.samples / np.abs(s.samples).max(), s.sample_rate) for s in (sound(0.5), sound(0.6, 1))]
    loud = Audio(np.sign(sound(0.4).samples), quiet[0].sample_rate)
    found = robustness(model, [quiet[0], loud, Audio(0.5 * quiet[1].samples, quiet[1].sample_rate)], [same(), gain(6)])
    assert (found["clips"], found["failed"]) == (2, {"RuntimeError: too loud": 1})
    assert found["unit_edit_distance"]["same"]["clips"] == 2
    assert found["unit_edit_distance"]["gain_+6dB"]["clips"] == 1
    assert found["agreement"]["gain_+6dB"]["failed"] == {"RuntimeError: too loud": 1}
    broken = robustness(model, [loud, loud], [same()])
    assert broken["clips"] == 0
    for part in (broken["unit_edit_distance"]["same"], broken["agreement"]["same"], broken["chance"]):
        assert part == {"missing": "RuntimeError: too loud"}


def test_transforms_that_fail_say_why() -> None:
    found = robustness(tiny(), [sound(0.5), sound(0.1), Audio(np.zeros(0, np.float32), 16000)], [only(500)])
    assert found["failed"] == {"the clip holds no samples": 1}
    assert found["unit_edit_distance"]["only_long"]["failed"] == {"the clip is too short": 1}
    assert found["agreement"]["only_long"]["clips"] == 1
    none = robustness(tiny(), [sound(0.1)], [only(500)])
    assert none["unit_edit_distance"]["only_long"] == none["agreement"]["only_long"] == {"missing": "the clip is too short"}


def test_output_that_is_no_sound_is_a_reason() -> None:
    nan = Transform("nan", "nothing but NaN", lambda samples, rate, rng: samples * np.nan)
    found = robustness(tiny(), [sound(0.2)], [nan])["unit_edit_distance"]["nan"]
    assert "expected finite values" in found["missing"]


def test_refused() -> None:
    with pytest.raises(AudioError, match="no clips"):
        robustness(tiny(), [], [same()])
    with pytest.raises(ModelError, match="streams=99"):
        robustness(tiny(), [sound(0.1)], [same()], streams=99)
    with pytest.raises(VoxzooError, match="did you mean 'noise'"):
        robustness_section(tiny(), [sound(0.1)], {"noises": []})
    with pytest.raises(VoxzooError, match="'gain_-6dB'"):
        robustness_section(tiny(), [sound(0.1)], {"transforms": ["gain_-7dB"]})


# ------------------------------------------------------------------ the section
def test_section(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "noise_recorded_10dB",
        "noise_recorded_5dB",
        "reverb_measured",
        "gain_-6dB",
        "shift_2ms",
        "codec_gsm",
        "lowpass_4000Hz",
    ]
    told: list[tuple[int, int, str]] = []
    options = {"transforms": names, "rounds": 1, "noise": [sound(0.3)], "progress": lambda *args: told.append(args)}
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    model = tiny("snac-24k")  # has sound above 4 kHz
    found = robustness_section(model, [sound(0.5, rate=24000), sound(2.1, 1, 24000)], options)
    assert json.loads(json.dumps(found)) == found
    assert list(found["unit_edit_distance"]) == sorted(names, key=[t.name for t in default_transforms()].index)
    assert set(names) | {"reencode_1", "slice_1s", "batch", "onnx"} <= set(found["agreement"])
    assert found["unit_edit_distance"]["reverb_measured"] == {"missing": "no room responses were given"}
    assert "scipy" in found["unit_edit_distance"]["lowpass_4000Hz"]["missing"]
    assert found["agreement"]["slice_1s"]["clips"] == 1
    defined = set(found["definitions"])
    assert {*found["unit_edit_distance"], *found["agreement"], "unit_edit_distance", "agreement"} <= defined
    assert {"weighted", "mean", "deduplicated", "raw", "frames", "chance.unit_edit_distance", "chance.agreement"} <= defined
    assert [done for done, _, _ in told] == list(range(1, 10))
    assert {total for _, total, _ in told} == {9}


# ------------------------------------------------------------------ known figures
class Clusters:
    """k-means of 100 clusters on MFCC 1 to 19 at 50 Hz."""

    facts = replace(voxzoo.entry("vox-rvq-16k").facts, frame_rates=(Fraction(50),), codebook_sizes=(100,))
    fingerprint, resampler = "0" * 64, "soxr-hq"
    exceptions: ClassVar[dict[str, str]] = {}

    def __init__(self, clips: list[Audio]) -> None:
        cluster = pytest.importorskip("sklearn.cluster")
        features = np.concatenate([self.features(clip) for clip in clips])
        self.model = cluster.KMeans(100, n_init=1, random_state=0, max_iter=50).fit(features)

    def features(self, clip: Audio) -> np.ndarray:
        librosa = pytest.importorskip("librosa")
        options = {"sr": RATE, "n_mfcc": 20, "n_fft": 512, "hop_length": 320, "n_mels": 40}
        return np.ascontiguousarray(librosa.feature.mfcc(y=clip.samples, **options)[1:].T)

    def encode(self, audio: Any, *, streams: int | None = None) -> Tokens:
        clips = audio if isinstance(audio, list) else [audio]
        rows = [self.model.predict(self.features(clip)) for clip in clips]
        codes = np.full((len(rows), max(map(len, rows))), -1, np.int64)
        for line, row in zip(codes, rows, strict=True):
            line[: len(row)] = row
        return Tokens([codes], np.array([len(c) for c in clips]), self.facts, self.fingerprint, batched=True)


# Percent, length-weighted and deduplicated, of all 320 utterances; and how near.
FIGURES = {
    "noise_white_20dB": (79.2, 5),
    "noise_white_10dB": (88.8, 6),
    "reverb_0.8s": (77.2, 6),
    "tempo_0.9": (41.0, 6),
    "tempo_smeared": (68.2, 6),
    "pitch_+2": (77.3, 6),
    "shift_2ms": (17.1, 5),
    "gain_-20dB": (0, 0.5),
}


def check_figures(espeak: ModuleType, voices: int, sentences: int, slack: float) -> None:
    clips = [Audio(u.samples, RATE) for u in espeak.corpus(voices, sentences)]
    smeared = replace(tempo(0.9, window=0.128), name="tempo_smeared")
    found = robustness(Clusters(clips), clips, [t for t in [*default_transforms(), smeared] if t.name in FIGURES])  # type: ignore[arg-type]
    for name, (figure, near) in FIGURES.items():
        value = found["unit_edit_distance"][name]["deduplicated"]["streams"][0]["weighted"]
        assert value == pytest.approx(figure, abs=near * slack), name
    assert found["agreement"]["shift_2ms"]["share"] > 0.85
    chance = found["chance"]["unit_edit_distance"]["deduplicated"]["streams"][0]["weighted"]
    assert chance == pytest.approx(87, abs=8)
    assert found["chance"]["agreement"]["share"] < 0.08


def test_figures_on_labelled_speech(espeak: ModuleType) -> None:
    check_figures(espeak, 4, 4, 2)


@pytest.mark.slow
def test_figures_on_all_of_it(espeak: ModuleType) -> None:
    check_figures(espeak, 8, 40, 0.3)
