"""What an entry costs, its nominal rates against what the publishers state, and a worker that dies."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.core.loading import random_model
from voxzoo.core.weights import save_folder
from voxzoo.corpus import pool
from voxzoo.corpus.plan import Task
from voxzoo.corpus.pool import Pool
from voxzoo.eval import cost as costs
from voxzoo.eval.bench_worker import SENT, Job, Scored, Settings
from voxzoo.eval.cost import COSTS, cost, first_output
from voxzoo.eval.entrants import Entrant, entrants, folder_names
from voxzoo.eval.rates import rates_of

KBPS = {  # at all codebooks, as published, and with the first K of them
    "encodec-24k": {2: 1.5, 4: 3.0, 8: 6.0, 16: 12.0, 32: 24.0},
    "encodec-48k": {2: 3.0, 4: 6.0, 8: 12.0, 16: 24.0},
    "snac-24k": {3: 0.984},
    "snac-32k": {4: 1.88},
    "snac-44k": {4: 2.58},
    "dac-16k": {12: 6.0},
    "dac-24k": {32: 24.0},
    "dac-44k": {9: 7.75},
    "vox-rvq-16k": {1: 0.5, 2: 1.0, 4: 2.0, 8: 4.0},
}


@pytest.mark.parametrize("name", voxzoo.models())
def test_nominal_rates_are_the_published_ones_to_three_digits(name: str) -> None:
    facts = voxzoo.entry(name).facts
    for streams, kbps in KBPS.get(name, {}).items():
        (item,) = entrants([f"{name}:{streams}"], {}, 16000)
        about = {"kind": "model", "bitrate": facts.bitrate_of(item.streams or 0)}
        found = rates_of(about, "no codes", [])["values"]["bitrate_nominal"]
        assert float(f"{found / 1000:.3g}") == kbps
    plain = sum(float(rate) * math.log2(size) for rate, size in zip(facts.frame_rates, facts.codebook_sizes, strict=True))
    assert facts.bitrate_of(facts.streams) == pytest.approx(plain)


def test_rates_name_what_is_missing() -> None:
    cell = rates_of({"kind": "anchor", "bitrate": 2400.0}, "", [(2.0, {"values": {"file_bytes": 607, "payload_bytes": 600}})])
    assert cell["values"] == {"bitrate_nominal": 2400.0, "bitrate_payload": 2400.0, "bitrate_file": 2428.0}
    assert set(cell["reasons"]) == {"bitrate_packed", "bitrate_entropy", "bitrate_ngram"}
    failed = {"values": {}, "reasons": {"file_bytes": "constriction is not installed"}}
    assert rates_of({"kind": "model", "bitrate": 1.0}, "none", [(2.0, failed)])["reasons"] == {
        **dict.fromkeys(("bitrate_packed", "bitrate_entropy", "bitrate_ngram"), "none"),
        **dict.fromkeys(("bitrate_payload", "bitrate_file"), "constriction is not installed"),
    }


def test_labels_as_folders() -> None:
    names = folder_names(["original", "opus:12", "./opus-12", "m:1", "../x/m:1", "日本:2", "::"])
    assert names["opus:12"] == "opus-12"
    assert len(set(names.values())) == 7
    assert all(name and "/" not in name and not name.startswith(".") for name in names.values())


# ---------------------------------------------------------------------- cost
@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    item, folder = voxzoo.entry("encodec-24k"), tmp_path_factory.mktemp("model")
    tiny = random_model(item, {**item.config, **item.tiny})
    save_folder(folder, item.name, tiny.config, tiny.network.state_dict())
    return str(folder)


def test_the_cost_of_a_model(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "COMMAND", "from voxzoo.eval import cost; cost.ROUNDS = 1; cost.serve()")
    cell = cost(Entrant("x", model, 1))
    assert cell["reasons"] == {}
    values = cell["values"]
    assert set(values) == {metric.name for metric in COSTS}
    loaded = voxzoo.load(model)
    assert values["parameters"] == loaded.facts.params / 1e6
    assert values["model_size"] == pytest.approx(4 * values["parameters"], rel=0.02)  # float32, and few buffers
    assert values["latency_algorithmic"] == pytest.approx(1000 * loaded.facts.latency)
    assert values["latency_first"] > 20
    assert 0 < values["rtf_encode"] < 10
    assert 0 < values["rtf_decode"] < 10
    about = cell["about"]
    assert values["peak_memory"] == pytest.approx(about["peak_resident"] - about["base_memory"])
    assert 1 <= about["seconds"] <= 9.7
    assert about["threads"] == 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_cost_of_an_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "ROUNDS", 1)
    held = np.ones(30_000_000)  # 240 MB of this process are none of ffmpeg's
    cell = costs.measure(entrants(["gsm"], {}, 16000)[0])
    assert set(cell["values"]) == {"rtf_encode", "rtf_decode", "peak_memory"}
    assert 15 < cell["values"]["peak_memory"] < held.nbytes / 2e6
    assert cell["values"]["rtf_encode"] < 1
    assert set(cell["reasons"]) == {"parameters", "model_size", "latency_algorithmic", "latency_first"}


def test_a_process_that_cannot_measure_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "COMMAND", "import sys; print('noise'); sys.exit('the weights are gone')")
    cell = cost(Entrant("x", "some-model"))
    assert cell["values"] == {}
    assert cell["reasons"] == {metric.name: "the weights are gone" for metric in COSTS}


def test_first_output_is_when_the_frame_is_there(model: str) -> None:
    loaded = voxzoo.load(model)
    rate = loaded.facts.sample_rate
    speech = Audio((0.1 * np.random.default_rng(0).standard_normal(2 * rate)).astype(np.float32), rate)
    pushed = 0
    with loaded.stream_encoder() as encoder, loaded.stream_decoder() as decoder:
        for start in range(0, len(speech), rate // 50):
            pushed += 1
            tokens = encoder.push(speech.samples[start : start + rate // 50])
            if tokens.codes[0].shape[1] and len(decoder.push(tokens)):
                break
    assert 0.02 * pushed <= first_output(loaded, speech) <= 0.02 * pushed + 0.5
    with pytest.raises(ValueError, match="no sound came out"):
        first_output(loaded, Audio(speech.samples[:3], rate))


# ---------------------------------------------------------------------- a worker that dies
DEADLY = """
import os
import voxzoo.eval.playing as playing
load = playing.load
def deadly(*given, **named):
    model = load(*given, **named)
    encode = model.encode
    def fatal(audio, **more):
        if len(audio) == 1000:
            os.kill(os.getpid(), 11)
        return encode(audio, **more)
    model.encode = fatal
    return model
playing.load = deadly
"""


@pytest.mark.slow
def test_a_clip_that_ends_its_process_is_rejected_alone(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    monkeypatch.setattr(pool, "COMMAND", DEADLY + pool.COMMAND)
    settings = Settings((Entrant("x", model),), (), {}, frozenset(), 8000)
    jobs = []
    for i in range(4):
        path = str(tmp_path / f"{i}.wav")
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(1000 if i == 2 else 2000), 8000)
        jobs.append(Task(0, i, [Job(str(i), path, path, wanted={"x": (SENT,)})], False))
    workers = Pool(settings, 1)
    try:
        outcomes = [outcome[0] for _, outcome in workers.results(iter(jobs))]
    finally:
        workers.close()
    assert [isinstance(outcome, Scored) for outcome in outcomes] == [True, True, False, True]
    assert outcomes[2] == f"'{tmp_path}/2.wav' twice ended the process that read it (signal SIGSEGV)"
