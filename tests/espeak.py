"""Labelled speech for tests: espeak-ng's library through ctypes, with the very sample at which each phone begins.

Tests take the fixture `espeak` (conftest.py), which is this module, loaded once per session, or skips where libespeak-ng is not
installed: `espeak.corpus(voices, sentences)` gives the first sentences in the first voices.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soxr

RATE = 16000
VOICES = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4", "en", "en+m7", "en+f3", "en+m5")
GENDERS = ("male", "female", "male", "female", "male", "male", "female", "male")
SENTENCES = (
    "The old captain kept a small boat behind the mill.",
    "She asked the baker for seven loaves of bread.",
    "A cold wind came down from the hills last night.",
    "They painted every window of the house bright green.",
    "Please put the yellow cups back on the top shelf.",
    "Nobody saw the fox that took the farmer's hens.",
    "Our train was late because snow had covered the line.",
    "The teacher wrote three short words on the board.",
    "Fresh coffee and warm rolls were waiting in the kitchen.",
    "He gave the boy a coin and told him to hurry.",
    "We walked along the river until the sun went down.",
    "The doctor said that she would be better by Friday.",
    "Two black horses pulled the heavy cart up the road.",
    "I never thought the journey would take so long.",
    "Keep the butter and the milk in a cool place.",
    "The judge listened to both sides and shook his head.",
    "My sister plays the violin in a large orchestra.",
    "Bring a thick coat, for the evening will be cold.",
    "The children ran through the garden and over the bridge.",
    "A thin layer of dust lay on all the books.",
    "He measured the table twice and cut the board once.",
    "Those vegetables were grown without any water from the city.",
    "The little shop on the corner sells paper and pencils.",
    "She found a silver ring beneath the kitchen floor.",
    "Everyone was pleased with the food and the music.",
    "The pilot turned the plane and landed near the beach.",
    "You should have told us that the bridge was closed.",
    "A young man with a red beard opened the door.",
    "They usually have lunch together under the great oak.",
    "The price of sugar rose again in the autumn.",
    "Could you show me the way to the village church?",
    "Thirty sheep were sleeping in the shade of the wall.",
    "He lost his watch somewhere between the station and home.",
    "The lawyer read the whole letter in a low voice.",
    "We shall measure the pressure of the gas tomorrow.",
    "The boat with the blue sail was the first to arrive.",
    "A strange noise from the cellar woke the family up.",
    "She chose a smooth white stone and threw it away.",
    "The new bridge joins the island with the town.",
    "Good soup needs time, salt, and a very large pot.",
)


@dataclass(frozen=True, eq=False)
class Utterance:
    """One sentence in one voice."""

    samples: np.ndarray  # float32 (T,) at 16 kHz, in [-1, 1]
    phones: tuple[tuple[float, float, str], ...]  # (start s, end s, name) without gaps from 0 to the end; "_" is silence
    speaker: str
    gender: str
    sentence: int
    text: str


def available() -> bool:
    """Whether libespeak-ng is installed here."""
    return _library() is not None


def corpus(voices: int = 8, sentences: int = 40) -> tuple[Utterance, ...]:
    """The first `sentences` in the first `voices`, sentence by sentence; at most 8 and 40, 812 s. Equal in every session."""
    return tuple(u for u in _everything() if u.sentence < sentences and u.speaker in VOICES[:voices])


@functools.cache
def units(voices: int = 8, sentences: int = 40) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A simple tokenizer of that speech: MFCC 1 to 19 at 50 frames/s (N, 19) of unit variance, and their k-means codes (N,).

    Skips without librosa and scikit-learn.
    """
    librosa = pytest.importorskip("librosa")
    cluster = pytest.importorskip("sklearn.cluster")
    options = {"sr": RATE, "n_mfcc": 20, "n_fft": 512, "hop_length": 320, "n_mels": 40}
    clips = [u.samples for u in corpus(voices, sentences)]
    features = [librosa.feature.mfcc(y=wav, **options)[1:].T[: len(wav) // 320] for wav in clips]
    spread = np.concatenate(features).std(0)
    features = [frames / spread for frames in features]
    model = cluster.KMeans(100, n_init=1, random_state=0, max_iter=50).fit(np.concatenate(features)[::2])
    return features, [model.predict(frames) for frames in features]


@functools.cache
def _everything() -> tuple[Utterance, ...]:
    """The whole corpus, in about 1.5 s, in one order: the library's output depends on what it said before."""
    return tuple(_utterance(voice, sentence) for sentence in range(len(SENTENCES)) for voice in range(len(VOICES)))


def _utterance(voice: int, sentence: int) -> Utterance:
    samples, rate, begins = _speak(VOICES[voice], SENTENCES[sentence])
    wav = np.clip(soxr.resample(samples.astype(np.float32) / 32768, rate, RATE), -1, 1).astype(np.float32)
    return Utterance(wav, _phones(begins, rate, len(samples)), VOICES[voice], GENDERS[voice], sentence, SENTENCES[sentence])


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


PHONEME, SYNCHRONOUS, PHONEME_EVENTS, DONT_EXIT, UTF8 = 7, 2, 1, 0x8000, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """The library, once per process: its state is global."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | DONT_EXIT)
        self.parts: list[np.ndarray] = []
        self.events: list[tuple[int, str]] = []
        self.callback = _Callback(self._receive)  # kept alive
        library.espeak_SetSynthCallback(self.callback)

    def _receive(self, wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            self.parts.append(np.ctypeslib.as_array(wav, (count,)).copy())
        i = 0
        while events[i].type:
            if events[i].type == PHONEME:
                self.events.append((events[i].sample, bytes(events[i].id.string).decode("utf-8", "replace")))
            i += 1
        return 0

    def speak(self, voice: str, text: str) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Samples int16 (T,) at `self.rate`, and (first sample, phone) of each phone."""
        self.parts, self.events = [], []
        ctypes.CDLL(None).srand(1)  # its noise comes from the C library's generator, which others in the process use too
        if self.library.espeak_SetVoiceByName(voice.encode()):
            pytest.skip(f"espeak-ng has no voice {voice}")
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 0, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self.parts), self.events


@functools.cache
def _library() -> _Engine | None:
    for name in ("libespeak-ng.so.1", ctypes.util.find_library("espeak-ng")):
        try:
            engine = _Engine(ctypes.CDLL(name)) if name else None
        except OSError:
            continue
        if engine is not None and engine.rate > 0:
            return engine
    return None


def _speak(voice: str, text: str) -> tuple[np.ndarray, int, list[tuple[int, str]]]:
    engine = _library()
    if engine is None:
        raise RuntimeError("libespeak-ng is not installed")
    samples, begins = engine.speak(voice, text)
    return samples, engine.rate, begins


def _phones(begins: list[tuple[int, str]], rate: int, total: int) -> tuple[tuple[float, float, str], ...]:
    """Phones from the first sample of each; all kinds of pause are "_", and pauses in a row are one."""
    cuts = [(0, "_")] + [(min(sample, total), _name(name)) for sample, name in begins]
    out: list[tuple[float, float, str]] = []
    for (begin, name), (end, _) in zip(cuts, [*cuts[1:], (total, "")], strict=True):
        if end <= begin:
            continue
        if out and name == "_" == out[-1][2]:
            out[-1] = (out[-1][0], end / rate, "_")
        else:
            out.append((begin / rate, end / rate, name))
    return tuple(out)


def _name(raw: str) -> str:
    return "j" if raw == ";" else raw if raw.strip("_:|! ") else "_"  # ";" is the glide between vowels of two words
