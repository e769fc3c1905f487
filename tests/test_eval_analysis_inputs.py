"""What an analysis works on: clips that are long, that break the model, and whose phones are in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxzoo import Audio, ModelError
from voxzoo.cli.main import main
from voxzoo.eval import analysis_inputs
from voxzoo.eval.analysis_inputs import Options, ShardInput, SoundInput, recordings

RATE = 16000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three clips of 1, 1.5 and 2 seconds; the phones of the first are in a file beside the manifest."""
    folder = tmp_path_factory.mktemp("sounds")
    noise = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)
    rows: list[dict[str, Any]] = []
    for i, seconds in enumerate((1.0, 1.5, 2.0)):
        Audio(noise[: int(seconds * RATE)], RATE).write(folder / f"{i}.wav")
        rows.append({"path": f"{i}.wav", "id": str(i), "text": "a word"})
    rows[0]["phones"] = "0.phn"
    (folder / "0.phn").write_text("0 8000 ah\n8000 16000 s\n")
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "clips.jsonl")


def test_phones_in_files_are_beside_the_manifest(manifest: str) -> None:
    records = SoundInput(Options(manifest, "", "vox-rvq-16k:2")).records
    assert records[0].phones == ([(0.0, 0.5, "ah"), (0.5, 1.0, "s")], "the column `phones`")
    assert [len(record.codes) for record in records] == [2, 2, 2]


def test_of_long_clips_the_first_part_is_looked_at(manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_inputs, "LONGEST", 1.2)
    sounds = SoundInput(Options(manifest, "", "vox-rvq-16k")).sounds
    assert [audio.duration for _, audio in sounds] == [1.0, 1.2, 1.2]
    assert ["text" in clip.columns for clip, _ in sounds] == [True, False, False]
    assert [audio.duration for audio in recordings("noise", manifest, 0)] == [1.0, 1.2, 1.2]
    assert main(["tokenize", manifest, "-m", "vox-rvq-16k", "-o", str(tmp_path), "--workers", "0"]) == 0
    records = ShardInput(Options(str(tmp_path), "")).records
    assert [[len(codes) for codes in record.codes] for record in records] == [[50] * 8, [60] * 8, [60] * 8]
    assert ["text" in record.columns for record in records] == [True, False, False]
    assert records[0].phones == ([(0.0, 0.5, "ah"), (0.5, 1.0, "s")], "the column `phones`")


def test_a_clip_that_breaks_the_model_costs_that_clip(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SoundInput(Options(manifest, "", "vox-rvq-16k"))
    encode: Any = given.model.encode

    def broken(audio: Audio, **options: Any) -> Any:
        if audio.duration == 1.5:
            raise RuntimeError("too odd")
        return encode(audio, **options)

    monkeypatch.setattr(given.model, "encode", broken)
    assert [record.id for record in given.records] == ["0", "2"]
    assert given.problems == {"1": "RuntimeError: too odd"}


def test_a_model_that_encodes_nothing(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SoundInput(Options(manifest, "", "vox-rvq-16k"))
    monkeypatch.setattr(given.model, "encode", lambda *args, **options: 1 / 0)
    with pytest.raises(ModelError, match="none of 3 clips can be encoded: ZeroDivisionError"):
        _ = given.records


def test_few_recordings_are_drawn_of_many(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_inputs, "RECORDINGS", 2)
    drawn = [[audio.duration for audio in recordings("noise", manifest, seed)] for seed in range(8)]
    assert all(len(audios) == 2 for audios in drawn)
    assert len({tuple(audios) for audios in drawn}) > 1
