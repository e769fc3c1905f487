"""The benchmark's engine: what it measures, what it does when things fail, and how a run goes on after an interruption."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import voxzoo
from voxzoo import Audio, CorpusError, MissingExtraError, ModelError, UnknownModelError, VoxzooError
from voxzoo.core.loading import load, random_model
from voxzoo.core.weights import save_folder
from voxzoo.eval import bench as runs
from voxzoo.eval import journal as journals
from voxzoo.eval import metrics, playing
from voxzoo.eval.bench import Options, bench
from voxzoo.eval.metric import Family, Metric, MetricError, Pair

RATE = 8000
CLIPS = 7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry("encodec-24k"), tmp_path_factory.mktemp("model")
    tiny = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, item.name, tiny.config, tiny.network.state_dict())
    return str(folder)


def make_corpus(root: Path) -> Path:
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(CLIPS):
        noise = 0.1 * rng.standard_normal(3000 + 400 * i)
        soundfile.write(root / f"{i}.wav", np.convolve(noise, np.ones(5) / 5, "same"), 4000)
    return root


def make_options(corpus: Path, model: str, output: Path) -> Options:
    return Options(
        str(corpus), (model, f"{model}:1"), str(output), metrics=("si_sdr", "lsd", "rate"), workers=0, rate=RATE,
        examples=2, resamples=50, report=False, quiet=True,
    )  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "in")


@pytest.fixture
def options(corpus: Path, model: str, tmp_path: Path) -> Options:
    return make_options(corpus, model, tmp_path / "out")


@pytest.fixture(scope="module")
def done(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Options, dict[str, Any]]:
    """A run that tests look at and do not touch."""
    root = tmp_path_factory.mktemp("done")
    options = make_options(make_corpus(root / "in"), model, root / "out")
    return options, bench(options)


def entry_of(results: dict[str, Any], label: str) -> dict[str, Any]:
    return next(entry for entry in results["entries"] if entry["label"] == label)


class Proxy:
    """A model with some of its ways changed."""

    def __init__(self, model: Any, **changes: Any) -> None:
        self.model, self.changes = model, changes

    def __getattr__(self, name: str) -> Any:
        return self.changes[name] if name in self.changes else getattr(self.model, name)


def change(monkeypatch: pytest.MonkeyPatch, make: Callable[[Any], dict[str, Any]]) -> None:
    def changed(*given: Any, **named: Any) -> Proxy:
        loaded = load(*given, **named)
        return Proxy(loaded, **make(loaded))

    monkeypatch.setattr(playing, "load", changed)


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each clip that a model encodes."""
    seen: list[float] = []

    def make(loaded: Any) -> dict[str, Any]:
        def encode(audio: Audio, streams: int) -> Any:
            seen.append(audio.duration)
            return loaded.encode(audio, streams=streams)

        return {"encode": encode}

    change(monkeypatch, make)
    return seen


def without_times(results: dict[str, Any]) -> Any:
    """Results but for what was measured with a clock or a scale."""
    data = json.loads(json.dumps(results))
    for entry in data["entries"]:
        entry["cost"] = None
        for name in ("rtf_encode", "rtf_decode", "peak_memory", "latency_first"):
            entry["summary"].pop(name, None)
    return data


# ---------------------------------------------------------------------- what it gives
def test_from_a_source_to_results(done: tuple[Options, dict[str, Any]], model: str) -> None:
    options, results = done
    folder = Path(options.output)
    assert json.loads((folder / "results.json").read_text()) == results
    assert [entry["label"] for entry in results["entries"]] == [model, f"{model}:1"]
    assert [entry["streams"] for entry in results["entries"]] == [4, 1]
    about = results["about"]
    assert (about["clips"], about["rate"], about["source"]["kind"]) == (CLIPS, RATE, "files")
    assert about["seconds"] == pytest.approx(sum(3000 + 400 * i for i in range(CLIPS)) / 4000)
    assert [clip["id"] for clip in results["clips"]] == [str(i) for i in range(CLIPS)]
    for label in options.models:
        values = [clip["values"][label]["lsd"] for clip in results["clips"]]
        summary = entry_of(results, label)["summary"]["lsd"]
        assert summary["mean"] == pytest.approx(np.mean(values))
        assert summary["low"] < summary["mean"] < summary["high"]
        assert (summary["count"], summary["missing"]) == (CLIPS, {})
    assert [m["name"] for m in results["metrics"]][:3] == ["delay_ms", "si_sdr", "lsd"]
    assert all(metric["definition"] for metric in results["metrics"])


def test_values_are_those_of_encode_decode_and_the_metric(done: tuple[Options, dict[str, Any]], model: str) -> None:
    options, results = done
    loaded = voxzoo.load(model)
    audio = Audio.read(Path(options.source) / "3.wav")
    decoded = loaded.decode(loaded.encode(audio, streams=1)).resample(RATE).samples
    reference = audio.resample(RATE).samples
    from voxzoo.eval.alignment import align
    from voxzoo.eval.distances import si_sdr

    aligned, delay = align(reference, decoded, RATE)
    file = io.BytesIO()
    Audio(aligned, RATE).write(file)  # 16 bits
    aligned = Audio.read(file.getvalue()).samples
    values = results["clips"][3]["values"][f"{model}:1"]
    assert values["si_sdr"] == pytest.approx(si_sdr(reference, aligned), rel=1e-4)
    assert values["delay_ms"] == pytest.approx(1000 * delay / RATE)


def test_tests_between_entries(done: tuple[Options, dict[str, Any]], model: str) -> None:
    _, results = done
    tests = [test for test in results["tests"] if test["metric"] == "lsd"]
    assert [(test["a"], test["b"], test["count"]) for test in tests] == [(model, f"{model}:1", CLIPS)]
    means = [entry["summary"]["lsd"]["mean"] for entry in results["entries"]]
    assert tests[0]["difference"] == pytest.approx(means[0] - means[1])
    assert 0 < tests[0]["p"] <= 1
    assert tests[0]["low"] <= tests[0]["difference"] <= tests[0]["high"]


def test_scores_as_parquet(done: tuple[Options, dict[str, Any]], model: str) -> None:
    options, results = done
    rows = pq.read_table(Path(options.output) / "scores.parquet").to_pylist()
    assert len(rows) == 2 * CLIPS
    row = next(row for row in rows if (row["clip"], row["entry"]) == ("4", model))
    assert row["lsd"] == results["clips"][4]["values"][model]["lsd"]
    assert row["seconds"] == pytest.approx(4600 / 4000)
    assert json.loads(row["missing"]) == {}


def test_examples_are_spread_over_the_source_and_can_be_heard(done: tuple[Options, dict[str, Any]], model: str) -> None:
    options, results = done
    assert [example["id"] for example in results["examples"]] == ["4", "6"]  # 0 and 1 are under a second: too short
    example = results["examples"][0]
    sounds = [example["original"], *example["decoded"].values()]
    assert len(set(sounds)) == 3
    for path in sounds:
        info = soundfile.info(Path(options.output) / path)
        assert (info.samplerate, info.frames) == (RATE, 9200)
    tokens = voxzoo.load(model).encode(Audio.read(Path(options.source) / "4.wav"))
    assert example["codes"][model] == [codes[0].tolist() for codes in tokens.codes]
    assert example["codes"][f"{model}:1"] == [tokens.codes[0][0].tolist()]


def test_rates_of_real_codes_and_files(done: tuple[Options, dict[str, Any]], model: str) -> None:
    options, results = done
    loaded = voxzoo.load(model)
    clips = [loaded.encode(Audio.read(Path(options.source) / f"{i}.wav")).numpy() for i in range(CLIPS)]
    summary = {name: value["mean"] for name, value in entry_of(results, model)["summary"].items()}
    assert summary["bitrate_nominal"] == loaded.facts.bitrate
    entropy = 0.0
    for k, rate in enumerate(loaded.facts.frame_rates):
        counts = np.bincount(np.concatenate([clip.codes[k][0] for clip in clips]))
        p = counts[counts > 0] / counts.sum()
        entropy += float(rate) * -(p * np.log2(p)).sum()
    assert summary["bitrate_entropy"] == pytest.approx(entropy)
    from voxzoo.core.bitstream import bitstream_bytes

    sizes = np.array([bitstream_bytes(clip, "adaptive") for clip in clips])
    assert summary["bitrate_file"] == pytest.approx(8 * sizes[:, 0].sum() / results["about"]["seconds"])
    assert summary["bitrate_payload"] == pytest.approx(8 * (sizes[:, 0] - sizes[:, 1]).sum() / results["about"]["seconds"])
    assert entry_of(results, model)["tokens"]["tokens"] == sum(clip.codes[k].size for clip in clips for k in range(4))


def test_manifest_columns_reach_metrics_and_results(options: Options, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = corpus / "list.jsonl"
    lines = [{"path": f"{i}.wav", "text": f"word {i}", "speaker": i % 2, "lang": "en"} for i in range(3)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen: list[tuple[str | None, ...]] = []

    def measure(pair: Pair) -> dict[str, float | str | list[float]]:
        seen.append((pair.original.text, pair.original.speaker, pair.original.language))
        return {"plain": 1.0}

    install(monkeypatch, Made("plain", "mos", (metric("plain"),), "", measure=measure))
    results = bench(dataclasses.replace(options, source=str(manifest), metrics=("plain",)))
    assert seen[:2] == [("word 0", "0", "en")] * 2
    assert [(clip["speaker"], clip["text"]) for clip in results["clips"]] == [("0", "word 0"), ("1", "word 1"), ("0", "word 2")]


# ---------------------------------------------------------------------- families made for a test
@dataclasses.dataclass(frozen=True)
class Made(Family):
    measure: Callable[[Pair], Any] | Exception = lambda pair: {}

    def open(self, checkpoint: str | None = None) -> Any:
        if isinstance(self.measure, Exception):
            raise self.measure
        return self.measure


def metric(name: str, **more: Any) -> Metric:
    return Metric(name, name, "", "higher", f"what {name} is", **more)


def install(monkeypatch: pytest.MonkeyPatch, *families: Family) -> None:
    monkeypatch.setattr(metrics, "FAMILIES", (*metrics.FAMILIES, *families))


def test_the_original_has_a_row_where_no_reference_is_needed(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def loudness(pair: Pair) -> dict[str, float]:
        return {"loudness": float(np.abs(pair.decoded).mean())}

    install(monkeypatch, Made("loudness", "mos", (metric("loudness"),), "", intrusive=False, measure=loudness))
    results = bench(dataclasses.replace(options, metrics=("loudness", "lsd")))
    original = results["entries"][0]
    assert (original["label"], original["kind"], original["facts"]) == ("original", "original", None)
    wanted = [np.abs(Audio.read(f"{options.source}/{i}.wav").resample(RATE).samples).mean() for i in range(CLIPS)]
    assert original["summary"]["loudness"]["mean"] == pytest.approx(np.mean(wanted))
    assert original["summary"]["lsd"] == {"mean": None, "low": None, "high": None, "count": 0, "missing": {}}
    assert {test["a"] for test in results["tests"] if test["metric"] == "loudness"} == {"original", options.models[0]}


def test_weighted_means_and_speaker_calibration(options: Options, monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    def errors(pair: Pair) -> dict[str, float]:
        words = len(pair.original.samples)
        return {"errors": 1.0 / words, "words": float(words)}

    def speaker(pair: Pair) -> dict[str, float | list[float]]:
        angle = 0.1 if pair.original.speaker == "a" else 1.6
        return {"voice_similarity": 1.0, "voice_embedding": [np.cos(angle), np.sin(angle)]}

    install(
        monkeypatch,
        Made("errors", "intelligibility", (metric("errors", weight="words"),), "", weights=("words",), measure=errors),
        Made("voice", "speaker", (metric("voice_similarity"),), "", measure=speaker),
    )
    manifest = corpus / "list.jsonl"
    manifest.write_text("".join(json.dumps({"path": f"{i}.wav", "speaker": "ab"[i % 2]}) + "\n" for i in range(4)))
    results = bench(dataclasses.replace(options, source=str(manifest), metrics=("errors", "voice")))
    lengths = [2 * (3000 + 400 * i) for i in range(4)]
    assert results["entries"][0]["summary"]["errors"]["mean"] == pytest.approx(4 / sum(lengths))
    calibration = results["calibration"]["voice_similarity"]
    assert calibration["same"] == pytest.approx(1.0)
    assert calibration["different"] == pytest.approx(np.cos(1.5))
    assert calibration["pairs"] == [2, 4]


WITHOUT_VALUE: dict[str, tuple[Any, str]] = {
    "nan": (float("nan"), "the metric gave nan, which is no number"),
    "told": ("too short for it", "too short for it"),
    "none": (None, "the metric gave no value"),
    "odd": ({}, "TypeError: must be real number, not dict"),
    "error": (MetricError("there is no speech"), "there is no speech"),
    "crash": (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
}


def test_a_metric_without_a_value_is_missing(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(name: str, given: Any) -> Family:
        def measure(pair: Pair) -> Any:
            if len(pair.decoded) != 6000:
                return {name: 2.0}
            if isinstance(given, Exception):
                raise given
            return {} if given is None else {name: given}

        return Made(name, "mos", (metric(name),), "", measure=measure)

    install(monkeypatch, *(odd(name, given) for name, (given, _) in WITHOUT_VALUE.items()))
    results = bench(dataclasses.replace(options, metrics=tuple(WITHOUT_VALUE)))
    for name, (_, reason) in WITHOUT_VALUE.items():
        summary = results["entries"][0]["summary"][name]
        assert (summary["mean"], summary["count"], summary["missing"]) == (2.0, CLIPS - 1, {reason: 1})
        assert results["clips"][0]["reasons"][options.models[0]][name] == reason
        assert name not in results["clips"][0]["values"][options.models[0]]


def test_a_missing_package_is_a_reason_in_a_group_and_an_error_by_name(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Made("gone", "mos", (metric("gone"),), "", measure=MissingExtraError("gone", "eval")))
    with pytest.raises(MissingExtraError, match=r"pip install 'voxzoo\[eval\]'"):
        bench(dataclasses.replace(options, metrics=("gone",)))
    monkeypatch.setattr(metrics, "FAMILIES", metrics.FAMILIES[-1:])
    results = bench(dataclasses.replace(options, metrics=("mos",), overwrite=True))
    assert results["entries"][0]["summary"]["gone"]["count"] == 0
    assert list(results["entries"][0]["summary"]["gone"]["missing"].values()) == [CLIPS]


# ---------------------------------------------------------------------- models that fail
def test_a_model_that_crashes_on_one_clip(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(loaded: Any) -> dict[str, Any]:
        def encode(audio: Audio, streams: int) -> Any:
            if len(audio) == 3400:
                raise RuntimeError("shapes\ndo not match")
            return loaded.encode(audio, streams=streams)

        return {"encode": encode}

    change(monkeypatch, make)
    results = bench(options)
    reason = "encoding failed: RuntimeError: shapes do not match"
    for entry in results["entries"]:
        assert entry["summary"]["lsd"]["missing"] == {reason: 1}
        assert entry["summary"]["lsd"]["count"] == CLIPS - 1
        assert entry["summary"]["bitrate_file"]["mean"] > 0
        assert entry["tokens"]["clips"] == CLIPS - 1
    assert results["rejected"] == []


SPOILT: dict[int, tuple[Callable[[Audio], Audio], str]] = {  # by samples of a clip at the model's rate
    1800: (lambda audio: Audio(np.full(len(audio), np.nan, np.float32), audio.sample_rate), "the model's sound holds NaN"),
    2040: (lambda audio: Audio(audio.samples[1:], audio.sample_rate), "the model gave back 2039 samples of 2040"),
    2280: (lambda audio: Audio(audio.samples + 100, audio.sample_rate), "decoding failed: samples: the peak is"),
}


def test_sound_that_is_none_of_the_clip(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(loaded: Any) -> dict[str, Any]:
        def decode(tokens: Any) -> Audio:
            audio = loaded.decode(tokens)
            return SPOILT[len(audio)][0](audio) if len(audio) in SPOILT else audio

        return {"decode": decode}

    change(monkeypatch, make)
    results = bench(options)
    for entry in results["entries"]:
        for name in ("delay_ms", "si_sdr", "lsd"):
            summary = entry["summary"][name]
            assert summary["count"] == CLIPS - len(SPOILT)
            assert set(summary["missing"].values()) == {1}
            for (_, reason), told in zip(SPOILT.values(), summary["missing"], strict=True):
                assert told.startswith(reason)
        assert entry["tokens"]["clips"] == CLIPS


# ---------------------------------------------------------------------- going on
@pytest.fixture
def copy(done: tuple[Options, dict[str, Any]], tmp_path: Path) -> Options:
    """A finished run that a test may do to as it likes (but for its source)."""
    shutil.copytree(done[0].output, tmp_path / "copy")
    return dataclasses.replace(done[0], output=str(tmp_path / "copy"))


def cut(output: str, share: float) -> int:
    """Leave so much of the record; returns how many whole lines remain."""
    record = Path(output) / ".voxzoo/record.jsonl"
    data = record.read_bytes()[: int(share * len(record.read_bytes()))]
    record.write_bytes(data)
    (Path(output) / "results.json").unlink()
    return data.count(b"\n")


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
def test_an_interrupted_run_goes_on_and_gives_the_same(
    copy: Options, done: tuple[Options, dict[str, Any]], encodes: list[float], share: float
) -> None:
    kept = cut(copy.output, share)
    assert bench(copy) == done[1]
    assert len(encodes) == CLIPS - kept + 2  # and the examples
    assert bench(copy) == done[1]
    assert len(encodes) == CLIPS - kept + 4


def test_more_entries_and_metrics_do_not_repeat_what_is_there(options: Options, encodes: list[float], model: str) -> None:
    alone = dataclasses.replace(options, models=(model,), examples=0)
    bench(alone)
    encodes.clear()
    bench(alone)
    assert not encodes
    more = dataclasses.replace(options, examples=0, metrics=(*options.metrics, "stft"))
    fresh = bench(dataclasses.replace(more, output=f"{more.output}-fresh"))
    encodes.clear()
    assert bench(more) == fresh
    assert len(encodes) == CLIPS
    encodes.clear()
    fewer = bench(alone)
    assert not encodes
    assert [entry["label"] for entry in fewer["entries"]] == [model]


def test_workers_do_not_change_the_results(done: tuple[Options, dict[str, Any]], tmp_path: Path) -> None:
    import torch

    options, alone = done
    there = bench(dataclasses.replace(options, workers=2, output=str(tmp_path / "processes")))
    assert without_times(there) == without_times(alone)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        here = bench(dataclasses.replace(options, output=str(tmp_path / "here")))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert without_times(here) == without_times(alone)


def test_another_benchmark_is_not_mixed_in(copy: Options, done: tuple[Options, dict[str, Any]]) -> None:
    for changes, message in (
        ({"source": f"{copy.source}/3.wav"}, r"is another source, or has changed: name another folder"),
        ({"limit": 3}, r"\(7 clips\).*\(3 clips\)"),
        ({"rate": 16000}, "at 8000 Hz, this one is at 16000 Hz"),
        ({"resume": False}, "leave out --no-resume"),
        ({"overwrite": True, "models": ("./nowhere",)}, "is not a model folder"),
    ):
        with pytest.raises(VoxzooError, match=message):
            bench(dataclasses.replace(copy, **changes))
    assert json.loads((Path(copy.output) / "results.json").read_text()) == done[1]
    (Path(copy.output) / ".voxzoo/run.json").write_text("{")
    with pytest.raises(CorpusError, match=r"no run\.json of this version"):
        bench(copy)
    results = bench(dataclasses.replace(copy, limit=3, examples=0, overwrite=True))
    assert results["about"]["clips"] == 3
    assert not (Path(copy.output) / "audio").exists()


def test_sound_that_was_replaced_is_measured_again(options: Options, corpus: Path, encodes: list[float], model: str) -> None:
    options = dataclasses.replace(options, examples=0)
    before = bench(options)
    sound, rate = soundfile.read(corpus / "2.wav")
    soundfile.write(corpus / "2.wav", sound[::-1], rate)
    os.utime(corpus / "2.wav", ns=(1, 1))
    encodes.clear()
    after = bench(dataclasses.replace(options, models=(model,)))
    assert encodes == [pytest.approx(3800 / 4000)]
    changed = [a["values"][model] != b["values"][model] for a, b in zip(before["clips"], after["clips"], strict=True)]
    assert changed == [i == 2 for i in range(CLIPS)]
    encodes.clear()
    both = bench(options)
    assert len(encodes) == 1  # the other entry has nothing of the new sound
    shutil.rmtree(options.output)
    assert bench(options) == both


def test_a_cost_that_could_not_be_measured_is_tried_again(
    copy: Options, done: tuple[Options, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, Any]] = [
        {"values": {}, "reasons": {"rtf_encode": "killed"}, "about": {}},
        {"values": {"rtf_encode": 0.5}, "reasons": {}, "about": {"seconds": 1.0}},
    ]
    monkeypatch.setattr(runs, "cost", lambda item, device: found[0])
    options = dataclasses.replace(copy, models=copy.models[:1], metrics=("rtf_encode",), examples=0)
    assert bench(options)["entries"][0]["summary"]["rtf_encode"]["missing"] == {"killed": 1}
    found.pop(0)
    for _ in range(2):
        entry = bench(options)["entries"][0]
        assert (entry["summary"]["rtf_encode"]["mean"], entry["cost"]) == (0.5, {"seconds": 1.0})
        found[0] = {}  # is not asked for again


def test_a_report_of_other_results_does_not_stay(copy: Options) -> None:
    for name in ("report.html", "table.md"):
        (Path(copy.output) / name).write_text("old")
    bench(copy)
    assert not (Path(copy.output) / "report.html").exists()
    assert not (Path(copy.output) / "table.md").exists()


def test_folders_that_are_not_ours(options: Options, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("precious")
    with pytest.raises(CorpusError, match="files that are not a benchmark"):
        bench(dataclasses.replace(options, overwrite=True))
    (tmp_path / "out/.voxzoo").mkdir()
    (tmp_path / "out/dataset.json").write_text("{}")
    with pytest.raises(CorpusError, match="holds token shards"):
        bench(options)


def test_token_shards_do_not_go_into_a_benchmark(copy: Options, model: str) -> None:
    from voxzoo.corpus.engine import Options as TokenizeOptions
    from voxzoo.corpus.engine import tokenize

    with pytest.raises(CorpusError, match="holds a benchmark"):
        tokenize(TokenizeOptions(copy.source, copy.output, model, workers=0, overwrite=True, quiet=True))
    assert (Path(copy.output) / "rejected.jsonl").exists()


def test_two_runs_at_once(options: Options) -> None:
    journal = journals.Journal(options.output)
    with pytest.raises(CorpusError, match="another run is writing"):
        bench(options)
    journal.close()
    bench(options)


def test_a_full_disk_is_one_line_and_what_was_measured_is_kept(
    options: Options, monkeypatch: pytest.MonkeyPatch, encodes: list[float]
) -> None:
    real, lines = os.write, 0

    def write(handle: int, data: bytes) -> int:
        nonlocal lines
        lines += 1
        if lines == 4:
            real(handle, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "write", write)
        with pytest.raises(CorpusError, match=r"No space left on device; what was measured is safe"):
            bench(options)
    encodes.clear()
    bench(options)
    assert len(encodes) == CLIPS - 3 + 2


# ---------------------------------------------------------------------- bad input
def test_clips_that_cannot_be_read_are_rejected_with_their_reason(options: Options, corpus: Path) -> None:
    (corpus / "1.wav").write_text("nothing")
    results = bench(options)
    assert [clip["id"] for clip in results["clips"]] == ["0", "2", "3", "4", "5", "6"]
    assert [(line["id"], "1.wav" in line["reason"]) for line in results["rejected"]] == [("1", True)]
    assert (Path(options.output) / "rejected.jsonl").read_text().count("\n") == 1
    assert results["about"]["rejected"] == 1
    (corpus / "0.wav").write_text("nothing")
    with pytest.raises(CorpusError, match="none of the 2 clips can be used; the first:"):
        bench(dataclasses.replace(options, overwrite=True, limit=2))


def test_a_repeated_id_is_rejected(options: Options, corpus: Path) -> None:
    manifest = corpus / "list.jsonl"
    manifest.write_text("".join(json.dumps({"id": id, "path": f"{i}.wav"}) + "\n" for i, id in enumerate("aba")))
    results = bench(dataclasses.replace(options, source=str(manifest)))
    assert [clip["id"] for clip in results["clips"]] == ["a", "b"]
    assert "taken" in results["rejected"][0]["reason"]


def test_one_clip_has_no_interval_and_no_p(options: Options, model: str) -> None:
    results = bench(dataclasses.replace(options, limit=1))
    summary = entry_of(results, model)["summary"]["lsd"]
    assert (summary["low"], summary["high"], summary["count"]) == (None, None, 1)
    assert summary["mean"] == results["clips"][0]["values"][model]["lsd"]
    assert all(test["p"] is None and "1 pairs" in test["reason"] for test in results["tests"])
    assert "two clips" in next(iter(entry_of(results, model)["summary"]["bitrate_ngram"]["missing"]))


def test_silence_short_clips_stereo_and_other_rates(options: Options, corpus: Path, model: str) -> None:
    for old in corpus.iterdir():
        old.unlink()
    rng = np.random.default_rng(1)
    soundfile.write(corpus / "silence.wav", np.zeros(8000), 8000)
    soundfile.write(corpus / "short.wav", 0.1 * rng.standard_normal(400), 8000)
    soundfile.write(corpus / "one.wav", [0.1], 8000)
    soundfile.write(corpus / "stereo.flac", 0.1 * rng.standard_normal((44100, 2)), 44100)
    results = bench(dataclasses.replace(options, metrics=("si_sdr", "lsd", "stoi", "rate")))
    assert results["rejected"] == []
    values = {clip["id"]: clip["values"][model] for clip in results["clips"]}
    reasons = {clip["id"]: clip["reasons"].get(model, {}) for clip in results["clips"]}
    assert "si_sdr" in reasons["silence"]
    assert "stoi" in reasons["short"]
    assert "stoi" in values["stereo"]
    for id, held in values.items():
        assert all(np.isfinite(value) for value in held.values()), id
        assert set(held).isdisjoint(reasons[id])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": ()}, VoxzooError, "no entries"),
        ({"models": ("gsm", "gsm")}, VoxzooError, "'gsm' is given twice"),
        ({"models": ("vox-rvq-16",)}, UnknownModelError, "did you mean 'vox-rvq-16k'"),
        ({"models": ("vox-rvq-16k:9",)}, VoxzooError, "asks for 9 codebooks; vox-rvq-16k has 1 to 8"),
        ({"models": ("./nowhere",)}, ModelError, "is not a model folder"),
        ({"models": ("original",)}, VoxzooError, "always an entry"),
        ({"models": ("vox-rvq-16k",), "weights": {"snac-24k": "random"}}, VoxzooError, "which is no entry"),
        ({"metrics": ("si_srd",)}, VoxzooError, "no metric is called 'si_srd': did you mean 'si_sdr'"),
        ({"metrics": ("bitrate_nominl",)}, VoxzooError, "did you mean 'bitrate_nominal'"),
        ({"metrics": ()}, VoxzooError, "nothing to measure"),
        ({"checkpoints": {"utmos": "/nowhere"}}, VoxzooError, "'/nowhere', does not exist"),
        ({"checkpoints": {"stoi": "/nowhere"}}, VoxzooError, "'stoi' takes no checkpoint; those that do are .*, utmos"),
        ({"checkpoints": {"nisqa_mos": "/nowhere"}}, VoxzooError, "'nisqa_mos' takes no checkpoint; those that do are nisqa,"),
        ({"metrics": ("utmos",)}, VoxzooError, "utmos needs an ONNX file .*: give it as --checkpoint utmos=PATH"),
        ({"rate": 4000}, VoxzooError, "rate=4000; expected at least 8000"),
        ({"workers": -1}, VoxzooError, "workers=-1"),
        ({"limit": 0}, VoxzooError, "limit=0"),
        ({"source": "/nowhere"}, CorpusError, "does not exist"),
        ({"device": "cuda:99"}, ModelError, "cuda"),
    ],
)
def test_errors_come_before_any_work(options: Options, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bench(dataclasses.replace(options, **changes))
    assert not (Path(options.output) / "results.json").exists()


def test_the_same_entry_under_two_names(options: Options, model: str) -> None:
    with pytest.raises(VoxzooError, match="are the same: leave one out"):
        bench(dataclasses.replace(options, models=(model, f"{model}:4")))
    with pytest.raises(VoxzooError, match="asks for 5 codebooks"):
        bench(dataclasses.replace(options, models=(f"{model}:5",)))


def test_an_empty_folder(options: Options, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="holds no sound files"):
        bench(dataclasses.replace(options, source=str(tmp_path / "empty")))


@pytest.mark.parametrize(("module", "report"), [("matplotlib", True), ("scipy", False)])
def test_what_the_results_need_is_missed_before_the_work(
    options: Options, monkeypatch: pytest.MonkeyPatch, module: str, report: bool
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else real(name, *rest))
    with pytest.raises(MissingExtraError, match=module):
        bench(dataclasses.replace(options, report=report))
    assert not Path(options.output).exists()


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    playing.anchors._ffmpeg.cache_clear()
