"""`voxzoo demo` and the example speech."""

import json
import os
import runpy
import wave
from pathlib import Path

import numpy as np
import pytest

from voxzoo import Audio, Tokens
from voxzoo.cli.demo import log_mel_distance
from voxzoo.cli.main import main
from voxzoo.core.weights import bundled_folder

ROOT = Path(__file__).resolve().parent.parent
SPEECH = bundled_folder("demo") / "speech.wav"
Capture = pytest.CaptureFixture[str]


def test_the_example_speech_is_what_the_program_makes(tmp_path: Path) -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_demo_speech.py"))["speech"]()
    with wave.open(str(SPEECH)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        shipped = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(made) == len(shipped)
    assert np.abs(made.astype(int) - shipped.astype(int)).max() <= 1


def test_the_example_speech_is_speechlike() -> None:
    audio = Audio.read(SPEECH)
    assert 9 < audio.duration < 11
    assert 0.3 < np.abs(audio.samples).max() < 1
    frames = audio.samples[: len(audio) // 320 * 320].reshape(-1, 320)
    level = 20 * np.log10(frames.std(axis=1) + 1e-9)
    assert 0.05 < (level < level.max() - 45).mean() < 0.5  # pauses and closures
    power = (np.abs(np.fft.rfft(frames * np.hanning(320))) ** 2).reshape(len(frames), -1)
    share = power[:, 80:].sum(1) / power.sum(1)  # above 4 kHz
    loud = level > level.max() - 40
    assert (share[loud] > 0.5).mean() > 0.05  # fricatives
    assert (share[loud] < 0.05).mean() > 0.5  # vowels


@pytest.mark.parametrize("as_json", [False, True])
def test_demo(as_json: bool, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "new" / "demo"
    assert main(["demo", "-o", str(folder), "--weights", "random", *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    files = ["decoded-2-streams.wav", "decoded-8-streams.wav", "original.wav", "tokens.safetensors"]
    assert sorted(os.listdir(folder)) == files
    for name in files:
        assert str(folder / name) in out
    original = Audio.read(folder / "original.wav")
    assert np.array_equal(original.samples, Audio.read(SPEECH).samples)
    assert len(Tokens.load(folder / "tokens.safetensors").codes) == 8
    assert all(len(Audio.read(folder / name)) == len(original) for name in files[:2])
    if as_json:
        data = json.loads(out)
        assert [row["bitrate"] for row in data["decoded"]] == [4000, 1000]
        for row in data["decoded"]:
            assert row["bits"] == pytest.approx(row["bitrate"] * original.duration, rel=0.01)
            decoded = Audio.read(row["file"]).samples
            assert row["log_mel_db"] == pytest.approx(log_mel_distance(original.samples, decoded, 16000), abs=0.1)


def test_demo_refuses_a_file_as_folder(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "-o", str(tmp_path / "file"), "--weights", "random"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_log_mel_distance() -> None:
    speech = Audio.read(SPEECH).samples
    assert log_mel_distance(speech, speech, 16000) == 0
    half = log_mel_distance(speech, speech / 2, 16000)
    assert 3 < half <= 6.03  # 6 dB, but nothing below the floor
    noisy = [
        log_mel_distance(speech, speech + s * np.random.default_rng(0).standard_normal(len(speech)), 16000)
        for s in (1e-4, 1e-3)
    ]
    assert 0 < noisy[0] < noisy[1]
    assert log_mel_distance(np.zeros(1000), np.zeros(1000), 16000) == 0
