"""Classical codecs as anchors of a benchmark, through the `ffmpeg` on the PATH: Opus, codec2, GSM and Speex.

A clip is resampled (soxr HQ) to a rate the codec takes, given as 16-bit samples, and written in the codec's usual file; what
is counted are the bytes of that file, with and without its container (Ogg pages and headers, the 7 bytes of a .c2 file).
Frames of the codec fill the clip up, so the sound that comes back may be some milliseconds longer than what went in.
"""

from __future__ import annotations

import functools
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.audio import Audio
from ..core.errors import AudioError, VoxzooError

__all__ = [
    "CODECS",
    "Anchor",
    "Coded",
    "check",
    "code",
    "decode",
    "decode_command",
    "encode",
    "encode_command",
    "ffmpeg_version",
    "find",
    "ogg_payload",
    "pcm",
]

CODECS = ("opus", "codec2", "gsm", "speex")
CODEC2_MODES = ("3200", "2400", "1600", "1400", "1300", "1200", "700", "700B", "700C")
C2_HEADER = 7  # bytes before the frames of a .c2 file
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
KILOBITS = {"opus": (6.0, 256.0), "speex": (4.0, 42.0)}


@dataclass(frozen=True)
class Anchor:
    """A classical codec at one setting.

    Attributes:
        codec: one of `CODECS`.
        encoder: ffmpeg's name of the encoder.
        options: of the encoder.
        sample_rate: Hz of the sound it is given.
        container: ffmpeg's name of the file's format.
        bitrate: bits per second asked for, or fixed by the mode.
    """

    codec: str
    encoder: str
    options: tuple[str, ...]
    sample_rate: int
    container: str
    bitrate: float


@dataclass(frozen=True, eq=False)
class Coded:
    """What became of a clip.

    Attributes:
        audio: decoded, at the decoder's own rate; whole frames, so it may be longer than what went in.
        file_bytes: of the whole file.
        payload_bytes: of the codec's own packets.
    """

    audio: Audio
    file_bytes: int
    payload_bytes: int


def find(text: str, rate: int = 16000) -> Anchor | None:
    """The anchor that `text` names ("opus:12" in kbit/s, "speex:12", "codec2:2400", "gsm"); None where it names none.

    Args:
        text: of an entry.
        rate: Hz at which codecs are compared; Opus is given the lowest of its rates that holds this band.

    Raises `VoxzooError` for a setting that the codec does not have.
    """
    codec, colon, setting = text.partition(":")
    if codec not in CODECS:
        return None
    if codec == "gsm":
        if colon:
            raise VoxzooError(f"entry {text!r}: GSM full rate has one rate, 13 kbit/s; write 'gsm'")
        return Anchor("gsm", "libgsm", (), 8000, "gsm", 13000.0)
    if codec == "codec2":
        if setting not in CODEC2_MODES:
            raise VoxzooError(f"entry {text!r}: codec2 has the modes {', '.join(CODEC2_MODES)}; write 'codec2:2400'")
        return Anchor("codec2", "libcodec2", ("-mode", setting), 8000, "codec2", float(setting.rstrip("BC")))
    bits = _kilobits(text, codec, setting) * 1000
    if codec == "speex":
        return Anchor("speex", "libspeex", ("-b:a", f"{bits:.0f}"), 16000, "ogg", bits)
    given = next((r for r in OPUS_RATES if r >= rate), OPUS_RATES[-1])
    return Anchor("opus", "libopus", ("-b:a", f"{bits:.0f}"), given, "ogg", bits)


def _kilobits(text: str, codec: str, setting: str) -> float:
    low, high = KILOBITS[codec]
    try:
        value = float(setting)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise VoxzooError(f"entry {text!r}: expected {codec}:N with N from {low:g} to {high:g} kbit/s, as '{codec}:12'")
    return value


def ffmpeg_version() -> str:
    """As "ffmpeg 7.1". Raises `VoxzooError` when there is no ffmpeg."""
    return _ffmpeg()[0]


@functools.cache
def _ffmpeg() -> tuple[str, frozenset[str]]:
    """Version and names of encoders."""
    if shutil.which("ffmpeg") is None:
        raise VoxzooError(
            f"the anchors {', '.join(CODECS)} need ffmpeg, which is not on the PATH: install it (apt install ffmpeg, "
            "brew install ffmpeg), or leave these entries out"
        )
    text = subprocess.run(["ffmpeg", "-hide_banner", "-version"], capture_output=True, text=True).stdout
    encoders = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True).stdout
    found = re.search(r"ffmpeg version (\S+)", text)
    return f"ffmpeg {found[1] if found else 'of unknown version'}", frozenset(re.findall(r"^ A\S+ (\S+)", encoders, re.M))


def check(anchor: Anchor) -> None:
    """Raise `VoxzooError` unless ffmpeg is here and was built with the codec."""
    version, encoders = _ffmpeg()
    if anchor.encoder not in encoders:
        raise VoxzooError(
            f"{version} has no encoder {anchor.encoder}, which {anchor.codec} needs: install an ffmpeg built with "
            f"--enable-{anchor.encoder} (Debian's and Homebrew's are), or leave this entry out"
        )


def code(anchor: Anchor, audio: Audio) -> Coded:
    """Encode and decode one clip. Raises `AudioError` when ffmpeg fails."""
    data = encode(anchor, audio)
    payload = ogg_payload(data) if anchor.container == "ogg" else len(data) - C2_HEADER * (anchor.codec == "codec2")
    return Coded(decode(anchor, data), len(data), payload)


def encode(anchor: Anchor, audio: Audio) -> bytes:
    """The file of a clip. Raises `AudioError` when ffmpeg fails."""
    return _run(encode_command(anchor), pcm(anchor, audio))


def pcm(anchor: Anchor, audio: Audio) -> bytes:
    """What the encoder is given: 16-bit samples at its rate."""
    samples = audio.resample(anchor.sample_rate).samples
    return np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def encode_command(anchor: Anchor) -> list[str]:
    """The call of ffmpeg that makes a file (on stdout) of `pcm` (on stdin)."""
    given = ("-f", "s16le", "-ar", str(anchor.sample_rate), "-ac", "1")
    return _command(given, ("-c:a", anchor.encoder, *anchor.options, "-f", anchor.container))


def decode_command(anchor: Anchor) -> list[str]:
    """The call of ffmpeg that makes a WAV of a file."""
    return _command(("-f", anchor.container), ("-c:a", "pcm_f32le", "-f", "wav"))


def decode(anchor: Anchor, data: bytes) -> Audio:
    """The sound of a file, at the decoder's own rate. Raises `AudioError` when ffmpeg fails."""
    import soundfile

    wav = _run(decode_command(anchor), data)
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return Audio(samples, rate)


def _command(given: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    quiet = ("-hide_banner", "-loglevel", "error", "-threads", "1")
    return ["ffmpeg", *quiet, *given, "-i", "pipe:0", *wanted, "pipe:1"]


def _run(command: list[str], data: bytes) -> bytes:
    done: Any = subprocess.run(command, input=data, capture_output=True)
    if done.returncode or not done.stdout:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise AudioError(f"ffmpeg failed: {words[-1] if words else f'exit status {done.returncode}'}")
    return bytes(done.stdout)


def ogg_payload(data: bytes) -> int:
    """Bytes of the packets of an Ogg stream after its two header packets (RFC 3533; Opus and Speex have two)."""
    sizes = list(_ogg_packets(data))
    return sum(sizes[2:])


def _ogg_packets(data: bytes) -> Iterator[int]:
    at = size = 0
    while data[at : at + 4] == b"OggS":
        count = data[at + 26]
        for lace in data[at + 27 : at + 27 + count]:
            size += lace
            if lace < 255:
                yield size
                size = 0
        at += 27 + count + sum(data[at + 27 : at + 27 + count])
