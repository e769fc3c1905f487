"""The same words in another voice: pitch, formants and colour of many clips changed at once, on the device, in time with them.

What Spin and ContentVec do to one clip at a time in Praat ("Change gender", then a random equaliser; Choi et al. 2021,
arXiv:2110.14513) is done here to a batch in torch operations. Periods are laid out anew as in pitch-synchronous overlap-add
(Moulines and Charpentier 1990): of the marks of the new pitch each takes the grain of sound around the nearest mark of the old
one, read faster or slower, which moves the formants. Seen from the output, every sample lies under two grains, so that it is
two reads of the input: nothing is scattered, and nothing goes mark by mark or clip by clip.

Letters: B batch, T samples, M frames of 10 ms, P marks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import perturb_equalizer
from .perturb_pitch import HIGHEST, Phase, Pitch, centred, track

SLOW = 4  # samples of the input to one of what pitch is tracked on
FAST = 2  # samples of what grains are read from, to one of the input
NEW = (40.0, 800.0)  # Hz, between which a new pitch is kept


@dataclass(frozen=True)
class Strength:
    """How far voices are changed: ratios are drawn from 1 to these, and taken the other way round half of the time."""

    formants: float = 1.4
    pitch: float = 2.0
    spread: float = 1.5  # of pitch about its median
    equalizer: float = 12.0  # dB, the most that a filter raises or lowers


@dataclass(frozen=True)
class Change:
    """What becomes of each clip, float32 (B,): ratios of pitch, of its spread about its median, and of formants."""

    pitch: Tensor
    spread: Tensor
    formants: Tensor

    @classmethod
    def drawn(cls, count: int, strength: Strength, rng: np.random.Generator, device: torch.device) -> Change:
        """By the host, from a seeded generator."""
        ratios = []
        for largest in (strength.pitch, strength.spread, strength.formants):
            ratio = rng.uniform(1, largest, count)
            ratios.append(np.where(rng.random(count) < 0.5, ratio, 1 / ratio).astype(np.float32))
        return cls(*(put(ratio, device) for ratio in ratios))


def put(array: np.ndarray, device: torch.device) -> Tensor:
    """A small array on a device, without waiting for it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def perturbed(wav: Tensor, sample_rate: int, strength: Strength, rng: np.random.Generator) -> Tensor:
    """wav float32 (B, T) -> each clip in a voice and through an equaliser of its own, as long and as loud as before."""
    out = changed(wav, sample_rate, Change.drawn(len(wav), strength, rng, wav.device))
    gains, quality = (put(part, wav.device) for part in perturb_equalizer.drawn(len(wav), rng, strength.equalizer))
    response = perturb_equalizer.responses(gains, quality, sample_rate)
    size = fast_length(wav.shape[1] + response.shape[1])
    out = torch.fft.irfft(torch.fft.rfft(out, size) * torch.fft.rfft(response, size), size)[:, : wav.shape[1]]
    return as_loud(out, wav).clamp(-1, 1)


def changed(wav: Tensor, sample_rate: int, change: Change) -> Tensor:
    """wav float32 (B, T) -> the same (B, T) with its pitch and formants changed."""
    length = wav.shape[1]
    hop = round(0.01 * sample_rate)
    frames = -(-length // hop)
    size = fast_length(length + sample_rate // 20)  # what is cut off wraps into the silence at the end
    spectrum = torch.fft.rfft(wav, size)
    slow = torch.fft.irfft(spectrum[:, : size // (2 * SLOW) + 1], size // SLOW) / SLOW
    pitch = track(slow[:, : -(-length // SLOW)], sample_rate / SLOW, frames)
    top = (0.5 * size / change.formants.clamp(min=1.0))[:, None]  # bins that stay below half the rate when read faster
    bins = torch.arange(spectrum.shape[1], device=wav.device)
    fast = torch.fft.irfft(torch.where(bins < top, spectrum, 0.0), FAST * size) * FAST
    return as_loud(_laid_out(fast, slow, pitch, sample_rate, change)[:, :length], wav)


def new_pitch(pitch: Pitch, change: Change) -> Tensor:
    """f0 (B, M) as it is to be; sound without voice keeps its marks."""
    median = pitch.median * change.pitch[:, None]
    f0 = median + (pitch.f0 * change.pitch[:, None] - median) * change.spread[:, None]
    return torch.where(pitch.voiced, f0.clamp(*NEW), pitch.f0)


def _laid_out(fast: Tensor, slow: Tensor, pitch: Pitch, rate: int, change: Change) -> Tensor:
    """The grains of `fast` at the marks of the new pitch (B, M hop)."""
    old, new = Phase.of(pitch.f0, rate), Phase.of(new_pitch(pitch, change), rate)
    marks, frame = old.times(old.count(HIGHEST, rate))
    period = 1 / old.slope.gather(1, frame)
    marks = centred(marks, period, pitch.voiced.gather(1, frame), slow.square(), SLOW)
    goal, at = new.times(new.count(NEW[1], rate) + 1)
    nearest = old.before(goal).round().long().clamp(0, marks.shape[1] - 1)
    voiced = pitch.voiced.gather(1, at)
    source = torch.where(voiced, marks.gather(1, nearest), goal)
    ratio = change.formants[:, None]
    width = torch.where(
        voiced, torch.minimum(1 / new.slope.gather(1, at), 1 / (old.slope.gather(1, at) * ratio)), 1 / new.slope.gather(1, at)
    )
    # two grains of noise do not add up as two of a voice do: their powers are to sum to one, unless they are the same noise
    coherent = voiced | ((ratio - 1).abs() < 0.02)
    phase = new.samples()
    time = torch.arange(phase.shape[1], device=phase.device, dtype=torch.float32)
    first = phase.long().clamp(max=goal.shape[1] - 2)
    out = torch.zeros_like(phase)
    for k in (first, first + 1):
        away = time - goal.gather(1, k)
        root = torch.cos(0.5 * torch.pi * (away / width.gather(1, k)).clamp(-1, 1))
        weight = torch.where(coherent.gather(1, k), root * root, root)
        out = out + weight * _read(fast, FAST * (source.gather(1, k) + ratio * away))
    return out


def _read(wav: Tensor, places: Tensor) -> Tensor:
    """wav (B, S) between its samples, at places (B, n): on straight lines, for it has twice the samples it needs."""
    places = places.clamp(0, wav.shape[1] - 2)
    whole = places.long()
    left = wav.gather(1, whole)
    return left + (places - whole) * (wav.gather(1, whole + 1) - left)


def as_loud(wav: Tensor, like: Tensor) -> Tensor:
    """wav (B, T) with the power of another."""
    power = like.square().mean(1, keepdim=True) / wav.square().mean(1, keepdim=True).clamp(min=1e-12)
    return wav * power.sqrt()


def fast_length(length: int) -> int:
    """The least of 2^k, 5/4 2^k and 3/2 2^k from a length on: Fourier transforms of these are quick."""
    whole = 1 << max(5, (length - 1).bit_length())
    return next(size for size in (whole * 5 // 8, whole * 3 // 4, whole) if size >= length)
