import contextlib
import io
import math
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from voxzoo import Audio, AudioError
from voxzoo.core import _sources
from voxzoo.core.audio import read_blocks

FORMATS = {
    "wav-8": ("WAV", "PCM_U8"),
    "wav-16": ("WAV", "PCM_16"),
    "wav-24": ("WAV", "PCM_24"),
    "wav-32": ("WAV", "PCM_32"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-double": ("WAV", "DOUBLE"),
    "wav-ulaw": ("WAV", "ULAW"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac-16": ("FLAC", "PCM_16"),
    "flac-24": ("FLAC", "PCM_24"),
    "ogg-vorbis": ("OGG", "VORBIS"),
    "ogg-opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
COARSE = {"wav-8": 0.01, "wav-ulaw": 0.03, "ogg-vorbis": 0.05, "ogg-opus": 0.15, "mp3": 0.05}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not on the PATH")


def tone(samples: int, rate: int = 16000, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(samples) / rate)).astype(np.float32)


def speechlike(samples: int, seed: int = 0) -> np.ndarray:
    """Noise that no encoder can make small."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).clip(-0.9, 0.9).astype(np.float32)


def refusal(source: object, *words: str) -> str:
    with pytest.raises(AudioError) as caught:
        Audio.read(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads(name: str, tmp_path: Path) -> None:
    container, subtype = FORMATS[name]
    path = tmp_path / "a.bin"  # the content counts, not the extension
    soundfile.write(path, tone(16000), 16000, format=container, subtype=subtype)
    audio = Audio.read(path)
    assert audio.sample_rate == 16000
    assert len(audio) == 16000
    assert audio.samples.dtype == np.float32
    middle = slice(2000, 14000)
    assert np.abs(audio.samples[middle] - tone(16000)[middle]).max() < COARSE.get(name, 1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_every_rate_comes_in_at_the_rate_asked_for(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(rate, rate), rate, subtype="FLOAT")
    audio = Audio.read(path, 16000)
    assert audio.sample_rate == 16000
    assert len(audio) == 16000
    assert np.abs(audio.samples[1000:-1000] - tone(16000)[1000:-1000]).max() < 2e-3


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_averaged(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = np.stack([speechlike(500, c) for c in range(channels)], axis=1)
    soundfile.write(path, data, 16000, subtype="FLOAT")
    assert np.abs(Audio.read(path).samples - data.mean(axis=1)).max() < 1e-6


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "file", "pipe"])
def test_every_kind_of_source(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    Audio(tone(3000), 16000).write(path)
    data = path.read_bytes()
    if kind == "pipe":
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        writer = threading.Thread(target=fifo.write_bytes, args=(data,))
        writer.start()
        audio = Audio.read(fifo)
        writer.join()
    else:
        audio = Audio.read({"path": path, "string": str(path), "bytes": data, "file": io.BytesIO(data)}[kind])
    assert len(audio) == 3000


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.aac", "aac"), ("a.webm", "libopus"), ("a.wma", "wmav2")])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_ffmpeg_reads_the_rest(name: str, codec: str, as_bytes: bool, tmp_path: Path) -> None:
    Audio(tone(32000, 16000), 16000).write(tmp_path / "a.wav")
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", codec, tmp_path / name]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
        pytest.skip(f"this ffmpeg has no {codec}")
    path = tmp_path / name
    audio = Audio.read(path.read_bytes() if as_bytes else path, 16000)
    assert abs(len(audio) - 32000) < 3000  # these formats pad
    spectrum = np.abs(np.fft.rfft(audio.samples[8000:24000]))
    assert spectrum.argmax() == 440
    if name in ("a.m4a", "a.webm"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refusal(path)


def test_without_ffmpeg_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_text("this is no sound")
    monkeypatch.setenv("PATH", str(tmp_path))
    refusal(path, "ffmpeg", "PATH", "a.wav")


@pytest.mark.parametrize("rate", [None, 16000, 24000])
def test_blocks_joined_are_the_whole(rate: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([speechlike(70000), speechlike(70000, 1)], axis=1), 44100, subtype="FLOAT")
    whole = Audio.read(path, rate)
    monkeypatch.setattr(_sources, "BLOCK", 4097)
    blocks, got = read_blocks(path, rate)
    parts = list(blocks)
    assert got == whole.sample_rate == (rate or 44100)
    assert len(parts) > 3
    assert np.array_equal(np.concatenate(parts), whole.samples)


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros((3_000_000, 2), np.int16), 48000)
    blocks, _ = read_blocks(path, 16000)
    assert max(len(block) for block in blocks) <= _sources.BLOCK


# ---------------------------------------------------------------- resampling


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (48000, 24000), (8000, 44100), (192000, 16000)])
def test_resampling_is_soxr_hq(source: int, target: int) -> None:
    wav = speechlike(source // 2)
    got = Audio(wav, source).resample(target)
    assert got.sample_rate == target
    want = soxr.resample(wav, source, target, quality="HQ")
    assert len(got) == len(want)
    assert np.abs(got.samples - want).max() < 1e-6


def test_one_sample_never_vanishes() -> None:
    assert len(Audio(np.array([0.5], np.float32), 192000).resample(8000)) == 1
    assert len(Audio(np.zeros(0, np.float32), 8000).resample(16000)) == 0


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [("a.wav", None, 4e-5), ("a.flac", None, 4e-5), ("a.wav", "FLOAT", 0.0), ("a.ogg", None, 0.1), ("a.mp3", None, 0.1)],
)
def test_round_trip(name: str, subtype: str | None, error: float, tmp_path: Path) -> None:
    audio = Audio(tone(20000), 16000)
    audio.write(tmp_path / name, subtype)
    again = Audio.read(tmp_path / name)
    assert (len(again), again.sample_rate) == (20000, 16000)
    assert np.abs(again.samples - audio.samples)[1500:-1500].max() <= error
    assert os.listdir(tmp_path) == [name]


def test_writing_to_a_file_object() -> None:
    buffer = io.BytesIO()
    Audio(tone(100), 8000).write(buffer)
    assert buffer.getvalue()[:4] == b"RIFF"
    assert len(Audio.read(buffer.getvalue())) == 100


def test_overshoot_is_clipped_not_wrapped(tmp_path: Path) -> None:
    Audio(np.array([1.5, -1.5, 0.25], np.float32), 8000).write(tmp_path / "a.wav")
    assert np.allclose(Audio.read(tmp_path / "a.wav").samples, [1, -1, 0.25], atol=1e-4)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    Audio(tone(100), 16000).write(path)
    before = path.read_bytes()

    def full(file: object, *_: object, **__: object) -> None:
        Path(str(file)).write_bytes(b"RIFF half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(AudioError, match=r"a\.wav.*No space left"):
        Audio(tone(200), 16000).write(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("name", ["a", "a.txt", "missing/a.wav"])
def test_places_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot write"):
        Audio(tone(10), 16000).write(tmp_path / name)
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("samples", [
    np.zeros((2, 5), np.float32), np.zeros(5, np.int16), np.array([0, np.nan], np.float32),
    np.array([np.inf, 0], np.float32), np.array([0, 30000], np.float32),
], ids=["stereo", "int16", "nan", "inf", "scale"])  # fmt: skip
def test_arrays_that_are_not_sound(samples: np.ndarray) -> None:
    with pytest.raises(AudioError, match="expected"):
        Audio(samples, 16000)


@pytest.mark.parametrize("rate", [0, -1, 16000.5])
def test_rates_that_are_not_rates(rate: float) -> None:
    with pytest.raises(AudioError, match="sample_rate"):
        Audio(np.zeros(3, np.float32), rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "caf"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_truncated(name: str, kept: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    container, subtype = FORMATS[name]
    path = tmp_path / "cut.wav"
    soundfile.write(path, speechlike(48000), 16000, format=container, subtype=subtype)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refusal(path, "cut.wav")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_with_the_last_bytes_missing_or_a_page_overwritten(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, speechlike(48000), 16000, format="OGG", subtype=subtype)
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    refusal(path, "truncated")
    path.write_bytes(data[:9000] + bytes(50) + data[9050:])
    refusal(path, "damaged")


@pytest.mark.parametrize("name", FORMATS)
def test_no_samples_and_one_sample(name: str, tmp_path: Path) -> None:
    container, subtype = FORMATS[name]
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0, np.float32), 16000, format=container, subtype=subtype)
    refusal(path, "a.wav")
    soundfile.write(path, tone(1), 16000, format=container, subtype=subtype)
    assert len(Audio.read(path)) == 1
    assert len(Audio.read(path, 8000)) == 1


def test_silence_is_sound(tmp_path: Path) -> None:
    Audio(np.zeros(1000, np.float32), 16000).write(tmp_path / "a.wav")
    assert not Audio.read(tmp_path / "a.wav").samples.any()


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e30, "peak")])
def test_nan_inf_and_huge(bad: float, word: str, tmp_path: Path) -> None:
    wav = tone(500)
    wav[123] = bad
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    refusal(tmp_path / "a.wav", "a.wav", word)
    if math.isinf(bad) or math.isnan(bad):
        refusal(tmp_path / "a.wav", "sample 123")


def test_missing_empty_folder_text(tmp_path: Path) -> None:
    refusal(tmp_path / "none.wav", "none.wav", "No such file")
    (tmp_path / "empty.wav").touch()
    refusal(tmp_path / "empty.wav", "empty.wav", "empty")
    (tmp_path / "folder.wav").mkdir()
    refusal(tmp_path / "folder.wav", "folder.wav", "folder")
    (tmp_path / "text.wav").write_text("hello\n" * 100)
    refusal(tmp_path / "text.wav", "text.wav", "not sound")
    refusal(b"", "empty")
    refusal("a\0b.wav", "cannot be opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    Audio(tone(10), 16000).write(tmp_path / "a.wav")
    (tmp_path / "a.wav").chmod(0)
    refusal(tmp_path / "a.wav", "Permission denied")


ODD_NAMES = ["with space.wav", "line\nbreak.wav", "été 声.wav", "-i.wav", "%d?*.wav", "quote'\".wav", "http:x.wav"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Audio(tone(100), 16000).write(name)
    assert len(Audio.read(name)) == 100
    Path(name).write_text("no sound")
    refusal(name)
    os.unlink(name)
    refusal(name, "No such file")


def test_random_damage_raises_audio_errors_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)
    for container, subtype in [FORMATS[n] for n in ("wav-16", "flac-16", "ogg-vorbis", "ogg-opus", "mp3", "aiff", "w64")]:
        buffer = io.BytesIO()
        soundfile.write(buffer, speechlike(8000), 16000, format=container, subtype=subtype)
        for _ in range(12):
            data = bytearray(buffer.getvalue())
            for where in rng.integers(0, min(len(data), 600), 6):
                data[where] = rng.integers(256)
            with contextlib.suppress(AudioError):  # anything else fails the test
                assert np.isfinite(Audio.read(bytes(data)).samples).all()
