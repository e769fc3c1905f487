"""Kaldi data directories: segments, tables in any order, and commands that only decode."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxzoo import Audio
from voxzoo.corpus.parts import Part
from voxzoo.corpus.sources import open_source


def write(folder: Path, **tables: str) -> Path:
    for name, text in tables.items():
        (folder / ("wav.scp" if name == "wav" else name)).write_text(text)
    return folder


def test_segments_text_and_speakers(tmp_path: Path) -> None:
    sound = (0.1 * np.random.default_rng(0).standard_normal((32000, 2))).astype(np.float32)
    soundfile.write(tmp_path / "r1.wav", sound, 16000, subtype="FLOAT")
    folder = write(
        tmp_path,
        wav=f"rec1 r1.wav\nrec2 sph2pipe -f wav -p -c 2 '{tmp_path}/r1.wav' |\nrec3 rm -rf r1.wav |\n",
        segments="u1 rec1 0.5 1.25\nu2 rec2 1.0 -1\nu3 rec3 0 1\nu4 nothing 0 1\nu5 rec1 1 1\nu6 rec1 x 2\n",
        text="u1 hello there\nu2 words\nu5 more\n",
        utt2spk="u2 s2\nu1 s1\n",
    )
    source = open_source(str(folder))
    clips = list(source.clips())
    assert source.kind == "kaldi"
    assert [clip.id for clip in clips] == ["u1", "u2", "u3", "u4", "u5", "u6"]
    assert [clip.part for clip in clips[:2]] == [Part(0.5, 0.75), Part(1.0, None, 1)]
    assert [clip.columns for clip in clips[:3]] == [
        {"text": "hello there", "speaker": "s1"},
        {"text": "words", "speaker": "s2"},
        {"text": None, "speaker": None},
    ]
    assert np.array_equal(Audio.read(clips[0].open()).samples, sound[8000:20000].mean(1))
    assert np.array_equal(Audio.read(clips[1].open()).samples, sound[16000:, 1])
    problems = [str(clip.problem) for clip in clips[2:]]
    for problem, words in zip(problems, ("a command", "a recording of wav.scp", "not a part", "where it begins"), strict=True):
        assert words in problem
    assert (tmp_path / "r1.wav").exists()
    assert list(source.clips(2)) == clips[2:]
    assert open_source(str(tmp_path / "wav.scp")).kind == "wav.scp"


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ("flac -c -d -s {} |", True),
        ("/opt/bin/flac --decode --stdout --silent {} |", True),
        ("cat {} |", True),
        ("sph2pipe -f wav {} |", True),
        ("sph2pipe -f wav -c 3 {} |", False),
        ("sph2pipe -t 1:2 {} |", False),
        ("flac -c -d -s --skip=100 {} |", False),
        ("cat -n {} |", False),
        ("sox {} -t wav - |", False),
        ("flac -cds {} | sox - -t wav - |", False),
        ("cat 'unclosed {} |", False),
    ],
)
def test_commands_are_read_as_the_file_they_decode_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, read: bool
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    path = f"{tmp_path}/a b.flac"
    folder = write(tmp_path, wav=f"u1 {entry.format(repr(path))}\n", text="u1 x\n")
    (clip,) = open_source(str(folder)).clips()
    assert (clip.source if read else "a command" in str(clip.problem)) == (path if read else True)


def test_paths_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound/a.wav").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "data", wav="u1 sound/a.wav\nu2 sound/b.wav\n")
    assert [clip.source for clip in open_source(str(folder)).clips()] == [f"{tmp_path}/sound/{n}.wav" for n in "ab"]
