"""Classical codecs through ffmpeg: what a label names, real bytes, and what is said when something is not there."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest

from voxzoo import Audio, VoxzooError
from voxzoo.core.weights import bundled_folder
from voxzoo.eval import anchors
from voxzoo.eval.alignment import align

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def anchor(text: str, rate: int = 16000) -> anchors.Anchor:
    found = anchors.find(text, rate)
    assert found
    return found


@pytest.fixture(scope="module")
def speech() -> Audio:
    audio = Audio.read(bundled_folder("demo") / "speech.wav")
    return Audio(audio.samples[: 2 * audio.sample_rate], audio.sample_rate)


def able(text: str) -> anchors.Anchor:
    found = anchor(text)
    try:
        anchors.check(found)
    except VoxzooError as error:
        pytest.skip(str(error))
    return found


def test_what_labels_name() -> None:
    assert anchors.find("vox-rvq-16k:2") is None
    assert anchor("opus:12").bitrate == 12000
    assert anchor("opus:6.5").options == ("-b:a", "6500")
    assert [anchor("opus:6", rate).sample_rate for rate in (8000, 16000, 22050, 44100, 96000)] == [
        8000,
        16000,
        24000,
        48000,
        48000,
    ]
    assert anchor("codec2:700C").bitrate == 700
    assert (anchor("gsm").sample_rate, anchor("gsm").bitrate) == (8000, 13000)
    assert anchor("speex:12").sample_rate == 16000


@pytest.mark.parametrize(
    "text", ["opus", "opus:", "opus:2", "opus:900", "opus:nan", "codec2", "codec2:2401", "gsm:13", "speex:100"]
)
def test_settings_that_are_not_there(text: str) -> None:
    with pytest.raises(VoxzooError, match=f"entry '{text}'"):
        anchors.find(text)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("opus:12", 9000, 13000), ("opus:24", 18000, 26000), ("codec2:2400", 2400, 2440), ("codec2:700C", 799, 801),
     ("gsm", 13200, 13300), ("speex:12", 9000, 12100)],
)  # fmt: skip
def test_sound_comes_back_and_its_bytes_are_counted(speech: Audio, text: str, low: float, high: float) -> None:
    codec = able(text)
    coded = anchors.code(codec, speech)
    assert low <= 8 * coded.payload_bytes / speech.duration <= high
    assert coded.payload_bytes <= coded.file_bytes == len(anchors.encode(codec, speech))
    decoded, lag = align(speech.samples, coded.audio.resample(16000).samples, 16000)
    assert abs(lag) < 800
    assert 0 <= len(coded.audio) / coded.audio.sample_rate - speech.duration < 0.1
    assert np.sqrt((decoded**2).mean()) == pytest.approx(np.sqrt((speech.samples**2).mean()), rel=0.3)
    if not text.startswith("codec2"):
        assert np.corrcoef(decoded, speech.samples)[0, 1] > 0.8


@needs_ffmpeg
@pytest.mark.parametrize("text", ["opus:6", "codec2:2400", "gsm", "speex:12"])
def test_any_length_down_to_one_sample(text: str) -> None:
    codec = able(text)
    for samples in (1, 100):
        coded = anchors.code(codec, Audio(np.full(samples, 0.1, np.float32), 16000))
        assert coded.audio.duration >= samples / 16000


def ogg(packets: list[bytes]) -> bytes:
    """Pages of at most 255 segments, as RFC 3533 has them."""
    laces, body, pages = [], b"", b""
    for packet in packets:
        laces += [255] * (len(packet) // 255) + [len(packet) % 255]
        body += packet
    while laces:
        page, laces = laces[:255], laces[255:]
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 1, 0, 0, len(page))
        pages += head + bytes(page) + body[: sum(page)]
        body = body[sum(page) :]
    return pages


def test_ogg_payload_is_what_the_packets_hold() -> None:
    sizes = [19, 60, 0, 1, 254, 255, 256, 510, 70000]
    assert anchors.ogg_payload(ogg([b"x" * size for size in sizes])) == sum(sizes[2:])


@needs_ffmpeg
def test_ogg_payload_agrees_with_ffprobe(speech: Audio, tmp_path: object) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    import subprocess

    data = anchors.encode(able("opus:12"), speech)
    command = ["ffprobe", "-loglevel", "error", "-show_entries", "packet=size", "-of", "csv=p=0", "-f", "ogg", "pipe:0"]
    sizes = subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().replace(",", " ").split()
    assert anchors.ogg_payload(data) == sum(map(int, sizes))


def test_without_ffmpeg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors._ffmpeg.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(VoxzooError, match=r"not on the PATH: install it \(apt install ffmpeg"):
        anchors.check(anchor("gsm"))
    anchors._ffmpeg.cache_clear()


def test_an_ffmpeg_without_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "_ffmpeg", lambda: ("ffmpeg 9", frozenset({"libopus"})))
    with pytest.raises(VoxzooError, match="ffmpeg 9 has no encoder libgsm"):
        anchors.check(anchor("gsm"))
