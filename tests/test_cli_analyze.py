"""`voxzoo analyze`: from shards and from sound, what it writes and prints, and what it lacks."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import voxzoo
from voxzoo import Audio
from voxzoo.cli.main import main
from voxzoo.core.registry import entry
from voxzoo.eval import robustness

pytest.importorskip("matplotlib")
pytest.importorskip("constriction")
SPEECH = Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plots, which cost the most time."""
    monkeypatch.setattr("voxzoo.eval.analysis_output.plots", lambda results: iter(()))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of five clips of a second, with speakers, and a file that is no sound."""
    folder = tmp_path_factory.mktemp("sounds")
    speech = Audio.read(SPEECH, 16000).samples
    lines = []
    for i in range(5):
        Audio(speech[i * 16000 : (i + 1) * 16000 + 800 * i], 16000).write(folder / f"{i}.wav")
        lines.append(json.dumps({"path": f"{i}.wav", "id": f"clip-{i}", "speaker": "ab"[i % 2]}))
    (folder / "bad.wav").write_text("no sound")
    (folder / "good.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "all.jsonl").write_text("\n".join([*lines, json.dumps({"path": "bad.wav"})]) + "\n")
    return folder


@pytest.fixture(scope="module")
def shards(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokens of the five clips, two to a shard."""
    folder = tmp_path_factory.mktemp("shards") / "tokens"
    source = str(sounds / "good.jsonl")
    assert main(["tokenize", source, "-m", "vox-rvq-16k", "-o", str(folder), "--workers", "0", "--shard-clips", "2"]) == 0
    return folder


def load(folder: Path) -> dict[str, Any]:
    """analysis.json, without anything that JSON does not have."""
    text = (folder / "analysis.json").read_text()
    assert "NaN" not in text
    results: dict[str, Any] = json.loads(text)
    return results


@pytest.fixture(scope="module")
def analysis(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What `voxzoo analyze` wrote of them, and its standard output."""
    folder = tmp_path_factory.mktemp("analysis") / "new" / "folder"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["analyze", str(shards), "-o", str(folder)]) == 0
    return folder, out.getvalue()


def test_figures_of_shards(shards: Path, analysis: tuple[Path, str]) -> None:
    found = load(analysis[0])
    assert found["format"] == "voxzoo.analysis/1"
    assert list(found["groups"]) == ["tokens"]
    assert found["about"]["source"] == {"path": str(shards), "kind": "shards", "clips": 5, "shards": 3, "complete": True}
    tokens = found["groups"]["tokens"]
    facts = entry("vox-rvq-16k").facts
    assert tokens["rates"]["nominal"] == pytest.approx(facts.bitrate)
    assert (tokens["clips"], len(tokens["streams"])) == (5, facts.streams)
    assert 0 < tokens["streams"][0]["bpe"]["tokens"] < tokens["streams"][0]["tokens"] / 2
    files = tokens["bitstream"]["files"]
    assert files["packed"]["rate"] > tokens["rates"]["packed"]
    assert tokens["bitstream"]["saving"]["adaptive"] == pytest.approx(1 - files["adaptive"]["bytes"] / files["packed"]["bytes"])
    assert set(found["definitions"]["tokens"]) > {"gini", "ngram", "bitstream", "bpe"}


def test_files_to_read_and_to_look_at(analysis: tuple[Path, str]) -> None:
    folder, out = analysis
    text = (folder / "analysis.md").read_text()
    plots = [f"tokens_{name}.png" for name in ("lorenz", "rank_frequency", "growth", "runs")]
    for plot in plots:
        assert (folder / plot).read_bytes().startswith(PNG)
        assert f"]({plot})" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows if row.startswith(("| stream", "| 0 "))} == {rows[-1].count("|")}
    assert "- `gini`: 2 sum_i" in text
    assert {path.name for path in folder.iterdir()} == {"analysis.json", "analysis.md", *plots}
    assert "held-out 2-gram" in out
    assert "save against packed bits: static" in out


@pytest.mark.usefixtures("no_plots")
def test_workers_and_repetition_change_nothing(shards: Path, analysis: tuple[Path, str], tmp_path: Path) -> None:
    assert main(["analyze", str(shards), "-o", str(tmp_path), "--workers", "2"]) == 0
    assert (tmp_path / "analysis.json").read_bytes() == (analysis[0] / "analysis.json").read_bytes()


@pytest.mark.usefixtures("no_plots")
def test_sound_gives_the_tokens_of_its_shards(
    sounds: Path, analysis: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "analyze",
        str(sounds / "good.jsonl"),
        "-m",
        "vox-rvq-16k",
        "-o",
        str(tmp_path),
        "--groups",
        "tokens",
        "--workers",
        "0",
    ]
    assert main([*line, "--json"]) == 0
    found, of_shards = json.loads(capsys.readouterr().out), load(analysis[0])
    assert found["groups"]["tokens"] == of_shards["groups"]["tokens"]
    assert found["about"]["source"]["kind"] == "jsonl"
    assert found["about"]["fingerprint"] == of_shards["about"]["fingerprint"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("no_plots")
def test_first_codebooks_and_clips_that_cannot_be_read(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["analyze", str(sounds / "all.jsonl"), "-m", "vox-rvq-16k:2", "-o", str(tmp_path), "--groups", "tokens"]
    assert main([*line, "--workers", "0"]) == 3
    assert "1 of 6 clips could not be tokenized" in capsys.readouterr().err
    found = load(tmp_path)["groups"]["tokens"]
    assert len(found["streams"]) == 2
    assert found["rates"]["nominal"] == pytest.approx(1000)
    assert "- tokens: 1 of 6 clips could not be tokenized" in (tmp_path / "analysis.md").read_text()


def test_robustness_gets_sound_noise_and_rooms(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def section(model: Any, clips: Any, options: Any) -> dict[str, Any]:
        given.append((model, clips, options))
        whole: dict[str, Any] = robustness.robustness(model, clips, [t for t in _transforms() if t.name == "gain_-6dB"], 2)
        return whole

    monkeypatch.setattr(robustness, "robustness_section", section)
    line = ["analyze", str(sounds / "good.jsonl"), "-m", "vox-rvq-16k:2", "-o", str(tmp_path), "--groups", "robustness"]
    rooms = sounds / "0.wav"
    assert main([*line, "--clips", "3", "--seed", "4", "--noise", str(sounds / "good.jsonl"), "--rir", str(rooms)]) == 0
    model, clips, options = given[0]
    assert model.facts.name == "vox-rvq-16k"
    assert len(clips) == 3
    assert (len(options["noise"]), len(options["rir"]), options["seed"], options["streams"]) == (5, 1, 4, 2)
    assert "gain_-6dB" in capsys.readouterr().out
    assert (tmp_path / "robustness_distance.png").read_bytes().startswith(PNG)
    assert "| gain_-6dB |" in (tmp_path / "analysis.md").read_text()


def _transforms() -> Any:
    from voxzoo.eval.transforms import default_transforms

    return default_transforms()


@pytest.mark.usefixtures("no_plots")
def test_a_section_that_fails_costs_no_other(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    broken = ModuleType("speaker_content")

    def section(records: Any, model: Any) -> dict[str, Any]:
        assert model is None
        assert [len(record.codes) for record in records] == [8] * 5
        assert records[1].columns["speaker"] == "b"
        assert records[0].audio is None
        raise RuntimeError("no luck")

    broken.speaker_section = section  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "voxzoo.eval.speaker_content", broken)
    assert main(["analyze", str(shards), "-o", str(tmp_path), "--groups", "tokens,speaker"]) == 3
    out, err = capsys.readouterr()
    assert err == "voxzoo: speaker: RuntimeError: no luck\n"
    assert "analysis.md: tokens of vox-rvq-16k" in out
    assert load(tmp_path)["groups"]["speaker"] == {"missing": "RuntimeError: no luck"}
    assert "Missing: RuntimeError: no luck." in (tmp_path / "analysis.md").read_text()


@pytest.mark.usefixtures("no_plots")
def test_sections_of_content_see_sound_codes_and_columns(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    fake = ModuleType("phone_content")

    def section(records: Any, model: Any) -> dict[str, Any]:
        seen.extend([model, *records])
        return {
            "clips": 5,
            "purity": np.float32(0.5),
            "chance": {"a": {"x": float("nan")}, "b": {"x": 1}},
            "definitions": {"purity": "so"},
        }

    fake.phone_section = section  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "voxzoo.eval.phone_content", fake)
    line = ["analyze", str(sounds / "good.jsonl"), "-m", "vox-rvq-16k:3", "-o", str(tmp_path), "--groups", "phones"]
    assert main(line) == 0
    model, *records = seen
    assert [record.id for record in records] == [f"clip-{i}" for i in range(5)]
    for record in records:
        wanted = model.encode(record.audio, streams=3).numpy().codes
        assert all(np.array_equal(a, b[0]) for a, b in zip(record.codes, wanted, strict=True))
        assert record.columns["speaker"] in "ab"
    found = load(tmp_path)
    assert found["groups"]["phones"] == {"clips": 5, "purity": 0.5, "chance": {"a": {"x": None}, "b": {"x": 1}}}
    assert found["definitions"]["phones"] == {"purity": "so"}


@pytest.mark.usefixtures("no_plots")
def test_a_damaged_shard_is_reported(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "tokens"
    shutil.copytree(shards, copy)
    path = copy / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    assert main(["analyze", str(copy), "-o", str(tmp_path / "out")]) == 3
    assert "part-00001.parquet: all clips left out" in capsys.readouterr().err
    found = load(tmp_path / "out")["groups"]["tokens"]
    assert found["clips"] == 3
    assert [damage["shard"] for damage in found["damaged"]] == ["part-00001.parquet"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{sounds} -o {out}", "is no folder of token shards; to analyze sound, name a model with -m"),
        ("{shards} -m vox-rvq-16k -o {out}", "holds tokens already, and -m is for sound"),
        ("{shards} -o {out} --groups tokens,layers", "layers needs the sound and a model"),
        ("{shards} -o {out} --groups tokens,colour", "no group is called 'colour'; expected some of tokens"),
        ("{sounds}/none -m vox-rvq-16k -o {out}", "does not exist"),
        ("{sounds} -m vox-rvq-61k -o {out}", "vox-rvq-61k"),
        ("{sounds} -m vox-rvq-16k:9 -o {out}", "asks for 9 codebooks; vox-rvq-16k has 1 to 8"),
        ("{shards} -o {shards}/dataset.json", "cannot make the folder"),
        ("{shards} -o {out} --limit 0", "--limit 0; expected at least 1"),
        ("{empty} -o {out}", "holds no clips of tokens"),
        ("{damaged} -o {out}", "not a folder of token shards"),
    ],
)
def test_one_line_says_what_is_wrong(
    line: str, message: str, sounds: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    damaged.mkdir()
    shutil.copy(shards / "dataset.json", empty)
    (damaged / "dataset.json").write_text("{")
    places = {"sounds": sounds, "shards": shards, "out": tmp_path / "out", "empty": empty, "damaged": damaged}
    status = main(["analyze", *(part.format(**places) for part in line.split())])
    err = capsys.readouterr().err
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_matplotlib_is_missed_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else real(name, *rest))
    assert main(["analyze", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "`matplotlib` is not installed; run: pip install 'voxzoo[eval]'" in error
