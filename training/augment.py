"""Sound made harder to recognise, in batches on the device: noise, rooms, moved spectra, coloured channels, masks.

What is drawn is drawn by the host from a seeded generator, so that nothing waits for the device and a resumed run goes on as it
would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..core.slaney_mel import mel_filters

SHIFTS = 49  # filter banks, from -LARGEST to LARGEST semitones
LARGEST = 6.0
ROOM = 16000  # samples of a room's response that are kept
NOISE_SECONDS = 60  # of each colour of made noise


@dataclass(frozen=True)
class Hardness:
    """How hard a view is: chances from 0 to 1, ranges from least to most."""

    noise: float
    snr: tuple[float, float]  # dB
    room: float
    shift: float
    semitones: float  # at most, up or down
    channel: float  # dB, the most that a band is raised or lowered
    masks: int  # at most, of bands


LIGHT = Hardness(noise=0.3, snr=(15.0, 40.0), room=0.1, shift=0.5, semitones=3.0, channel=4.0, masks=0)
HARD = Hardness(noise=0.8, snr=(2.0, 25.0), room=0.4, shift=0.8, semitones=5.0, channel=10.0, masks=2)


class Augmenter:
    """Noises, rooms and filter banks on a device."""

    def __init__(
        self, noises: Sequence[np.ndarray], rooms: Sequence[np.ndarray], sample_rate: int, size: int, mels: int, device: str
    ) -> None:
        """noises, rooms: float (T,) at `sample_rate`; noise of three colours is added to the first. size: of the transform."""
        made = [colour(power, NOISE_SECONDS * sample_rate) for power in (0.0, 0.5, 1.0)]
        parts = [np.asarray(part, np.float32) / max(1e-5, float(np.sqrt(np.square(part).mean()))) for part in noises]
        weight = max(1, sum(map(len, parts)) // (2 * sum(map(len, made))))  # about a third of it is made noise
        self.noise = torch.from_numpy(np.concatenate([*parts, *(made * weight)]).astype(np.float32)).to(device)
        self.rooms = torch.from_numpy(np.stack([_room(room) for room in rooms])).to(device) if len(rooms) else None
        self.semitones = np.linspace(-LARGEST, LARGEST, SHIFTS)
        banks = [mel_filters(sample_rate * 2 ** (s / 12), size, mels, sample_rate / 2).T for s in self.semitones]
        self.banks = torch.from_numpy(np.stack(banks)).to(device)
        self.mels, self.device = mels, device

    def waves(self, wav: Tensor, level: Tensor, hard: Hardness, rng: np.random.Generator) -> Tensor:
        """wav (B, T), speech of RMS `level` (B,) -> the same in rooms and noise."""
        count, length = wav.shape
        if self.rooms is not None:
            chosen = np.flatnonzero(rng.random(count) < hard.room)
            if len(chosen):
                places = self._to(chosen)
                rooms = self.rooms[self._to(rng.integers(len(self.rooms), size=len(chosen)))]
                wav = wav.index_copy(0, places, convolved(wav[places], rooms))
        noisy = rng.random(count) < hard.noise
        gains = np.where(noisy, 10 ** (-rng.uniform(*hard.snr, count) / 20), 0.0).astype(np.float32)
        starts = self._to(rng.integers(len(self.noise), size=count))
        noise = self.noise[(starts[:, None] + torch.arange(length, device=self.device)) % len(self.noise)]
        noise = noise / noise.square().mean(1, keepdim=True).sqrt().clamp(min=1e-3)
        return wav + noise * (level * self._to(gains))[:, None]

    def filters(self, count: int, hard: Hardness, rng: np.random.Generator) -> Tensor:
        """Filter banks (B, bins, mels) that move the spectrum of each clip."""
        moved = np.where(rng.random(count) < hard.shift, rng.uniform(-hard.semitones, hard.semitones, count), 0.0)
        places = np.abs(self.semitones[None] - moved[:, None]).argmin(1)
        return self.banks[self._to(places)]

    def bands(self, mel: Tensor, hard: Hardness, rng: np.random.Generator) -> Tensor:
        """log10 mel (B, P, M, mels) through channels of smooth, random gain."""
        knots = rng.uniform(-hard.channel, hard.channel, (len(mel), 6)) / 10
        at = np.linspace(0, 5, self.mels)
        low = at.astype(int).clip(max=4)
        gain = knots[:, low] * (1 - (at - low)) + knots[:, low + 1] * (at - low)
        return mel + self._to(gain.astype(np.float32))[:, None, None]

    def masked(self, mel: Tensor, hard: Hardness, rng: np.random.Generator) -> Tensor:
        """Relative log-mel with some bands of each clip at its lowest, -1."""
        keep = np.ones((len(mel), self.mels), bool)
        for row in keep:
            for _ in range(rng.integers(hard.masks + 1)):
                width = int(rng.integers(1, max(2, self.mels // 6)))
                start = int(rng.integers(self.mels - width))
                row[start : start + width] = False
        return torch.where(self._to(keep)[:, None, None], mel, -1.0)

    def _to(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if "cuda" in self.device else tensor


@cache
def colour(power: float, length: int) -> np.ndarray:
    """Noise float32 (T,) of RMS 1 whose amplitude falls as f^-power: white 0, pink 0.5, brown 1. Always the same."""
    rng = np.random.default_rng(round(10 * power))
    spectrum = rng.standard_normal(length // 2 + 1) + 1j * rng.standard_normal(length // 2 + 1)
    spectrum[1:] *= np.arange(1, len(spectrum), dtype=float) ** -power
    spectrum[: max(1, length // 400)] = 0  # nothing below 20 Hz at 16 kHz
    wav = np.fft.irfft(spectrum, length)
    return (wav / np.sqrt(np.square(wav).mean())).astype(np.float32)


def convolved(wav: Tensor, rooms: Tensor) -> Tensor:
    """wav (B, T) in rooms (B, R), as loud as before."""
    size = 1 << (wav.shape[1] + rooms.shape[1] - 1).bit_length()
    out = torch.fft.irfft(torch.fft.rfft(wav, size) * torch.fft.rfft(rooms, size), size)[:, : wav.shape[1]]
    ratio = wav.square().mean(1, keepdim=True) / out.square().mean(1, keepdim=True).clamp(min=1e-12)
    return out * ratio.sqrt()


def _room(response: np.ndarray) -> np.ndarray:
    """float32 (ROOM,): from the direct sound on, cut or filled with zeros."""
    start = max(0, int(np.abs(response).argmax()) - 16)
    cut = response[start : start + ROOM].astype(np.float32)
    return np.pad(cut, (0, ROOM - len(cut)))
