"""Synthesise `bundled/demo/speech.wav`: about ten seconds of speech by rule, in the manner of Klatt (JASA 67, 1980).

    python tools/make_demo_speech.py bundled/demo/speech.wav

Glottal pulses (the polynomial flow of Klatt & Klatt, JASA 87, 1990, with jitter and shimmer) under a pitch contour of
phrase and accent commands (Fujisaki & Hirose, 1984) pass through a cascade of formant resonators whose targets follow
the phonemes below; noise makes fricatives, bursts and breath. Only numpy is used, and the noise comes from numpy's frozen
`RandomState`, so every run gives the same samples. Frequencies are Hz, durations ms, amplitudes linear.
"""

from __future__ import annotations

import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 16000
HOP = 80  # samples per control frame (5 ms)
SIZE = 1024  # FFT points
OVER = 4  # the pulses are made at so many times RATE, so that their edges do not alias
FREQS = np.arange(SIZE // 2 + 1) * RATE / SIZE


@dataclass(frozen=True)
class Voice:
    """A speaker: pitch floor, vocal-tract scale (1: an adult male's), open quotient, breathiness, tilt corner."""

    pitch: float
    tract: float
    open: float
    breath: float
    tilt: float


@dataclass(frozen=True)
class Part:
    """A stretch of a phoneme: its share of the duration and what sounds; `formants` None follows the next phoneme."""

    share: float
    formants: tuple[float, float, float] | None
    voice: float = 0.0
    breath: float = 0.0
    noise: float = 0.0
    shape: str = ""
    nasal: float = 0.0  # frequency of the nasal zero


LOW = Voice(pitch=88, tract=1.0, open=0.55, breath=0.03, tilt=3200)
HIGH = Voice(pitch=165, tract=1.15, open=0.62, breath=0.05, tilt=2600)

# Speaker, phrase strength, and phonemes as NAME:ms; ' marks a pitch accent, ^ a strong one, ? a final rise.
SCRIPT: tuple[tuple[Voice, float, str], ...] = (
    # A voice is a stream of sound.
    (LOW, 0.50, """_:40 AX:60 V:60 OY^:230 S:95 IH:65 Z:60 AX:50 S:100 TU:65 R:60 IY':150 M:70
                   AX:50 V:45 S:110 AW^:250 N:75 D:75 _:330"""),
    # We turn it into a few small numbers,
    (LOW, 0.45, """_:30 W:75 IY:95 T:95 ER':130 N:55 IH:55 TF:40 IH':75 N:50 T:70 UW:75 AX:45 F:95 Y:55 UW^:130
                   S:105 M:65 AO':150 L:70 N:65 AH^:105 M:65 B:55 ER:120 Z:100 _:260"""),
    # and the numbers speak again.
    (LOW, 0.35, """_:40 AE:75 N:50 D:45 DH:40 AX:50 N:60 AH':100 M:60 B:50 ER:85 Z:70
                   S:90 PU:80 IY^:140 K:85 AX:55 G:70 EH':150 N:120 _:450"""),
    # Can you hear the change?
    (HIGH, 0.40, "K:105 AE:95 N:55 Y:55 UW:80 HH:65 IH^:110 R:90 DH:40 AX:55 CH:125 EY?:210 N:75 JH:120 _:400"),
    # This is how it sounds.
    (HIGH, 0.45, "DH:45 IH^:95 S:90 IH:65 Z:65 HH:70 AW':200 IH:60 TF:65 S:110 AW^:250 N:80 D:50 Z:120 _:200"),
)  # fmt: skip


def _vowel(*formants: tuple[float, float, float], shares: tuple[float, ...] = (1.0,)) -> list[Part]:
    return [Part(share, f, voice=1.0) for share, f in zip(shares, formants, strict=True)]


def _stop(place: str, voiced: bool, aspirated: bool) -> list[Part]:
    """Closure, burst, and the breath after a voiceless one; `place` gives locus and burst spectrum."""
    locus = {"P": (250, 900, 2200), "T": (250, 1750, 2650), "K": (250, 2000, 2500)}[place]
    if voiced:
        return [Part(0.75, locus, voice=0.16), Part(0.25, locus, voice=0.3, noise=0.35, shape=place)]
    if aspirated:
        return [Part(0.5, locus), Part(0.15, locus, breath=0.2, noise=0.9, shape=place), Part(0.35, None, breath=0.5)]
    return [Part(0.75, locus), Part(0.25, locus, breath=0.15, noise=0.5, shape=place)]


PHONEMES: dict[str, list[Part]] = {
    "IY": _vowel((285, 2250, 2950)), "IH": _vowel((400, 1950, 2550)), "EH": _vowel((540, 1800, 2500)),
    "AE": _vowel((660, 1700, 2450)), "AH": _vowel((630, 1220, 2450)), "AX": _vowel((490, 1400, 2450)),
    "AO": _vowel((560, 860, 2450)), "UW": _vowel((310, 1050, 2250)), "ER": _vowel((480, 1320, 1690)),
    "OY": _vowel((550, 880, 2450), (430, 1500, 2450), (350, 2000, 2550), shares=(0.45, 0.2, 0.35)),
    "AW": _vowel((720, 1300, 2500), (600, 1080, 2450), (420, 900, 2300), shares=(0.5, 0.2, 0.3)),
    "EY": _vowel((500, 1850, 2520), (370, 2150, 2700), shares=(0.5, 0.5)),
    "W": [Part(1, (300, 640, 2200), voice=0.6)], "Y": [Part(1, (270, 2200, 3000), voice=0.6)],
    "R": [Part(1, (330, 1100, 1450), voice=0.6)], "L": [Part(1, (360, 900, 2750), voice=0.65)],
    "M": [Part(1, (280, 1100, 2150), voice=0.5, nasal=900)], "N": [Part(1, (280, 1600, 2550), voice=0.5, nasal=1500)],
    "S": [Part(1, (320, 1600, 2550), noise=0.8, shape="S")],
    "Z": [Part(1, (280, 1600, 2550), voice=0.22, noise=0.45, shape="S")],
    "F": [Part(1, (340, 1100, 2150), noise=0.3, shape="F")],
    "V": [Part(1, (270, 1050, 2100), voice=0.35, noise=0.1, shape="F")],
    "DH": [Part(1, (280, 1300, 2500), voice=0.35, noise=0.08, shape="F")],
    "HH": [Part(1, None, voice=0.04, breath=0.5)],
    "P": _stop("P", False, True), "T": _stop("T", False, True), "K": _stop("K", False, True),
    "PU": _stop("P", False, False), "TU": _stop("T", False, False), "TF": _stop("T", False, False),
    "B": _stop("P", True, False), "D": _stop("T", True, False), "G": _stop("K", True, False),
    "CH": [Part(0.4, (280, 1800, 2650)), Part(0.12, (280, 1800, 2650), noise=0.9, shape="SH"),
           Part(0.48, (300, 1850, 2600), noise=0.6, shape="SH")],
    "JH": [Part(0.4, (280, 1800, 2650), voice=0.15), Part(0.6, (300, 1850, 2600), voice=0.12, noise=0.4, shape="SH")],
    "_": [Part(1, None)],
}  # fmt: skip

# Noise spectra as bumps: centre, width (one standard deviation), gain.
SHAPES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "S": ((5600, 900, 1.0), (7300, 600, 0.8), (3900, 500, 0.15)),
    "SH": ((2750, 450, 1.0), (4500, 900, 0.6), (6500, 1000, 0.25)),
    "F": ((7000, 2500, 0.6), (1500, 700, 0.25), (3500, 1500, 0.35)),
    "P": ((700, 500, 1.0), (2500, 1800, 0.2)),
    "T": ((4000, 1000, 1.0), (6300, 900, 0.7)),
    "K": ((2200, 450, 1.0), (4200, 800, 0.25)),
}


@dataclass
class Tracks:
    """Control tracks, one row per frame of 5 ms."""

    formants: np.ndarray  # (N, 3)
    nasal: np.ndarray  # (N,), frequency of the nasal zero; 270 where it cancels the nasal pole
    voice: np.ndarray  # (N,)
    breath: np.ndarray  # (N,)
    noise: np.ndarray  # (N, F), magnitude
    pitch: np.ndarray  # (N,), Hz


def _smooth(track: np.ndarray, ms: float) -> np.ndarray:
    """Moving average of (N,) or (N, D) under a Hann window of `ms`, edges held."""
    half = max(1, round(ms / 5 / 2))
    kernel = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(track.reshape(len(track), -1), ((half, half), (0, 0)), mode="edge")
    out = np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)
    return out.reshape(track.shape)


def _shape(name: str) -> np.ndarray:
    return sum((gain * np.exp(-0.5 * ((FREQS - mid) / width) ** 2) for mid, width, gain in SHAPES[name]), np.zeros(len(FREQS)))


def _pitch(frames: int, base: float, phrase: float, accents: list[tuple[float, float, float]]) -> np.ndarray:
    """Fujisaki's contour: a phrase command 0.15 s before the start, and accents (start s, end s, strength)."""
    t = np.arange(frames) * HOP / RATE

    def rise(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x, 0)
        return np.minimum(1 - (1 + 20 * x) * np.exp(-20 * x), 0.9)

    log = phrase * 2.2**2 * (t + 0.15) * np.exp(-2.2 * (t + 0.15)) * 0.8
    for start, end, strength in accents:
        log = log + strength * (rise(t - start) - rise(t - end))
    flutter = 0.006 * (np.sin(2 * np.pi * 12.7 * t) + np.sin(2 * np.pi * 7.1 * t) + np.sin(2 * np.pi * 4.7 * t))
    return np.asarray(base * np.exp(log) * (1 + flutter))


def tracks(voice: Voice, phrase: float, line: str) -> Tracks:
    """Control tracks of one line of the script."""
    parts: list[tuple[Part, int]] = []
    accents, now = [], 0.0
    for word in line.split():
        name, _, ms = word.partition(":")
        strength = {"'": 0.18, "^": 0.32, "?": 0.55}.get(name[-1], 0.0)
        if strength:
            accents.append((now - 0.06, now + int(ms) / 1000 * (2.5 if name[-1] == "?" else 0.8), strength))
        begin = now
        for part in PHONEMES[name.rstrip("'^?")]:
            end = begin + part.share * int(ms) / 1000
            parts.append((part, round(end * 200) - round(begin * 200)))
            begin = end
        now += int(ms) / 1000
    counts = [count for _, count in parts]
    targets = [part.formants for part, _ in parts]
    for i in range(len(targets) - 2, -1, -1):
        targets[i] = targets[i] or targets[i + 1]
    rest = (500.0, 1500.0, 2500.0)
    formants = np.repeat([t or rest for t in targets], counts, axis=0) * voice.tract
    empty = np.zeros(len(FREQS))
    noise = np.repeat([p.noise * _shape(p.shape) if p.shape else empty for p, _ in parts], counts, axis=0)

    def track(values: list[float], ms: float) -> np.ndarray:
        return _smooth(np.repeat(values, counts), ms)

    return Tracks(
        formants=_smooth(formants, 80),
        nasal=track([p.nasal or 270.0 for p, _ in parts], 40),
        voice=track([p.voice for p, _ in parts], 35),
        breath=track([p.breath for p, _ in parts], 25),
        noise=_smooth(noise, 20),
        pitch=_pitch(sum(counts), voice.pitch, phrase, accents),
    )


def pulses(pitch: np.ndarray, voice: Voice, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of glottal flow (T,), and how open the glottis is (T,) in [0, 1]."""
    total = len(pitch) * HOP * OVER
    flow, opening = np.zeros(total), np.zeros(total)
    start = 0.0
    while start < total:
        period = OVER * RATE / pitch[int(start) // (HOP * OVER)] * (1 + 0.006 * rng.standard_normal())
        index = np.arange(int(np.ceil(start)), min(int(start + voice.open * period), total))
        u = (index - start) / (voice.open * period)
        flow[index] = (2 * u - 3 * u**2) * (1 + 0.04 * rng.standard_normal())
        opening[index] = u**2 * (1 - u) * 6.75
        start += period
    taps = np.arange(-96, 97)
    kernel = np.sinc(taps / OVER * 0.93) * np.blackman(len(taps))
    return np.convolve(flow, kernel / kernel.sum(), "same")[::OVER], opening[::OVER]


def _resonator(centre: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Response (N, F) of Klatt's digital resonator, of unit gain at 0 Hz; centre (N,)."""
    c = -np.exp(-2 * np.pi * np.broadcast_to(width, centre.shape) / RATE)[:, None]
    b = 2 * np.sqrt(-c) * np.cos(2 * np.pi * centre / RATE)[:, None]
    z = np.exp(-2j * np.pi * FREQS / RATE)
    return np.asarray((1 - b - c) / (1 - b * z - c * z**2))


def tract(t: Tracks, scale: float) -> np.ndarray:
    """Response (N, F) of the vocal tract in each frame."""
    open_glottis = t.breath / (t.breath + t.voice + 0.01)  # widens the first formants
    widths = (55 + 180 * open_glottis, 80 + 60 * open_glottis, 120.0)
    response = np.ones((len(t.voice), len(FREQS)), complex)
    for k, width in enumerate(widths):
        response *= _resonator(t.formants[:, k], width)
    for centre, width in ((3450, 190.0), (4400, 280.0), (5400, 380.0), (6400, 480.0), (7400, 600.0)):
        if centre * scale < 0.49 * RATE:
            response *= _resonator(np.full(len(t.voice), centre * scale), width)
    return response * _resonator(np.full(len(t.voice), 270.0), 100.0) / _resonator(t.nasal, 100.0)


def shaped(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`source` (N * HOP,) through the response (N, F) of each frame, overlapped and added."""
    count = len(response)
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
    padded = np.pad(source, (HOP // 2, 2 * HOP))
    out = np.zeros(count * HOP + SIZE)
    for i in range(count):
        spectrum = np.fft.rfft(padded[i * HOP : (i + 2) * HOP] * window, SIZE)
        out[i * HOP : i * HOP + SIZE] += np.fft.irfft(spectrum * response[i], SIZE)
    return out[HOP // 2 : HOP // 2 + count * HOP]


def speak(voice: Voice, phrase: float, line: str, rng: np.random.RandomState) -> np.ndarray:
    """One line of the script as sound (T,), not yet normalised."""
    t = tracks(voice, phrase, line)
    flow, opening = pulses(t.pitch, voice, rng)
    breath, hiss = rng.standard_normal((2, len(flow)))
    response = tract(t, voice.tract)
    tilt = 1 / (1 + 1j * FREQS / voice.tilt)
    voiced = shaped(flow + voice.breath * breath * opening, response * tilt * t.voice[:, None])
    breathy = shaped(0.06 * breath, response * t.breath[:, None])
    fricative = shaped(0.11 * hiss * (1 + 0.5 * opening * (np.repeat(t.voice, HOP) > 0.1)), t.noise + 0j)
    return voiced + breathy + fricative


def speech() -> np.ndarray:
    """The whole script: int16 (T,) at 16 kHz."""
    rng = np.random.RandomState(2026)
    wav = np.concatenate([np.zeros(RATE // 8)] + [speak(*line, rng) for line in SCRIPT])
    wav = wav / np.abs(wav).max() * 0.6 + 1e-4 * rng.standard_normal(len(wav))
    return np.asarray(np.round(wav * 32767), np.int16)


def main(path: Path) -> None:
    """Write the speech as a 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(speech().astype("<i2").tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
