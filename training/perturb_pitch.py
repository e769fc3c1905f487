"""Fundamental frequency of many clips at once, and the marks of their periods: what a change of voice starts from.

By autocorrelation, as Praat does it (Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound"): the windowed frame's is divided by the window's own. Instead of a best path over
frames, which goes one by one, the peaks are chosen twice: the second time those near the clip's own median are preferred.

Letters: B batch, T samples, M frames, P marks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

HOP = 0.01  # seconds
WINDOW = 0.04  # seconds: three periods of the lowest voice
LOWEST, HIGHEST = 65.0, 500.0  # Hz
VOICED = 0.45  # least normalised autocorrelation of a voiced frame
SILENT = 0.03  # amplitude, of the clip's loudest frame, below which no frame is voiced
OCTAVE = 0.02  # what an octave lower costs
FAR = 0.3  # what an octave from the clip's median costs, growing with the square
FINE = 4  # steps of a lag between two samples
UNVOICED = 125.0  # Hz: how often marks are set where there is no voice
TAPS = 32  # at which a period's energy is looked at
AROUND = 9  # marks that are centred together


@dataclass(frozen=True)
class Pitch:
    """f0 float32 (B, M) in Hz, `UNVOICED` where `voiced` (B, M) is not so; the median of the voiced frames (B, 1)."""

    f0: Tensor
    voiced: Tensor
    median: Tensor


def track(wav: Tensor, rate: float, frames: int) -> Pitch:
    """Pitch of wav (B, T) at `rate` Hz, a few thousand; frame m is around (m + 1/2) HOP."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    before = (size - hop) // 2
    room = max(0, (frames - 1) * hop + size - before - wav.shape[1])
    cut = F.pad(wav, (before, room)).unfold(1, size, hop)[:, :frames]
    window, lags, own = _tables(size, rate, wav.device)
    found = _correlation((cut - cut.mean(2, keepdim=True)) * window, *_lags(rate)) / own
    loud = cut.abs().amax(2)
    f = FINE * rate / lags[1:-1]
    r = found[..., 1:-1]
    peak = (r > found[..., :-2]) & (r >= found[..., 2:])
    r = torch.where(peak, r, -1.0)
    first = r + OCTAVE * torch.log2(f)
    heard = loud > SILENT * loud.amax(1, keepdim=True).clamp(min=1e-6)
    median = _median(f[first.argmax(2)], (r.amax(2) > VOICED) & heard)
    best = (first - FAR * torch.log2(f / median[..., None]).square()).argmax(2, keepdim=True)
    voiced = (r.gather(2, best)[..., 0] > VOICED) & heard
    f0 = torch.where(voiced, f[best[..., 0]], UNVOICED)
    return Pitch(f0, voiced, _median(f0, voiced))


def _lags(rate: float) -> tuple[int, int]:
    """The first lag that is looked at, and the one after the last, in steps of 1/FINE sample."""
    return math.floor(FINE * rate / HIGHEST) - 1, math.ceil(FINE * rate / LOWEST) + 2


def _correlation(frames: Tensor, first: int, last: int) -> Tensor:
    """frames (B, M, W) -> their autocorrelation at lags from `first` up to `last`, 1 at lag 0."""
    size = 1 << (frames.shape[2] + last // FINE).bit_length()
    spectrum = torch.view_as_real(torch.fft.rfft(frames, size))
    whole = torch.fft.irfft(spectrum.square().sum(-1), FINE * size)
    return whole[..., first:last] / whole[..., :1].clamp(min=1e-12)


@cache
def _tables(size: int, rate: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A window, the lags that are looked at, and the window's own autocorrelation there: made once."""
    window = torch.hann_window(size)
    first, last = _lags(rate)
    lags, own = torch.arange(first, last), _correlation(window[None, None], first, last)[0, 0]
    return window.to(device), lags.to(device), own.to(device)


def _median(f0: Tensor, voiced: Tensor) -> Tensor:
    """(B, 1): of the voiced frames; of a clip without any, `UNVOICED`."""
    found = torch.where(voiced, f0, torch.nan).nanmedian(1, keepdim=True).values
    return torch.nan_to_num(found, nan=UNVOICED)


@dataclass(frozen=True)
class Phase:
    """Periods since the clip's start, straight within a frame: `at` (B, M) where it begins, `slope` (B, M) a sample."""

    at: Tensor
    slope: Tensor
    hop: int

    @classmethod
    def of(cls, f0: Tensor, rate: int) -> Phase:
        """Of a pitch (B, M) in Hz."""
        hop = round(HOP * rate)
        slope = f0 / rate
        return cls((slope.double() * hop).cumsum(1).sub(slope.double() * hop).float(), slope, hop)

    def samples(self) -> Tensor:
        """(B, M hop): at each sample."""
        within = torch.arange(self.hop, device=self.at.device)
        return (self.at[..., None] + self.slope[..., None] * within).flatten(1)

    def times(self, count: int) -> tuple[Tensor, Tensor]:
        """Where the first `count` periods begin, in samples (B, P), and the frames these places lie in."""
        wanted = torch.arange(count, device=self.at.device, dtype=torch.float32).expand(len(self.at), -1).contiguous()
        frame = (torch.searchsorted(self.at, wanted, right=True) - 1).clamp(min=0)
        return frame * self.hop + (wanted - self.at.gather(1, frame)) / self.slope.gather(1, frame), frame

    def before(self, times: Tensor) -> Tensor:
        """Periods up to these places (B, P)."""
        frame = (times / self.hop).long().clamp(0, self.at.shape[1] - 1)
        return self.at.gather(1, frame) + self.slope.gather(1, frame) * (times - frame * self.hop)

    def count(self, highest: float, rate: int) -> int:
        """Marks that suffice: on a GPU as many as the highest pitch would make, so as not to wait for it."""
        if self.at.is_cuda:
            return math.ceil(self.at.shape[1] * self.hop * highest / rate) + 2
        return int((self.at[:, -1] + self.slope[:, -1] * self.hop).max()) + 2


def centred(times: Tensor, period: Tensor, voiced: Tensor, energy: Tensor, ratio: float) -> Tensor:
    """Marks (B, P) moved, within their period, to where its energy is: all marks of a voice then mean the same.

    period, voiced (B, P); energy (B, T') with `ratio` samples of the marks' clock to one of its own.
    """
    place = torch.arange(-TAPS // 2, TAPS // 2, device=times.device) * (2.0 / TAPS)  # periods: one before, one after
    at = ((times[..., None] + place * period[..., None]) / ratio).round().long().clamp(0, energy.shape[1] - 1)
    weighed = energy.gather(1, at.flatten(1)).view_as(at) * (1 + torch.cos(math.pi * place))
    turn = 2 * math.pi * place
    both = torch.stack([(weighed * turn.cos()).sum(2), (weighed * turn.sin()).sum(2)], 1)
    both = F.avg_pool1d(both * voiced[:, None], AROUND, 1, AROUND // 2)  # a mark by itself would jitter
    angle = torch.atan2(both[:, 1], both[:, 0])
    return times + torch.where(voiced, angle * period / (2 * math.pi), 0.0)
